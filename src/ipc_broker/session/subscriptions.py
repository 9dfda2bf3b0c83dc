"""What a client is subscribed to, and how it goes on after a connection was lost."""

from __future__ import annotations

from typing import Any

from msgspec import MsgspecError

from ..events import Batch, Event, Gap
from ..messages import Batch as UndecodableBatch
from ..messages import Event as UndecodableEvent
from ..messages import EventCredit, Missed, Subscribe, Subscribed
from ..protocol.codec import checked_name
from ..protocol.connection import Connection, State
from .replies import Questions
from .shell import Reply, Sink

WINDOW = 512 * 1024
"""Bytes of events that may be on their way to one subscription: answers never wait behind more."""

GRANT = 64 * 1024
"""Bytes that are given back at once: the next events are to be under way before the last are consumed."""

MOST_SEEN = 2**53 - 1
"""What a message can say."""


class ClientSubscription:
    """One subscription, over all its connections. The shell tells it what was `taken`."""

    __slots__ = (
        "_credit_due",
        "_held",
        "connection",
        "epoch",
        "established",
        "group",
        "id",
        "key",
        "overflow",
        "seen",
        "sink",
    )

    def __init__(self, id: int, object_name: str, topic: str, sink: Sink, group: str, overflow: str) -> None:
        self.id = id
        self.key = (object_name, topic)
        self.sink = sink
        self.group = group
        self.overflow = overflow
        self.connection: Connection | None = None
        self.established = False
        """The broker has taken it once: from then on it lasts over all connections."""
        self.epoch: str | None = None
        """Of the broker that has said last that it counts this subscription's events; another one's count means nothing."""
        self.seen = 0
        """Events of that broker that came, or that it was told of as missed."""
        self._held = 0  # bytes that came and were not taken
        self._credit_due = 0

    def message(self, epoch: str | None) -> Subscribe:
        """What asks the broker of this epoch for it on a new connection."""
        self._credit_due = 0
        if epoch != self.epoch:
            # Should it lose the answer, it would take what that broker counts from there for all that was missed.
            self.epoch, self.seen = None, 0
        seen = min(self.seen, MOST_SEEN) if self.epoch is not None else None
        return Subscribe(*self.key, self.id, max(WINDOW - self._held, 0), self.group, self.overflow, seen)

    def deliver(self, event: Event | Gap, count: int, size: int) -> None:
        self.seen += count
        self._held += size
        self.sink.deliver(event, size)

    def deliver_all(self, events: list[Event], size: int) -> None:
        self.seen += len(events)
        self._held += size
        self.sink.deliver_all(events, size)

    def taken(self, size: int) -> bool:
        """What was delivered is consumed; the broker may send as much again. True: the shell should write that at once."""
        self._held -= size
        self._credit_due += size
        connection = self.connection
        if self._credit_due < GRANT or connection is None or connection.state is State.SEED:
            return False  # a broker of the Rust crate knows no credit; these came from another before it
        connection.send(EventCredit(self.id, self._credit_due))
        self._credit_due = 0
        return True


class ClientSubscriptions:
    """All subscriptions of a session. A broker of the Rust crate knows no ids: there the names find them."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._last_id = 0
        self._by_id: dict[int, ClientSubscription] = {}
        self._by_key: dict[tuple[str, str], list[ClientSubscription]] = {}
        # The Rust crate's broker cannot unsubscribe, and sends an event once for each time we subscribed.
        self._kept: set[tuple[str, str]] = set()
        self._extended = False
        self._epoch: str | None = None
        self.find = self._by_id.get

    def add(self, object_name: str, topic: str, sink: Sink, group: str, overflow: str) -> ClientSubscription:
        """Raises InvalidArgs for names that cannot be sent."""
        for name in (object_name, topic, group):
            checked_name(name)
        self._last_id += 1
        one = ClientSubscription(self._last_id, object_name, topic, sink, group, overflow)
        self._by_id[one.id] = one
        self._by_key.setdefault(one.key, []).append(one)
        return one

    def remove(self, one: ClientSubscription) -> bool:
        """No event comes to it from now on. False when it was removed before."""
        if self._by_id.pop(one.id, None) is None:
            return False
        same = self._by_key[one.key]
        same.remove(one)
        if not same:
            del self._by_key[one.key]
            if one.connection is not None and not self._extended:
                self._kept.add(one.key)
        one.connection = None
        return True

    def open(self, one: ClientSubscription, connection: Connection, reply: Reply) -> None:
        """Asks the broker for it; `reply` gets None as soon as every event will come."""
        one.connection = connection
        if self._extended:
            self._questions.ask(("Subscribed", str(one.id)), reply)
            connection.send(one.message(self._epoch))
            return
        question = ("Subscribed", *one.key)
        if len(self._by_key[one.key]) == 1 and one.key not in self._kept:
            self._questions.ask(question, reply)
            connection.send(Subscribe(*one.key))
        elif not self._questions.join(question, reply):
            one.established = True
            reply.set_result(None)

    def reopen_all(self, connection: Connection, epoch: str | None) -> None:
        """There is a new connection; `epoch` is the broker's, None where it is one of the Rust crate."""
        extended = self._extended = epoch is not None
        self._epoch = epoch
        for one in self._by_id.values():
            one.connection = connection
            if extended:
                self._questions.ask(("Subscribed", str(one.id)), _Resumed(one))
                connection.send(one.message(epoch))
        if not extended:
            for key in self._by_key:
                self._questions.ask(("Subscribed", *key))
                connection.send(Subscribe(*key))
            for one in list(self._by_id.values()):  # one of them may unsubscribe
                one.sink.deliver(Gap(*one.key), 0)

    def connection_lost(self) -> None:
        """One that the broker has not taken yet is forgotten, as whoever asked for it is told."""
        for one in list(self._by_id.values()):
            if not one.established:
                self.remove(one)
            one.connection = None
        self._kept.clear()

    def refused(self, id: int) -> None:
        """The broker does not want the subscription."""
        one = self._by_id.get(id)
        if one is not None:
            self.remove(one)
            one.sink.ended()

    # What arrives

    def event(self, event: Event, size: int) -> None:
        one = self.find(event.subscription_id)
        if one is not None:
            one.deliver(event, 1, size)
        elif not event.subscription_id:
            same = self._by_key.get((event.object, event.topic), ())
            if len(same) == 1:
                same[0].deliver(event, 1, 0)
            else:
                for one in tuple(same):  # one of them may unsubscribe
                    one.deliver(_copy(event), 1, 0)

    def batch(self, batch: Batch, size: int) -> None:
        one = self.find(batch.subscription_id)
        if one is not None and batch.values:
            object_name, topic, id = batch.object, batch.topic, batch.subscription_id
            one.deliver_all([Event(object_name, topic, value, False, id) for value in batch.values], size)

    def undecodable_batch(self, batch: UndecodableBatch, size: int) -> None:
        """One by one those that can be read, and in the places of the others the news that one was missed."""
        one = self.find(batch.subscription)
        if one is None or one.connection is None:
            return
        codec = one.connection.codec
        for value in codec.values_of(batch.values):
            try:
                event: Event | Gap = Event(batch.object_name, batch.topic, codec.decode_any(value), False, one.id)
            except (MsgspecError, ValueError, RecursionError):
                event = Gap(batch.object_name, batch.topic, 1)
            one.deliver(event, 1, size)
            size = 0

    def undecodable(self, event: UndecodableEvent, size: int) -> None:
        """A value that nobody can read: those who were to get it learn that they missed one."""
        one = self.find(event.subscription)
        if one is not None:
            one.deliver(Gap(event.object_name, event.topic, 1), 1, size)
        elif not event.subscription:
            for one in tuple(self._by_key.get((event.object_name, event.topic), ())):
                one.deliver(Gap(*one.key, 1), 1, 0)

    def missed(self, missed: Missed, size: int) -> None:
        one = self.find(missed.subscription)
        if one is not None:
            one.deliver(Gap(*one.key, missed.count), missed.count, 0)

    def subscribed(self, message: Subscribed, size: int) -> None:
        identified = self.find(message.id)
        same = self._by_key.get((message.object_name, message.topic), [])
        for one in same if identified is None else [identified]:
            one.established = True
            one.epoch = self._epoch
        question = ("Subscribed", str(message.id)) if message.id else ("Subscribed", message.object_name, message.topic)
        self._questions.settle(question, message.missed)


class _Resumed:
    """The reply to a subscription that is asked for again."""

    def __init__(self, subscription: ClientSubscription) -> None:
        self._subscription = subscription

    def done(self) -> bool:
        return False

    def set_result(self, missed: int | None, /) -> None:
        one = self._subscription
        if one.connection is not None and missed != 0:
            one.deliver(Gap(*one.key, missed), missed or 0, 0)

    def set_exception(self, exception: Any, /) -> None:
        """Refused: `ClientSubscriptions.refused` tells the sink. Lost: the next connection asks again."""


def _copy(event: Event) -> Event:
    return Event(event.object, event.topic, _copied(event.value), event.retained)


def _copied(value: Any) -> Any:
    """Not by recursion: what was decoded may be nested deeper than Python's stack."""
    if not isinstance(value, dict | list):
        return value
    copy = value.copy()
    copies = [copy]
    while copies:
        container = copies.pop()
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, dict | list):
                container[key] = item.copy()
                copies.append(container[key])
    return copy
