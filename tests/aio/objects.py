"""Objects that workers of these tests serve."""

from __future__ import annotations

import asyncio
from typing import Any

from ipc_broker import inline


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
