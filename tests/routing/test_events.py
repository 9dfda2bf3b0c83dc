"""What publishers are told, and what the broker publishes itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory import Bus, RawPeer
from tests.messages import call, event, publish, register, result
from tests.routing.peers import error_from, json_peer, packed_peer, stats
from tests.routing.subscribers import (
    event_credit,
    event_for,
    missed,
    publish_with,
    subscribe_to,
    told,
)
from tests.seed.frames import Json

Connect = Callable[[Bus], RawPeer]
KINDS: list[Connect] = [RawPeer, json_peer, packed_peer]
EXTENDED: list[Connect] = [json_peer, packed_peer]


@pytest.fixture(params=EXTENDED)
def publisher(bus: Bus, request: pytest.FixtureRequest) -> RawPeer:
    connect: Connect = request.param
    return connect(bus)


# Acknowledgements


def test_an_acknowledgement_comes_after_the_event_was_routed(bus: Bus, publisher: RawPeer) -> None:
    """A publisher that listens to itself has the event before."""
    subscribe_to(publisher, "sensor", "a", 1)
    publisher.send(publish_with("sensor", "a", 1, call_id="x"), publish("sensor", "a", 2))
    assert publisher.receive() == [
        event_for(1, "sensor", "a", 1),
        result("x", "sensor", None),
        event_for(1, "sensor", "a", 2),
    ]


def test_it_comes_without_any_subscriber_and_with_one_that_waits(bus: Bus, publisher: RawPeer) -> None:
    publisher.send(publish_with("sensor", "a", 1, call_id="x"))
    assert publisher.receive() == [result("x", "sensor", None)]
    subscribe_to(json_peer(bus), "sensor", "a", 1, 0)
    publisher.send(publish_with("sensor", "a", 1, call_id="y"))
    assert publisher.receive() == [result("y", "sensor", None)]


def test_an_event_without_a_call_id_is_not_answered(publisher: RawPeer) -> None:
    publisher.send(publish("sensor", "a", 1), publish_with("sensor", "a", 1, retain=True))
    assert publisher.receive() == []


# Refusals


@pytest.mark.parametrize("connect", KINDS)
def test_only_the_broker_publishes_as_rob(bus: Bus, connect: Connect) -> None:
    """Also where it has published the same topic before."""
    forger, watcher, seed, worker = connect(bus), packed_peer(bus), RawPeer(bus), json_peer(bus)
    subscribe_to(watcher, "rob", "object.registered", 1)
    seed.subscribe("rob", "object.registered")
    worker.register("math")
    assert told(watcher.receive()) == told(seed.receive()) == [{"object": "math"}]
    for topic in ("object.registered", "new"):
        forger.send(publish("rob", topic, {"object": "forged"}), publish_with("rob", topic, 1, retain=True))
    errors = [error_from(message) for message in forger.receive()]
    assert [one.message for one in errors] == ["only the broker publishes as 'rob'"] * 4
    if connect is not RawPeer:
        assert {(one.code, one.type, one.call_id) for one in errors} == {("permission_denied", "Publish", None)}
        forger.send(publish_with("rob", "new", 1, call_id="x"))
        [answer] = forger.receive()
        assert (error_from(answer).call_id, error_from(answer).code) == ("x", "permission_denied")
    assert watcher.receive() == seed.receive() == []
    assert len(bus.router.events.retained) == 0
    assert bus.router.events.published == 0


@pytest.mark.parametrize("value", [b"\x00", float("nan"), {"deep": [b"\x00"]}])
def test_what_one_encoding_cannot_say_is_missed_there_and_an_error_to_the_publisher(bus: Bus, value: object) -> None:
    publisher, packed, json, waiting = packed_peer(bus), packed_peer(bus), json_peer(bus), json_peer(bus)
    for peer in (packed, json, waiting):
        subscribe_to(peer, "sensor", "a", 1, 0 if peer is waiting else 1000)
    publisher.send(publish("sensor", "a", 0), publish_with("sensor", "a", cast(Json, value), call_id="x"))
    publisher.send(publish("sensor", "a", 2))
    [answer] = publisher.receive()
    problem = error_from(answer)
    assert (problem.call_id, problem.code) == ("x", "invalid_args")
    assert "a subscriber of 'sensor' cannot be told this" in problem.message
    waiting.send(event_credit(1, 10_000))
    for peer in (json, waiting):
        assert peer.receive() == [event_for(1, "sensor", "a", 0), missed(1, 1), event_for(1, "sensor", "a", 2)]
    assert [str(one) for one in told(packed.receive())] == ["0", str(value), "2"]


def test_a_peer_that_was_ended_within_its_batch_leaves_nothing_behind(bus: Bus) -> None:
    publisher, subscriber = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    subscribe_to(publisher, "sensor", "a", 1, 0, overflow="disconnect")
    large = publish("sensor", "a", "x" * 60_000)
    publisher.send(*[large] * 200, {"Subscribe": {"object_name": "sensor", "topic": "a", "id": 2, "credit": 9}})
    publisher.receive()
    assert publisher.ended
    bus.advance(bus.router.limits.resume + 1)
    assert bus.router.events.subscriptions.count == 1
    subscriber.disconnect()
    bus.assert_empty()


# Order and counts


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sent=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from([False, True])), max_size=40))
def test_each_publishers_events_come_in_its_order(sent: list[tuple[int, str, bool]]) -> None:
    bus = Bus()
    publishers = [connect(bus) for connect in KINDS]
    subscribers = [connect(bus) for connect in EXTENDED]
    for subscriber in subscribers:
        subscribe_to(subscriber, "sensor", "*", 1, 200)
    for number, (who, topic, credit) in enumerate(sent):
        publishers[who].send(publish("sensor", topic, [who, number]))
        if credit:
            subscribers[number % 2].send(event_credit(1, 100))
        if number % 3 == 0:
            bus.settle()
    for subscriber in subscribers:
        subscriber.send(event_credit(1, 10**6))
        got = cast(list[list[int]], told(subscriber.receive()))
        assert sorted(number for _, number in got) == list(range(len(sent)))
        for who in range(3):
            numbers = [number for publisher, number in got if publisher == who]
            assert numbers == sorted(numbers)


def test_stats_say_how_many_events_went_where(bus: Bus, publisher: RawPeer) -> None:
    seed, extended = RawPeer(bus), json_peer(bus)
    seed.subscribe("sensor", "a")
    subscribe_to(extended, "sensor", "*", 1)
    subscribe_to(extended, "sensor", "b", 2)
    publisher.send(publish("sensor", "a", 1), publish("sensor", "b", 2), publish("other", "b", 3))
    publisher.receive()
    status = stats(publisher)
    assert (status["subscriptions"], status["totals"]["published"], status["totals"]["delivered"]) == (3, 3, 4)


# The broker's own


def test_names_that_come_and_go_are_events_in_every_encoding(bus: Bus) -> None:
    watchers = [connect(bus) for connect in EXTENDED]
    for watcher in watchers:
        subscribe_to(watcher, "rob", "object.*", 1)
    seed, worker = RawPeer(bus), packed_peer(bus)
    seed.subscribe("rob", "object.lost")
    worker.send(register("math"), call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "math"}))
    worker.receive()
    for watcher in watchers:
        assert watcher.receive() == [
            event_for(1, "rob", f"object.{what}", {"object": "math"}) for what in ("registered", "lost")
        ]
    assert seed.receive() == [event("rob", "object.lost", {"object": "math"})]
