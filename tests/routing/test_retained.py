"""The last value of a topic, for those who subscribe later."""

from __future__ import annotations

from typing import cast

import pytest

from ipc_broker.config import Limits
from ipc_broker.protocol.encodings import JSON
from ipc_broker.routing.retained import ENTRY_SIZE, RetainedEvents
from tests.memory import Bus, RawPeer
from tests.messages import publish, result
from tests.routing.peers import json_peer, packed_peer, stats
from tests.routing.subscribers import (
    PLENTY,
    ask,
    event_credit,
    event_for,
    missed,
    publish_with,
    size_for,
    subscribe_to,
    subscription_of,
    told,
    unsubscribe,
)
from tests.seed.frames import Json


def retain(publisher: RawPeer, topic: str, value: Json, **fields: Json) -> None:
    """Fails when it is refused."""
    publisher.send(publish_with("sensor", topic, value, retain=True, call_id="ack", **fields))
    assert publisher.receive() == [result("ack", "sensor", None)]


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return json_peer(bus)


# Alone


def test_its_size_is_that_of_all_it_keeps() -> None:
    retained = RetainedEvents(3 * ENTRY_SIZE)
    assert retained.keep("object", "a", JSON.encode_payload("x" * 10), JSON)
    size = retained.size
    assert size == ENTRY_SIZE + 7 + 12
    assert retained.keep("object", "b", JSON.encode_payload(None), JSON)
    assert retained.keep("object", "a", JSON.encode_payload("x" * 20), JSON)
    assert retained.size == size + 10 + ENTRY_SIZE + 7 + 4
    assert retained.clear("object", "b")
    assert not retained.clear("object", "b")
    assert retained.size == size + 10
    assert not retained.keep("object", "c", JSON.encode_payload("x" * 2 * ENTRY_SIZE), JSON)
    assert not retained.keep("object", "a", JSON.encode_payload("x" * 3 * ENTRY_SIZE), JSON)
    assert retained.size == size + 10
    assert len(retained) == 1
    assert retained.clear("object", "a")
    assert retained.size == 0


def test_a_name_counts_in_bytes() -> None:
    retained = RetainedEvents(10 * ENTRY_SIZE)
    retained.keep("ö", "°", JSON.encode_payload(None), JSON)
    assert retained.size == ENTRY_SIZE + 4 + 4


# Through the router


@pytest.mark.parametrize("topic", ["a", "*", ">"])
def test_who_subscribes_later_gets_the_last_value_at_once(bus: Bus, publisher: RawPeer, topic: str) -> None:
    early, late = json_peer(bus), packed_peer(bus)
    subscribe_to(early, "sensor", topic, 1)
    retain(publisher, "a", 1)
    retain(publisher, "a", 2)
    subscribe_to(late, "sensor", topic, 1)
    assert early.receive() == [event_for(1, "sensor", "a", value) for value in (1, 2)]
    assert late.receive() == [event_for(1, "sensor", "a", 2, retained=True)]
    publisher.send(publish("sensor", "a", 3))
    assert late.receive() == [event_for(1, "sensor", "a", 3)]
    subscribe_to(late, "sensor", "a", 2)
    assert late.receive() == [event_for(2, "sensor", "a", 2, retained=True)]


def test_a_pattern_gets_all_that_it_matches(bus: Bus, publisher: RawPeer) -> None:
    for topic in ("a", "b.c", "d"):
        retain(publisher, topic, topic)
    publisher.send(publish_with("other", "a", "other", retain=True))
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "*", "*", 1)
    assert told(subscriber.receive()) == ["a", "d", "other"]
    subscribe_to(subscriber, "sensor", ">", 2)
    assert told(subscriber.receive()) == ["a", "b.c", "d"]
    subscribe_to(subscriber, ">", "b.>", 3)
    assert told(subscriber.receive()) == ["b.c"]
    subscribe_to(subscriber, "nobody", "a", 4)
    assert subscriber.receive() == []


def test_it_stays_when_its_publisher_has_left(bus: Bus, publisher: RawPeer) -> None:
    retain(publisher, "a", 1)
    publisher.disconnect()
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1)
    assert told(subscriber.receive()) == [1]


def test_a_seed_peer_gets_none(bus: Bus, publisher: RawPeer) -> None:
    """It would take it for an answer, or for an event of now."""
    retain(publisher, "a", 1)
    subscriber = RawPeer(bus)
    subscriber.subscribe("sensor", "a")
    assert subscriber.receive() == []


def test_what_was_cleared_is_gone(bus: Bus, publisher: RawPeer) -> None:
    retain(publisher, "a", 1)
    assert stats(publisher)["retained"] == 1
    assert ask(publisher, "clear", object_name="sensor", topic="a") is True
    assert ask(publisher, "clear", object_name="sensor", topic="a") is False
    subscriber = json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1)
    assert subscriber.receive() == []
    assert stats(publisher)["retained"] == 0
    assert bus.router.events.retained.size == 0


def test_if_absent_neither_replaces_nor_delivers(bus: Bus, publisher: RawPeer) -> None:
    early, late = json_peer(bus), json_peer(bus)
    subscribe_to(early, "sensor", "a", 1)
    retain(publisher, "a", 1, if_absent=True)
    retain(publisher, "a", 2, if_absent=True)
    [came] = early.receive()
    assert came["Event"]["args"] == 1
    assert came["Event"]["retained"], "it may have had that from a broker before this one"
    subscribe_to(late, "sensor", "a", 1)
    assert told(late.receive()) == [1]


def test_over_the_limit_the_event_is_refused_and_the_earlier_one_stays() -> None:
    bus = Bus(Limits(retained=2000))
    publisher, subscriber, late = json_peer(bus), json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1)
    retain(publisher, "a", 1)
    publisher.send(publish_with("sensor", "a", "x" * 2000, retain=True, call_id="ack"))
    [refusal] = publisher.receive()
    assert refusal["Error"] == {**refusal["Error"], "call_id": "ack", "code": "overloaded"}
    assert "2000 bytes, the limit (retained)" in str(refusal["Error"]["message"])
    publisher.send(publish_with("sensor", "b", "x" * 2000, retain=True))
    [refusal] = publisher.receive()
    assert refusal["Error"] == {**refusal["Error"], "call_id": None, "type": "Publish", "code": "overloaded"}
    assert told(subscriber.receive()) == [1]
    subscribe_to(late, "sensor", "*", 1)
    assert told(late.receive()) == [1]
    ask(publisher, "clear", object_name="sensor", topic="a")
    retain(publisher, "b", 1)


def test_many_small_values_are_bounded_too() -> None:
    """What a value costs besides its bytes counts."""
    bus = Bus(Limits(retained=100_000))
    publisher = packed_peer(bus)
    publisher.send(*(publish_with("o", str(number), 1, retain=True) for number in range(2000)))
    assert {message["Error"]["code"] for message in publisher.receive()} == {"overloaded"}
    assert len(bus.router.events.retained) < 1000


def test_it_is_told_in_each_subscribers_encoding(bus: Bus) -> None:
    value: Json = {"text": "25.6 °C", "numbers": [1, 2.5, -3], "nothing": None}
    for publisher in (json_peer(bus), packed_peer(bus)):
        retain(publisher, "a", value)
        for subscriber in (json_peer(bus), packed_peer(bus)):
            subscribe_to(subscriber, "sensor", "a", 1)
            assert subscriber.receive() == [event_for(1, "sensor", "a", value, retained=True)]


def test_what_a_subscriber_cannot_be_told_is_missed(bus: Bus) -> None:
    publisher, json, packed = packed_peer(bus), json_peer(bus), packed_peer(bus)
    publisher.send({"Publish": {"object_name": "sensor", "topic": "a", "args": b"\x00", "retain": True}})  # type: ignore[dict-item]
    assert publisher.receive() == []
    subscribe_to(json, "sensor", "a", 1, 0)
    assert json.receive() == []
    json.send(event_credit(1, 1))
    assert json.receive() == [missed(1, 1)]
    subscribe_to(packed, "sensor", "a", 1)
    [message] = packed.receive()
    assert cast(object, message["Event"]["args"]) == b"\x00"


def test_what_is_too_large_for_a_subscriber_is_missed(bus: Bus) -> None:
    publisher, small, large = packed_peer(bus), packed_peer(bus), packed_peer(bus, max_frame=100_000)
    retain(publisher, "a", "x" * 65_530)
    for peer, expected in ((small, ["missed 1"]), (large, ["x" * 65_530])):
        subscribe_to(peer, "sensor", "a", 1)
        assert told(peer.receive()) == expected


def test_they_cost_credit_and_wait_for_it(bus: Bus, publisher: RawPeer) -> None:
    for topic in "abc":
        retain(publisher, topic, topic)
    subscriber = json_peer(bus)
    first = event_for(1, "sensor", "a", "a", retained=True)
    subscribe_to(subscriber, "sensor", "*", 1, 1)
    publisher.send(publish("sensor", "a", "now"))
    assert subscriber.receive() == [first]
    assert subscription_of(subscriber, 1).credit == 1 - size_for(subscriber, first)
    subscriber.send(event_credit(1, PLENTY))
    assert told(subscriber.receive()) == ["b", "c", "now"]


def test_they_are_kept_for_a_subscription_of_the_same_id_again(bus: Bus, publisher: RawPeer) -> None:
    retain(publisher, "a", 1)
    subscriber = json_peer(bus)
    for _ in range(2):
        subscribe_to(subscriber, "sensor", "a", 1)
        assert told(subscriber.receive()) == [1]
        unsubscribe(subscriber, 1)
