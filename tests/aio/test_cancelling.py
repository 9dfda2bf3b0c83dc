"""Whoever gives a call up ends the method; and what callers learn of calls that failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ipc_broker import Limits, Worker, connect, inline
from ipc_broker.aio import worker as worker_module
from ipc_broker.aio.client import Client
from ipc_broker.errors import (
    CallCancelled,
    CallError,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchMethod,
    NoSuchObject,
    RemoteError,
    TooLarge,
    WorkerLost,
)
from tests.aio.bus import RawPeer, any_broker_at, broker_at, bus, serving, until
from tests.aio.objects import Calculator, Echo, Gate, cancelled, entered, let_through
from tests.messages import call, register


async def _cancel(client: Client, calling: asyncio.Future[Any]) -> None:
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def _close(client: Client, calling: asyncio.Future[Any]) -> None:
    await client.close()
    with pytest.raises(CallError) as caught:
        await calling
    assert caught.value.code == "disconnected"


async def _lose(client: Client, calling: asyncio.Future[Any]) -> None:
    assert client.link._protocol is not None
    client.link._protocol.transport.abort()
    with pytest.raises(CallError) as caught:
        await calling
    assert (caught.value.code, caught.value.delivered) == ("disconnected", "maybe")


@pytest.mark.parametrize("give_up", [_cancel, _close, _lose])
async def test_a_call_that_is_given_up_is_cancelled_in_its_worker(
    give_up: Callable[[Client, asyncio.Future[Any]], Awaitable[None]], any_address: str
) -> None:
    gate = Gate()
    async with broker_at(any_address) as broker:
        where = broker.addresses[0]
        async with serving(where, gate=gate) as worker, connect(where) as client, connect(where) as other:
            kept = asyncio.ensure_future(other.call("gate", "wait", "kept"))
            calling = asyncio.ensure_future(client.call("gate", "wait", timeout=None))
            await entered(gate, 2)
            await give_up(client, calling)
            await cancelled(gate)
            await until(lambda: len(worker._executor) == 1)
            assert broker.router.calls.in_flight == 1
            assert not kept.done()
            let_through(gate)
            assert await kept == "kept"
            await client.close()


async def test_a_timeout_cancels_the_method(any_address: str) -> None:
    gate = Gate()
    async with (
        broker_at(any_address) as broker,
        serving(broker.addresses[0], gate=gate) as worker,
        connect(broker.addresses[0]) as client,
    ):
        with pytest.raises(DeadlineExceeded) as caught:
            await client.call("gate", "wait", timeout=0.1)
        assert caught.value.delivered == "maybe"
        await until(lambda: not len(worker._executor))
        assert gate._cancelled == gate._entered
        assert broker.router.calls.in_flight == 0


async def test_a_callers_own_timeout_cancels_it_too(address: str) -> None:
    gate = Gate()
    async with bus(address, gate=gate) as client:
        limit = asyncio.timeout(None)

        async def wait() -> None:
            async with limit:
                await client.call("gate", "wait")

        waiting = asyncio.ensure_future(wait())
        await entered(gate)
        limit.reschedule(asyncio.get_running_loop().time())
        with pytest.raises(TimeoutError):
            await waiting
        await cancelled(gate)


async def test_cancelling_goes_on_along_a_chain_of_calls(address: str) -> None:
    class Relay:
        async def wait(self) -> Any:
            return await worker.client.call("gate", "wait", timeout=None)

    gate = Gate()
    async with broker_at(address) as broker, serving(broker.addresses[0], gate=gate):
        where = broker.addresses[0]
        async with serving(where, relay=Relay()) as worker, connect(where) as client:
            calling = asyncio.ensure_future(client.call("relay", "wait"))
            await entered(gate)
            await _cancel(client, calling)
            await cancelled(gate)


async def test_a_method_may_clean_up_and_its_late_answer_reaches_nobody(address: str) -> None:
    class Careful:
        def __init__(self) -> None:
            self.began, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work(self) -> str:
            self.began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await self.go_on.wait()
            self.ended.set()
            return "late"

    careful = Careful()
    async with bus(address, it=careful, echo=Echo()) as client:
        calling = asyncio.ensure_future(client.call("it", "work"))
        await careful.began.wait()
        await _cancel(client, calling)
        assert await client.call("echo", "back", 1) == 1
        careful.go_on.set()
        await careful.ended.wait()
        assert await client.call("echo", "back", 2) == 2
        assert client.link.session.late_answers == 0, "the broker drops what nobody waits for"


async def test_a_thread_goes_on_and_its_result_is_dropped(address: str) -> None:
    class Blocks:
        def __init__(self) -> None:
            self.began, self.go_on = threading.Event(), threading.Event()

        def work(self) -> str:
            self.began.set()
            assert self.go_on.wait(20)
            return "late"

    blocks = Blocks()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=blocks, echo=Echo()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        try:
            calling = asyncio.ensure_future(client.call("it", "work"))
            assert await asyncio.to_thread(blocks.began.wait, 20)
            await _cancel(client, calling)
            await until(lambda: not len(worker._executor))
        finally:
            blocks.go_on.set()
        assert await client.call("echo", "back", 1) == 1


async def test_a_call_that_is_cancelled_at_once_leaves_nothing_behind(address: str) -> None:
    gate = Gate()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], gate=gate, echo=Echo()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        for turns in range(30):
            calling = asyncio.ensure_future(client.call("gate", "wait"))
            for _ in range(turns):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.wait([calling])
        assert await client.call("echo", "back", 1) == 1
        await until(lambda: not len(worker._executor))
        assert gate._cancelled == gate._entered
        assert (client.link.session.calls_in_flight, broker.router.calls.in_flight) == (0, 0)


async def test_leaving_the_worker_may_be_cancelled(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once then: what runs is cancelled, and the connection closed."""
    monkeypatch.setattr(worker_module, "DRAIN_TIMEOUT", 60)
    gate = Gate()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        worker = Worker(broker.addresses[0])
        worker.add("gate", gate)
        await worker.__aenter__()
        calling = asyncio.ensure_future(client.call("gate", "wait"))
        await entered(gate)
        leaving = asyncio.ensure_future(worker.__aexit__(None, None, None))
        await until(lambda: not broker.router.names.find("gate"))
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert worker.client.link.closed
        await cancelled(gate)
        with pytest.raises((CallCancelled, WorkerLost)):
            await calling


# What callers learn


class Fails:
    async def on_loop(self, data: Any = None) -> None:
        raise RemoteError("it failed", data=data)

    def in_thread(self, data: Any = None) -> None:
        raise RemoteError("it failed", data=data)

    @inline
    def at_once(self, data: Any = None) -> None:
        raise RemoteError("it failed", data=data)

    async def with_its_own(self) -> None:
        raise TooMuch("too much", data={"limit": 3})

    async def with_what_cannot_be_sent(self) -> None:
        raise RemoteError("it failed", data=object())


class TooMuch(CallError): ...


@pytest.mark.parametrize("method", ["on_loop", "in_thread", "at_once"])
@pytest.mark.parametrize("data", [{"why": ["a", 1]}, b"\xff", 0, None])
async def test_an_error_carries_its_data(data: Any, method: str, any_address: str) -> None:
    async with bus(any_address, fails=Fails()) as client:
        with pytest.raises(RemoteError, match=r"^it failed$") as caught:
            await client.call("fails", method, [data])
        error = caught.value
        assert error.data == data
        assert (error.type, error.code, error.delivered) == ("RemoteError", "remote_error", "yes")
        assert (error.object, error.method) == ("fails", method)


async def test_data_of_other_exceptions_and_data_that_cannot_be_sent(address: str) -> None:
    async with bus(address, limits=Limits(max_frame=65_536), fails=Fails()) as client:
        with pytest.raises(RemoteError, match=r"^too much$") as caught:
            await client.call("fails", "with_its_own")
        assert (caught.value.type, caught.value.data) == ("TooMuch", {"limit": 3})
        with pytest.raises(RemoteError, match=r"^it failed$") as caught:
            await client.call("fails", "with_what_cannot_be_sent")
        assert caught.value.data is None


async def test_data_that_is_too_large_is_left_out(address: str) -> None:
    class Large:
        async def fail(self) -> None:
            raise RemoteError("it failed", data="x" * 100_000)

    async with bus(address, limits=Limits(max_frame=65_536), it=Large()) as client:
        with pytest.raises(RemoteError, match=r"^it failed$") as caught:
            await client.call("it", "fail")
        assert caught.value.data is None


async def test_whether_the_worker_got_it(address: str) -> None:
    gate = Gate()
    async with bus(address, limits=Limits(max_frame=65_536), math=Calculator(), gate=gate, fails=Fails()) as client:
        for kind, delivered, calling in (
            (NoSuchObject, "no", client.call("none", "m")),
            (TooLarge, "no", client.call("math", "add", "x" * 100_000)),
            (InvalidArgs, "no", client.call("math", "add", object())),
            (NoSuchMethod, "yes", client.call("math", "sub")),
            (InvalidArgs, "yes", client.call("math", "add", ["x", 1])),
            (RemoteError, "yes", client.call("fails", "on_loop")),
            (DeadlineExceeded, "maybe", client.call("gate", "wait", timeout=0.05)),
        ):
            with pytest.raises(kind) as caught:
                await calling
            assert caught.value.delivered == delivered
        async with RawPeer.at(client.address) as worker:
            await worker.ask(register("lost"))
            lost = asyncio.ensure_future(client.call("lost", "m"))
            assert list(await worker.read()) == ["Call"]
        with pytest.raises(WorkerLost) as caught:
            await lost
        assert caught.value.delivered == "maybe"
        let_through(gate)


@pytest.mark.parametrize("kind", ["seed", "seed that starts"])
async def test_at_a_seed_broker_nothing_but_the_text_arrives(kind: str, address: str) -> None:
    async with any_broker_at(kind, address) as where, serving(where, fails=Fails()), connect(where) as client:
        with pytest.raises(RemoteError, match=r"^it failed$") as caught:
            await client.call("fails", "on_loop", [1], headers={"tenant": "a"}, timeout=5)
        assert (caught.value.type, caught.value.data, caught.value.delivered) == ("", None, "yes")


async def test_a_seed_caller_gets_the_text_and_the_fields_that_it_knows(address: str) -> None:
    async with bus(address, fails=Fails()) as client, RawPeer.at(client.address) as seed:
        answer = await seed.ask(call("1", "fails", "on_loop", [1]))
        assert answer == {"Error": {"call_id": "1", "object_name": "fails", "message": "it failed"}}
