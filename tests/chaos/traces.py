"""What every process of a run writes down: one record a line, in JSON, in its own file.

All times are of the monotonic clock, which is the same for all processes of a machine (`Record.at`: when it was written).
A record is with the kernel when `write` returns: a process that is killed then has not lost it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct


class Record(Struct, frozen=True, tag_field="is", omit_defaults=True, kw_only=True):
    at: float


class Ready(Record, frozen=True):
    """The process does from now on what it is there for: a worker is registered, a subscriber subscribed."""


class Cut(Record, frozen=True):
    """It has shut its connection down, as a network that breaks would."""


class Stopping(Record, frozen=True):
    """It was asked to end."""


class Surprise(Record, frozen=True):
    """Something came that nothing may answer with: an exception that is not ours, above all."""

    what: str


# Callers


class Called(Record, frozen=True):
    """Before the call. `takes` are the seconds of the method's work; `expects` what it returns, or how it must fail."""

    id: str
    object: str
    method: str
    timeout: float
    takes: float = 0.0
    expects: int | str = 0


class Returned(Record, frozen=True):
    """`echo` is the id that the worker was given, `by` the process that says it has worked."""

    id: str
    value: int
    echo: str
    by: str


class Failed(Record, frozen=True):
    id: str
    code: str
    delivered: str
    message: str


class GaveUp(Record, frozen=True):
    """The caller has cancelled it, or left its stream."""

    id: str


# Workers


class Ran(Record, frozen=True):
    """The method has begun, and has done nothing else yet."""

    id: str


# Publishers


class Publishing(Record, frozen=True):
    """Before the event is published. Each process counts its events from 1."""

    number: int
    object: str
    topic: str
    retain: bool = False


class Acknowledged(Record, frozen=True):
    """`publish(ack=True)` has returned."""

    number: int


class Drained(Record, frozen=True):
    """`drain()` has returned, with all up to `number` published before."""

    number: int


class NotDrained(Record, frozen=True):
    """`drain()` says that what was published before, up to `number`, may not have been routed."""

    number: int
    code: str


class NotPublished(Record, frozen=True):
    number: int
    code: str
    delivered: str
    message: str


# Subscribers


class Subscribed(Record, frozen=True):
    """The subscription with this number among those of its process has begun, between `since` and `at`."""

    subscription: int
    since: float


class Got(Record, frozen=True):
    """The event `number` of the process `by`."""

    subscription: int
    by: str
    number: int
    object: str
    topic: str
    retained: bool = False


class Missed(Record, frozen=True):
    """A `Gap`; `count` is None where nobody knows how many."""

    subscription: int
    count: int | None


class Settled(Record, frozen=True):
    """All that the broker had routed for the subscription by the time `since` was taken."""

    subscription: int
    since: float


AnyRecord = (
    Ready
    | Cut
    | Stopping
    | Surprise
    | Called
    | Returned
    | Failed
    | GaveUp
    | Ran
    | Publishing
    | Acknowledged
    | Drained
    | NotDrained
    | NotPublished
    | Subscribed
    | Got
    | Missed
    | Settled
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord).decode

now = time.monotonic


class Trace:
    """The file of one process. May be written to by several threads."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, record: Record) -> None:
        os.write(self._file, _encode(record) + b"\n")


def read_trace(path: Path) -> list[AnyRecord]:
    """What a process has written so far; [] for one that has not begun to. A line that is being written is left out."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().split(b"\n")[:-1]]
