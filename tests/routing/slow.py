"""Subscribers that take only what the test says, and events of a size to fill their backlog."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.routing import backpressure, feeds
from ipc_broker.routing.feeds import Feed
from tests.memory import Bus, RawPeer
from tests.messages import publish
from tests.routing.peers import json_peer
from tests.routing.subscribers import event_credit, event_for, size_for, subscribe_to, subscription_of, told
from tests.seed.frames import Message

LIMITS = Limits(backlog=10_000, stall=2.0)
PAYLOAD = "x" * 900  # an event is about 1,000 bytes, so that 11 of them are over the backlog


class Slow:
    """A subscriber that takes only what the test says."""

    raw: RawPeer

    @property
    def feed(self) -> Feed:
        raise NotImplementedError

    def take(self, count: int) -> None:
        """Takes so many events of those that wait."""
        raise NotImplementedError

    def take_all(self) -> None:
        """All that waits, and nothing that comes later."""
        raise NotImplementedError

    def received(self) -> list[int | str]:
        return numbers(self.raw.receive())


class SlowSeed(Slow):
    """Its transport is full, and one frame waits in the outbox besides."""

    def __init__(self, bus: Bus) -> None:
        self.raw = RawPeer(bus)
        self.raw.subscribe("sensor", "temperature")
        self.raw.link.stop_taking()

    @property
    def feed(self) -> Feed:
        assert self.raw.peer.feed is not None
        return self.raw.peer.feed

    def take(self, count: int) -> None:
        for _ in range(count):
            self.raw.link.take(1)

    def take_all(self) -> None:
        assert self.raw.peer.feed is not None
        self.take(len(self.raw.peer.feed.backlog) + bool(self.raw.peer.connection.queued))


class SlowExtended(Slow):
    """It gives no credit."""

    def __init__(self, bus: Bus) -> None:
        self.raw = json_peer(bus)
        subscribe_to(self.raw, "sensor", "temperature", 1, 1)  # one event passes, as it does into an outbox

    @property
    def feed(self) -> Feed:
        return subscription_of(self.raw, 1)

    def take(self, count: int) -> None:
        self.raw.send(event_credit(1, count * size_for(self.raw, event_for(1, "sensor", "temperature", slow_value(1)))))
        self.raw.bus.settle()

    def take_all(self) -> None:
        for one_more in (self.feed.backlog_bytes, 1):
            if one_more > (credit := subscription_of(self.raw, 1).credit):
                self.raw.send(event_credit(1, one_more - credit))
                self.raw.bus.settle()


def slow_value(number: int) -> str:
    return f"{number:04}{PAYLOAD}"


def numbers(messages: list[Message]) -> list[int | str]:
    return [one if isinstance(one, str) and one.startswith("missed") else int(str(one)[:4]) for one in told(messages)]


def send_events(publisher: RawPeer, *numbers: int) -> None:
    """One frame at a time, so that the router may stop reading between them."""
    for number in numbers:
        publisher.send(publish("sensor", "temperature", slow_value(number)))
        publisher.bus.settle()


def slow_bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    """One where little is enough to be too much."""
    monkeypatch.setattr(feeds, "OUTBOX_WINDOW", 1)
    monkeypatch.setattr(backpressure, "OVERRUN", 5000)
    return Bus(LIMITS)
