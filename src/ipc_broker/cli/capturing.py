"""`rob record`: calls with their answers, and events, into a file."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import IO

from msgspec import UNSET

from ..observation import Watch
from ..sync import Client
from .connecting import checked_address, connected, json_line
from .failures import CountNotReached
from .monitoring import WHOLE
from .output import OutputFailed, stdout_failed, write_note, write_result
from .quantities import counted, size
from .recording import VERSION, Header, Line, payload_fields, write_line
from .render import render_line
from .watching import Seen, names_to_watch, records, watched
from .words import Request, UsageError

_ENDINGS = ("result", "error", "cancel")


def record(request: Request) -> None:
    """Until Ctrl-C, the timeout or the count of records. Raises UsageError where the file is there, CountNotReached,
    OutputFailed."""
    path = request.names[0]
    object_name, method = names_to_watch(request)
    address = checked_address(request)
    watch = Watch(object_name, method, WHOLE, 0)
    with _opened(path) as file, connected(address, request) as client:
        deadline = None if request.timeout is None else monotonic() + request.timeout
        tape = _Tape(file, client, watch)
        try:
            for seen in records(client, watch, deadline):
                if seen.record.kind == "begin":
                    where = "standard output" if path == "-" else path
                    if request.json:
                        write_note(json_line({"recording": {"object": object_name, "method": method}}).rstrip())
                    else:
                        write_note(f"recording {watched(object_name, method)} to {where}; Ctrl-C ends")
                else:
                    tape.take(seen, as_json=request.json)
                    if tape.taken == request.count:
                        break
        except KeyboardInterrupt:
            pass
        tape.tell(as_json=request.json)
    if request.count is not None and tape.taken < request.count:
        raise CountNotReached(f"{tape.taken} of {counted(request.count, 'record')} came within {request.timeout:g} s")


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """A file that nothing was written to does not stay."""
    if path == "-":
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "xb")  # noqa: SIM115  # the block below closes it
    except FileExistsError:
        raise UsageError(f"{path} is there already: remove it, or record to another file") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        with file:
            yield file
    finally:
        if not os.path.getsize(path):
            os.unlink(path)


class _Tape:
    def __init__(self, file: IO[bytes], client: Client, watch: Watch) -> None:
        self._file = file
        self._to_stdout = file is sys.stdout.buffer
        self._first: float | None = None  # when the first record happened
        self._counts: Counter[str] = Counter()
        self._open: set[str] = set()
        self._without_payload = 0
        self._missed = 0
        version = client.broker.version if client.broker is not None else ""
        self._write(Header(VERSION, datetime.now(UTC).isoformat(), version, watch.object, watch.method))

    @property
    def taken(self) -> int:
        return self._counts.total()

    def take(self, seen: Seen, *, as_json: bool) -> None:
        one = seen.record
        if self._first is None:
            self._first = seen.at
        if one.kind == "missed":
            self._missed += one.count
            self._note(f"{counted(one.count, 'record')} missed: they came faster than they could be written", as_json)
        else:
            self._counts[one.kind] += 1
        if one.kind == "call":
            self._open.add(one.call)
        elif one.kind in _ENDINGS:
            self._open.discard(one.call)
        if one.size and seen.value is UNSET:
            self._without_payload += 1
            what = f"{one.object}.{one.method}"
            self._note(f"a payload of {what}, {size(one.size)}, could not be had", as_json)
        self._write(line_of(seen, self._first))

    def _write(self, line: Header | Line) -> None:
        """Raises OutputClosed, OutputFailed."""
        try:
            write_line(self._file, line)
        except OSError as error:
            if self._to_stdout:
                raise stdout_failed(error) from error
            with suppress(OSError):  # the same again: what could not be written is tried once more
                self._file.close()
            raise OutputFailed(f"cannot write {self._file.name}: {error.strerror or error}") from error

    def _note(self, text: str, as_json: bool) -> None:
        write_note(json_line({"warning": text}).rstrip() if as_json else f"rob: {render_line(text)}")

    def tell(self, *, as_json: bool) -> None:
        """What there is in the file, and what there is not."""
        counts = self._counts
        answers = sum(counts[kind] for kind in _ENDINGS)
        if as_json:
            document = {
                "calls": counts["call"],
                "answers": answers,
                "items": counts["item"],
                "events": counts["event"],
                "unanswered": len(self._open),
                "missed": self._missed,
                "without_payload": self._without_payload,
            }
            (write_note if self._to_stdout else write_result)(
                json_line(document).rstrip("\n" if self._to_stdout else "")
            )
            return
        said = [counted(counts["call"], "call"), counted(answers, "answer"), counted(counts["event"], "event")]
        if counts["item"]:
            said.append(counted(counts["item"], "item of streams", "items of streams"))
        write_note(f"recorded {', '.join(said)}")
        if self._open:
            write_note(f"without an answer: {counted(len(self._open), 'call')}")
        if self._missed:
            write_note(f"missing: {counted(self._missed, 'record')} that came too fast")


def line_of(seen: Seen, first: float) -> Line:
    """`first` is when the first record happened."""
    record = seen.record
    names = set(record.__struct_fields__) & set(Line.__struct_fields__) - {"time", "value"}
    said = {name: value for name in names if (value := getattr(record, name))}
    return Line(**said, time=round(seen.at - first, 6), **payload_fields(seen.value))
