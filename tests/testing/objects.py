"""What the workers of these tests serve."""

from __future__ import annotations

import asyncio

from ipc_broker import Worker, inline


class Calculator:
    @inline
    def add(self, a: int, b: int) -> int:
        return a + b

    async def add_later(self, a: int, b: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return a + b


def calculator(address: str | None = None) -> Worker:
    """A worker called "calculator" that serves `math`."""
    worker = Worker(address, name="calculator")
    worker.add("math", Calculator())
    return worker
