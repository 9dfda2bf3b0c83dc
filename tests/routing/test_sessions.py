"""After a reconnect each subscription is told how many events it missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_broker.config import Limits
from ipc_broker.routing import sessions
from tests.memory import Bus, RawPeer
from tests.messages import publish, subscribe
from tests.routing.peers import json_peer, packed_peer
from tests.routing.subscribers import (
    PLENTY,
    ask,
    event_credit,
    publish_with,
    subscribe_to,
    subscription_of,
    told,
    told_in_all,
    unsubscribe,
)
from tests.seed.frames import Json

Connect = Callable[..., RawPeer]


@pytest.fixture(params=[json_peer, packed_peer])
def connect(request: pytest.FixtureRequest) -> Connect:
    connect: Connect = request.param
    return connect


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def send(publisher: RawPeer, *values: Json, topic: str = "a") -> None:
    publisher.send(*(publish("sensor", topic, value) for value in values))
    publisher.bus.settle()


def again(connect: Connect, lost: RawPeer) -> RawPeer:
    """A new connection of the same client."""
    return connect(lost.bus, session=lost.peer.token)


def test_it_is_told_how_many_events_it_missed(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    send(publisher, 1, 2)
    assert told(peer.receive()) == [1, 2]
    peer.disconnect()
    send(publisher, 3, 4, 5)
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=2)["missed"] == 3
    send(publisher, 6)
    assert told(peer.receive()) == [6]
    peer.disconnect()
    send(publisher, 7)
    peer = again(json_peer, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=6)["missed"] == 1


def test_without_any_event_it_missed_none(bus: Bus, connect: Connect) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    peer.disconnect()
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=0)["missed"] == 0


def test_what_waited_or_was_on_its_way_counts(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    subscribe_to(peer, "sensor", "a", 2, 0)
    peer.link.stop_taking()
    send(publisher, 1, 2)
    peer.disconnect()
    send(publisher, 3)
    peer = again(connect, peer)
    assert [subscribe_to(peer, "sensor", "a", id, seen=0)["missed"] for id in (1, 2)] == [3, 3]


def test_a_pattern_counts_all_that_it_matches(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "*", 1)
    peer.disconnect()
    send(publisher, 1, 2)
    send(publisher, 3, topic="b")
    send(publisher, 4, topic="b.c")
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "*", 1, seen=0)["missed"] == 3


def test_what_was_missed_before_counts_once(bus: Bus, publisher: RawPeer) -> None:
    """Lagging, it was told of some as missed, and was not told yet of others."""
    bus = Bus(Limits(backlog=1000))
    publisher, peer = json_peer(bus), json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1, 0)
    send(publisher, *("x" * 300 for _ in range(5)))
    bus.advance(3)
    send(publisher, *range(10))
    peer.send(event_credit(1, PLENTY))
    seen = told_in_all(told(peer.receive()))
    assert seen == subscription_of(peer, 1).position
    peer.send(event_credit(1, 1 - subscription_of(peer, 1).credit + 10**10))
    send(publisher, 1)
    peer.disconnect()
    send(publisher, 2)
    peer = again(json_peer, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=seen)["missed"] == 2


def test_one_that_is_lost_again_before_it_has_asked_for_all_is_told_of_all(
    bus: Bus, connect: Connect, publisher: RawPeer
) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    subscribe_to(peer, "sensor", "b", 2)
    peer.disconnect()
    send(publisher, 1)
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=0)["missed"] == 1
    peer.disconnect()
    peer = again(connect, peer)
    peer.disconnect()
    send(publisher, 2)
    send(publisher, 3, topic="b")
    peer = again(connect, peer)
    assert [
        subscribe_to(peer, "sensor", topic, id, seen=seen)["missed"] for topic, id, seen in (("a", 1, 1), ("b", 2, 0))
    ] == [1, 1]
    send(publisher, 4)
    assert told(peer.receive()) == [4]
    peer.disconnect()
    publisher.disconnect()
    bus.assert_empty()


def test_after_its_time_nobody_knows(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    limits = bus.router.limits
    first, second = connect(bus), connect(bus)
    for peer in (first, second):
        subscribe_to(peer, "sensor", "a", 1)
        peer.disconnect()
    send(publisher, 1)
    bus.advance(limits.resume - 0.1)
    peer = again(connect, first)
    assert subscribe_to(peer, "sensor", "a", 1, seen=0)["missed"] == 1
    bus.advance(0.2)
    assert bus.router.events.subscriptions.count == 1
    peer = again(connect, second)
    assert "missed" not in subscribe_to(peer, "sensor", "a", 1, seen=0)


def test_from_then_on_it_counts_again(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus, session="of another broker")
    assert "missed" not in subscribe_to(peer, "sensor", "a", 1, seen=1000)
    send(publisher, 1)
    assert told(peer.receive()) == [1]
    peer.disconnect()
    send(publisher, 2, 3)
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=1001)["missed"] == 2


@pytest.mark.parametrize("fields", [{"topic": "b"}, {"object_name": "other"}, {"group": "g"}, {"id": 2}])
def test_another_subscription_is_not_the_same(
    bus: Bus, connect: Connect, publisher: RawPeer, fields: dict[str, Json]
) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    peer.disconnect()
    send(publisher, 1)
    peer = again(connect, peer)
    message = subscribe("sensor", "a")
    message["Subscribe"] |= {"id": 1, "credit": 1, "seen": 0, **fields}
    peer.send(message)
    [answer] = peer.receive()
    assert "missed" not in answer["Subscribed"]


def test_a_subscription_is_resumed_once(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    peer.disconnect()
    send(publisher, 1)
    first, second = again(connect, peer), again(connect, peer)
    assert subscribe_to(first, "sensor", "a", 1, seen=0)["missed"] == 1
    assert "missed" not in subscribe_to(second, "sensor", "a", 1, seen=0)


def test_more_seen_than_there_was_is_none_missed(bus: Bus, connect: Connect) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    peer.disconnect()
    peer = again(connect, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=99)["missed"] == 0


def test_a_member_of_a_group_missed_what_it_had_been_given(bus: Bus, publisher: RawPeer) -> None:
    """The others get its events while it is away."""
    peer, other = json_peer(bus), json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1, 0, group="g")
    send(publisher, 1, 2)
    subscribe_to(other, "sensor", "a", 1, group="g")
    peer.disconnect()
    send(publisher, *range(3, 10))
    assert told(other.receive()) == list(range(3, 10))
    peer = again(json_peer, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=0, group="g")["missed"] == 2
    send(publisher, 10, 11)
    assert len(told(peer.receive())) == len(told(other.receive())) == 1


def test_the_only_member_of_a_group_missed_what_nobody_got(bus: Bus, publisher: RawPeer) -> None:
    peer, other = json_peer(bus), json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1, group="g")
    peer.disconnect()
    send(publisher, 1, 2)
    subscribe_to(other, "sensor", "a", 1, 0, group="g")
    send(publisher, 3)
    peer = again(json_peer, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=0, group="g")["missed"] == 2
    other.send(event_credit(1, PLENTY))
    assert told(other.receive()) == [3]


def test_what_is_retained_comes_again_only_where_nobody_knows(bus: Bus, publisher: RawPeer) -> None:
    publisher.send(publish_with("sensor", "a", 1, retain=True))
    peer = json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    assert told(peer.receive()) == [1]
    peer.disconnect()
    peer = again(json_peer, peer)
    assert subscribe_to(peer, "sensor", "a", 1, seen=1)["missed"] == 0
    assert peer.receive() == []
    peer.disconnect()
    bus.advance(31)
    peer = again(json_peer, peer)
    subscribe_to(peer, "sensor", "a", 1, seen=1)
    assert told(peer.receive()) == [1]


def test_nothing_is_kept_after_goodbye_or_without_the_feature(bus: Bus, connect: Connect) -> None:
    polite, simple, unsubscribed = connect(bus), connect(bus, features=["flow"]), connect(bus)
    for peer in (polite, simple, unsubscribed):
        subscribe_to(peer, "sensor", "a", 1)
    unsubscribe(unsubscribed, 1)
    polite.send({"Goodbye": {}})
    for peer in (polite, simple, unsubscribed):
        bus.settle()
        peer.disconnect()
    assert bus.router.events.subscriptions.count == 0
    assert len(bus.router.events.sessions) == 0
    assert bus.router.next_deadline() is None


def test_only_so_many_sessions_are_kept(bus: Bus, publisher: RawPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_DETACHED", 3)
    peers = [json_peer(bus) for _ in range(5)]
    for peer in peers:
        subscribe_to(peer, "sensor", "a", 1)
        peer.disconnect()
    assert len(bus.router.events.sessions) == bus.router.events.subscriptions.count == 3
    send(publisher, 1)
    resumed = [again(json_peer, peer) for peer in peers]
    answers = [subscribe_to(peer, "sensor", "a", 1, seen=0) for peer in resumed]
    assert [answer.get("missed") for answer in answers] == [None, None, 1, 1, 1]


def test_one_that_is_away_keeps_no_publisher_waiting(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    bus = Bus(Limits(backlog=1000))
    publisher, peer = json_peer(bus), connect(bus)
    subscribe_to(peer, "sensor", "a", 1, 0)
    send(publisher, *("x" * 300 for _ in range(5)))
    peer.disconnect()
    assert publisher.receive() == [{"Pause": {}}, {"Resume": {}}]
    send(publisher, *("x" * 300 for _ in range(100)))
    assert publisher.receive() == []
    assert bus.router.events.backpressure.dropped == 0
    assert ask(publisher, "ping") == "pong"
    publisher.disconnect()
    bus.assert_empty()


def test_one_that_is_away_holds_no_bytes_that_it_was_to_be_sent(bus: Bus, connect: Connect, publisher: RawPeer) -> None:
    peer = connect(bus)
    subscribe_to(peer, "sensor", "a", 1)
    subscribe_to(peer, "sensor", "a", 2, 0)
    peer.link.stop_taking()
    send(publisher, "x" * 10_000)
    one, other = (subscription_of(peer, id) for id in (1, 2))
    peer.disconnect()
    assert (one.backlog_bytes, other.backlog_bytes, len(other.backlog)) == (0, 0, 0)
    assert peer.peer.connection.queued == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(0, 300)),
            st.tuples(st.just("credit"), st.integers(0, 1000)),
            st.tuples(st.just("advance"), st.integers(1, 3)),
            st.tuples(st.just("lose"), st.integers(0, 2)),
        ),
        max_size=50,
    ),
    overflow=st.sampled_from(["", "drop_oldest", "latest"]),
)
def test_over_all_its_connections_it_got_or_missed_what_was_published(
    steps: list[tuple[str, int]], overflow: str
) -> None:
    bus = Bus(Limits(backlog=1000))
    publisher, peer = json_peer(bus), json_peer(bus)
    subscribe_to(peer, "sensor", "*", 1, 100, overflow=overflow)
    published = seen = 0
    for step, size in steps:
        if step == "publish":
            publisher.send(publish("sensor", str(size % 3), "x" * size))
            bus.settle()
            published += 1
        elif step == "credit":
            peer.send(event_credit(1, size))
        elif step == "advance":
            bus.advance(size)
        else:
            if size:
                seen += told_in_all(told(peer.receive()))
            peer.disconnect()  # with or without having read the last
            for _ in range(size):
                publisher.send(publish("sensor", "0", 1))
                bus.settle()
                published += 1
            peer = again(json_peer, peer)
            missed = subscribe_to(peer, "sensor", "*", 1, 100, overflow=overflow, seen=seen)["missed"]
            assert isinstance(missed, int)
            seen += missed
    peer.send(event_credit(1, PLENTY))
    assert seen + told_in_all(told(peer.receive())) == published
    publisher.disconnect()
    peer.disconnect()
    bus.assert_empty()
