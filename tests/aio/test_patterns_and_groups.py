"""Subscriptions to many topics at once, and subscribers that share their events."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from ipc_broker import Event, Limits, connect
from ipc_broker.aio.subscription import Subscription
from ipc_broker.errors import CallError, InvalidArgs
from tests.aio.bus import RawPeer, any_broker_at, broker_at, until
from tests.messages import publish, subscribe

PUBLISHED = [("a", "t"), ("a", "t.1"), ("a", "t.1.x"), ("a.b", "t"), ("b", "u")]


@pytest.mark.parametrize(
    ("object_name", "topic", "expected"),
    [
        ("a", "t", [("a", "t")]),
        ("a", "*", [("a", "t")]),
        ("a", "t.*", [("a", "t.1")]),
        ("a", "t.>", [("a", "t.1"), ("a", "t.1.x")]),
        ("a", ">", [("a", "t"), ("a", "t.1"), ("a", "t.1.x")]),
        ("*", "t", [("a", "t")]),
        (">", "t", [("a", "t"), ("a.b", "t")]),
        ("a.*", "*", [("a.b", "t")]),
        (">", ">", PUBLISHED),
        ("*", "*.1", [("a", "t.1")]),
        ("a", "t*", []),
    ],
)
async def test_a_pattern_gets_what_it_stands_for(
    object_name: str, topic: str, expected: list[tuple[str, str]], address: str
) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        try:
            events = await client.subscribe(object_name, topic)
        except InvalidArgs:
            assert not expected
            return
        for name, about in PUBLISHED:
            await client.publish(name, about, [name, about])
        await client.drain()
        got = [await events.get(10) for _ in expected]
        assert [(event.object, event.topic) for event in got] == expected
        assert all(isinstance(event, Event) and event.value == [event.object, event.topic] for event in got)
        assert events.pending == 0
        await events.close()


@pytest.mark.parametrize("topic", ["a.>.b", ">.a"])
async def test_a_pattern_that_makes_no_sense_is_refused(topic: str, address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        with pytest.raises(InvalidArgs):
            await client.subscribe("a", topic)
        assert await client.objects() == ["rob"]


async def test_several_subscriptions_of_a_client_get_each_their_own(any_address: str) -> None:
    async with (
        broker_at(any_address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("a", "t") as literal,
        client.subscribe("a", "*") as pattern,
        client.subscribe("a", "t") as again,
    ):
        for number in range(100):
            await client.publish("a", "t", [number])
        for events in (literal, pattern, again):
            got = [await events.get(10) for _ in range(100)]
            assert got == [Event("a", "t", [number]) for number in range(100)]
        await again.close()
        await client.publish("a", "t", "more")
        await client.drain()
        assert (literal.pending, pattern.pending, again.pending) == (1, 1, 0)


async def test_the_brokers_own_events_come_by_patterns_too(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("rob", ">") as told,
        RawPeer.at(client.address) as worker,
    ):
        await worker.ask({"RegisterObject": {"object_name": "math"}})
        assert await told.get(10) == Event("rob", "object.registered", {"object": "math"})


async def test_for_seed_peers_the_signs_are_literal(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        RawPeer.at(client.address) as seed,
        client.subscribe("a", ">") as pattern,
    ):
        await seed.ask(subscribe("a", "*"))
        await client.publish("a", "t", 1)
        seed.send(publish("a", "*", 2))
        assert (await seed.read())["Event"]["args"] == 2
        assert {(await pattern.get(10)).topic for _ in range(2)} == {"t", "*"}


async def test_at_a_seed_broker_the_signs_are_literal(address: str) -> None:
    async with any_broker_at("seed", address) as where, connect(where) as client, client.subscribe("a", "*") as events:
        await client.publish("a", "t", 1)
        await client.publish("a", "*", 2)
        assert await events.get(10) == Event("a", "*", 2)


# Groups


async def values_of(members: list[Subscription]) -> Counter[int]:
    """All that the members have got, and how often."""
    found: Counter[int] = Counter()
    for member in members:
        while member.pending:
            event = await member.get(0)
            assert isinstance(event, Event)
            found[event.value] += 1
    return found


async def test_each_event_goes_to_one_member_of_a_group(any_address: str) -> None:
    async with broker_at(any_address) as broker, AsyncExitStack() as clients:
        members: list[Subscription] = []
        for _ in range(3):
            client = await clients.enter_async_context(connect(broker.addresses[0]))
            members.append(await client.subscribe("jobs", "new", group="workers"))
        outside = await client.subscribe("jobs", "new")
        other = await client.subscribe("jobs", "new", group="archive")
        publisher = await clients.enter_async_context(connect(broker.addresses[0]))
        for number in range(300):
            await publisher.publish("jobs", "new", number)
        await publisher.drain()
        await until(lambda: sum(member.pending for member in members) == 300)
        assert [member.pending for member in members] == [100, 100, 100], "they take turns"
        assert await values_of(members) == Counter(range(300))
        await until(lambda: (outside.pending, other.pending) == (300, 300))


async def test_a_group_goes_on_without_those_who_left(address: str) -> None:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as stays, connect(where) as leaves:
            kept = await stays.subscribe("jobs", "*", group="workers")
            first = await leaves.subscribe("jobs", "*", group="workers")
            await first.close()
            lost = await leaves.subscribe("jobs", "*", group="workers")
            await leaves.close()
            await until(lambda: broker.router.events.subscriptions.count == 1)
            for number in range(10):
                await publisher.publish("jobs", "new", number)
            await until(lambda: kept.pending == 10)
            assert (first.pending, lost.pending) == (0, 0)


async def test_a_member_that_takes_nothing_does_not_get_what_others_take(address: str) -> None:
    async with broker_at(address, limits=Limits(backlog=100_000, stall=60)) as broker:
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as one,
            connect(where) as other,
            one.subscribe("jobs", "new", group="workers") as stuck,
            other.subscribe("jobs", "new", group="workers") as takes,
        ):
            value = "x" * 1000
            taken = 0

            async def take() -> None:
                nonlocal taken
                async for _ in takes:
                    taken += 1

            taking = asyncio.ensure_future(take())
            for _ in range(5000):
                await publisher.publish("jobs", "new", value)
            await publisher.drain()
            await until(lambda: taken + stuck.pending == 5000)
            assert stuck.pending < 1000
            taking.cancel()


async def test_a_group_needs_a_name_that_can_be_sent(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        with pytest.raises(CallError):
            await client.subscribe("jobs", "new", group="x" * 2000)
        assert await client.objects() == ["rob"]
