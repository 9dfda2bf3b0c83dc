"""Recorded calls, as they can be played again: for the same arguments the same answers, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from .quantities import counted
from .record_lines import render_arguments
from .recording import Line

SHOWN = 5
"""Arguments that an error names at most."""


class Take(Struct):
    """How one call was answered: `items` with the seconds since the call, then `end`, None when that was not recorded.

    `end` is a line of the kind "result", "error" or "cancel".
    """

    args: Any
    items: list[tuple[float, Any]] = []
    end: Line | None = None

    @property
    def streams(self) -> bool:
        """Whether it was answered as a stream is: a stream's result has no payload at all."""
        end = self.end
        return bool(self.items) or (end is not None and end.kind == "result" and end.payload is UNSET and not end.size)

    @property
    def answered(self) -> bool:
        """Whether there is something to play."""
        end = self.end
        if self.items or self.streams:
            return True
        return end is not None and (end.kind == "error" or (end.kind == "result" and end.payload is not UNSET))


class MethodTakes:
    """The takes of one method. Each arguments' last one is played again and again."""

    def __init__(self) -> None:
        self._takes: dict[bytes, list[Take]] = {}
        self._played: dict[bytes, int] = {}

    def add(self, take: Take) -> None:
        self._takes.setdefault(_key(take.args), []).append(take)

    def __iter__(self) -> Iterator[Take]:
        return (take for takes in self._takes.values() for take in takes)

    @property
    def streams(self) -> bool:
        return any(take.streams for take in self)

    def next(self, args: object) -> Take | None:
        """None when there was no such call, or none that was answered."""
        key = _key(args)
        takes = [take for take in self._takes.get(key, ()) if take.answered]
        if not takes:
            return None
        played = self._played.get(key, 0)
        self._played[key] = played + 1
        return takes[min(played, len(takes) - 1)]

    def refusal(self, args: object) -> str:
        """Why `next` gave None."""
        if _key(args) in self._takes:
            return f"{render_arguments(args)} was recorded without an answer"
        known = [render_arguments(takes[0].args) for takes in self._takes.values()]
        more = f", and {counted(len(known) - SHOWN, 'more', 'more')}" if len(known) > SHOWN else ""
        return f"{render_arguments(args)} was not recorded; what was: {', '.join(known[:SHOWN])}{more}"


def takes_of(lines: Iterable[Line]) -> dict[str, dict[str, MethodTakes]]:
    """By object and method; a call whose arguments could not be had is left out."""
    objects: dict[str, dict[str, MethodTakes]] = {}
    open_calls: dict[str, Take] = {}
    for line in lines:
        if line.kind == "call":
            if line.object != "rob" and line.payload is not UNSET:
                take = open_calls[line.call] = Take(line.payload)
                objects.setdefault(line.object, {}).setdefault(line.method, MethodTakes()).add(take)
        elif line.kind == "item" and line.call in open_calls:
            if line.payload is not UNSET:
                open_calls[line.call].items.append((line.seconds, line.payload))
        elif line.kind in ("result", "error", "cancel") and line.call in open_calls:
            open_calls.pop(line.call).end = line
    return objects


def _key(args: object) -> bytes:
    """The same for arguments that mean the same to a method."""
    if args is None:
        args = []
    elif not isinstance(args, dict | list):
        args = [args]
    return msgspec.msgpack.encode(args, order="deterministic")
