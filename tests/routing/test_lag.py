"""For how long publishers wait for a slow subscriber; and nobody else does."""

from __future__ import annotations

import logging

import pytest

from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, publish, register, result
from tests.routing.peers import ids_of, json_peer, stats
from tests.routing.slow import LIMITS, PAYLOAD, Slow, SlowExtended, SlowSeed, numbers, send_events, slow_bus
from tests.routing.subscribers import (
    PAUSE,
    RESUME,
    ask,
    event_credit,
    subscribe_to,
    subscription_of,
    told,
    unsubscribe,
)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    return slow_bus(monkeypatch)


@pytest.fixture(params=[SlowSeed, SlowExtended])
def slow(bus: Bus, request: pytest.FixtureRequest) -> Slow:
    slow: Slow = request.param(bus)
    return slow


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    """One that can be told to pause."""
    return json_peer(bus)


@pytest.fixture
def seed(bus: Bus) -> RawPeer:
    """One that can only be read from, or not."""
    return RawPeer(bus)


def test_nobody_waits_longer_than_the_limit_for_one_that_takes_nothing(
    bus: Bus, slow: Slow, publisher: RawPeer, seed: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    send_events(publisher, *range(12))
    bus.advance(1.0)
    send_events(seed, 12)
    bus.advance(0.99)
    assert publisher.receive() == [PAUSE]
    assert not seed.peer.reads
    assert not slow.feed.lagging
    caplog.clear()
    bus.advance(0.02)
    assert publisher.receive() == [RESUME]
    assert seed.peer.reads
    assert slow.feed.lagging
    assert bus.router.next_deadline() is None
    [record] = caplog.records
    assert f"{slow.raw.peer.describe()}, subscribed to 'sensor' 'temperature', has" in record.getMessage()
    assert "has taken nothing for 2 s" in record.getMessage()


def test_the_events_of_a_lagging_subscriber_are_dropped_counted_and_logged(
    bus: Bus, slow: Slow, publisher: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    send_events(publisher, *range(12))
    bus.advance(3)
    assert publisher.receive() == [PAUSE, RESUME]
    waiting = slow.feed.backlog_bytes
    caplog.clear()
    send_events(publisher, *range(12, 32))
    assert publisher.receive() == []
    assert slow.feed.backlog_bytes == waiting
    assert slow.feed.missed == 20
    assert stats(publisher)["totals"]["dropped"] == 20
    [record] = caplog.records
    assert "its events are dropped from now on" in record.getMessage()
    caplog.clear()
    slow.take_all()
    assert not slow.feed.lagging
    [record] = caplog.records
    assert "takes events again; it missed 20" in record.getMessage()
    slow.take_all()
    send_events(publisher, 32)
    slow.take_all()
    expected = [*range(12), *(["missed 20"] if isinstance(slow, SlowExtended) else []), 32]
    assert slow.received() == expected
    assert slow.feed.missed == 0
    assert bus.router.events.delivered == 13


def test_a_lagging_subscriber_gets_events_again_when_half_was_taken(bus: Bus, publisher: RawPeer) -> None:
    slow = SlowExtended(bus)
    send_events(publisher, *range(12))
    bus.advance(3)
    send_events(publisher, 12, 13)
    slow.take(2)
    assert slow.feed.lagging
    send_events(publisher, 14)
    slow.take(5)
    assert not slow.feed.lagging
    send_events(publisher, 15)
    assert publisher.receive() == [PAUSE, RESUME]
    slow.take_all()
    assert slow.received() == [*range(12), "missed 3", 15]


def test_a_subscriber_that_stalls_again_is_waited_for_again(bus: Bus, slow: Slow, seed: RawPeer) -> None:
    send_events(seed, *range(12))
    bus.advance(3)
    slow.take_all()
    send_events(seed, *range(12, 24))
    assert not seed.peer.reads
    bus.advance(1.9)
    assert not seed.peer.reads
    bus.advance(0.2)
    assert seed.peer.reads


def test_credit_of_nothing_is_nothing_taken(bus: Bus, seed: RawPeer) -> None:
    slow = SlowExtended(bus)
    send_events(seed, *range(12))
    for _ in range(4):
        bus.advance(0.6)
        slow.raw.send(event_credit(1, 0))
        bus.settle()
    assert slow.feed.lagging
    assert seed.peer.reads


# Nobody else waits


def test_one_stalled_subscriber_delays_the_others_by_the_stall_limit_at_most(
    bus: Bus, slow: Slow, publisher: RawPeer, seed: RawPeer
) -> None:
    other = json_peer(bus)
    subscribe_to(other, "sensor", "temperature", 1)
    send_events(publisher, *range(12))
    send_events(seed, *range(12, 16))
    assert numbers(other.receive()) == list(range(13))
    bus.advance(LIMITS.stall)
    assert numbers(other.receive()) == [13, 14, 15]
    assert publisher.receive() == [PAUSE, RESUME]
    send_events(publisher, 16)
    assert numbers(other.receive()) == [16]


def test_a_stalled_subscriber_delays_no_call_and_no_publisher_of_other_topics(
    bus: Bus, slow: Slow, seed: RawPeer
) -> None:
    worker, caller, other_publisher, listener = (extended_peer(bus) for _ in range(4))
    worker.register("math")
    listener.subscribe("clock", "tick")
    send_events(seed, *range(12))
    assert not seed.peer.reads
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(worker.receive()) == 1
    worker.send(result(f"{caller.prefix}1", "math", 42))
    assert caller.receive() == [result(f"{caller.prefix}1", "math", 42)]
    other_publisher.send(publish("clock", "tick", 1))
    assert told(listener.receive()) == [1]
    assert other_publisher.peer.reads


def test_a_seed_publisher_that_waits_still_gets_its_answers(bus: Bus, slow: Slow, seed: RawPeer) -> None:
    worker = RawPeer(bus, "math")
    seed.send(call("1", "math", "add"))
    [given] = ids_of(worker.receive())
    send_events(seed, *range(12))
    assert not seed.peer.reads
    worker.send(result(given, "math", 42))
    assert seed.receive() == [result("1", "math", 42)]


# Those who leave


def test_a_subscriber_that_leaves_lets_its_publishers_go_on(
    bus: Bus, slow: Slow, publisher: RawPeer, seed: RawPeer
) -> None:
    send_events(publisher, *range(12))
    send_events(seed, 12)
    slow.raw.disconnect()
    assert seed.peer.reads
    assert publisher.receive() == [PAUSE, RESUME]
    assert not publisher.peer.waits_for
    publisher.disconnect()
    seed.disconnect()
    bus.assert_empty()


def test_a_publisher_that_leaves_while_it_waits_leaves_nothing_behind(
    bus: Bus, slow: Slow, publisher: RawPeer, seed: RawPeer
) -> None:
    send_events(publisher, *range(12))
    send_events(seed, 12)
    publisher.disconnect()
    assert slow.feed.blocks == {seed.peer}
    slow.take_all()
    assert seed.peer.reads
    assert slow.received() == list(range(13))
    slow.raw.disconnect()
    seed.disconnect()
    bus.assert_empty()


def test_a_lagging_subscriber_that_leaves_leaves_nothing_behind(
    bus: Bus, slow: Slow, publisher: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    send_events(publisher, *range(12))
    bus.advance(3)
    send_events(publisher, 12, 13)
    caplog.clear()
    caplog.set_level(logging.WARNING)
    slow.raw.disconnect()
    assert caplog.records[0].getMessage().endswith("left without the last 2 events")
    publisher.disconnect()
    bus.assert_empty()


def test_a_full_subscription_that_ends_lets_its_publisher_go_on(bus: Bus, publisher: RawPeer) -> None:
    slow = SlowExtended(bus)
    send_events(publisher, *range(12))
    slow.raw.receive()
    unsubscribe(slow.raw, 1)
    assert publisher.receive() == [PAUSE, RESUME]
    assert not bus.router.events.backpressure.full
    assert bus.router.next_deadline() is None


def test_a_publisher_subscribed_to_itself_waits_for_itself_only(bus: Bus, slow: Slow) -> None:
    send_events(slow.raw, *range(12))
    bus.advance(LIMITS.stall)
    assert slow.raw.peer.reads
    assert not slow.raw.peer.paused
    slow.raw.disconnect()
    bus.assert_empty()


def test_two_peers_that_wait_for_each_other_go_on(bus: Bus) -> None:
    pair = [RawPeer(bus), RawPeer(bus)]
    for peer, topic in zip(pair, "ab", strict=True):
        peer.subscribe("sensor", topic)
        peer.link.stop_taking()
    for _ in range(12):
        for peer, topic in zip(pair, "ba", strict=True):
            peer.send(publish("sensor", topic, PAYLOAD))
            bus.settle()
    assert [peer.peer.reads for peer in pair] == [False, False]
    bus.advance(LIMITS.stall)
    assert [peer.peer.reads for peer in pair] == [True, True]
    for peer in pair:
        peer.disconnect()
    bus.assert_empty()


def test_events_of_rob_for_a_stalled_subscriber_are_bounded_too(bus: Bus) -> None:
    """Nobody can be made to wait for it: whoever registers names is read from all the time."""
    watcher, worker = json_peer(bus), json_peer(bus)
    subscribe_to(watcher, "rob", "object.>", 1, 0)
    for number in range(500):
        worker.send(register("math"), call(f"{worker.prefix}{number}", "rob", "unregister", {"object_name": "math"}))
        assert worker.peer.reads
        bus.advance(LIMITS.stall / 10)
    one = subscription_of(watcher, 1)
    assert one.backlog_bytes < 2 * LIMITS.backlog
    assert one.lagging
    assert PAUSE not in worker.receive()
    dropped = bus.router.events.backpressure.dropped
    assert dropped > 0
    watcher.send(event_credit(1, 10**6))
    *events, gap = watcher.receive()
    assert len(events) == 1000 - dropped
    assert gap == {"Missed": {"subscription": 1, "count": dropped}}
    worker.register("text")
    assert told(watcher.receive()) == [{"object": "text"}]
    assert ask(watcher, "ping") == "pong"
    worker.disconnect()
    watcher.disconnect()
    bus.assert_empty()
