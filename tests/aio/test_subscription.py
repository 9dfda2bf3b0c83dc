"""Subscriptions of the asyncio client: iterating, waiting, calling back, closing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from ipc_broker import Event, Limits, connect
from ipc_broker.aio.client import Client
from ipc_broker.aio.subscription import Subscription
from ipc_broker.errors import ClientClosed, ConnectionLost, Overloaded
from tests.aio.bus import AnyBroker, Peer, any_broker_at, broker_at, serving, until
from tests.aio.objects import Calculator
from tests.messages import result, subscribe
from tests.seed.frames import frame, read_frame


async def values(events: Subscription, count: int) -> list[object]:
    """Of the next events; "gap" where some were missed."""
    taken = [await events.get(10) for _ in range(count)]
    return [event.value if isinstance(event, Event) else "gap" for event in taken]


async def publish_all(client: Client, *values: object, topic: str = "t") -> None:
    for value in values:
        await client.publish("a", topic, value)
    await client.drain()


async def test_events_come_in_order_with_all_that_is_known_of_them(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client, client.subscribe("a", "t") as events:
        await publish_all(client, {"celsius": 25.6}, None, [1])
        assert await events.get() == Event("a", "t", {"celsius": 25.6})
        taken = [event async for event in _first(events, 2)]
        assert taken == [Event("a", "t", None), Event("a", "t", [1])]
        assert events.pending == 0


async def _first(events: Subscription, count: int) -> Any:
    async for event in events:
        yield event
        count -= 1
        if not count:
            return


async def test_only_what_was_subscribed_comes(any_broker: AnyBroker) -> None:
    async with (
        any_broker() as address,
        connect(address) as client,
        client.subscribe("a", "t") as first,
        client.subscribe("a", "u") as second,
    ):
        await publish_all(client, 1, topic="u")
        await publish_all(client, 2, topic="none")
        await client.publish("b", "t", 3)
        await publish_all(client, 4)
        assert await values(first, 1) == [4]
        assert await values(second, 1) == [1]
        assert (first.pending, second.pending) == (0, 0)


async def test_awaiting_it_subscribes_too(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        events = await client.subscribe("a", "t")
        assert await events is events  # awaited again it stays one subscription
        await publish_all(client, 1)
        assert await values(events, 1) == [1]
        assert events.pending == 0
        await events.close()


async def test_a_burst_to_a_slow_reader_arrives_whole(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client, client.subscribe("a", "t") as events:
        await publish_all(client, *range(5000))
        await until(lambda: events.pending == 5000)
        assert repr(events) == "<Subscription 'a' 't' open pending=5000>"
        assert await values(events, 5000) == list(range(5000))


async def test_get_ends_with_its_timeout_and_loses_nothing(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client, client.subscribe("a", "t") as events:
        for timeout in (0.01, 0):
            with pytest.raises(TimeoutError):
                await events.get(timeout=timeout)
        await publish_all(client, 1, 2)
        await until(lambda: events.pending == 2)
        assert (await events.get(timeout=0)) == Event("a", "t", 1)
        assert await values(events, 1) == [2]


async def test_cancelling_get_or_an_iteration_loses_nothing(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("a", "t") as events,
    ):
        taken: list[object] = []

        async def read(one: Callable[[], Any]) -> None:
            while True:
                taken.append((await one()).value)

        for number in range(200):
            reading = asyncio.ensure_future(read(events.get if number % 2 else events.__anext__))
            await client.publish("a", "t", number)
            if number % 3:
                await client.drain()
            for _ in range(number % 5):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        await client.drain()
        taken += await values(events, 200 - len(taken))
        assert taken == list(range(200))


async def test_several_readers_share_the_events(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("a", "t") as events,
    ):
        readers = [asyncio.ensure_future(events.get(10)) for _ in range(3)]
        await asyncio.sleep(0)
        await publish_all(client, 1, 2, 3)
        taken = await asyncio.gather(*readers)
        assert sorted(event.value for event in taken if isinstance(event, Event)) == [1, 2, 3]


async def test_every_subscription_to_a_topic_gets_every_event_once(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        several = await asyncio.gather(*(client.subscribe("a", "t") for _ in range(3)))
        await publish_all(client, 1, 2)
        await several[0].close()
        await publish_all(client, 3)
        assert await values(several[1], 3) == [1, 2, 3]
        assert await values(several[2], 3) == [1, 2, 3]
        assert await values(several[0], 2) == [1, 2]  # what came before it was closed can still be taken
        assert [events.pending for events in several] == [0, 0, 0]
        await asyncio.gather(*(events.close() for events in several))


async def test_subscribing_again_doubles_nothing(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        for turn in range(3):
            async with client.subscribe("a", "t") as events:
                await publish_all(client, turn)
                assert await values(events, 1) == [turn]
            await publish_all(client, "nobody listens")
        async with client.subscribe("a", "t") as events:
            await publish_all(client, 3)
            assert await values(events, 1) == [3]
            assert events.pending == 0


async def test_unsubscribing_reaches_the_broker(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        first, second = await client.subscribe("a", "t"), await client.subscribe("a", "t")
        assert broker.router.events.subscriptions.count == 2
        await first.close()
        assert broker.router.events.subscriptions.count == 1
        await second.close()
        assert broker.router.events.subscriptions.count == 0
        await second.close()
        delivered = broker.router.events.delivered
        await publish_all(client, 1)
        assert broker.router.events.delivered == delivered


# Callbacks


@pytest.mark.parametrize("coroutine", [False, True])
async def test_a_callback_gets_the_events_in_order_one_at_a_time(coroutine: bool, any_broker: AnyBroker) -> None:
    seen: list[object] = []
    running = 0

    def plain(event: Event) -> None:
        seen.append(event.value)

    async def slow(event: Event) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        seen.append(event.value)
        running -= 1

    async with any_broker() as address, connect(address) as client:
        events = await client.subscribe("a", "t", callback=slow if coroutine else plain)
        await publish_all(client, *range(100))
        await until(lambda: len(seen) == 100)
        assert seen == list(range(100))
        await events.close()
        await publish_all(client, "late")
        assert len(seen) == 100


async def test_a_callback_that_raises_goes_on_with_the_next_event(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    def fail(event: Event) -> None:
        seen.append(event.value)
        raise ValueError("mine")

    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("a", "t", callback=fail),
    ):
        await publish_all(client, 1, 2)
        await until(lambda: len(seen) == 2)
    assert seen == [1, 2]
    failures = [record for record in caplog.records if "the callback for 'a' 't' failed" in record.getMessage()]
    assert len(failures) == 2
    assert failures[0].exc_info


async def test_a_callback_may_use_its_client(any_broker: AnyBroker) -> None:
    done = asyncio.Event()
    sums: list[object] = []

    async with any_broker() as address, serving(address, math=Calculator()), connect(address) as client:

        async def add(event: Event) -> None:
            sums.append(await client.call("math", "add", [event.value, 1]))
            await client.publish("a", "answered", event.value)

        async def answered(event: Event) -> None:
            async with client.subscribe("a", "inner") as inner:
                await client.publish("a", "inner", event.value)
                assert (await inner.get(10)) == Event("a", "inner", event.value)
            done.set()

        async with client.subscribe("a", "t", callback=add), client.subscribe("a", "answered", callback=answered):
            await publish_all(client, 41)
            await done.wait()
    assert sums == [{"sum": 42}]


@pytest.mark.parametrize("what", ["subscription", "client"])
async def test_a_callback_may_close_what_it_belongs_to(what: str, address: str) -> None:
    ended = asyncio.Event()

    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0])

        async def close(event: Event) -> None:
            await (events if what == "subscription" else client).close()
            ended.set()

        events = await client.subscribe("a", "t", callback=close)
        await client.publish("a", "t", 1)
        await ended.wait()
        assert repr(events).startswith("<Subscription 'a' 't' closed")
        await client.close()


async def test_a_running_callback_is_cancelled_on_close(address: str) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(event: Event) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with client.subscribe("a", "t", callback=wait):
            await publish_all(client, 1)
            await entered.wait()
        await cancelled.wait()


# The end


async def test_closing_ends_an_iteration_after_what_has_come(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        events = await client.subscribe("a", "t")
        await publish_all(client, 1, 2)
        await until(lambda: events.pending == 2)
        await events.close()
        assert [event.value async for event in events if isinstance(event, Event)] == [1, 2]
        with pytest.raises(ClientClosed, match="the subscription of 'a' 't' was closed"):
            await events.get(timeout=5)


@pytest.mark.parametrize("what", ["subscription", "client"])
async def test_whoever_waits_when_it_is_closed_is_told(what: str, any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        events = await client.subscribe("a", "t")

        async def iterate() -> list[object]:
            return [event async for event in events]

        iterating, getting = asyncio.ensure_future(iterate()), asyncio.ensure_future(events.get())
        await asyncio.sleep(0)
        await (events if what == "subscription" else client).close()
        assert await iterating == []
        with pytest.raises(ClientClosed):
            await getting


async def test_the_broker_may_refuse(address: str) -> None:
    async with broker_at(address, limits=Limits(subscriptions=1)) as broker, connect(broker.addresses[0]) as client:
        async with client.subscribe("a", "t") as events:
            with pytest.raises(Overloaded, match=r"which is the limit \(subscriptions\)"):
                await client.subscribe("a", "u")
            await publish_all(client, 1)
            assert await values(events, 1) == [1]
        async with client.subscribe("a", "u") as events:
            await publish_all(client, 2, topic="u")
            assert await values(events, 1) == [2]


# Reconnecting


@pytest.mark.parametrize("kind", ["ours", "seed", "seed that starts"])
async def test_subscriptions_go_on_after_a_gap_when_the_broker_comes_back(kind: str, address: str) -> None:
    async with any_broker_at(kind, address) as where:
        client = await connect(where)
        events, again = await client.subscribe("a", "t"), await client.subscribe("a", "t")
        closed = await client.subscribe("a", "u")
        await closed.close()
        await publish_all(client, 1)
    await until(lambda: not client.link.session.ready)
    async with any_broker_at(kind, where):
        await client.drain()  # waits for the connection
        await publish_all(client, 2)
        for each in (events, again):
            assert await values(each, 3) == [1, "gap", 2]
            assert each.pending == 0
        assert closed.pending == 0
        async with client.subscribe("a", "u") as opened:
            await publish_all(client, 3, topic="u")
            assert await values(opened, 1) == [3]
            assert opened.pending == 0
        await client.close()


async def test_subscribing_while_there_is_no_broker_waits_for_one(address: str) -> None:
    async with any_broker_at("ours", address) as where:
        client = await connect(where)
    await until(lambda: not client.link.session.ready)
    subscribing = asyncio.ensure_future(client.subscribe("a", "t")._start())
    async with any_broker_at("ours", where):
        events = await subscribing
        await publish_all(client, 1)
        assert await values(events, 1) == [1]
        await client.close()


async def test_a_subscription_that_the_connection_did_not_survive_fails(address: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(hello["call_id"], "rob")))
        assert json.loads(await read_frame(reader)) == subscribe("a", "t")
        writer.transport.abort()

    async with Peer(answer).at(address) as where:
        client = await connect(where)
        events = client.subscribe("a", "t")
        with pytest.raises(ConnectionLost):
            await events
        assert repr(events) == "<Subscription 'a' 't' closed pending=0>"
        await client.close()
