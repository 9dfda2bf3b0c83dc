"""How the worker starts, loses its broker, and stops."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc_broker import Worker, connect
from ipc_broker.cli.children import Child
from ipc_broker.errors import ClientClosed
from tests.aio.bus import AnyBroker, RawPeer, any_broker_at, broker_at, serving, until, until_lost
from tests.aio.objects import Calculator, Echo, Gate, entered, let_through
from tests.cli.programs import PATIENCE, environment, start_broker
from tests.messages import call
from tests.seed.client import SeedClient
from tests.seed.frames import frame

SLOW_WORKER = str(Path(__file__).with_name("slow_worker.py"))


# The broker comes late, goes, and comes back


async def test_it_waits_for_a_broker_that_starts_later(any_broker: AnyBroker, address: str) -> None:
    if address.endswith(":0"):
        pytest.skip("a free port is known only once somebody listens there")
    worker = Worker(address)
    worker.add("math", Calculator())
    serve = asyncio.ensure_future(worker.serve())
    await asyncio.sleep(0.02)
    assert repr(worker) == f"<Worker {address} stopped objects=['math'] calls=0>"
    async with any_broker() as where, connect(where) as client:
        await client.wait_for("math", timeout=10)
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        worker.stop()
        await serve


async def test_it_can_be_stopped_while_it_waits(address: str, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(address.replace(":0", ":1"))
    worker.add("math", Calculator())
    serve = asyncio.ensure_future(worker.serve())
    await until(lambda: "waiting for it" in caplog.text)
    worker.stop()
    await serve
    assert caplog.text.count("no broker at") == 1


async def test_it_serves_again_after_every_loss(any_broker: AnyBroker) -> None:
    async with any_broker() as where:
        worker = Worker(where)
        worker.add("math", Calculator())
        worker.add("echo", Echo())
        await worker.__aenter__()
    for _ in range(3):
        async with any_broker(), connect(where) as client:
            await client.wait_for("math", timeout=10)
            await client.wait_for("echo", timeout=10)
            assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        await until(lambda: not worker.client.link.session.ready)
    await worker.__aexit__(None, None, None)


async def test_it_survives_a_broker_that_is_killed(address: str) -> None:
    where = address
    with start_broker("--listen", where) as broker:
        where = broker.wait_for_line(" listens on ", PATIENCE).rsplit(" ", 1)[1]
        worker = Worker(where)
        worker.add("math", Calculator())
        await worker.__aenter__()
        broker.kill()
        await until(lambda: not worker.client.link.session.ready)
    with start_broker("--listen", where) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        async with connect(where) as client:
            await client.wait_for("math", timeout=10)
            assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        await worker.__aexit__(None, None, None)


async def test_a_result_for_a_connection_that_is_gone_goes_nowhere(address: str) -> None:
    class Slow:
        def __init__(self) -> None:
            self.entered = threading.Event()
            self.go_on = threading.Event()

        def block(self) -> str:
            self.entered.set()
            self.go_on.wait(20)
            return "late"

    slow = Slow()
    async with broker_at(address, grace=0) as broker:
        where = broker.addresses[0]
        worker = Worker(where)
        worker.add("slow", slow)
        worker.add("echo", Echo())
        await worker.__aenter__()
        async with RawPeer.at(where) as peer:
            peer.send(call("1", "slow", "block"))
            await asyncio.to_thread(slow.entered.wait, 20)
    await until(lambda: not worker.client.link.session.ready)
    async with any_broker_at("ours", where), connect(where) as client:
        await client.wait_for("echo", timeout=10)
        slow.go_on.set()
        assert await client.call("echo", "back", 1) == 1
        assert await client.call("rob", "stats", returns=dict[str, Any])
        await worker.__aexit__(None, None, None)


# Stopping


async def test_serve_within_the_block_ends_with_stop(address: str) -> None:
    async with broker_at(address) as broker, serving(broker.addresses[0], math=Calculator()) as worker:
        serve = asyncio.ensure_future(worker.serve())
        await asyncio.sleep(0)
        worker.stop()
        await serve


async def test_serve_may_be_cancelled(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        worker = Worker(broker.addresses[0])
        worker.add("math", Calculator())
        serve = asyncio.ensure_future(worker.serve())
        await client.wait_for("math", timeout=10)
        serve.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serve
        await until_lost(client, "math")


async def test_a_worker_serves_once(address: str) -> None:
    async with broker_at(address) as broker:
        async with serving(broker.addresses[0], math=Calculator()) as worker:
            pass
        with pytest.raises(ClientClosed, match="this worker has served already; make a new one"):
            await worker.serve()


async def test_a_seed_broker_gets_the_answers_of_calls_that_run_when_it_stops(any_broker: AnyBroker) -> None:
    gate = Gate()
    async with any_broker() as address, connect(address) as client:
        async with serving(address, gate=gate):
            running = asyncio.ensure_future(client.call("gate", "wait", 1))
            await entered(gate)
            asyncio.get_running_loop().call_later(0.02, let_through, gate)
        assert await running == 1


@pytest.fixture
def slow_worker(address: str) -> Iterator[tuple[str, Child]]:
    """A broker and a worker process, whose object `slow` is served."""
    if sys.platform == "win32":
        pytest.skip("Windows has no SIGTERM")
    with start_broker("--listen", address) as broker:
        where = broker.wait_for_line(" listens on ", PATIENCE).rsplit(" ", 1)[1]
        with Child("worker", ["-W", "error", SLOW_WORKER, where], environment()) as worker:
            worker.wait_for_line("registered", PATIENCE)
            yield where, worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("method", ["on_loop", "in_thread"])
def test_a_signal_lets_the_running_call_end(
    method: str, number: signal.Signals, slow_worker: tuple[str, Child]
) -> None:
    where, worker = slow_worker
    with SeedClient(where, timeout=PATIENCE) as client:
        client.send_bytes(frame(call("1", "slow", method)))
        worker.wait_for_line("entered", PATIENCE)
        worker.send_signal(number)
        assert client.read_message() == {"Result": {"call_id": "1", "object_name": "slow", "value": "ended"}}
        assert worker.wait(PATIENCE) == 0
        assert client.call("slow", method)["Error"]["message"] == "No such object 'slow'"
    assert not [line for line in worker.said if "Traceback" in line or "Warning" in line]
