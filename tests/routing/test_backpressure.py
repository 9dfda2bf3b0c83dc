"""Publishers wait for a slow subscriber, for as long as it may take, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, event, publish, register, result
from tests.seed.frames import Message, frame

LIMITS = Limits(backlog=10_000, stall=2.0, outbox=100_000)
PAYLOAD = "x" * 900  # an event is about 1,000 bytes, so that 11 of them are over the backlog
EVENT_SIZE = len(frame(event("sensor", "temperature", PAYLOAD)))
KINDS: list[Callable[..., RawPeer]] = [RawPeer, extended_peer]


def events(*numbers: int) -> list[Message]:
    return [event("sensor", "temperature", f"{number:04}{PAYLOAD}") for number in numbers]


def send_events(publisher: RawPeer, *numbers: int) -> None:
    """One frame at a time, so that the router may stop reading between them."""
    for number in numbers:
        publisher.send(publish("sensor", "temperature", f"{number:04}{PAYLOAD}"))
        publisher.bus.settle()


@pytest.fixture
def bus() -> Bus:
    return Bus(LIMITS)


@pytest.fixture(params=KINDS)
def subscriber(bus: Bus, request: pytest.FixtureRequest) -> RawPeer:
    """One whose transport is full."""
    subscriber: RawPeer = request.param(bus)
    subscriber.subscribe("sensor", "temperature")
    subscriber.link.stop_taking()
    return subscriber


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return RawPeer(bus)


def test_a_publisher_is_not_read_while_a_subscriber_is_over_the_backlog_and_again_at_half(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(9))
    assert publisher.peer.reads
    send_events(publisher, *range(9, 20))
    assert not publisher.peer.reads
    assert LIMITS.backlog < subscriber.peer.connection.queued < LIMITS.backlog + 2 * EVENT_SIZE
    while not publisher.peer.reads:
        assert subscriber.peer.connection.queued > LIMITS.backlog // 2
        subscriber.link.take(1)
    assert subscriber.peer.connection.queued > LIMITS.backlog // 2 - EVENT_SIZE
    subscriber.link.take_again()
    assert publisher.peer.reads
    assert subscriber.receive() == events(*range(20))
    assert bus.router.backpressure.dropped == 0


def test_a_stalled_subscriber_is_lagging_after_the_limit_and_nobody_waits_for_it(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(11))
    bus.advance(1.99)
    assert not publisher.peer.reads
    assert not subscriber.peer.lagging
    bus.advance(0.02)
    assert publisher.peer.reads
    assert subscriber.peer.lagging
    assert bus.router.next_deadline() is None


def test_the_events_of_a_lagging_subscriber_are_dropped_and_counted_and_it_recovers(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(11))
    bus.advance(3)
    queued = subscriber.peer.connection.queued
    send_events(publisher, *range(11, 31))
    assert publisher.peer.reads
    assert subscriber.peer.connection.queued == queued
    assert subscriber.peer.missed == 20
    assert bus.router.backpressure.dropped == 20
    subscriber.link.take_again()
    send_events(publisher, 31)
    assert subscriber.receive() == events(*range(11), 31)
    assert not subscriber.peer.lagging
    assert subscriber.peer.missed == 0
    assert bus.router.totals.delivered == 12


def test_a_lagging_subscriber_recovers_when_half_of_its_outbox_is_gone(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(11))
    bus.advance(3)
    subscriber.link.take(EVENT_SIZE)
    assert subscriber.peer.lagging
    subscriber.link.take(LIMITS.backlog // 2)
    assert not subscriber.peer.lagging
    send_events(publisher, 11)
    subscriber.link.take_again()
    assert subscriber.receive() == events(*range(12))


def test_a_subscriber_that_stalls_again_is_waited_for_again(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    send_events(publisher, *range(11))
    bus.advance(3)
    subscriber.link.take_again()
    subscriber.link.stop_taking()
    send_events(publisher, *range(11, 22))
    assert not publisher.peer.reads
    bus.advance(1.9)
    assert not publisher.peer.reads
    bus.advance(0.2)
    assert publisher.peer.reads


def test_a_slow_subscriber_that_moves_loses_nothing(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    publisher_waited = False
    for number in range(100):
        send_events(publisher, number)
        if number % 2:
            bus.advance(1.5)
            subscriber.link.take(EVENT_SIZE)
        publisher_waited = publisher_waited or not publisher.peer.reads
    while subscriber.peer.connection.queued:
        bus.advance(1.9)
        subscriber.link.take(EVENT_SIZE)
    assert publisher_waited
    assert subscriber.receive() == events(*range(100))
    assert bus.router.backpressure.dropped == 0


def test_one_stalled_subscriber_delays_the_others_by_the_stall_limit_at_most(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    other = extended_peer(bus)
    other.subscribe("sensor", "temperature")
    send_events(publisher, *range(30))
    assert len(other.receive()) < 30
    bus.advance(LIMITS.stall)
    assert len(other.receive()) > 0
    assert publisher.peer.reads
    send_events(publisher, 30)
    assert other.receive() == events(30)


def test_a_stalled_subscriber_delays_no_call_and_no_publisher_of_other_topics(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    worker, caller, other_publisher, listener = (extended_peer(bus) for _ in range(4))
    worker.register("math")
    listener.subscribe("clock", "tick")
    send_events(publisher, *range(11))
    assert not publisher.peer.reads
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(worker.receive()) == 1
    worker.send(result(f"{caller.prefix}1", "math", 42))
    assert caller.receive() == [result(f"{caller.prefix}1", "math", 42)]
    other_publisher.send(publish("clock", "tick", 1))
    assert listener.receive() == [event("clock", "tick", 1)]
    assert other_publisher.peer.reads


def test_a_publisher_that_waits_still_gets_its_answers(bus: Bus, subscriber: RawPeer) -> None:
    worker, publisher = RawPeer(bus, "math"), extended_peer(bus)
    publisher.send(call(f"{publisher.prefix}1", "math", "add"))
    worker.receive()
    send_events(publisher, *range(11))
    assert not publisher.peer.reads
    worker.send(result(f"{publisher.prefix}1", "math", 42))
    assert publisher.receive() == [result(f"{publisher.prefix}1", "math", 42)]


def test_several_publishers_wait_and_go_on_together(bus: Bus, subscriber: RawPeer) -> None:
    publishers = [RawPeer(bus) for _ in range(3)]
    send_events(publishers[0], *range(11))
    for publisher in publishers[1:]:
        assert publisher.peer.reads
        send_events(publisher, 11)
    assert [publisher.peer.reads for publisher in publishers] == [False] * 3
    subscriber.link.take_again()
    assert [publisher.peer.reads for publisher in publishers] == [True] * 3
    assert subscriber.receive() == events(*range(11), 11, 11)


def test_a_publisher_waits_for_the_last_of_several_subscribers(bus: Bus, publisher: RawPeer) -> None:
    subscribers = [extended_peer(bus), RawPeer(bus)]
    for subscriber in subscribers:
        subscriber.subscribe("sensor", "temperature")
        subscriber.link.stop_taking()
    send_events(publisher, *range(11))
    subscribers[0].link.take_again()
    assert not publisher.peer.reads
    assert publisher.peer.waits_for == {subscribers[1].peer}
    subscribers[1].link.take_again()
    assert publisher.peer.reads
    assert [subscriber.receive() for subscriber in subscribers] == [events(*range(11))] * 2


def test_a_subscriber_that_leaves_lets_its_publishers_go_on(bus: Bus, subscriber: RawPeer, publisher: RawPeer) -> None:
    send_events(publisher, *range(11))
    subscriber.disconnect()
    assert publisher.peer.reads
    assert not publisher.peer.waits_for
    assert bus.router.next_deadline() is None
    publisher.disconnect()
    bus.assert_empty()


def test_a_publisher_that_leaves_while_it_waits_leaves_nothing_behind(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    other = RawPeer(bus)
    send_events(publisher, *range(11))
    send_events(other, 11)
    publisher.disconnect()
    assert subscriber.peer.blocks == {other.peer}
    subscriber.link.take_again()
    assert other.peer.reads
    assert subscriber.receive() == events(*range(12))
    subscriber.disconnect()
    other.disconnect()
    bus.assert_empty()


def test_a_lagging_subscriber_that_leaves_leaves_nothing_behind(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(11))
    bus.advance(3)
    send_events(publisher, 11)
    subscriber.disconnect()
    publisher.disconnect()
    bus.assert_empty()


def test_a_full_subscriber_that_unsubscribes_lets_its_publisher_go_on_in_time(bus: Bus, publisher: RawPeer) -> None:
    subscriber = extended_peer(bus)
    subscriber.subscribe("sensor", "temperature")
    subscriber.link.stop_taking()
    send_events(publisher, *range(11))
    wish = call(f"{subscriber.prefix}1", "rob", "unsubscribe", {"object_name": "sensor", "topic": "temperature"})
    subscriber.send(wish)
    bus.advance(LIMITS.stall)
    assert publisher.peer.reads


@pytest.mark.parametrize("kind", KINDS)
def test_a_publisher_subscribed_to_itself_waits_for_itself_only(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    peer = kind(bus)
    peer.subscribe("sensor", "temperature")
    peer.link.stop_taking()
    send_events(peer, *range(11))
    assert not peer.peer.reads
    peer.link.take_again()
    assert peer.peer.reads
    assert peer.receive() == events(*range(11))
    peer.link.stop_taking()
    send_events(peer, *range(11))
    bus.advance(LIMITS.stall)
    assert peer.peer.reads
    peer.disconnect()
    bus.assert_empty()


def test_two_peers_that_wait_for_each_other_go_on(bus: Bus) -> None:
    pair = [extended_peer(bus), extended_peer(bus)]
    for peer, topic in zip(pair, "ab", strict=True):
        peer.subscribe("sensor", topic)
        peer.link.stop_taking()
    for _ in range(11):
        for peer, topic in zip(pair, "ba", strict=True):
            peer.send(publish("sensor", topic, PAYLOAD))
            bus.settle()
    assert [peer.peer.reads for peer in pair] == [False, False]
    bus.advance(LIMITS.stall)
    assert [peer.peer.reads for peer in pair] == [True, True]
    for peer in pair:
        peer.disconnect()
    bus.assert_empty()


def test_an_event_over_the_backlog_that_meets_an_empty_outbox_is_delivered() -> None:
    bus = Bus(Limits(backlog=100))
    subscriber, publisher = extended_peer(bus), RawPeer(bus)
    subscriber.subscribe("sensor", "temperature")
    subscriber.link.stop_taking()
    send_events(publisher, 1)
    subscriber.link.take_again()
    assert subscriber.receive() == events(1)


def test_the_end_of_a_waiting_publishers_input_is_seen_after_all_that_it_sent(
    bus: Bus, subscriber: RawPeer, publisher: RawPeer
) -> None:
    send_events(publisher, *range(20))
    publisher.link.end_input()
    assert not publisher.ended
    subscriber.link.take_again()
    assert publisher.ended
    assert subscriber.receive() == events(*range(20))


@pytest.mark.parametrize("kind", KINDS)
def test_events_of_rob_for_a_stalled_subscriber_are_bounded_too(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    """Nobody can be made to wait for it: whoever registers names is read from all the time."""
    watcher, worker = kind(bus), extended_peer(bus)
    watcher.subscribe("rob", "object.registered")
    watcher.link.stop_taking()
    for number in range(1000):
        worker.send(register("math"), call(f"{worker.prefix}{number}", "rob", "unregister", {"object_name": "math"}))
        assert worker.peer.reads
        bus.advance(LIMITS.stall / 10)
    assert watcher.peer.connection.queued < 2 * LIMITS.backlog
    assert watcher.peer.lagging
    dropped = bus.router.backpressure.dropped
    assert dropped > 0
    watcher.link.take_again()
    assert len(watcher.receive()) == 1000 - dropped
    worker.receive()
    worker.register("text")
    assert watcher.receive() == [event("rob", "object.registered", {"object": "text"})]
    worker.disconnect()
    watcher.disconnect()
    bus.assert_empty()
