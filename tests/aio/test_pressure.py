"""Load on slow, stuck and dying subscribers: nothing is lost that need not be, nobody hangs, and calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from ipc_broker import Broker, Event, Gap, connect
from ipc_broker.routing import backpressure
from tests.aio.bus import RawPeer, broker_at, serving, until
from tests.aio.load import HASTY, PATIENT, VALUE, call_on, counted, publish_all, take_all
from tests.aio.objects import Calculator
from tests.messages import call, publish, subscribe

OVERRUN = 100_000
ONE_READ = 512 * 1024
"""What a transport gives the broker at once, at the most."""

Kind = Callable[[RawPeer], Awaitable[None]]


async def seed(peer: RawPeer) -> None:
    """It says no hello, and cannot be told to pause."""


async def deaf(peer: RawPeer) -> None:
    """It has said that it knows `Pause`, and does not look at what comes."""
    features = {"features": ["multiplex", "flow"]}
    assert "Result" in await peer.ask(call("h", "rob", "hello", cast(Any, features)))


def backlog_of(broker: Broker) -> int:
    feeds = [one for peer in broker.router.peers for one in (*peer.subscriptions.values(), peer.feed)]
    return max(feed.backlog_bytes for feed in feeds if feed is not None)


def stop_reading(peer: RawPeer) -> None:
    cast(asyncio.Transport, peer.writer.transport).pause_reading()


# Publishers that do not wait


@pytest.mark.parametrize("kind", [seed, deaf], ids=lambda kind: kind.__name__)
async def test_a_publisher_that_goes_on_is_not_read_from_and_loses_nothing(
    address: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "OVERRUN", OVERRUN)
    count = 5000
    async with (
        broker_at(address, limits=PATIENT) as broker,
        serving(broker.addresses[0], math=Calculator()),
        RawPeer.at(broker.addresses[0]) as publisher,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t") as events,
    ):
        await kind(publisher)
        for number in range(count):
            publisher.send(publish("a", "t", cast(Any, [number, VALUE])))
        await until(lambda: not all(peer.reads for peer in broker.router.peers))
        await call_on(reader, 100)
        assert await counted(reader) == (0, 1)
        assert broker.router.events.published < count
        assert backlog_of(broker) < PATIENT.backlog + OVERRUN + ONE_READ
        await take_all(events, 0, count)
        assert await counted(reader) == (0, 0)
        assert broker.router.events.backpressure.dropped == 0


@pytest.mark.parametrize("kind", [seed, deaf], ids=lambda kind: kind.__name__)
async def test_a_publisher_that_goes_on_and_dies_leaves_nothing(
    address: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had sent still comes: the broker has to read that to see that it is gone."""
    monkeypatch.setattr(backpressure, "OVERRUN", OVERRUN)
    numbers: list[int] = []
    gone = asyncio.Event()

    async def take(event: Event | Gap) -> None:
        assert isinstance(event, Event)
        await gone.wait()
        numbers.append(event.value[0])

    async with (
        broker_at(address, limits=PATIENT) as broker,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t", callback=take),
    ):
        async with RawPeer.at(broker.addresses[0]) as publisher:
            await kind(publisher)
            for number in range(5000):
                publisher.send(publish("a", "t", cast(Any, [number, VALUE])))
            await until(lambda: not all(peer.reads for peer in broker.router.peers))
        gone.set()
        await until(lambda: len(broker.router.peers) == 1)
        await until(lambda: len(numbers) == broker.router.events.published)
        assert numbers == list(range(len(numbers)))
        assert await counted(reader) == (0, 0)


# Subscribers that are stuck or die


async def test_a_stuck_seed_subscriber_is_counted_and_delays_nobody_beyond_the_limit(address: str) -> None:
    count = 3000
    async with (
        broker_at(address, limits=HASTY) as broker,
        serving(broker.addresses[0], math=Calculator()),
        RawPeer.at(broker.addresses[0]) as stuck,
        connect(broker.addresses[0]) as publisher,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t") as events,
    ):
        stop_reading(stuck)
        stuck.send(subscribe("a", "t"))
        await until(lambda: broker.router.events.subscriptions.count == 2)
        publishing = asyncio.ensure_future(publish_all(publisher, count))
        await take_all(events, 0, count)
        await publishing
        await call_on(reader, 10)
        lagging, paused = await counted(reader)
        assert (lagging, paused) == (1, 0)
        dropped = broker.router.events.backpressure.dropped
        assert 0 < dropped < count
        stuck.writer.transport.abort()
        await until(lambda: broker.router.events.subscriptions.count == 1)
        assert await counted(reader) == (0, 0)


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_subscribers_that_die_one_after_another_cost_nobody_an_event(address: str, end: str) -> None:
    """Each takes nothing, and dies while the publishers wait for it; its death alone lets them go on."""
    count, dying = 500, 8
    async with (
        broker_at(address, limits=PATIENT) as broker,
        connect(broker.addresses[0]) as publisher,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t") as events,
    ):
        for number in range(dying):
            async with RawPeer.at(broker.addresses[0]) as mortal:
                # One that knows credit, and one that is looked at by what it leaves unread.
                if number % 2:
                    await deaf(mortal)
                    fields: dict[str, Any] = {"object_name": "a", "topic": "t", "id": 1, "credit": 1}
                    await mortal.ask({"Subscribe": fields})
                else:
                    stop_reading(mortal)
                    mortal.send(subscribe("a", "t"))
                    await until(lambda: broker.router.events.subscriptions.count == 2)
                publishing = asyncio.ensure_future(publish_all(publisher, 3 * count, first=number * 3 * count))
                taking = asyncio.ensure_future(take_all(events, number * 3 * count, 3 * count))
                await until(lambda: broker.router.events.backpressure.full)
                assert not publishing.done()
                if end == "close":
                    mortal.writer.close()
                else:
                    mortal.writer.transport.abort()
                await publishing
                await taking
        assert await counted(reader) == (0, 0)
