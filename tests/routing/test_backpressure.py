"""Who has to wait for a slow subscriber, and how it is told."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.routing import backpressure
from tests.memory import Bus, RawPeer
from tests.messages import call, publish, result
from tests.routing.peers import ids_of, json_peer, packed_peer
from tests.routing.slow import LIMITS, Slow, SlowExtended, SlowSeed, send_events, slow_bus, slow_value
from tests.routing.subscribers import (
    PAUSE,
    RESUME,
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


def test_a_publisher_is_told_to_pause_over_the_backlog_and_to_resume_at_half(slow: Slow, publisher: RawPeer) -> None:
    send_events(publisher, *range(11))
    assert publisher.receive() == []
    send_events(publisher, 11)
    assert publisher.receive() == [PAUSE]
    assert LIMITS.backlog < slow.feed.backlog_bytes < LIMITS.backlog + 2000
    while slow.feed.backlog_bytes > LIMITS.backlog // 2:
        assert publisher.receive() == []
        slow.take(1)
    assert publisher.receive() == [RESUME]
    assert slow.feed.backlog_bytes > LIMITS.backlog // 2 - 1000
    slow.take_all()
    assert slow.received() == list(range(12))
    assert publisher.receive() == []


def test_a_seed_publisher_is_not_read_over_the_backlog_and_again_at_half(slow: Slow, seed: RawPeer) -> None:
    send_events(seed, *range(11))
    assert seed.peer.reads
    send_events(seed, *range(11, 20))
    assert not seed.peer.reads
    assert LIMITS.backlog < slow.feed.backlog_bytes < LIMITS.backlog + 2000
    while slow.feed.backlog_bytes > LIMITS.backlog // 2:
        assert not seed.peer.reads
        slow.take(1)
    slow.take_all()
    slow.take_all()
    assert seed.peer.reads
    assert slow.received() == list(range(20))
    assert seed.receive() == []


def test_an_extended_publisher_without_the_feature_is_not_read(bus: Bus, slow: Slow) -> None:
    publisher = json_peer(bus, features=["multiplex"])
    send_events(publisher, *range(12))
    assert not publisher.peer.reads
    slow.take_all()
    assert publisher.peer.reads
    assert publisher.receive() == []


def test_a_paused_publisher_still_calls_and_answers(bus: Bus, slow: Slow, publisher: RawPeer) -> None:
    worker = json_peer(bus, "math")
    publisher.register("text")
    send_events(publisher, *range(12))
    assert publisher.receive() == [PAUSE]
    publisher.send(call(f"{publisher.prefix}1", "math", "add"))
    [given] = ids_of(worker.receive())
    worker.send(result(given, "math", 42), call(f"{worker.prefix}1", "text", "upper"))
    received = publisher.receive()
    assert result(given, "math", 42) in received
    publisher.send(result(ids_of(received)[0], "text", "A"))
    assert worker.receive() == [result(f"{worker.prefix}1", "text", "A")]
    assert publisher.peer.reads


def test_what_was_on_its_way_after_pause_is_taken(slow: Slow, publisher: RawPeer) -> None:
    publisher.send(*(publish("sensor", "temperature", slow_value(number)) for number in range(15)))
    assert publisher.receive() == [PAUSE]
    assert publisher.peer.reads
    slow.take_all()
    assert slow.received() == list(range(15))
    assert publisher.receive() == [RESUME]


def test_who_ignores_pause_is_not_read_until_resume(slow: Slow, publisher: RawPeer) -> None:
    send_events(publisher, *range(30))
    assert not publisher.peer.reads
    assert slow.feed.backlog_bytes < LIMITS.backlog + backpressure.OVERRUN + 2000
    assert publisher.receive() == [PAUSE]
    while slow.feed.backlog_bytes:
        slow.take_all()
    slow.take_all()
    assert publisher.peer.reads
    assert slow.received() == list(range(30))
    assert publisher.receive() == [RESUME, PAUSE, RESUME]


def test_what_is_on_its_way_counts_once_however_many_subscribers_are_slow(bus: Bus, publisher: RawPeer) -> None:
    slow = [SlowExtended(bus) for _ in range(10)]
    publisher.send(*(publish("sensor", "temperature", slow_value(number)) for number in range(15)))
    assert publisher.receive() == [PAUSE]
    assert publisher.peer.reads
    for one in slow:
        assert publisher.receive() == []
        one.take_all()
    assert publisher.receive() == [RESUME]


def test_several_publishers_wait_and_go_on_together(bus: Bus, slow: Slow) -> None:
    publishers = [RawPeer(bus), json_peer(bus), packed_peer(bus)]
    send_events(publishers[0], *range(12))
    assert [publisher.peer.paused or not publisher.peer.reads for publisher in publishers] == [True, False, False]
    for publisher in publishers[1:]:
        send_events(publisher, 12)
    assert [publisher.peer.paused or not publisher.peer.reads for publisher in publishers] == [True] * 3
    assert [publisher.receive() for publisher in publishers] == [[], [PAUSE], [PAUSE]]
    slow.take_all()
    assert [publisher.receive() for publisher in publishers] == [[], [RESUME], [RESUME]]
    assert [publisher.peer.paused or not publisher.peer.reads for publisher in publishers] == [False] * 3
    assert slow.received() == [*range(12), 12, 12]


def test_a_publisher_waits_for_the_last_of_several_subscribers(bus: Bus, publisher: RawPeer) -> None:
    first, second = SlowSeed(bus), SlowExtended(bus)
    send_events(publisher, *range(12))
    first.take_all()
    assert publisher.receive() == [PAUSE]
    assert publisher.peer.waits_for == {second.feed}
    second.take_all()
    assert publisher.receive() == [RESUME]
    assert first.received() == second.received() == list(range(12))


def test_a_slow_subscriber_that_moves_loses_nothing(bus: Bus, slow: Slow, seed: RawPeer) -> None:
    waited = False
    for number in range(100):
        send_events(seed, number)
        if number % 2:
            bus.advance(1.5)
            slow.take(1)
        waited = waited or not seed.peer.reads
    while slow.feed.backlog_bytes:
        bus.advance(1.9)
        slow.take(1)
    slow.take_all()
    assert waited
    assert slow.received() == list(range(100))
    assert bus.router.events.backpressure.dropped == 0


@pytest.mark.parametrize("kind", [RawPeer, json_peer])
def test_an_event_over_the_backlog_that_meets_an_empty_queue_is_delivered(kind: type[RawPeer]) -> None:
    bus = Bus(Limits(backlog=100))
    slow, publisher = SlowExtended(bus), kind(bus)
    send_events(publisher, 0, 1)
    slow.take_all()
    assert slow.received() == [0, 1]
    assert publisher.peer.reads
    assert not publisher.peer.paused


def test_the_end_of_a_waiting_publishers_input_is_seen_after_all_that_it_sent(slow: Slow, seed: RawPeer) -> None:
    send_events(seed, *range(20))
    seed.link.end_input()
    assert not seed.ended
    while slow.feed.backlog_bytes:
        slow.take_all()
    assert seed.ended
    assert slow.received() == list(range(20))
