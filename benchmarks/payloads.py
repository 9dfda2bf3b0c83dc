"""Large payloads and streams: 1 MiB there and back by calls, and the items of an async generator.

Each role is a process of its own:

    python -m benchmarks.payloads large|stream ADDRESS SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop

from ipc_broker import connect

from .figures import Figure
from .processes import BenchmarkFailed, Bus

SIZE = 1024 * 1024
AT_ONCE = 4
"""Calls in flight: while one payload is on its way there, another is on its way back."""

ITEMS = 10_000
"""Of one stream."""


class Payloads:
    """`kind`: "large", or "stream"."""

    def __init__(self, kind: str, title: str) -> None:
        self.name = kind
        self.figures = (Figure(kind, title),)

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        command = [sys.executable, "-m", "benchmarks.payloads", self.name, bus.address, str(seconds)]
        return {self.name: [msgspec.json.decode(bus.processes.run(command, seconds), type=float)]}


async def large(address: str, seconds: float) -> float:
    """Megabytes a second, both ways counted."""
    data = bytes(range(256)) * (SIZE // 256)
    moved = 0
    async with connect(address) as client:
        began = time.perf_counter()

        async def call() -> None:
            nonlocal moved
            while time.perf_counter() - began < seconds:
                if await client.call("math", "echo", [data], returns=bytes) != data:
                    raise BenchmarkFailed("what came back is not what was sent")
                moved += 2 * SIZE

        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        return moved / (time.perf_counter() - began) / 1e6


async def stream(address: str, seconds: float) -> float:
    """Items a second."""
    taken = 0
    async with connect(address) as client:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            due = 0
            async for item in client.stream("math", "count", [ITEMS]):
                if item != due:
                    raise BenchmarkFailed(f"item {due} was due, {item!r} came")
                due += 1
            if due != ITEMS:
                raise BenchmarkFailed(f"the stream ended before item {due}")
            taken += due
        return taken / (time.perf_counter() - began)


def main(role: str, address: str, seconds: float) -> None:
    measured = {"large": large, "stream": stream}[role]
    print(msgspec.json.encode(uvloop.run(measured(address, seconds))).decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
