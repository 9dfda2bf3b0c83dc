"""What happens on the bus, as records for those who watch it; without their payloads, which are encoded for each of them.

`time` is that of the record, since the broker started.
"""

from __future__ import annotations

from msgspec import Raw, UnsetType

from ..messages import Call, Error, Publish, Result
from ..observation import Record, RecordKind
from .peer import Peer
from .pending import PendingCall

MOST_TEXT = 2048
"""Characters of a message: a record without its payload and headers fits into the smallest frame."""

_MOST_WORD = 256  # of a code and an exception's name


def record_of_call(caller: Peer, call: Call, time: float) -> Record:
    return Record(
        "call",
        time,
        _unique(caller, call.call_id),
        call.object_name,
        call.method,
        caller.describe(),
        headers={} if isinstance(call.headers, UnsetType) else call.headers,
        timeout=call.timeout_ms / 1000,
        stream=bool(call.credit),
    )


def record_of_answer(
    worker: Peer, caller: Peer, pending: PendingCall, answer: Result | Error, now: float, time: float
) -> Record:
    if isinstance(answer, Error):
        code = answer.code or "remote_error"
        return record_about("error", worker, caller, pending, now, time, code, answer.message, answer.type)
    return record_about("result", worker, caller, pending, now, time)


def payload_of(answer: Result | Error) -> Raw | None:
    """The end of a stream has none, nor have most errors."""
    if isinstance(answer, Error):
        return None if isinstance(answer.data, UnsetType) else answer.data
    return None if answer.ended else answer.value


def record_about(
    kind: RecordKind,
    whose: Peer,
    caller: Peer,
    call: PendingCall | Call,
    now: float,
    time: float,
    code: str = "",
    message: str = "",
    type: str = "",
) -> Record:
    """An answer, or the end, of a call; `whose` doing it is."""
    return Record(
        kind,
        time,
        _unique(caller, call.call_id),
        call.object_name,
        call.method,
        whose.describe(),
        seconds=round(now - call.started, 6) if isinstance(call, PendingCall) else 0.0,
        code=code[:_MOST_WORD],
        message=message[:MOST_TEXT],
        type=type[:_MOST_WORD],
    )


def record_of_event(publisher: Peer, event: Publish, count: int, time: float) -> Record:
    return Record(
        "event",
        time,
        object=event.object_name,
        method=event.topic,
        peer=publisher.describe(),
        retained=event.retain,
        count=count,
    )


def _unique(caller: Peer, call_id: str) -> str:
    """A call's id among those of all callers."""
    return call_id if caller.prefix else f"{caller.id}.{call_id}"
