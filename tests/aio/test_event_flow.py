"""Events between a quick publisher and slow subscribers: who waits, who misses what, and who is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipc_broker import Event, Gap, Limits, connect
from ipc_broker.aio.client import Client
from ipc_broker.aio.subscription import Subscription
from ipc_broker.errors import InvalidArgs
from ipc_broker.session.subscriptions import WINDOW
from tests.aio.bus import broker_at, serving, until
from tests.aio.objects import Echo

VALUE = "x" * 1000
SMALL = Limits(backlog=100_000, stall=0.1)
PATIENT = Limits(backlog=100_000, stall=60)


async def publish(client: Client, count: int, *, topic: str = "t") -> None:
    for number in range(count):
        await client.publish("a", topic, [number, VALUE])
    await client.drain()


async def take(events: Subscription, count: int) -> list[Any]:
    """Numbers of so many events, gaps among them counting as what was missed."""
    taken: list[Any] = []
    seen = 0
    while seen < count:
        item = await events.get(10)
        if isinstance(item, Event):
            taken.append(item.value[0])
            seen += 1
        else:
            assert item.missed is not None
            taken.append(item)
            seen += item.missed
    assert seen == count
    return taken


def numbers(taken: list[Any]) -> list[int]:
    return [item for item in taken if isinstance(item, int)]


def missed(taken: list[Any]) -> int:
    return sum(item.missed or 0 for item in taken if isinstance(item, Gap))


# A publisher waits


async def test_a_publisher_waits_for_a_slow_subscriber_while_its_calls_go_on(any_address: str) -> None:
    async with broker_at(any_address, limits=PATIENT) as broker, serving(broker.addresses[0], echo=Echo()):
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            publishing = asyncio.ensure_future(publish(publisher, 3000))
            await until(lambda: publisher.link.session.paused)
            assert not publishing.done()
            for number in range(20):
                assert await publisher.call("echo", "back", number) == number
                assert await reader.call("echo", "back", number) == number
            published = broker.router.events.published
            acknowledged = asyncio.ensure_future(publisher.publish("a", "u", 1, ack=True))
            assert await publisher.call("echo", "back", 1) == 1
            assert (broker.router.events.published, acknowledged.done()) == (published, False)
            assert await take(events, 3000) == list(range(3000))
            await publishing
            await acknowledged
            assert not publisher.link.session.paused
            assert broker.router.events.backpressure.dropped == 0


async def test_a_burst_to_a_reader_slower_than_the_publisher_arrives_whole(address: str) -> None:
    count = 100_000  # several times what the broker keeps
    async with (
        broker_at(address, limits=Limits(backlog=1_000_000)) as broker,
        connect(broker.addresses[0]) as publisher,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t") as events,
    ):

        async def burst() -> None:
            for number in range(count):
                await publisher.publish("a", "t", number)
            await publisher.drain()

        publishing = asyncio.ensure_future(burst())
        for number in range(count):
            if number % 2000 == 0:
                await asyncio.sleep(0)
            item = await anext(events)
            assert isinstance(item, Event)
            assert item.value == number
        await publishing


async def test_nobody_waits_for_those_who_are_gone(address: str) -> None:
    async with broker_at(address, limits=PATIENT) as broker, connect(broker.addresses[0]) as publisher:
        for leave in ("close", "abort", "unsubscribe"):
            reader = await connect(broker.addresses[0])
            events = await reader.subscribe("a", "t")
            publishing = asyncio.ensure_future(publish(publisher, 3000))
            await until(lambda: publisher.link.session.paused)
            if leave == "unsubscribe":
                await events.close()
            elif leave == "abort":
                assert reader.link._protocol is not None
                reader.link._protocol.transport.abort()
                events._end()  # nor will it come back
                reader.link.session.subscriptions.remove(events._subscribed)  # type: ignore[arg-type]
            else:
                await reader.close()
            await publishing
            await reader.close()


@pytest.mark.parametrize("how", ["close", "lose"])
async def test_a_waiting_publisher_is_told_when_its_connection_ends(how: str, address: str) -> None:
    async with (
        broker_at(address, limits=PATIENT) as broker,
        connect(broker.addresses[0]) as reader,
        reader.subscribe("a", "t"),
    ):
        publisher = await connect(broker.addresses[0])
        publishing = asyncio.ensure_future(publish(publisher, 3000))
        await until(lambda: publisher.link.session.paused)
        assert publisher.link._protocol is not None
        if how == "lose":
            publisher.link._protocol.transport.abort()
            await until(lambda: publisher.link.session.losses == 1 and publisher.link.session.ready)
            await until(lambda: publisher.link.session.paused)  # it went on there, and must wait again
        await publisher.close()
        with pytest.raises(Exception, match="was closed"):
            await publishing


async def test_one_subscriber_that_takes_nothing_holds_the_others_up_to_the_limit_only(address: str) -> None:
    async with broker_at(address, limits=SMALL) as broker, serving(broker.addresses[0], echo=Echo()):
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as stuck,
            connect(where) as reader,
            stuck.subscribe("a", "t") as untaken,
            reader.subscribe("a", "t") as events,
        ):
            publishing = asyncio.ensure_future(publish(publisher, 3000))
            assert await take(events, 3000) == list(range(3000))
            await publishing
            assert await stuck.call("echo", "back", 1) == 1, "its answers come all the same"
            taken = await take(untaken, 3000)
            assert missed(taken) > 0


# A subscriber lags


async def test_a_subscriber_that_takes_nothing_lags_and_then_learns_exactly_what_it_missed(any_address: str) -> None:
    async with broker_at(any_address, limits=SMALL) as broker:
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            await publish(publisher, 3000)  # it waits until nobody waits for the subscriber any more
            dropped = broker.router.events.backpressure.dropped
            assert 0 < dropped < 3000
            assert events.pending <= WINDOW // len(VALUE)
            taken = await take(events, 3000)
            assert taken == [*range(3000 - dropped), Gap("a", "t", dropped)]
            await publish(publisher, 10)
            assert await take(events, 10) == list(range(10)), "it gets events again"
            assert events.pending == 0
            assert (await reader.call("rob", "stats"))["totals"]["dropped"] == dropped


async def test_what_is_dropped_stands_where_it_was(address: str) -> None:
    async with broker_at(address, limits=SMALL) as broker:
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            for _ in range(3):
                await publish(publisher, 2000)
                taken = await take(events, 2000)
                assert numbers(taken) == list(range(len(numbers(taken))))
                assert missed(taken) == 2000 - len(numbers(taken)) > 0


# It may choose otherwise


async def test_drop_oldest_keeps_the_newest_and_makes_nobody_wait(any_address: str) -> None:
    async with broker_at(any_address, limits=PATIENT) as broker:
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as reader,
            reader.subscribe("a", "t", overflow="drop_oldest") as events,
        ):
            await publish(publisher, 3000)
            assert not publisher.link.session.paused
            dropped = broker.router.events.backpressure.dropped
            taken = await take(events, 3000)
            [place] = [index for index, item in enumerate(taken) if isinstance(item, Gap)]
            assert taken == [*range(place), Gap("a", "t", dropped), *range(place + dropped, 3000)]
            assert 0 < place < 3000 - dropped < 3000


async def test_latest_keeps_the_last_of_each_topic(address: str) -> None:
    async with broker_at(address, limits=PATIENT) as broker:
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as reader,
            reader.subscribe("a", "*", overflow="latest") as events,
        ):
            for number in range(3000):
                await publisher.publish("a", f"t{number % 3}", [number, VALUE])
            await publisher.drain()
            assert not publisher.link.session.paused
            taken = await take(events, 3000)
            assert sorted(numbers(taken)[-3:]) == [2997, 2998, 2999]
            assert len(numbers(taken)) <= WINDOW // len(VALUE) + 3
            assert missed(taken) == broker.router.events.backpressure.dropped > 0


async def test_disconnect_ends_the_connection_and_counts_what_went_with_it(address: str) -> None:
    async with broker_at(address, limits=PATIENT) as broker:
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as reader,
            reader.subscribe("a", "t", overflow="disconnect") as events,
        ):
            await publish(publisher, 1000)
            await until(lambda: reader.link.session.losses == 1 and reader.link.session.ready)
            await reader.drain()
            await publish(publisher, 1)
            taken = await take(events, 1001)
            assert missed(taken) == 1001 - len(numbers(taken)) > 0
            assert taken[-1] == 0


async def test_an_overflow_that_there_is_not_is_refused(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        with pytest.raises(InvalidArgs, match="there is no overflow 'drop_newest'"):
            await client.subscribe("a", "t", overflow="drop_newest")  # type: ignore[arg-type]
        async with client.subscribe("a", "t") as events:
            await publish(client, 1)
            assert await take(events, 1) == [0]


# Resuming


async def interrupted(client: Client, while_away: Any) -> None:
    """The client loses its connection, and connects again when that has been awaited."""
    may_connect = asyncio.Event()
    patiently = client.link.open_patiently

    async def when_allowed() -> None:
        await may_connect.wait()
        await patiently()

    client.link.open_patiently = when_allowed  # type: ignore[method-assign]
    losses = client.link.session.losses
    assert client.link._protocol is not None
    client.link._protocol.transport.abort()
    await until(lambda: client.link.session.losses > losses)
    await while_away
    client.link.open_patiently = patiently  # type: ignore[method-assign]
    may_connect.set()
    await until(lambda: client.link.session.ready)


async def test_a_reconnect_in_time_tells_exactly_what_was_missed(any_address: str) -> None:
    async with broker_at(any_address) as broker:
        where = broker.addresses[0]
        async with (
            connect(where) as publisher,
            connect(where) as reader,
            reader.subscribe("a", "t") as events,
            reader.subscribe("a", ">") as pattern,
            reader.subscribe("a", "u") as quiet,
        ):
            await publish(publisher, 3)
            await until(lambda: pattern.pending == 3)
            await interrupted(reader, publish(publisher, 5))
            await publish(publisher, 2)
            assert await take(events, 10) == [0, 1, 2, Gap("a", "t", 5), 0, 1]
            assert await take(pattern, 10) == [0, 1, 2, Gap("a", ">", 5), 0, 1]
            await interrupted(reader, publish(publisher, 0))
            await publish(publisher, 1)
            assert await take(events, 1) == [0], "where nothing was missed there is no gap"
            await interrupted(reader, publish(publisher, 4, topic="u"))
            await reader.drain()
            assert await take(quiet, 4) == [Gap("a", "u", 4)]
            assert events.pending == 0


async def test_what_was_on_its_way_when_the_connection_was_lost_counts_as_missed(address: str) -> None:
    async with broker_at(address, limits=SMALL) as broker:
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            for _ in range(3):
                publishing = asyncio.ensure_future(publish(publisher, 2000))
                await until(lambda: publisher.link.session.paused)
                await interrupted(reader, publishing)
                await publish(publisher, 1)
                taken = await take(events, 2001)
                assert missed(taken) > 0
                assert taken[-1] == 0


async def test_a_reconnect_too_late_cannot_tell(address: str) -> None:
    async with broker_at(address, limits=Limits(resume=0)) as broker:
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            await publish(publisher, 1)
            assert await take(events, 1) == [0]

            async def wait_too_long() -> None:
                await publish(publisher, 5)
                await until(lambda: not broker.router.events.sessions)

            await interrupted(reader, wait_too_long())
            await publish(publisher, 1)
            assert await events.get(10) == Gap("a", "t", None)
            assert await take(events, 1) == [0]


async def test_a_subscription_may_be_opened_again_after_it_was_closed(address: str) -> None:
    """What waits from before can still be taken, and gives no credit for the new one."""
    async with broker_at(address, limits=PATIENT) as broker, connect(broker.addresses[0]) as client:
        events = client.subscribe("a", "t")
        for _ in range(3):
            async with events:
                await publish(client, 200)
                await until(lambda: events.pending == 200)
            assert await take(events, 100) == list(range(100))
            async with events:
                assert await take(events, 100) == list(range(100, 200))
                [peer] = broker.router.peers
                [subscription] = peer.subscriptions.values()
                await client.drain()
                assert subscription.credit == WINDOW
