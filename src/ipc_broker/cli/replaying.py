"""`rob replay`: publishes the events of a recording again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import inf
from time import monotonic, sleep
from typing import IO

from msgspec import UNSET

from .connecting import checked_address, connected, json_line
from .failures import CountNotReached
from .output import write_note, write_result
from .quantities import counted, duration
from .recording import Line, read_recording
from .words import Request, UsageError


def replay(request: Request) -> None:
    """With the time that was between them, or `--speed` times as fast; what is left at the timeout is not published.

    Raises UsageError, NoRecording, CountNotReached.
    """
    speed = request.speed or 1.0
    events = [line for line in read_lines(request.names[0]) if line.kind == "event"]
    with connected(checked_address(request), request) as client:
        if events and not request.json:
            takes = duration((events[-1].time - events[0].time) / speed)
            write_note(f"publishing {counted(len(events), 'event')} in {takes}; Ctrl-C ends")
        started = monotonic()
        end = inf if request.timeout is None else started + request.timeout
        published = left_out = 0
        for event in events:
            value = event.payload
            if value is UNSET:  # it could not be had when it was recorded
                left_out += 1
                continue
            due = started + (event.time - events[0].time) / speed
            sleep(max(min(due, end) - monotonic(), 0.0))
            if due > end:
                break
            client.publish(event.object, event.method, value, retain=event.retained)
            published += 1
        client.drain(request.patience)
    if request.json:
        write_result(json_line({"published": published, "left_out": left_out}))
    else:
        more = f"; {left_out} have no payload in the recording" if left_out else ""
        write_note(f"published {counted(published, 'event')}{more}")
    if published + left_out < len(events):
        message = f"{published} of {counted(len(events), 'event')} were published within {request.timeout:g} s"
        raise CountNotReached(message)


def read_lines(path: str) -> Iterator[Line]:
    """Of the file, or standard input. Raises UsageError, NoRecording."""
    with _opened(path) as file:
        yield from read_recording("standard input" if path == "-" else path, file)


def _opened(path: str) -> AbstractContextManager[IO[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(path, "rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
