"""What a subscription has chosen for when its backlog is full, instead of letting its publishers wait."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import publish
from tests.routing.peers import json_peer, packed_peer, stats
from tests.routing.subscribers import (
    PLENTY,
    ask,
    event_credit,
    event_for,
    missed,
    publish_with,
    subscribe_to,
    subscription_of,
    told,
    unsubscribe,
)
from tests.seed.frames import Json, Message

LIMITS = Limits(backlog=10_000, stall=2.0)
SIZE = 900


@pytest.fixture
def bus() -> Bus:
    return Bus(LIMITS)


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def send(publisher: RawPeer, *values: int, topic: str = "a") -> None:
    """Of about 1,000 bytes each, so that 11 of them are over the backlog."""
    publisher.send(*(publish("sensor", topic, f"{value:04}".ljust(SIZE, "x")) for value in values))
    assert publisher.receive() == []


def numbers(messages: list[Message]) -> list[Json]:
    return [one if isinstance(one, str) and one.startswith("missed") else int(str(one)[:4]) for one in told(messages)]


@pytest.mark.parametrize("connect", [json_peer, packed_peer])
def test_drop_oldest_keeps_the_newest_and_tells_of_the_others_first(
    bus: Bus, connect: type[RawPeer], publisher: RawPeer
) -> None:
    subscriber = connect(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0, overflow="drop_oldest")
    send(publisher, *range(30))
    assert publisher.peer.reads
    one = subscription_of(subscriber, 1)
    assert LIMITS.backlog - SIZE - 200 < one.backlog_bytes <= LIMITS.backlog
    waiting = len(one.backlog)
    assert bus.router.events.backpressure.dropped == 30 - waiting
    bus.advance(10)
    subscriber.send(event_credit(1, PLENTY))
    assert numbers(subscriber.receive()) == [f"missed {30 - waiting}", *range(30 - waiting, 30)]
    send(publisher, 30)
    assert numbers(subscriber.receive()) == [30]
    totals = stats(publisher)["totals"]
    assert (totals["delivered"], totals["dropped"]) == (waiting + 1, 30 - waiting)


def test_drop_oldest_tells_at_the_place_each_time(bus: Bus, publisher: RawPeer) -> None:
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0, overflow="drop_oldest")
    send(publisher, *range(12))
    subscriber.send(event_credit(1, 1))
    first = numbers(subscriber.receive())
    assert first == ["missed 2", 2]
    send(publisher, *range(12, 15))
    subscriber.send(event_credit(1, PLENTY))
    assert numbers(subscriber.receive()) == ["missed 2", *range(5, 15)]


def test_drop_oldest_counts_what_was_too_large_and_then_dropped(bus: Bus) -> None:
    subscriber, publisher = json_peer(bus), packed_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0, overflow="drop_oldest")
    send(publisher, 0)
    for _ in range(7):
        publisher.send(publish("sensor", "a", "x" * 66_000))
    assert len(publisher.receive()) == 7
    send(publisher, *range(8, 30))
    subscriber.send(event_credit(1, PLENTY))
    assert numbers(subscriber.receive()) == ["missed 20", *range(20, 30)]


def test_drop_oldest_keeps_one_event_however_long_it_is() -> None:
    bus = Bus(Limits(backlog=10))
    subscriber, publisher = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0, overflow="drop_oldest")
    send(publisher, 1, 2, 3)
    subscriber.send(event_credit(1, PLENTY))
    assert numbers(subscriber.receive()) == ["missed 2", 3]


@pytest.mark.parametrize("connect", [json_peer, packed_peer])
def test_latest_keeps_the_last_event_of_each_topic(bus: Bus, connect: type[RawPeer], publisher: RawPeer) -> None:
    subscriber = connect(bus)
    subscribe_to(subscriber, "sensor", "*", 1, 0, overflow="latest")
    for round in range(5):
        for topic in "abc":
            send(publisher, round, topic=topic)
    assert bus.router.events.backpressure.dropped == 12
    subscriber.send(event_credit(1, PLENTY))
    value = "0004".ljust(SIZE, "x")
    assert subscriber.receive() == [missed(1, 12), *(event_for(1, "sensor", topic, value) for topic in "abc")]
    send(publisher, 5)
    assert numbers(subscriber.receive()) == [5]


def test_latest_of_too_many_topics_drops_the_oldest(bus: Bus, publisher: RawPeer) -> None:
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "sensor", "*", 1, 0, overflow="latest")
    for topic in range(30):
        send(publisher, topic, topic=str(topic))
    one = subscription_of(subscriber, 1)
    assert one.backlog_bytes <= LIMITS.backlog
    assert publisher.peer.reads
    subscriber.send(event_credit(1, PLENTY))
    assert numbers(subscriber.receive()) == ["missed 20", *range(20, 30)]


def test_latest_keeps_nothing_of_what_was_replaced(bus: Bus, publisher: RawPeer) -> None:
    """Long values that short ones take the place of are not in memory any more."""
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "sensor", "*", 1, 0, overflow="latest")
    for topic in range(20):
        send(publisher, topic, topic=str(topic))
        publisher.send(publish("sensor", str(topic), topic))
        publisher.receive()
    one = subscription_of(subscriber, 1)
    assert sum(len(frame) for frame in one.backlog if isinstance(frame, bytes)) <= one.backlog_bytes < 20 * 120
    subscriber.send(event_credit(1, PLENTY))
    assert told(subscriber.receive()) == ["missed 20", *range(20)]


def test_disconnect_ends_the_connection_with_an_error(bus: Bus, publisher: RawPeer) -> None:
    subscriber, other = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0, overflow="disconnect")
    subscribe_to(other, "sensor", "a", 1)
    send(publisher, *range(10))
    assert not subscriber.ended
    send(publisher, *range(10, 13))
    [error] = subscriber.receive()
    assert error["Error"] == {**error["Error"], "code": "overloaded", "call_id": None}
    assert "over 10000 bytes of events wait for 'sensor' 'a' (backlog)" in str(error["Error"]["message"])
    assert subscriber.ended
    assert numbers(other.receive()) == list(range(13))
    assert publisher.peer.reads
    other.disconnect()
    publisher.disconnect()
    bus.assert_empty()


def test_a_peer_that_is_disconnected_leaves_nobody_waiting_for_its_other_subscriptions(bus: Bus) -> None:
    """One event brings both over the limit."""
    subscriber, publisher = json_peer(bus, features=["flow"]), json_peer(bus)
    for id, overflow in enumerate(["disconnect", "", "disconnect"], 1):
        subscribe_to(subscriber, "sensor", "a", id, 0, overflow=overflow)
    publisher.send(*(publish("sensor", "a", "x" * SIZE) for _ in range(11)))
    assert publisher.receive() in ([], [{"Pause": {}}, {"Resume": {}}])
    assert subscriber.ended
    assert not publisher.peer.waits_for
    assert not publisher.peer.paused
    assert not bus.router.events.backpressure.full
    assert ask(publisher, "ping") == "pong"
    publisher.disconnect()
    bus.assert_empty()


def test_many_that_end_by_each_others_last_will_end_all(bus: Bus, publisher: RawPeer) -> None:
    peers = [json_peer(bus) for _ in range(300)]
    for peer in peers:
        subscribe_to(peer, "sensor", "a", 1, 0, overflow="disconnect")
        ask(peer, "setWill", object_name="sensor", topic="a", args="x" * SIZE)
    send(publisher, *range(10))
    assert not any(peer.ended for peer in peers)
    send(publisher, 10)
    assert all(peer.ended for peer in peers)
    publisher.disconnect()
    bus.assert_empty()


def test_a_pattern_whose_retained_events_are_too_many_may_be_disconnected_while_it_gets_them(
    bus: Bus, publisher: RawPeer
) -> None:
    for topic in range(20):
        publisher.send({"Publish": {"object_name": "o", "topic": str(topic), "args": "x" * SIZE, "retain": True}})
    subscriber = json_peer(bus)
    ask(subscriber, "setWill", object_name="o", topic="will", args=1, retain=True)
    subscriber.send({"Subscribe": {"object_name": "o", "topic": "*", "id": 1, "credit": 0, "overflow": "disconnect"}})
    assert [next(iter(message)) for message in subscriber.receive()] == ["Subscribed", "Error"]
    assert subscriber.ended
    assert len(bus.router.events.retained) == 21


def test_a_subscriber_that_gives_credit_without_reading_is_disconnected_at_the_outbox_limit() -> None:
    bus = Bus(Limits(outbox=100_000))
    subscriber, publisher = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, PLENTY)
    subscriber.link.stop_taking()
    send(publisher, *range(200))
    assert subscriber.peer.connection.queued < 110_000
    assert publisher.peer.reads
    subscriber.link.take_again()
    *events, error = subscriber.receive()
    assert numbers(events) == list(range(len(events)))
    assert "over 100000 bytes of events were left unread (outbox)" in str(error["Error"]["message"])
    assert subscriber.ended
    publisher.disconnect()
    bus.assert_empty()


def test_retained_events_that_are_not_read_are_bounded_too() -> None:
    bus = Bus(Limits(outbox=100_000))
    subscriber, publisher = json_peer(bus), json_peer(bus)
    for topic in range(20):
        publisher.send(publish_with("o", str(topic), "x" * SIZE, retain=True))
    bus.settle()
    subscriber.link.stop_taking()
    wish: Message = {"Subscribe": {"object_name": "o", "topic": "*", "credit": PLENTY}}
    subscriber.send(*({"Subscribe": {**wish["Subscribe"], "id": id}} for id in range(1, 101)))
    bus.settle()
    assert subscriber.peer.connection.queued < 300_000
    assert subscriber.peer.closing
    subscriber.disconnect()
    publisher.disconnect()
    bus.assert_empty()


def test_unsubscribing_within_the_limit_brings_the_backlog_to_nothing(bus: Bus, publisher: RawPeer) -> None:
    subscriber = json_peer(bus)
    for id, overflow in enumerate(["drop_oldest", "latest", "disconnect"], 1):
        subscribe_to(subscriber, "sensor", "a", id, 0, overflow=overflow)
    send(publisher, 1, 2)
    for id in (1, 2, 3):
        unsubscribe(subscriber, id)
    send(publisher, *range(30))
    assert not subscriber.ended
    subscriber.disconnect()
    publisher.disconnect()
    bus.assert_empty()
