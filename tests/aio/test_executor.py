"""How methods run: on the loop, in threads, raising whatever they like; every call is answered, once."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest
from msgspec import Struct

from ipc_broker import CallError, Limits, SharedObject, connect, inline
from ipc_broker.aio import worker as worker_module
from ipc_broker.errors import CallCancelled, ConnectionLost, InvalidArgs, RemoteError, TooLarge, WorkerLost
from tests.aio.bus import broker_at, bus, serving
from tests.aio.objects import Calculator, Echo, Gate, cancelled, entered, let_through


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this exception cannot even be shown")


class Ends(BaseException):
    """Like those that end programs."""


class Picky(Struct):
    value: int

    def __post_init__(self) -> None:
        raise KeyError("not a ValueError, which msgspec would take for a refusal")


class Raises:
    """Each in the three ways in which methods run."""

    async def on_loop(self, what: str) -> Any:
        return _do(what)

    def in_thread(self, what: str) -> Any:
        return _do(what)

    @inline
    def at_once(self, what: str) -> Any:
        return _do(what)


class Dynamic(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        if method == "missing":
            raise LookupError("there is no 'missing'")
        return _do(args[0]) if method in ("on_loop", "in_thread", "at_once") else [method, args]


def _do(what: str) -> Any:
    match what:
        case "ValueError":
            raise ValueError("wrong value")
        case "without words":
            raise ZeroDivisionError
        case "StopIteration":
            raise StopIteration("over")
        case "SystemExit":
            sys.exit("over")
        case "GeneratorExit":
            raise GeneratorExit("over")
        case "Ends":
            raise Ends("over")
        case "Broken":
            raise Broken
        case "surrogate":
            raise ValueError("\ud800")
        case "long":
            raise ValueError("x" * 1_000_000)
        case "text":
            return "\ud800"
        case "object":
            return {"a": [object()]}
        case "number":
            return 2**64
        case "loop":
            endless: list[object] = []
            endless.append(endless)
            return endless
        case "large":
            return "x" * 70_000
    raise AssertionError(what)


WAYS = ["on_loop", "in_thread", "at_once"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [Raises, Dynamic])
async def test_what_a_method_raises_reaches_its_caller(
    target: type, way: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bus(address, it=target()) as client:
        with pytest.raises(RemoteError, match=r"^wrong value$") as caught:
            await client.call("it", way, ["ValueError"])
        error = caught.value
        assert (error.type, error.code, error.object, error.method) == ("ValueError", "remote_error", "it", way)
        assert error.delivered == "yes"
        with pytest.raises(RemoteError, match=r"^ZeroDivisionError$"):
            await client.call("it", way, ["without words"])
    assert f"'it.{way}' raised" in caplog.text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["long", "surrogate", "StopIteration", "Broken"])
async def test_exceptions_that_are_awkward_to_pass_on_answer_too(
    way: str, what: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ipc_broker"), "disabled", True)  # pytest cannot report such texts either
    async with bus(address, it=Raises()) as client:
        with pytest.raises(RemoteError):
            await client.call("it", way, [what], timeout=2)
        with pytest.raises(RemoteError, match=r"^wrong value$"):
            await client.call("it", way, ["ValueError"], timeout=2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [Raises, Dynamic])
@pytest.mark.parametrize("kind", ["SystemExit", "GeneratorExit", "Ends", "StopIteration"])
async def test_what_would_end_a_program_ends_the_call_only(kind: str, target: type, way: str, address: str) -> None:
    async with bus(address, it=target(), gate=(gate := Gate())) as client:
        other = asyncio.ensure_future(client.call("gate", "wait", "well"))
        await entered(gate)
        for _ in range(2):
            with pytest.raises(RemoteError, match=r"over|StopIteration") as caught:
                await client.call("it", way, [kind], timeout=5)
            assert (caught.value.code, caught.value.delivered) == ("remote_error", "yes")
            # A coroutine cannot raise StopIteration: Python makes it a RuntimeError that says so.
            passes = kind != "StopIteration" or (target is Raises and way == "at_once")
            assert caught.value.type == (kind if passes else "RuntimeError")
        let_through(gate)
        assert await other == "well"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [Raises, Dynamic])
@pytest.mark.parametrize("what", ["text", "object", "number", "loop"])
async def test_a_result_that_cannot_be_sent_is_an_error(what: str, way: str, target: type, address: str) -> None:
    async with bus(address, it=target()) as client:
        with pytest.raises(RemoteError, match=rf"'{way}' returned what cannot be sent: .*`\$`$") as caught:
            await client.call("it", way, [what])
        assert caught.value.type == "TypeError"


@pytest.mark.parametrize("way", WAYS)
async def test_a_result_over_the_limit_is_an_error(way: str, address: str) -> None:
    async with bus(address, limits=Limits(max_frame=65_536), it=Raises()) as client:
        with pytest.raises(TooLarge, match=rf"the result of 'it\.{way}' takes \d+ bytes, over the limit of 65536"):
            await client.call("it", way, ["large"])


async def test_arguments_that_do_not_fit_never_reach_the_method(address: str) -> None:
    async with bus(address, math=Calculator()) as client:
        for method in ("add", "mul"):
            with pytest.raises(InvalidArgs, match=r"^Expected `int`, got `str` - at `\$\.a`$") as caught:
                await client.call("math", method, {"a": "x", "b": 1})
            assert caught.value.delivered == "yes"


async def test_a_type_that_refuses_in_its_own_way_costs_only_that_call(address: str) -> None:
    class Takes:
        async def take(self, value: Picky) -> None: ...

    async with bus(address, it=Takes(), echo=Echo()) as client:
        with pytest.raises((InvalidArgs, RemoteError)):
            await client.call("it", "take", {"value": {"value": 1}}, timeout=2)
        assert await client.call("echo", "back", 1) == 1


@pytest.mark.parametrize("name", ["self", "cls"])
async def test_named_arguments_of_any_name_cost_at_most_that_call(name: str, address: str) -> None:
    class Takes:
        async def on_loop(self, **values: int) -> dict[str, int]:
            return values

        def in_thread(self, **values: int) -> dict[str, int]:
            return values

        @inline
        def at_once(self, **values: int) -> dict[str, int]:
            return values

    async with bus(address, it=Takes(), echo=Echo()) as client:
        for way in WAYS:
            call = client.call("it", way, {name: 1}, timeout=2)
            ended: object = (await asyncio.gather(call, return_exceptions=True))[0]
            assert ended == {name: 1} or isinstance(ended, InvalidArgs | RemoteError), repr(ended)
            assert await client.call("echo", "back", 1) == 1


async def test_a_dynamic_object_gets_what_came(address: str) -> None:
    async with bus(address, it=Dynamic()) as client:
        for args in (None, 1, "text", [1, 2], {"a": 1}, [], {}):
            assert await client.call("it", "any", args) == ["any", args]
        with pytest.raises(CallError, match="there is no 'missing'") as caught:
            await client.call("it", "missing")
        assert caught.value.code in ("no_such_method", "remote_error")


# Threads


class Threads:
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.blocked = threading.Semaphore(0)
        self._loop_thread = threading.get_ident()

    def block(self) -> str:
        assert threading.get_ident() != self._loop_thread
        self.blocked.release()
        assert self.go_on.wait(20)
        return threading.current_thread().name

    def quick(self) -> bool:
        return threading.get_ident() == self._loop_thread

    @inline
    def at_once(self) -> bool:
        return threading.get_ident() == self._loop_thread

    async def on_loop(self) -> bool:
        return threading.get_ident() == self._loop_thread


async def test_a_method_that_blocks_delays_no_other(address: str) -> None:
    threads = Threads()
    async with bus(address, it=threads) as client:
        try:
            blocked = [asyncio.ensure_future(client.call("it", "block")) for _ in range(10)]
            assert await client.call("it", "quick") is False
            assert await client.call("it", "at_once") is True
            assert await client.call("it", "on_loop") is True
            for _ in blocked:
                assert await asyncio.to_thread(threads.blocked.acquire, timeout=10)
            assert not any(call.done() for call in blocked)
        finally:
            threads.go_on.set()
        assert len(set(await asyncio.gather(*blocked))) == 10


async def test_the_pool_is_as_large_as_was_said(address: str) -> None:
    from ipc_broker import Worker

    threads = Threads()
    async with broker_at(address) as broker:
        worker = Worker(broker.addresses[0], threads=1)
        worker.add("it", threads)
        async with worker, connect(broker.addresses[0]) as client:
            try:
                blocked = asyncio.ensure_future(client.call("it", "block"))
                waiting = asyncio.ensure_future(client.call("it", "quick"))
                assert await client.call("it", "on_loop") is True
                assert not waiting.done()
            finally:
                threads.go_on.set()
            assert (await blocked).startswith("ipc-broker-worker")
            assert await waiting is False


# Cancelling


async def test_removing_an_object_cancels_its_calls_and_no_others(address: str) -> None:
    gate, other = Gate(), Gate()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], gate=gate, other=other) as worker,
        connect(broker.addresses[0]) as client,
    ):
        lost = asyncio.ensure_future(client.call("gate", "wait"))
        kept = asyncio.ensure_future(client.call("other", "wait", 1))
        await asyncio.gather(entered(gate), entered(other))
        worker.remove("gate")
        with pytest.raises((WorkerLost, CallCancelled)):
            await lost
        await cancelled(gate)
        let_through(other)
        assert await kept == 1


async def test_a_call_that_is_cancelled_before_it_began_is_answered_too(address: str) -> None:
    class Control:
        @inline
        def remove(self) -> None:
            worker.remove("gate")

    gate = Gate()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], gate=gate, control=Control()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        # Both leave in one write and arrive in one read: the second comes before the task of the first has run.
        calls = client.call("gate", "wait"), client.call("control", "remove")
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ended[0], WorkerLost | CallCancelled)
        assert ended[1] is None
        assert len(worker._executor) == 0


async def test_a_lost_connection_cancels_what_ran_for_it(address: str) -> None:
    gate = Gate()
    async with broker_at(address, grace=0) as broker:
        worker = serving(broker.addresses[0], gate=gate)
        await worker.__aenter__()
        client = await connect(broker.addresses[0])
        call = asyncio.ensure_future(client.call("gate", "wait"))
        await entered(gate)
    with pytest.raises((ConnectionLost, WorkerLost)):
        await call
    await cancelled(gate)
    await client.close()
    await worker.__aexit__(None, None, None)


async def test_stopping_lets_calls_end(address: str) -> None:
    gate = Gate()
    threads = Threads()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with serving(broker.addresses[0], gate=gate, it=threads):
            calls = [asyncio.ensure_future(client.call("gate", "wait", 1)) for _ in range(3)]
            calls.append(asyncio.ensure_future(client.call("it", "block")))
            await entered(gate, 3)
            asyncio.get_running_loop().call_later(0.02, let_through, gate)
            asyncio.get_running_loop().call_later(0.02, threads.go_on.set)
        answers = await asyncio.gather(*calls)
        assert answers[:3] == [1, 1, 1]
        assert not await client.has("gate")


async def test_stopping_cancels_what_takes_too_long(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "DRAIN_TIMEOUT", 0.05)
    gate = Gate()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with serving(broker.addresses[0], gate=gate):
            call = asyncio.ensure_future(client.call("gate", "wait"))
            await entered(gate)
        with pytest.raises(CallCancelled, match="'gate' cancelled 'wait'") as caught:
            await call
        assert caught.value.code == "cancelled"
        await cancelled(gate)


async def test_a_method_that_will_not_be_cancelled_does_not_hold_the_worker_for_ever(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.began = asyncio.Event()
            self._end = asyncio.Event()

        async def wait(self) -> str:
            self.began.set()
            while not self._end.is_set():
                try:
                    await self._end.wait()
                except asyncio.CancelledError:
                    continue
            return "ended"

    monkeypatch.setattr(worker_module, "DRAIN_TIMEOUT", 0.05)
    stubborn = Stubborn()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        worker = serving(broker.addresses[0], it=stubborn)
        await worker.__aenter__()
        call = asyncio.ensure_future(client.call("it", "wait"))
        await stubborn.began.wait()
        leaving = asyncio.ensure_future(worker.__aexit__(None, None, None))
        try:
            _, late = await asyncio.wait([leaving], timeout=3)
            assert not late, "the worker waits for ever for a method that catches its cancellation"
        finally:
            stubborn._end.set()
            await asyncio.wait([leaving, call])
            call.exception()
