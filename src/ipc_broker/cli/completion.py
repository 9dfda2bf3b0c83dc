"""`rob completion SHELL` prints what makes a shell ask `rob`, and `rob __complete` is what it asks then."""

from __future__ import annotations

from time import monotonic

from .completing import SHELLS, Candidate, Line, candidates
from .output import write_result
from .words import Request, UsageError, did_you_mean

TYPE_CHECKING = False  # `typing` is not imported: somebody waits for every keystroke
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..description import Interface
    from ..sync import Client

PATIENCE = 0.2
"""Seconds that the broker has: who types does not wait for it."""

CANDIDATES, FILES = 0, 1
"""The exit status: what was printed may be next, or names of files may."""


def completion(request: Request) -> None:
    from .completion_scripts import SCRIPTS

    shell = request.names[0]
    if shell not in SCRIPTS:
        raise UsageError(f"SHELL is one of {', '.join(SHELLS)}; given {shell!r}{did_you_mean(shell, SHELLS)}")
    if request.json:
        from .connecting import json_line

        write_result(json_line({"shell": shell, "script": SCRIPTS[shell]}))
    else:
        write_result(SCRIPTS[shell])


def complete(words: Sequence[str]) -> int:
    """Prints a candidate a line, with a tab and what is to be said of it; nothing where there is no broker."""
    *before, current = words or [""]
    line = Line(before)
    live = _Broker(line.given.get("address"))
    try:
        found = candidates(line, current, live)
    finally:
        live.close()
    if found is None:
        return FILES
    write_result("".join(map(_printed, found)))
    return CANDIDATES


def _printed(candidate: Candidate) -> str:
    if not candidate.about:
        return f"{candidate.word}\n"
    from .render import render_line

    return f"{candidate.word}\t{render_line(candidate.about)}\n"


class _Broker:
    """What the broker at the address knows; nothing where there is none, or where it does not answer at once."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._client: Client | None = None
        self._deadline = 0.0

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def objects(self) -> list[str]:
        from ..errors import IPCError

        try:
            return self._connected().objects(timeout=self._left())
        except IPCError:
            return []

    def interface(self, object_name: str) -> Interface | None:
        from ..errors import IPCError
        from .live_names import description_of

        try:
            description = description_of(self._connected(), object_name, self._left())
        except IPCError:
            return None
        return None if description is None else description.interface

    def topics(self, object_name: str) -> list[tuple[str, str]]:
        from ..errors import IPCError
        from .live_names import topics_of

        try:
            found = topics_of(self._connected(), object_name, self._left())
        except IPCError:
            return []
        return [(one.object, one.topic) for one in found]

    def _connected(self) -> Client:
        """Raises IPCError."""
        if self._client is None:
            from ..sync import connect

            self._deadline = monotonic() + PATIENCE
            self._client = connect(self._address, timeout=PATIENCE, name="rob")
        return self._client

    def _left(self) -> float:
        return max(self._deadline - monotonic(), 0.001)
