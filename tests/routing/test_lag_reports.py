"""What is said of slow subscribers: in the log, and by `rob.stats`."""

from __future__ import annotations

import logging

import pytest

from tests.memory import Bus, RawPeer
from tests.messages import call
from tests.routing.peers import json_peer, stats
from tests.routing.slow import LIMITS, Slow, SlowExtended, SlowSeed, send_events, slow_bus
from tests.routing.subscribers import unsubscribe
from tests.seed.frames import Message


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
def watcher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def counted(watcher: RawPeer) -> tuple[int, int]:
    """Subscriptions that are lagging, and publishers that wait."""
    found = stats(watcher)
    return found["subscriptions_lagging"], found["publishers_paused"]


def test_lagging_subscriptions_and_waiting_publishers_are_counted(
    bus: Bus, slow: Slow, publisher: RawPeer, watcher: RawPeer
) -> None:
    seed = RawPeer(bus)
    assert counted(watcher) == (0, 0)
    send_events(publisher, *range(12))
    assert counted(watcher) == (0, 1)
    send_events(seed, 12)
    assert counted(watcher) == (0, 2)
    bus.advance(LIMITS.stall)
    assert counted(watcher) == (1, 0)
    slow.take_all()
    assert counted(watcher) == (0, 0)


def test_those_who_leave_are_counted_no_more(bus: Bus, slow: Slow, publisher: RawPeer, watcher: RawPeer) -> None:
    other = json_peer(bus)
    send_events(publisher, *range(12))
    send_events(other, 12)
    assert counted(watcher) == (0, 2)
    publisher.disconnect()
    assert counted(watcher) == (0, 1)
    bus.advance(LIMITS.stall)
    assert counted(watcher) == (1, 0)
    slow.raw.disconnect()  # the session of an extended peer is kept for a while, and gets nothing meanwhile
    assert counted(watcher) == (0, 0)


def test_a_lagging_subscription_that_is_given_up_is_counted_no_more(
    bus: Bus, publisher: RawPeer, watcher: RawPeer
) -> None:
    slow = SlowExtended(bus)
    send_events(publisher, *range(12))
    bus.advance(LIMITS.stall)
    assert counted(watcher) == (1, 0)
    slow.raw.receive()
    unsubscribe(slow.raw, 1)
    assert counted(watcher) == (0, 0)


def test_it_is_logged_that_a_subscriber_lags_and_that_it_keeps_up_again(
    bus: Bus, slow: Slow, publisher: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    send_events(publisher, *range(12))
    who = f"{slow.raw.peer.describe()}, subscribed to 'sensor' 'temperature',"
    caplog.set_level(logging.INFO)
    caplog.clear()
    bus.advance(LIMITS.stall)
    slow.take_all()
    lagging, again = caplog.records
    assert (lagging.levelno, again.levelno) == (logging.WARNING, logging.INFO)
    assert lagging.getMessage().startswith(f"{who} has taken nothing for 2 s with ")
    assert again.getMessage() == f"{who} takes events again; it missed 0"


def test_what_it_missed_is_a_warning(
    bus: Bus, slow: Slow, publisher: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else is told what a seed subscriber missed."""
    send_events(publisher, *range(12))
    bus.advance(LIMITS.stall)
    send_events(publisher, 12, 13)
    slow.take_all()
    assert caplog.records[-1].levelno == logging.WARNING
    assert caplog.records[-1].getMessage().endswith("'temperature', takes events again; it missed 2")


def test_a_seed_subscriber_of_several_topics_is_logged_with_one_of_them(
    bus: Bus, publisher: RawPeer, caplog: pytest.LogCaptureFixture
) -> None:
    """All its events wait in one line, also of those that it has just given up."""
    slow = SlowSeed(bus)
    slow.take_all()
    slow.raw.link.take_again()
    slow.raw.subscribe("sensor", "pressure")
    slow.raw.link.stop_taking()
    caplog.set_level(logging.INFO)
    send_events(publisher, *range(12))
    bus.advance(LIMITS.stall)
    assert ", subscribed to 'sensor' 'temperature' and 1 more, has taken" in caplog.records[-1].getMessage()
    slow.raw.send(give_up("pressure"), give_up("temperature"))
    slow.take_all()
    assert caplog.records[-1].getMessage() == "connection 2 takes events again; it missed 0"


def give_up(topic: str) -> Message:
    return call(topic, "rob", "unsubscribe", {"object_name": "sensor", "topic": topic})
