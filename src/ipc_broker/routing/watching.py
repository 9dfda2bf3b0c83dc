"""`rob.monitor`: a stream of what happens on the bus, which never holds the bus up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType, structs

from ..messages import Batch, Call, Error, Item, Publish, Result
from ..observation import Record, Watch
from ..protocol.codec import Codec
from ..protocol.encodings import transcode
from ..protocol.payload import Unsendable
from .feeds import OUTBOX_WINDOW
from .names import BROKER_OBJECT
from .patterns import is_pattern, matches
from .peer import Peer
from .pending import PendingCall
from .records import MOST_TEXT, payload_of, record_about, record_of_answer, record_of_call, record_of_event
from .taps import Handler, Notice, Observer

if TYPE_CHECKING:
    from .router import Router

SECOND = 1.0
"""The window in which records are counted for the rate; missed ones are told of at its end."""

MOST_REMEMBERED = 4096
"""Objects with their methods or topics of which a watcher knows whether it wants them."""


class Watcher(Observer):
    """One call of `rob.monitor`. It is *blind* while it has given no credit, leaves what it has unread, or has had as many
    records as its rate allows: what happens then is counted and left out.
    """

    def __init__(self, router: Router, peer: Peer, call: Call, watch: Watch, now: float) -> None:
        """Raises PatternError."""
        self.peer = peer
        self.call_id = call.call_id
        self._router = router
        self._events = router.events
        self._connection = peer.connection
        self._watch = watch
        self._wants_all = not watch.object and not watch.method
        self._is_wanted = _filter(watch)
        self._wanted: dict[tuple[str, str], bool] = {}
        self._most = watch.rate or math.inf
        self._credit = call.credit
        self._missed = 0
        self._window_ends = now + SECOND
        self._in_window = 0
        self._blind_until = 0.0
        self._counted = 0  # by the router, when it became blind

    def begin(self, now: float) -> None:
        self._send(Record("begin", self._time(now)))

    def _time(self, now: float) -> float:
        return round(now - self._router.started, 6)

    # What it may send

    def add_credit(self, size: int, now: float) -> None:
        self._credit += size
        if self._credit > 0 and self._blind_until == math.inf:
            self._see_again()
            self._tell_missed(now)

    def wake(self, now: float) -> None:
        if self._connection.queued > OUTBOX_WINDOW:
            self._blind_until = self.wakes_at = now + SECOND
        else:
            self._see_again()
            self._tell_missed(now)

    def _sees(self, now: float, *, counted_later: bool = False) -> bool:
        """Whether what has just happened is to be sent; otherwise it is counted.

        `counted_later`: the router, which is told of it next, will count it.
        """
        if now >= self._blind_until:
            if self._blind_until:
                self._see_again()
            if now >= self._window_ends:
                self._window_ends = now + SECOND
                self._in_window = 0
            self._in_window += 1
            if self._credit <= 0:
                self._be_blind(math.inf)
            elif self._in_window > self._most or self._connection.queued > OUTBOX_WINDOW:
                self._be_blind(self._window_ends)
                self.wakes_at = self._window_ends
                self._router.timers_began = True
            else:
                self._tell_missed(now)
                return True
        if not (counted_later and self._wants_all):
            self._missed += 1
        return False

    def _be_blind(self, until: float) -> None:
        self._blind_until = until
        if self._wants_all:
            self._counted = self._count()
            self._router.taps.rebuild()

    def _see_again(self) -> None:
        self._blind_until, self.wakes_at = 0.0, None
        if self._wants_all:
            self._missed += self._count() - self._counted
            self._router.taps.rebuild()

    def _count(self) -> int:
        """Calls, answers and events of all, as the router counts them in any case."""
        router = self._router
        return router.totals.calls - router.driver.calls + router.totals.results + self._events.published

    def _tell_missed(self, now: float) -> None:
        if self._missed and self._credit > 0:
            missed, self._missed = self._missed, 0
            self._send(Record("missed", self._time(now), count=missed))

    # What it is told

    def handlers(self, behind: Mapping[type, Handler]) -> dict[type, Handler]:
        taps: dict[type, Handler] = {Item: self._tap_items(behind[Item])}
        if not (self._wants_all and self._blind_until):  # else the router counts enough
            taps[Call] = self._tap_calls(behind[Call])
            taps[Result] = self._tap_answers(behind[Result])
            taps[Error] = self._tap_answers(behind[Error])
            taps[Publish] = self._tap_events(behind[Publish])
            taps[Batch] = self._tap_batches(behind[Batch])
        return taps

    def _tap_calls(self, behind: Handler) -> Handler:
        def call(peer: Peer, message: Call, frame: bytes, now: float) -> None:
            if self._wants(peer, message.object_name, message.method) and self._sees(now, counted_later=True):
                args = None if _holds_secrets(message) else message.args
                self._send(record_of_call(peer, message, self._time(now)), args, peer.connection.codec)
            behind(peer, message, frame, now)

        return call

    def _tap_answers(self, behind: Handler) -> Handler:
        def answer(peer: Peer, message: Result | Error, frame: bytes, now: float) -> None:
            pending = peer.serving.get(message.call_id or "")
            if (
                pending is not None
                and (caller := pending.caller) is not None
                and self._wants(caller, pending.name.object_name, pending.method)
                and self._sees(now, counted_later=True)
            ):
                record = record_of_answer(peer, caller, pending, message, now, self._time(now))
                self._send(record, payload_of(message), peer.connection.codec)
            behind(peer, message, frame, now)

        return answer

    def _tap_items(self, behind: Handler) -> Handler:
        def item(peer: Peer, message: Item, frame: bytes, now: float) -> None:
            pending = peer.serving.get(message.call_id)
            if (
                pending is not None
                and (caller := pending.caller) is not None
                and self._wants(caller, pending.name.object_name, pending.method)
                and self._sees(now)
            ):
                record = record_about("item", peer, caller, pending, now, self._time(now))
                self._send(record, message.value, peer.connection.codec)
            behind(peer, message, frame, now)

        return item

    def _tap_events(self, behind: Handler) -> Handler:
        events = self._events

        def publish(peer: Peer, event: Publish, frame: bytes, now: float) -> None:
            if not self._wants(peer, event.object_name, event.topic):
                behind(peer, event, frame, now)
                return
            number, reached = events.published, events.reached
            behind(peer, event, frame, now)
            if events.published != number and self._sees(now):  # else it was refused
                count = events.reached - reached
                self._send(record_of_event(peer, event, count, self._time(now)), event.args, peer.connection.codec)

        return publish

    def _tap_batches(self, behind: Handler) -> Handler:
        batches = self._router.batches

        def publish(peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
            behind(peer, batch, frame, now)
            if batches.seen and self._wants(peer, batch.object_name, batch.topic):
                codec, time = peer.connection.codec, self._time(now)
                for value, count in batches.seen:
                    if self._sees(now):
                        event = Publish(batch.object_name, batch.topic, value)
                        self._send(record_of_event(peer, event, count, time), value, codec)

        return publish

    def refused(self, caller: Peer, call: Call, now: float) -> None:
        if self._wants(caller, call.object_name, call.method) and self._sees(now, counted_later=True):
            args = None if _holds_secrets(call) else call.args
            self._send(record_of_call(caller, call, self._time(now)), args, caller.connection.codec)

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        if self._wants(caller, call.object_name, call.method) and self._sees(now):
            self._send(record_about("error", caller, caller, call, now, self._time(now), code, message))

    def unpassed(self, caller: Peer, pending: PendingCall, code: str, message: str, now: float) -> None:
        self.failed(caller, pending, code, message, now)

    def cancelled(self, caller: Peer, pending: PendingCall, now: float) -> None:
        if self._wants(caller, pending.name.object_name, pending.method) and self._sees(now):
            self._send(record_about("cancel", caller, caller, pending, now, self._time(now)))

    def willed(self, owner: Peer, event: Publish, count: int, now: float) -> None:
        if self._wants_all and now < self._blind_until:
            return  # it is among those that were published
        if self._wants(owner, event.object_name, event.topic) and self._sees(now):
            self._send(record_of_event(owner, event, count, self._time(now)), event.args, owner.connection.codec)

    def noted(self, kind: Notice, peer: Peer, now: float, *, object_name: str = "", message: str = "") -> None:
        if self._watch.method or (self._watch.object and not object_name):
            return
        if self._wants(peer, object_name, "") and self._sees(now):
            self._send(
                Record(kind, self._time(now), object=object_name, peer=peer.describe(), message=message[:MOST_TEXT])
            )

    def _wants(self, whose: Peer, object_name: str, member: str) -> bool:
        if whose is self.peer:
            return False
        if self._wants_all:
            return object_name != BROKER_OBJECT
        wanted = self._wanted.get((object_name, member))
        return wanted if wanted is not None else self._decide(object_name, member)

    def _decide(self, object_name: str, member: str) -> bool:
        if len(self._wanted) >= MOST_REMEMBERED:
            self._wanted.clear()
        wanted = self._wanted[object_name, member] = self._is_wanted(object_name, member)
        return wanted

    # What it passes on

    def _send(self, record: Record, value: Raw | None = None, source: Codec | None = None) -> None:
        codec = self._connection.codec
        if value is not None and source is not None:
            size = len(bytes(value))
            payload = self._payload(value, source) if size <= self._watch.payload else UNSET
            record = structs.replace(record, size=size, value=payload)
        frame = codec.encode(Item(self.call_id, codec.encode_payload(record)))
        if len(frame) > self.peer.longest_frame:
            record = structs.replace(record, value=UNSET, headers={})
            frame = codec.encode(Item(self.call_id, codec.encode_payload(record)))
        self._credit -= len(frame)
        self.peer.send_frame(frame)

    def _payload(self, value: Raw, source: Codec) -> Raw | UnsetType:
        """As this watcher's encoding says it, if that can."""
        try:
            return transcode(value, source, self._connection.codec)
        except Unsendable:
            return UNSET


def _holds_secrets(call: Call) -> bool:
    """Tokens, with which whoever looks could be somebody else."""
    return call.object_name == BROKER_OBJECT and call.method == "hello"


def _filter(watch: Watch) -> Callable[[str, str], bool]:
    """Whether an object with its method or topic is asked for. Raises PatternError."""
    fits_object, fits_member = _fits(watch.object), _fits(watch.method)
    if not watch.object:
        return lambda object_name, member: object_name != BROKER_OBJECT and fits_member(member)
    return lambda object_name, member: fits_object(object_name) and fits_member(member)


def _fits(wanted: str) -> Callable[[str], bool]:
    if not wanted:
        return lambda name: True
    return partial(matches, wanted) if is_pattern(wanted) else wanted.__eq__
