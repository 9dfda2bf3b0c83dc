"""Workers that share a name, stand by for it, or take so many calls at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ipc_broker import Limits, Worker, connect
from ipc_broker.aio import link as link_module
from ipc_broker.errors import DeadlineExceeded, NameTaken, NoSuchObject, Overloaded, WorkerLost
from tests.aio.bus import Peer, broker_at, serving, until
from tests.aio.objects import Calculator, Echo, Gate, entered, let_through
from tests.messages import register, result
from tests.seed.frames import frame, read_frame


class Named:
    def __init__(self, name: str) -> None:
        self._name = name

    async def name(self) -> str:
        return self._name


@asynccontextmanager
async def working(address: str, target: object, mode: Any = "exclusive", concurrency: int | None = None) -> Any:
    """A worker that serves the target as `it`."""
    worker = Worker(address)
    worker.add("it", target, mode=mode, concurrency=concurrency)
    async with worker:
        yield worker


def kill(worker: Worker) -> None:
    """Its connection ends, as that of a process that is killed, and it does not come back."""

    async def never() -> None:
        await asyncio.Event().wait()

    worker.client.link.open_patiently = never  # type: ignore[method-assign]
    disconnect(worker)


def disconnect(worker: Worker) -> None:
    assert worker.client.link._protocol is not None
    worker.client.link._protocol.transport.abort()


# Sharing


async def test_calls_of_a_shared_name_go_to_who_has_the_fewest(any_address: str) -> None:
    gates = [Gate() for _ in range(3)]
    async with broker_at(any_address) as broker:
        where = broker.addresses[0]
        async with (
            working(where, gates[0], "shared"),
            working(where, gates[1], "shared"),
            working(where, gates[2], "shared"),
            connect(where) as client,
        ):
            calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(9)]
            await asyncio.gather(*(entered(gate, 3) for gate in gates))
            let_through(gates[1])
            await until(lambda: sum(call.done() for call in calls) == 3)
            for _ in range(5):
                assert await client.call("it", "wait", "more") == "more"
            assert [gate._entered for gate in gates] == [3, 8, 3]
            for gate in gates:
                let_through(gate)
            assert await asyncio.gather(*calls) == list(range(9))


async def test_a_shared_name_is_served_while_one_of_them_is_there(address: str) -> None:
    gates = [Gate(), Gate()]
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        where = broker.addresses[0]
        async with client.subscribe("rob", "object.*") as told, working(where, gates[0], "shared"):
            async with working(where, gates[1], "shared") as second:
                calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(2)]
                await asyncio.gather(*map(entered, gates))
                kill(second)
                await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                more = asyncio.ensure_future(client.call("it", "wait", "more"))
                await entered(gates[0], 2)
                let_through(gates[0])
                ended = await asyncio.gather(*calls, more, return_exceptions=True)
            assert sum(isinstance(one, WorkerLost) for one in ended) == 1
            assert ended[2] == "more"
            await client.drain()
            assert told.pending == 1, "the name came once, and was not lost with the second worker"
        assert (await told.get(10)).topic == "object.registered"
        assert (await told.get(10)).topic == "object.lost"


async def test_who_does_not_share_is_refused(address: str) -> None:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        for first, second in (("exclusive", "shared"), ("shared", "exclusive"), ("exclusive", "exclusive")):
            async with working(where, Echo(), first), connect(where) as client:
                with pytest.raises(NameTaken, match="the name 'it' is taken by"):
                    async with working(where, Echo(), second):
                        raise AssertionError("it was entered")
                assert await client.call("it", "back", 1) == 1


# Standing by


async def test_a_standby_takes_over_at_once_when_the_owner_is_lost(any_address: str) -> None:
    async with broker_at(any_address) as broker, connect(broker.addresses[0]) as client:
        where = broker.addresses[0]
        async with (
            working(where, Named("first")) as first,
            working(where, Named("second"), "standby") as second,
            working(where, Named("third"), "standby"),
            client.subscribe("rob", "object.*") as told,
        ):
            await client.drain()
            assert told.pending == 0, "those who stand by are not told of"
            for owner, name in ((first, "first"), (second, "second")):
                assert [await client.call("it", "name") for _ in range(3)] == [name] * 3
                kill(owner)
                for topic in ("object.lost", "object.registered"):
                    assert (await told.get(10)).topic == topic
            assert await client.call("it", "name") == "third"
        with pytest.raises(NoSuchObject):
            await client.call("it", "name", timeout=1)


async def test_calls_that_ran_end_with_the_owner_and_calls_that_waited_go_to_the_standby(address: str) -> None:
    gate = Gate()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        where = broker.addresses[0]
        open_gate = Gate()
        let_through(open_gate)
        async with working(where, gate, concurrency=1) as owner, working(where, open_gate, "standby"):
            ran = asyncio.ensure_future(client.call("it", "wait", "ran"))
            await entered(gate)
            waited = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(3)]
            await until(lambda: broker.router.calls.waiting == 3)
            kill(owner)
            with pytest.raises(WorkerLost):
                await ran
            assert await asyncio.gather(*waited) == [0, 1, 2]
            assert gate._entered == 1


@pytest.mark.parametrize("modes", [("exclusive", "standby"), ("shared", "shared")])
async def test_a_worker_that_stops_hands_over_without_a_lost_call(modes: tuple[str, str], address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        where = broker.addresses[0]
        first = working(where, Named("first"), modes[0])
        await first.__aenter__()
        async with working(where, Named("second"), modes[1]):
            names: list[str] = []
            stopped = False

            async def call_on() -> None:
                while not stopped or names[-1] != "second":
                    names.append(await client.call("it", "name"))

            calling = asyncio.gather(*(call_on() for _ in range(10)))
            await until(lambda: "first" in names)
            await first.__aexit__(None, None, None)
            stopped = True
            await calling


async def test_modes_are_told_again_after_a_reconnect(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        where = broker.addresses[0]
        gates = [Gate(), Gate()]
        async with working(where, gates[0], "shared", 1) as first, working(where, gates[1], "shared", 1):
            disconnect(first)
            await until(lambda: first.client.link.session.losses == 1 and first.client.link.session.ready)
            await until(lambda: len(broker.router.names.find("it").members) == 2)  # type: ignore[union-attr]
            calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(3)]
            await asyncio.gather(*map(entered, gates))
            await until(lambda: broker.router.calls.waiting == 1)
            for gate in gates:
                let_through(gate)
            assert await asyncio.gather(*calls) == [0, 1, 2]


# So many at once


async def test_calls_over_the_concurrency_wait_for_room_in_their_order(any_address: str) -> None:
    order: list[int] = []

    class Ordered(Gate):
        async def work(self, number: int) -> None:
            order.append(number)
            await self.wait()

    gate = Ordered()
    async with (
        broker_at(any_address) as broker,
        connect(broker.addresses[0]) as client,
        working(broker.addresses[0], gate, concurrency=2),
        serving(broker.addresses[0], echo=Echo()),
    ):
        calls = [asyncio.ensure_future(client.call("it", "work", number)) for number in range(6)]
        await entered(gate, 2)
        await until(lambda: broker.router.calls.waiting == 4)
        assert await client.call("echo", "back", 1) == 1
        assert order == [0, 1]
        assert (await client.call("rob", "stats"))["calls_waiting"] == 4
        let_through(gate)
        await asyncio.gather(*calls)
        assert order == list(range(6))


async def test_a_waiting_call_may_be_cancelled_or_time_out(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BUCKET_SECONDS", 30)  # the broker's own answer comes first, and knows more
    gate = Gate()
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        working(broker.addresses[0], gate, concurrency=1),
    ):
        running = asyncio.ensure_future(client.call("it", "wait", "ran", timeout=None))
        await entered(gate)
        cancelled = asyncio.ensure_future(client.call("it", "wait", timeout=None))
        last = asyncio.ensure_future(client.call("it", "wait", "last", timeout=None))
        await until(lambda: broker.router.calls.waiting == 2)
        cancelled.cancel()
        await until(lambda: broker.router.calls.waiting == 1)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.call("it", "wait", timeout=0.05)
        assert caught.value.delivered == "no"
        let_through(gate)
        assert [await running, await last] == ["ran", "last"]
        assert gate._entered == 2


async def test_a_cancelled_call_makes_room_when_its_method_has_ended(address: str) -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.began, self.cancelled, self.end = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work(self) -> None:
            self.began.set()
            try:
                await self.end.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                await self.end.wait()

        async def quick(self) -> str:
            return "quick"

    it = Stubborn()
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        working(broker.addresses[0], it, concurrency=1),
    ):
        calling = asyncio.ensure_future(client.call("it", "work"))
        await it.began.wait()
        calling.cancel()
        await it.cancelled.wait()
        quick = asyncio.ensure_future(client.call("it", "quick"))
        await until(lambda: broker.router.calls.waiting == 1)
        assert not quick.done()
        it.end.set()
        assert await quick == "quick"


async def test_too_many_waiting_calls_are_refused(address: str) -> None:
    gate = Gate()
    async with (
        broker_at(address, limits=Limits(waiting=1)) as broker,
        connect(broker.addresses[0]) as client,
        working(broker.addresses[0], gate, concurrency=1),
    ):
        calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(2)]
        await until(lambda: broker.router.calls.waiting == 1)
        with pytest.raises(Overloaded, match=r"1 calls of 'it' wait .* the limit \(waiting\)") as caught:
            await client.call("it", "wait")
        assert caught.value.delivered == "no"
        let_through(gate)
        assert await asyncio.gather(*calls) == [0, 1]


async def test_streams_count_too(address: str) -> None:
    class Counts:
        async def one(self) -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        async def quick(self) -> str:
            return "quick"

    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        working(broker.addresses[0], Counts(), concurrency=1),
    ):
        async with client.stream("it", "one") as items:
            assert await anext(items) == 1
            quick = asyncio.ensure_future(client.call("it", "quick"))
            await until(lambda: broker.router.calls.waiting == 1)
        assert await quick == "quick"
        waiting = client.stream("it", "one")
        async with client.stream("it", "one") as items:
            assert await anext(items) == 1
            first = asyncio.ensure_future(anext(waiting))
            await until(lambda: broker.router.calls.waiting == 1)
        assert await first == 1
        await waiting.aclose()


# Wrong use


async def test_wrong_modes_are_refused_where_they_are_given(address: str) -> None:
    worker = Worker(address)
    with pytest.raises(ValueError, match="there is no mode 'both'; there is exclusive, shared, standby"):
        worker.add("it", Calculator(), mode="both")  # type: ignore[arg-type]
    for concurrency in (0, -1):
        with pytest.raises(ValueError, match=f"concurrency is at least 1, or None for no cap; given {concurrency}"):
            worker.add("it", Calculator(), concurrency=concurrency)
    assert repr(worker) == f"<Worker {address} stopped objects=[] calls=0>"
    worker.add("it", Calculator(), mode="shared", concurrency=1)


async def test_an_object_that_is_removed_while_the_worker_enters_does_not_hold_it(address: str) -> None:
    async def register_only_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(hello["call_id"], "rob")))
        assert [json.loads(await read_frame(reader)) for _ in range(2)] == [register("it"), register("echo")]
        writer.write(frame({"Registered": {"object_name": "echo"}}))
        asked.set()
        await reader.read()

    asked = asyncio.Event()
    async with Peer(register_only_echo).at(address) as where:
        worker = Worker(where)
        worker.add("it", Calculator())
        worker.add("echo", Echo())
        entering = asyncio.ensure_future(worker.__aenter__())
        await asked.wait()
        worker.remove("it")
        await entering
        await worker.__aexit__(None, None, None)
