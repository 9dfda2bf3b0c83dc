"""`rob monitor`: what happens on the bus, as it happens."""

from __future__ import annotations

from time import monotonic

from msgspec import UNSET

from ..observation import PAYLOAD, RATE, Watch
from .connecting import checked_address, connected, json_line
from .failures import CountNotReached
from .output import write_note, write_result
from .quantities import counted
from .record_lines import RecordLines
from .terminal import Terminal
from .watching import Seen, names_to_watch, records, watched
from .words import Request, UsageError, did_you_mean

WHOLE = 2**40
"""Bytes of a payload: more than any frame holds."""

KINDS = {
    "call": ("call",),
    "answer": ("item", "result", "error", "cancel"),
    "item": ("item",),
    "result": ("result",),
    "error": ("error",),
    "cancel": ("cancel",),
    "event": ("event",),
    "object": ("registered", "lost"),
    "connection": ("connected", "disconnected"),
}
"""The words for `--only`, and the kinds of records that each stands for."""


def monitor(request: Request) -> None:
    """Raises CountNotReached."""
    object_name, method = names_to_watch(request)
    kinds = kinds_of(request.only)
    watch = Watch(object_name, method, WHOLE if request.full else PAYLOAD, 0 if request.all else RATE)
    printer = _JsonPrinter(object_name, method) if request.json else _LinePrinter(watch, request)
    printed = 0
    with connected(checked_address(request), request) as client:
        deadline = None if request.timeout is None else monotonic() + request.timeout
        try:
            for seen in records(client, watch, deadline):
                kind = seen.record.kind
                if kind == "begin":
                    printer.begin(seen)
                elif kind == "missed":
                    printer.show(seen)
                elif kind in kinds:
                    printer.show(seen)
                    printed += 1
                    if printed == request.count:
                        return
        except KeyboardInterrupt:
            return
    if request.count is not None:
        message = f"{printed} of {counted(request.count, 'record')} came within {request.timeout:g} s"
        raise CountNotReached(message)


def kinds_of(words: str) -> frozenset[str]:
    """`call,event`: the kinds of records that are to be shown; "" for all. Raises UsageError."""
    chosen = words.split(",") if words else KINDS
    for word in chosen:
        if word not in KINDS:
            hint = did_you_mean(word, KINDS)
            raise UsageError(f"--only takes some of {', '.join(KINDS)}, with commas between them; given {word!r}{hint}")
    return frozenset(kind for word in chosen for kind in KINDS[word])


class _LinePrinter:
    def __init__(self, watch: Watch, request: Request) -> None:
        self._terminal = Terminal()
        self._lines = RecordLines(watch.rate, full=request.full)
        self._watched = watched(watch.object, watch.method)
        self._ends = f"{counted(request.count, 'record')}, or Ctrl-C, ends" if request.count else "Ctrl-C ends"
        self._begun = False

    def begin(self, seen: Seen) -> None:
        if self._begun:
            self.show(seen)
        else:
            write_note(f"watching {self._watched}; {self._ends}")
        self._begun = True

    def show(self, seen: Seen) -> None:
        terminal = self._terminal
        write_result("".join(map(terminal.shown, self._lines.lines(seen, terminal.width))))


class _JsonPrinter:
    def __init__(self, object_name: str, method: str) -> None:
        self._about = {"object": object_name, "method": method}

    def begin(self, seen: Seen) -> None:
        write_note(json_line({"watching": self._about}).rstrip())

    def show(self, seen: Seen) -> None:
        write_result(json_line(document_of(seen)))


def document_of(seen: Seen) -> dict[str, object]:
    """The record's fields that say something, `at` in seconds since the epoch, and `value` if it is there."""
    record = seen.record
    document: dict[str, object] = {"kind": record.kind, "at": round(seen.at, 6)}
    for name in record.__struct_fields__:
        if name not in ("kind", "time", "value") and (said := getattr(record, name)):
            document[name] = said
    if seen.value is not UNSET:
        document["value"] = seen.value
    return document
