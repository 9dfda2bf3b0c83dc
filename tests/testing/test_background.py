from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from ipc_broker import Gap, IPCError, Limits, NameTaken, WorkerLost, inline
from ipc_broker.address import parse_address
from ipc_broker.sync import Client, connect
from ipc_broker.testing import BackgroundBroker, background
from tests.end_to_end.processes import until
from tests.sync.bus import InThread
from tests.testing.objects import Calculator


def add(client: Client) -> int:
    return client.call("math", "add", [1, 2], returns=int)


class Gate:
    """Lets the test do something in the broker's thread, and while a call runs."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self.opened = threading.Event()

    async def wait(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    @inline
    def end_loop(self) -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)

    @inline
    def block(self) -> None:
        self.entered.set()
        assert self.opened.wait(10)


def test_a_worker_is_registered_when_serve_returns(ipc_broker: BackgroundBroker) -> None:
    ipc_broker.serve("math", Calculator())
    with pytest.raises(IPCError, match="the fixture `ipc_broker` needs no `with`"):
        ipc_broker.__enter__()
    with connect() as client:
        assert client.address == ipc_broker.address
        assert add(client) == 3


def test_one_name_belongs_to_one_unless_they_share(ipc_broker: BackgroundBroker) -> None:
    ipc_broker.serve("math", Calculator())
    with pytest.raises(NameTaken, match="'math'"):
        ipc_broker.serve("math", Calculator())
    ipc_broker.serve("shared", Calculator(), mode="shared", concurrency=1)
    ipc_broker.serve("shared", Calculator(), mode="shared", concurrency=1)
    with connect() as client:
        assert client.call("shared", "add", [1, 2]) == 3
        assert add(client) == 3


def test_a_worker_that_is_killed_loses_its_calls_and_comes_back(ipc_broker: BackgroundBroker) -> None:
    gate = Gate()
    ipc_broker.serve("gate", gate)
    with connect() as client:
        call = InThread(lambda: client.call("gate", "wait"))
        assert gate.entered.wait(10)
        ipc_broker.kill("gate")
        assert isinstance(call.error(), WorkerLost)
        client.wait_for("gate", timeout=10)


def test_everybody_comes_back_after_a_restart(ipc_broker: BackgroundBroker) -> None:
    ipc_broker.serve("math", Calculator())
    with connect() as client, client.subscribe("a", "b") as events:
        ipc_broker.restart()
        assert add(client) == 3
        assert isinstance(events.get(timeout=10), Gap)


def test_calls_wait_for_a_broker_that_is_stopped(ipc_broker: BackgroundBroker) -> None:
    ipc_broker.serve("math", Calculator())
    with connect() as client:
        assert add(client) == 3
        ipc_broker.stop()
        ipc_broker.stop()  # which does nothing
        assert repr(ipc_broker) == f"<BackgroundBroker {ipc_broker.address} stopped>"
        with pytest.raises(IPCError, match=r"stopped; start\(\) it first"):
            ipc_broker.serve("more", Calculator())
        call = InThread(lambda: add(client))
        ipc_broker.start()
        assert call.result() == 3
        with pytest.raises(IPCError, match="runs already"):
            ipc_broker.start()


def test_a_call_that_runs_does_not_hold_up_the_end_and_nothing_is_left() -> None:
    gate = Gate()
    with BackgroundBroker() as broker:
        broker.serve("gate", gate)
        with connect(broker.address) as client:
            call = InThread(lambda: client.call("gate", "wait", timeout=10))
            assert gate.entered.wait(10)
    assert gate.left.is_set()
    call.error()
    assert not any(thread.name == "ipc_broker of a test" for thread in threading.enumerate())
    if sys.platform != "win32":
        assert not Path(parse_address(broker.address).location).parent.exists()
    assert repr(broker) == f"<BackgroundBroker {broker.address} closed>"
    with pytest.raises(IPCError, match=r"does not run: .*or the fixture `ipc_broker`"):
        broker.restart()


def test_limits_are_the_broker_s() -> None:
    with BackgroundBroker(limits=Limits(max_frame=65_536)) as broker, connect(broker.address) as client:
        assert client.protocol.max_frame == 65_536


def test_a_name_that_nobody_has_is_refused(ipc_broker: BackgroundBroker) -> None:
    ipc_broker.serve("math", Calculator())
    with pytest.raises(ValueError, match="nobody called 'maths' is connected; there is 'math'; give one a name by"):
        ipc_broker.kill("maths")


def test_the_socket_s_path_is_short_whatever_tmpdir_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with BackgroundBroker() as broker, connect(broker.address) as client:
        assert client.has("rob")
    assert not os.listdir(folder)


def test_a_broker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_own_place", lambda: ("", "unix:///no/such/folder/bus.sock"))
    with pytest.raises(IPCError, match="cannot listen on"):
        BackgroundBroker().__enter__()


def test_a_loop_that_died_is_told_of_by_whatever_comes_next() -> None:
    def scenario() -> None:
        with BackgroundBroker() as broker:
            broker.serve("gate", Gate())
            with connect(broker.address) as client:
                client.call("gate", "end_loop")
            until(lambda: broker._ended.done(), "the loop ends")
            with pytest.raises(IPCError, match=r"died: its event loop ended with SystemExit\(3\)"):
                broker.restart()

    with pytest.raises(IPCError, match="the broker of this test died") as caught:
        scenario()
    assert isinstance(caught.value.__cause__, SystemExit)


def test_a_method_that_blocks_the_loop_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with BackgroundBroker() as broker:
        broker.serve("gate", gate)
        with connect(broker.address) as client:
            call = InThread(lambda: client.call("gate", "block"))
            assert gate.entered.wait(10)
            with monkeypatch.context() as patched:
                patched.setattr(background, "PATIENCE", 0.05)
                with pytest.raises(IPCError, match=r"within 0.05 s: an `async def` or `@inline` method blocks it"):
                    broker.restart()
            gate.opened.set()
            assert call.result() is None


def test_its_own_thread_cannot_wait_for_it(ipc_broker: BackgroundBroker) -> None:
    errors: list[IPCError] = []

    class Restarter:
        @inline
        def restart(self) -> None:
            try:
                ipc_broker.restart()
            except IPCError as error:
                errors.append(error)

    ipc_broker.serve("restarter", Restarter())
    with connect() as client:
        client.call("restarter", "restart")
    assert "use the test's own" in str(errors[0])
