"""`rob replay`: publishes the events of a recording again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from time import monotonic, sleep
from typing import IO

from msgspec import UNSET

from .connecting import checked_address, connected, json_line
from .output import write_note, write_result
from .quantities import counted, duration
from .recording import Line, read_recording
from .words import Request, UsageError


def replay(request: Request) -> None:
    """With the time that was between them, or `--speed` times as fast. Raises UsageError, NoRecording."""
    speed = request.speed or 1.0
    events = [line for line in read_lines(request.names[0]) if line.kind == "event"]
    with connected(checked_address(request), request) as client:
        if events and not request.json:
            takes = duration((events[-1].time - events[0].time) / speed)
            write_note(f"publishing {counted(len(events), 'event')} in {takes}; Ctrl-C ends")
        started = monotonic()
        published = left_out = 0
        for event in events:
            value = event.payload
            if value is UNSET:  # it could not be had when it was recorded
                left_out += 1
                continue
            sleep(max(started + (event.time - events[0].time) / speed - monotonic(), 0.0))
            client.publish(event.object, event.method, value, retain=event.retained)
            published += 1
        client.drain(request.patience)
    if request.json:
        write_result(json_line({"published": published, "left_out": left_out}))
    else:
        more = f"; {left_out} have no payload in the recording" if left_out else ""
        write_note(f"published {counted(published, 'event')}{more}")


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
