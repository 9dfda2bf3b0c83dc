"""Callbacks that call, methods that publish, and seed peers that do both over one connection, under load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ipc_broker import Event, Gap, Limits, Worker, connect
from tests.aio.bus import RawPeer, broker_at, serving, until
from tests.aio.load import HASTY, PATIENT, VALUE, call_on, counted, publish_all, take_all
from tests.aio.objects import Calculator
from tests.messages import call, subscribe
from tests.seed.frames import frame


async def test_a_callback_that_calls_for_each_event_of_a_burst(address: str) -> None:
    """Over the client whose events it takes; the publisher waits for it meanwhile, and nothing is lost."""
    count = 2000
    sums: list[int] = []
    done = asyncio.Event()
    async with (
        broker_at(address, limits=PATIENT) as broker,
        serving(broker.addresses[0], math=Calculator()),
        connect(broker.addresses[0]) as publisher,
        connect(broker.addresses[0]) as client,
    ):

        async def add(event: Event | Gap) -> None:
            assert isinstance(event, Event)
            sums.append((await client.call("math", "add", [event.value[0], 1], timeout=10))["sum"])
            if len(sums) == count:
                done.set()

        async with client.subscribe("a", "t", callback=add):
            publishing = asyncio.ensure_future(publish_all(publisher, count))
            await until(lambda: publisher.link.session.paused)
            await publishing
            await done.wait()
    assert sums == list(range(1, count + 1))
    assert broker.router.events.backpressure.dropped == 0


class Emitter:
    """Publishes over its worker's own connection, from within a call."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def emit(self, count: int, first: int = 0) -> int:
        await publish_all(self._worker.client, count, first=first)
        return count


async def test_a_method_that_publishes_waits_while_its_worker_answers_others(address: str) -> None:
    count = 2000
    async with (
        broker_at(address, limits=PATIENT) as broker,
        serving(broker.addresses[0], math=Calculator()) as worker,
        connect(broker.addresses[0]) as caller,
        caller.subscribe("a", "t") as events,
    ):
        worker.add("emitter", Emitter(worker))
        await caller.wait_for("emitter")
        emitting = asyncio.ensure_future(caller.call("emitter", "emit", [count], timeout=None))
        await until(lambda: worker.client.link.session.paused)
        await call_on(caller, 200)
        assert not emitting.done()
        await take_all(events, 0, count)
        assert await emitting == count
        assert await counted(caller) == (0, 0)


async def test_a_callback_whose_call_waits_for_the_callback_itself_goes_on_after_the_limit(address: str) -> None:
    """The method publishes to the very topic, so that nobody could go on; what did not fit is told as a gap."""
    count, seen, gaps = 2000, 0, 0
    emitted = asyncio.Event()
    async with (
        broker_at(address, limits=HASTY) as broker,
        Worker(broker.addresses[0]) as worker,
        connect(broker.addresses[0]) as client,
    ):

        async def take(event: Event | Gap) -> None:
            nonlocal seen, gaps
            if isinstance(event, Gap):
                assert event.missed
                gaps += event.missed
                return
            seen += 1
            if event.value == "go":
                assert await client.call("emitter", "emit", [count], timeout=10) == count
                emitted.set()

        worker.add("emitter", Emitter(worker))
        await client.wait_for("emitter")
        async with client.subscribe("a", "t", callback=take):
            await client.publish("a", "t", "go")
            await emitted.wait()
            await until(lambda: seen + gaps == count + 1)
            assert gaps == broker.router.events.backpressure.dropped > 0
            assert await counted(client) == (0, 0)


async def test_two_workers_whose_methods_publish_to_each_other_under_calls(address: str) -> None:
    """Each subscribes to the other's events, slowly, and is called all the time."""
    count = 1500
    taken: dict[str, int] = {"left": 0, "right": 0}

    class Side:
        def __init__(self, worker: Worker, topic: str) -> None:
            self._worker = worker
            self._topic = topic

        async def emit(self) -> None:
            for number in range(count):
                await self._worker.client.publish("ring", self._topic, [number, VALUE])
            await self._worker.client.drain()

        async def ping(self) -> str:
            return "pong"

    async with (
        broker_at(address, limits=PATIENT) as broker,
        Worker(broker.addresses[0]) as left,
        Worker(broker.addresses[0]) as right,
        connect(broker.addresses[0]) as caller,
    ):

        def take(side: str) -> Callable[[Event | Gap], Awaitable[None]]:
            async def take_one(event: Event | Gap) -> None:
                assert isinstance(event, Event)
                assert event.value[0] == taken[side]
                taken[side] += 1
                await asyncio.sleep(0)

            return take_one

        left.add("left", Side(left, "left"))
        right.add("right", Side(right, "right"))
        await caller.wait_for("left")
        await caller.wait_for("right")
        async with (
            left.client.subscribe("ring", "right", callback=take("right")),
            right.client.subscribe("ring", "left", callback=take("left")),
        ):
            emitting = [asyncio.ensure_future(caller.call(side, "emit", timeout=None)) for side in taken]
            for _ in range(200):
                assert await caller.call("left", "ping", timeout=10) == "pong"
                assert await caller.call("right", "ping", timeout=10) == "pong"
            await asyncio.gather(*emitting)
            await until(lambda: taken == {"left": count, "right": count})
        assert broker.router.events.backpressure.dropped == 0


async def test_calls_of_a_seed_peer_pass_while_its_events_wait(address: str) -> None:
    """It subscribes and calls over one connection, and takes its events only when it has its answers."""
    count = 1000
    async with (
        broker_at(address, limits=Limits(backlog=10_000_000, stall=60)) as broker,
        serving(broker.addresses[0], math=Calculator()),
        RawPeer.at(broker.addresses[0]) as peer,
        connect(broker.addresses[0]) as publisher,
    ):
        await peer.ask(subscribe("a", "t"))
        publishing = asyncio.ensure_future(publish_all(publisher, count))
        answers, numbers = 0, []
        for number in range(100):
            peer.send(call(f"c{number}", "math", "add", [number, 1]))
            while "Result" not in (message := await peer.read()):
                numbers.append(cast(Any, message["Event"]["args"])[0])
            answers += message["Result"]["call_id"] == f"c{number}"
        await publishing
        while len(numbers) < count:
            numbers.append(cast(Any, (await peer.read())["Event"]["args"])[0])
        assert answers == 100
        assert numbers == list(range(count))
        peer.writer.write(frame(call("last", "rob", "ping")))
        assert (await peer.read())["Result"]["value"] == "pong"
