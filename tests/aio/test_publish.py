"""Publishing with acknowledgement, retained values and last wills."""

from __future__ import annotations

import asyncio
import math

import pytest

from ipc_broker import Event, Limits, connect
from ipc_broker.aio.client import Client
from ipc_broker.aio.link import ENOUGH_TO_WRITE
from ipc_broker.errors import ConnectionLost, InvalidArgs, Overloaded, PermissionDenied, TooLarge
from tests.aio.bus import AnyBroker, RawPeer, any_broker_at, broker_at, until
from tests.messages import subscribe


def disconnect(client: Client) -> None:
    """Its connection ends, as that of a process that is killed."""
    assert client.link._protocol is not None
    client.link._protocol.transport.abort()


async def reconnected(client: Client) -> None:
    losses = client.link.session.losses
    disconnect(client)
    await until(lambda: client.link.session.losses > losses and client.link.session.ready)


# Acknowledged


async def test_an_acknowledged_event_has_been_routed(any_address: str) -> None:
    async with broker_at(any_address) as broker, connect(broker.addresses[0]) as client:
        for number in range(1, 20):
            await client.publish("a", "t", number, ack=True)
            assert broker.router.events.published == number
        await asyncio.gather(*(client.publish("a", "t", number, ack=True) for number in range(100)))
        assert broker.router.events.published == 119


async def test_acknowledged_events_come_as_others_do(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client, client.subscribe("a", "t") as events:
        for number in range(3):
            await client.publish("a", "t", number, ack=True)
        assert [(await events.get(10)).value for _ in range(3)] == [0, 1, 2]  # type: ignore[union-attr]


async def test_an_event_that_is_refused_says_so_to_who_wants_to_know(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        with pytest.raises(PermissionDenied, match="only the broker publishes as 'rob'"):
            await client.publish("rob", "t", 1, ack=True)
        with pytest.raises(InvalidArgs, match="is a pattern"):
            await client.publish("a", "*", 1, ack=True)
        async with RawPeer.at(client.address) as seed:
            await seed.ask(subscribe("a", "t"))
            with pytest.raises(InvalidArgs, match="subscribers of 'a' cannot read this event"):
                await client.publish("a", "t", [math.inf], ack=True)
            with pytest.raises(TooLarge, match=r"over the limit of 65536 bytes"):
                await client.publish("a", "t", "x" * 70_000, ack=True)
        await client.publish("rob", "t", 1)
        await client.drain()
        assert "the broker refused: only the broker publishes as 'rob'" in caplog.text


async def test_an_acknowledgement_that_cannot_come_any_more_is_an_error(address: str) -> None:
    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0])
        publishing = asyncio.ensure_future(client.publish("a", "t", 1, ack=True))
        await asyncio.sleep(0)
        client.link.writer.flush()
        disconnect(client)
        with pytest.raises(ConnectionLost) as caught:
            await publishing
        assert (caught.value.object, caught.value.delivered) == ("a", "maybe")
        await client.close()


async def test_an_event_that_was_surely_not_sent_is_sent_again_and_acknowledged(address: str) -> None:
    async with broker_at(address) as broker:
        async with connect(broker.addresses[0]) as client:
            publishing = asyncio.ensure_future(client.publish("a", "t", 1, ack=True))
            await asyncio.sleep(0)
            assert client.link.session.queued
            disconnect(client)
            await publishing
        assert broker.router.events.published == 1


async def test_what_was_acknowledged_need_not_be_drained(address: str) -> None:
    async with broker_at(address) as broker:
        async with connect(broker.addresses[0]) as client:
            await client.publish("a", "t", 1, ack=True)
            await reconnected(client)
            await client.drain()  # nothing can have been lost
            await client.publish("a", "t", 2, ack=True)
            calls = broker.router.totals.calls
        assert broker.router.totals.calls == calls
        assert broker.router.events.published == 2


async def test_waiting_for_an_acknowledgement_may_be_cancelled(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        publishing = asyncio.ensure_future(client.publish("a", "t", 1, ack=True))
        await asyncio.sleep(0)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        await client.drain()
        assert broker.router.events.published == 1
        assert client.link.session.calls_in_flight == 0


# Retained


async def test_a_retained_value_awaits_those_who_subscribe_later(any_address: str) -> None:
    async with broker_at(any_address) as broker, connect(broker.addresses[0]) as client:
        async with client.subscribe("a", "t") as live:
            for number in range(3):
                await client.publish("a", "t", number, retain=True)
                assert await live.get(10) == Event("a", "t", number)
            await client.publish("a", "t", "passing")
            assert await live.get(10) == Event("a", "t", "passing")
        async with connect(broker.addresses[0]) as other, other.subscribe("a", "t") as late:
            event = await late.get(10)
            assert event == Event("a", "t", 2, retained=True)
            assert isinstance(event, Event)
            assert event.retained
            await client.publish("a", "t", 3)
            assert await late.get(10) == Event("a", "t", 3)


async def test_a_pattern_finds_every_retained_value(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        for name, topic in (("a", "t.1"), ("a", "t.2"), ("b", "t.1"), ("a", "u")):
            await client.publish(name, topic, topic, retain=True, ack=True)
        async with client.subscribe("a", "t.*") as some, client.subscribe("*", ">") as every:
            found = [await some.get(10) for _ in range(2)]
            assert {event.topic for event in found} == {"t.1", "t.2"}
            assert {(event.object, event.topic) for event in [await every.get(10) for _ in range(4)]} == {
                ("a", "t.1"),
                ("a", "t.2"),
                ("b", "t.1"),
                ("a", "u"),
            }
            await client.drain()
            assert (some.pending, every.pending) == (0, 0)


async def test_a_value_that_was_cleared_awaits_nobody(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        await client.publish("a", "t", 1, retain=True)
        await client.clear("a", "t")
        await client.clear("a", "t")
        assert len(broker.router.events.retained) == 0
        async with client.subscribe("a", "t") as events:
            await client.publish("a", "t", 2, ack=True)
            assert await events.get(10) == Event("a", "t", 2)


async def test_retained_values_outlive_who_published_them(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with connect(broker.addresses[0]) as publisher:
            await publisher.publish("a", "t", 1, retain=True)
        async with client.subscribe("a", "t") as events:
            assert await events.get(10) == Event("a", "t", 1, retained=True)


async def test_a_new_broker_gets_what_was_retained_where_nobody_else_was_first(address: str) -> None:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        client = await connect(where)
        for topic in ("kept", "changed", "cleared"):
            await client.publish("a", topic, "old", retain=True, ack=True)
        await client.clear("a", "cleared")
        may_connect = asyncio.Event()
        patiently = client.link.open_patiently

        async def when_allowed() -> None:
            await may_connect.wait()
            await patiently()

        client.link.open_patiently = when_allowed  # type: ignore[method-assign]
    await until(lambda: not client.link.session.ready)
    async with broker_at(where), connect(where) as first:
        await first.publish("a", "changed", "new", retain=True, ack=True)
        may_connect.set()
        await client.drain()
        async with first.subscribe("a", "*") as events:
            found = [await events.get(10) for _ in range(2)]
            assert {event.topic: event.value for event in found if isinstance(event, Event)} == {
                "kept": "old",
                "changed": "new",
            }
            await first.drain()
            assert events.pending == 0
        await client.close()


async def test_retained_values_have_a_limit(address: str) -> None:
    async with broker_at(address, limits=Limits(retained=100_000)) as broker, connect(broker.addresses[0]) as client:
        await client.publish("a", "t", "x" * 50_000, retain=True, ack=True)
        with pytest.raises(Overloaded, match=r"the limit \(retained\)"):
            await client.publish("a", "u", "x" * 60_000, retain=True, ack=True)
        await client.publish("a", "t", "y" * 60_000, retain=True, ack=True)
        assert len(broker.router.events.retained) == 1


async def test_retained_values_wait_for_the_kernel_too(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        value = "x" * 60_000
        for number in range(100):
            await client.publish("a", str(number % 3), value, retain=True)
            assert client.link.session.queued <= ENOUGH_TO_WRITE + len(value) + 1000
        await client.drain()
        assert broker.router.events.published == 100


async def test_what_a_seed_broker_cannot_keep_is_refused(address: str) -> None:
    async with any_broker_at("seed", address) as where, connect(where) as client, client.subscribe("a", "t") as events:
        for wish in (client.publish("a", "t", 1, retain=True), client.clear("a", "t"), client.set_will("a", "t", 1)):
            with pytest.raises(InvalidArgs, match="the Rust crate's protocol: it has no") as caught:
                await wish
            assert caught.value.delivered == "no"
        await client.publish("a", "t", 2)
        assert await events.get(10) == Event("a", "t", 2)


# The last will


@pytest.mark.parametrize("retain", [False, True])
async def test_the_will_is_published_when_its_owner_is_lost(retain: bool, any_address: str) -> None:
    async with broker_at(any_address) as broker, connect(broker.addresses[0]) as client:
        owner = await connect(broker.addresses[0])
        async with client.subscribe("device", "state") as events:
            await owner.set_will("device", "state", {"online": True}, retain=retain)
            await owner.set_will("device", "state", {"online": False}, retain=retain)
            assert broker.router.events.published == 0
            disconnect(owner)
            assert await events.get(10) == Event("device", "state", {"online": False})
            await owner.close()
            await client.drain()
            assert events.pending == 0
        async with client.subscribe("device", "state") as late:
            await client.publish("device", "state", "later", ack=True)
            if retain:
                assert await late.get(10) == Event("device", "state", {"online": False}, retained=True)
            assert await late.get(10) == Event("device", "state", "later")


async def test_the_will_is_not_published_when_its_owner_says_goodbye(any_address: str) -> None:
    async with (
        broker_at(any_address) as broker,
        connect(broker.addresses[0]) as client,
        client.subscribe("device", "state") as events,
    ):
        async with connect(broker.addresses[0]) as owner:
            await owner.set_will("device", "state", "lost")
        revoked = await connect(broker.addresses[0])
        await revoked.set_will("device", "state", "lost")
        await revoked.set_will("", "")
        disconnect(revoked)
        await until(lambda: revoked.link.session.losses == 1)
        await revoked.close()
        await until(lambda: len(broker.router.peers) == 1)
        await client.drain()
        assert events.pending == 0


async def test_the_will_stands_again_after_a_reconnect(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        owner = await connect(broker.addresses[0])
        async with client.subscribe("device", "state") as events:
            await owner.set_will("device", "state", "lost")
            for _ in range(3):
                await reconnected(owner)
                await owner.drain()
                assert await events.get(10) == Event("device", "state", "lost")
            await owner.close()
            await client.drain()
            assert events.pending == 0


async def test_a_will_that_cannot_be_is_refused_and_the_old_one_stays(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        owner = await connect(broker.addresses[0])
        async with client.subscribe("device", "state") as events:
            await owner.set_will("device", "state", "good")
            with pytest.raises(InvalidArgs, match="is a pattern"):
                await owner.set_will("device", "*", "bad")
            with pytest.raises(PermissionDenied):
                await owner.set_will("rob", "state", "bad")
            with pytest.raises(TooLarge):
                await owner.set_will("device", "state", "x" * 70_000)
            disconnect(owner)
            assert await events.get(10) == Event("device", "state", "good")
            await owner.close()
