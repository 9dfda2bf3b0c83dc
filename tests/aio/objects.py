"""Objects that workers of these tests serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ipc_broker import RemoteError, inline


class Calculator:
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def mul(self, a: int, b: int) -> dict[str, int]:
        return {"product": a * b}


class Echo:
    @inline
    def back(self, value: Any = None) -> Any:
        return value

    async def sequence(self, *values: Any) -> list[Any]:
        return list(values)

    async def named(self, **values: Any) -> dict[str, Any]:
        return values

    async def size(self, text: str) -> int:
        return len(text)

    async def text(self, size: int) -> str:
        return "x" * size


class Gate:
    """`wait` answers once `open` was set; `entered` and `cancelled` count."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._entered = 0
        self._cancelled = 0
        self._changed = asyncio.Event()

    async def wait(self, value: Any = None) -> Any:
        self._entered += 1
        self._changed.set()
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self._cancelled += 1
            self._changed.set()
            raise
        return value


async def entered(gate: Gate, calls: int = 1) -> None:
    """Until so many calls wait at the gate."""
    while gate._entered < calls:
        gate._changed.clear()
        await gate._changed.wait()


async def cancelled(gate: Gate, calls: int = 1) -> None:
    """Until so many calls were cancelled there."""
    while gate._cancelled < calls:
        gate._changed.clear()
        await gate._changed.wait()


def let_through(gate: Gate) -> None:
    gate._open.set()


class Streams:
    """Endless streams, and short ones; `_made` counts the items, `_closed` the generators that are through."""

    def __init__(self) -> None:
        self._made = 0
        self._closed = 0

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    def count_in_thread(self, stop: int) -> Iterator[int]:
        yield from range(stop)

    async def endless(self, size: int = 0) -> AsyncIterator[Any]:
        try:
            while True:
                self._made += 1
                yield "x" * size
        finally:
            self._closed += 1

    def endless_in_thread(self, size: int = 0) -> Iterator[Any]:
        try:
            while True:
                self._made += 1
                yield "x" * size
        finally:
            self._closed += 1

    async def once_and_wait(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what it does in the end may take a while
            self._closed += 1

    async def breaks(self, after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise RemoteError("it broke", data={"after": after})

    def breaks_in_thread(self, after: int) -> Iterator[int]:
        yield from range(after)
        raise RemoteError("it broke", data={"after": after})

    async def plain(self) -> str:
        return "no stream"


async def closed(streams: Streams, generators: int = 1) -> None:
    """Until so many of its generators were closed."""
    while streams._closed < generators:  # noqa: ASYNC110 - some of them run in threads
        await asyncio.sleep(0.001)
