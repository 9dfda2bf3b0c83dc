"""A subscription gets events as far as its credit goes; the rest waits for it, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import call, publish, result
from tests.routing.peers import ids_of, json_peer, packed_peer, stats
from tests.routing.subscribers import (
    PLENTY,
    ask,
    assert_in_their_places,
    event_credit,
    event_for,
    missed,
    size_for,
    subscribe_to,
    subscription_of,
    told,
    told_in_all,
    unsubscribe,
)
from tests.seed.frames import Json

Connect: TypeAlias = Callable[[Bus], RawPeer]
KINDS: list[Connect] = [json_peer, packed_peer]


@pytest.fixture(params=KINDS)
def subscriber(bus: Bus, request: pytest.FixtureRequest) -> RawPeer:
    connect: Connect = request.param
    return connect(bus)


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def send(publisher: RawPeer, *values: Json) -> None:
    publisher.send(*(publish("sensor", "a", value) for value in values))


def test_each_event_costs_the_bytes_of_its_frame(subscriber: RawPeer, publisher: RawPeer) -> None:
    size = size_for(subscriber, event_for(1, "sensor", "a", 1))
    subscribe_to(subscriber, "sensor", "a", 1, 3 * size)
    send(publisher, 1, 2, 3, 4, 5)
    assert told(subscriber.receive()) == [1, 2, 3]
    assert subscription_of(subscriber, 1).credit == 0
    assert subscription_of(subscriber, 1).backlog_bytes == 2 * size


def test_the_last_byte_of_credit_lets_one_frame_pass(subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 1)
    size = size_for(subscriber, event_for(1, "sensor", "a", "x" * 1000))
    send(publisher, "x" * 1000, "y" * 1000)
    assert told(subscriber.receive()) == ["x" * 1000]
    assert subscription_of(subscriber, 1).credit == 1 - size
    subscriber.send(event_credit(1, size - 1))
    assert subscriber.receive() == []
    subscriber.send(event_credit(1, 1))
    assert told(subscriber.receive()) == ["y" * 1000]


def test_what_waits_comes_in_order_and_before_what_is_published_later(subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    send(publisher, *range(5))
    assert subscriber.receive() == []
    subscriber.send(event_credit(1, 1))
    assert told(subscriber.receive()) == [0]
    send(publisher, 5, 6)
    subscriber.send(event_credit(1, PLENTY))
    send(publisher, 7)
    assert told(subscriber.receive()) == [1, 2, 3, 4, 5, 6, 7]
    assert subscription_of(subscriber, 1).backlog_bytes == 0


def test_an_event_that_meets_credit_and_nothing_that_waits_goes_however_long_it_is() -> None:
    bus = Bus(Limits(backlog=10))
    subscriber, publisher = packed_peer(bus), packed_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, 1)
    send(publisher, "x" * 60_000)
    assert told(subscriber.receive()) == ["x" * 60_000]
    assert publisher.receive() == []


def test_credit_without_events_adds_up_to_a_limit(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 2**53 - 1)
    subscriber.send(*[event_credit(1, 2**53 - 1)] * 3, event_credit(2, 5), event_credit(0, 5))
    assert subscriber.receive() == []
    assert subscription_of(subscriber, 1).credit <= 2**53
    send(publisher, 1)
    assert told(subscriber.receive()) == [1]


def test_each_subscription_has_its_own_credit(subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    subscribe_to(subscriber, "sensor", "a", 2)
    send(publisher, 1)
    assert subscriber.receive() == [event_for(2, "sensor", "a", 1)]
    subscriber.send(event_credit(1, 1))
    assert subscriber.receive() == [event_for(1, "sensor", "a", 1)]


def test_answers_do_not_wait_behind_events_without_credit(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    send(publisher, *["x" * 1000] * 100)
    worker = json_peer(bus, "math")
    subscriber.send(call(f"{subscriber.prefix}1", "math", "add"))
    [call_id] = ids_of(worker.receive())
    worker.send(result(call_id, "math", 42))
    assert subscriber.receive() == [result(f"{subscriber.prefix}1", "math", 42)]


def test_unsubscribing_forgets_what_waits(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    send(publisher, 1, 2)
    unsubscribe(subscriber, 1)
    subscriber.send(event_credit(1, PLENTY))
    assert subscriber.receive() == []
    assert ask(subscriber, "ping") == "pong"


def test_an_event_that_is_too_large_for_its_subscriber_is_missed_in_its_place(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    other = packed_peer(bus, max_frame=100_000)
    subscribe_to(subscriber, "sensor", "a", 1, 1)
    subscribe_to(other, "sensor", "a", 1)
    send(publisher, "x" * 70_000)  # credit stays, so that the next still goes
    assert subscriber.receive() == [missed(1, 1)]
    [refusal] = publisher.receive()
    assert refusal["Error"] == {**refusal["Error"], "code": "too_large", "type": "Publish", "call_id": None}
    send(publisher, 1, 2, "x" * 70_000, "x" * 70_000, 3)
    assert len(publisher.receive()) == 2
    assert told(subscriber.receive()) == [1]
    subscriber.send(event_credit(1, PLENTY))
    assert told(subscriber.receive()) == [2, "missed 2", 3]
    assert [len(str(value)) for value in told(other.receive())] == [70_000, 1, 1, 70_000, 70_000, 1]


@pytest.mark.parametrize("overflow", ["", "drop_oldest", "latest"])
def test_large_events_go_out_and_wait_as_others_do(bus: Bus, overflow: str) -> None:
    """Their values are not copied on their way."""
    publisher = packed_peer(bus, max_frame=1 << 26)
    peers = [connect(bus, max_frame=1 << 26) for connect in (packed_peer, packed_peer, json_peer)]
    for id, peer in enumerate(peers, 1):
        subscribe_to(peer, "sensor", "a", id, 1, overflow=overflow)
    values: list[Json] = [letter * 300_000 for letter in "ab"]
    send(publisher, *values)
    bus.settle()
    for id, peer in enumerate(peers, 1):
        waiting = size_for(peer, event_for(id, "sensor", "a", values[1]))
        assert subscription_of(peer, id).backlog_bytes == waiting
        assert peer.receive() == [event_for(id, "sensor", "a", values[0])]
        peer.send(event_credit(id, PLENTY))
        assert peer.receive() == [event_for(id, "sensor", "a", values[1])]
        assert subscription_of(peer, id).backlog_bytes == 0


def test_being_told_of_missed_events_costs_no_credit(subscriber: RawPeer, publisher: RawPeer) -> None:
    """Its subscriber gives back what events cost."""
    subscribe_to(subscriber, "sensor", "a", 1, 0)
    for number in range(1, 100):
        send(publisher, "x" * 70_000, number)
        subscriber.send(event_credit(1, size_for(subscriber, event_for(1, "sensor", "a", number))))
        assert told(subscriber.receive()) == ["missed 1", number]
    assert subscription_of(subscriber, 1).credit == 0


def test_stats_count_what_was_published_and_delivered(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    subscribe_to(subscriber, "sensor", "a", 1, 1)
    subscribe_to(subscriber, "sensor", "*", 2)
    send(publisher, 1, 2)
    publisher.receive()
    totals = stats(publisher)["totals"]
    assert totals == {**totals, "published": 2, "delivered": 4, "dropped": 0}


# Whatever happens: what came and what it was told of as missed is what was published, in order

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 400)),
        st.tuples(st.just("credit"), st.integers(0, 1500)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
        st.tuples(st.just("too large"), st.just(66_000)),
    ),
    max_size=60,
)


@pytest.mark.parametrize("connect", KINDS)
@pytest.mark.parametrize("overflow", ["", "drop_oldest", "latest"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=STEPS, credit=st.integers(0, 500))
def test_delivered_and_missed_are_together_what_was_published(
    connect: Connect, overflow: str, steps: list[tuple[str, int]], credit: int
) -> None:
    bus = Bus(Limits(backlog=1000, stall=2.0))
    subscriber, publisher = connect(bus), packed_peer(bus)
    subscribe_to(subscriber, "sensor", "a", 1, credit, overflow=overflow)
    published = 0
    got: list[Json] = []
    for step, size in steps:
        if step in ("publish", "too large"):
            send(publisher, f"{published:06}" + "x" * size)
            published += 1
        elif step == "credit":
            subscriber.send(event_credit(1, size))
        else:
            bus.advance(size)
        got += told(subscriber.receive())
        one = subscription_of(subscriber, 1)
        assert one.credit > -600
        assert one.credit <= 0 or not one.backlog
        assert one.backlog_bytes < 1000 + 600 or not overflow, (
            "without it, its publisher is asked to pause, and does not"
        )
        if overflow != "latest":
            assert_in_their_places(got)
    subscriber.send(event_credit(1, PLENTY))
    got += told(subscriber.receive())
    assert told_in_all(got) == published == subscription_of(subscriber, 1).position
    one = subscription_of(subscriber, 1)
    assert (one.backlog_bytes, one.gap, one.dropped, one.lagging, one.full) == (0, 0, 0, False, False)
    assert not bus.router.events.backpressure.full
    subscriber.disconnect()
    publisher.disconnect()
    bus.assert_empty()
