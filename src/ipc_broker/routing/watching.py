"""`rob.monitor`: a stream of what happens on the bus, which never holds the bus up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw, UnsetType, structs

from ..messages import Call, Error, Item, Publish, Result
from ..observation import Record, RecordKind, Watch
from ..protocol.codec import Codec
from ..protocol.encodings import transcode
from ..protocol.payload import Unsendable
from .names import BROKER_OBJECT
from .patterns import is_pattern, matches
from .peer import Peer
from .pending import PendingCall
from .taps import Observer

if TYPE_CHECKING:
    from .router import Router

SECOND = 1.0
"""The window in which records are counted for the rate; missed ones are told of at its end."""


class Watcher(Observer):
    """One call of `rob.monitor`. What there is no credit for, and what is over the rate, is counted and left out."""

    def __init__(self, router: Router, peer: Peer, call: Call, watch: Watch, now: float) -> None:
        """Raises PatternError."""
        self.peer = peer
        self.call_id = call.call_id
        self.tells_at: float | None = None
        """When it should be told how many records it missed."""
        self._router = router
        self._watch = watch
        self._object_is_pattern = is_pattern(watch.object)
        self._method_is_pattern = is_pattern(watch.method)
        self._credit = call.credit
        self._missed = 0
        self._window_ends = now + SECOND
        self._in_window = 0
        self._send(Record("begin", self._time(now)))

    def _time(self, now: float) -> float:
        return round(now - self._router.started, 6)

    def add_credit(self, size: int, now: float) -> None:
        self._credit += size
        if self._missed and self.tells_at is None:
            self.tell_missed(now)

    def tell_missed(self, now: float) -> None:
        self.tells_at = None
        if self._missed and self._credit > 0:
            missed, self._missed = self._missed, 0
            self._send(Record("missed", self._time(now), count=missed))

    # What it is told

    def called(self, caller: Peer, call: Call, now: float) -> None:
        if self._wants(caller, call.object_name, call.method, now):
            headers = {} if isinstance(call.headers, UnsetType) else call.headers
            self._record(
                Record(
                    "call",
                    call=_unique(caller, call.call_id),
                    object=call.object_name,
                    method=call.method,
                    peer=caller.describe(),
                    headers=headers,
                    timeout=call.timeout_ms / 1000,
                    stream=bool(call.credit),
                ),
                now,
                call.args,
                caller.connection.codec,
            )

    def streamed(self, worker: Peer, pending: PendingCall, item: Item, now: float) -> None:
        self._about("item", worker, pending, now, item.value, worker.connection.codec)

    def answered(self, worker: Peer, pending: PendingCall, answer: Result | Error, now: float) -> None:
        codec = worker.connection.codec
        if isinstance(answer, Error):
            data = None if isinstance(answer.data, UnsetType) else answer.data
            self._about(
                "error", worker, pending, now, data, codec, answer.code or "remote_error", answer.message, answer.type
            )
        else:
            self._about("result", worker, pending, now, None if answer.ended else answer.value, codec)

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        self._about("error", caller, call, now, code=code, message=message)

    def cancelled(self, caller: Peer, pending: PendingCall, now: float) -> None:
        self._about("cancel", caller, pending, now)

    def published(self, publisher: Peer, event: Publish, count: int, now: float) -> None:
        if self._wants(publisher, event.object_name, event.topic, now):
            record = Record(
                "event",
                object=event.object_name,
                method=event.topic,
                peer=publisher.describe(),
                retained=event.retain,
                count=count,
            )
            self._record(record, now, event.args, publisher.connection.codec)

    def noted(self, kind: str, peer: Peer, now: float, *, object_name: str = "", message: str = "") -> None:
        about_object = kind in ("registered", "lost")
        if self._watch.method or (self._watch.object and not about_object):
            return
        if self._wants(peer, object_name, "", now):
            known: RecordKind = kind  # type: ignore[assignment]  # those of `Observer.noted` are among them
            self._record(Record(known, object=object_name, peer=peer.describe(), message=message), now)

    # What it passes on

    def _wants(self, peer: Peer, object_name: str, member: str, now: float) -> bool:
        """Whether it is to be sent; what is over the rate is counted as missed."""
        watch = self._watch
        if peer is self.peer or not (
            object_name != BROKER_OBJECT
            if not watch.object
            else _fits(watch.object, self._object_is_pattern, object_name)
        ):
            return False
        if watch.method and not _fits(watch.method, self._method_is_pattern, member):
            return False
        if now >= self._window_ends:
            self._window_ends = now + SECOND
            self._in_window = 0
        self._in_window += 1
        if self._credit <= 0 or (watch.rate and self._in_window > watch.rate):
            self._missed += 1
            if self.tells_at is None and self._credit > 0:
                self.tells_at = self._window_ends
                self._router.timers_began = True
            return False
        if self._missed:
            self.tell_missed(now)
        return True

    def _about(
        self,
        kind: RecordKind,
        peer: Peer,
        call: PendingCall | Call,
        now: float,
        value: Raw | None = None,
        codec: Codec | None = None,
        code: str = "",
        message: str = "",
        type: str = "",
    ) -> None:
        """An answer, or the end, of a call; `peer` is whose doing it is."""
        if not self._wants(peer, call.object_name, call.method, now):
            return
        seconds, caller = 0.0, peer
        if isinstance(call, PendingCall):
            seconds, caller = now - call.started, call.caller or peer
        record = Record(
            kind,
            call=_unique(caller, call.call_id),
            object=call.object_name,
            method=call.method,
            peer=peer.describe(),
            seconds=round(seconds, 6),
            code=code,
            message=message,
            type=type,
        )
        self._record(record, now, value, codec)

    def _record(self, record: Record, now: float, value: Raw | None = None, codec: Codec | None = None) -> None:
        record = structs.replace(record, time=self._time(now))
        if value is not None and codec is not None:
            size = len(bytes(value))
            record = structs.replace(record, size=size)
            if size <= self._watch.payload:
                try:
                    payload = transcode(value, codec, self.peer.connection.codec)
                except Unsendable:  # as far as this watcher's encoding can say it
                    pass
                else:
                    record = structs.replace(record, value=payload)
        self._send(record)

    def _send(self, record: Record) -> None:
        codec = self.peer.connection.codec
        frame = codec.encode(Item(self.call_id, codec.encode_payload(record)))
        if len(frame) > self.peer.longest_frame:
            self._missed += 1
            return
        self._credit -= len(frame)
        self.peer.send_frame(frame)


def _fits(wanted: str, is_pattern: bool, name: str) -> bool:
    return matches(wanted, name) if is_pattern else wanted == name


def _unique(caller: Peer, call_id: str) -> str:
    """A call's id among those of all callers."""
    return call_id if caller.prefix else f"{caller.id}.{call_id}"
