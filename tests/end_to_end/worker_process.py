"""Our worker as a process: `worker_process.py ADDRESS` serves the objects below, and prints what the tests wait for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ipc_broker import Worker, current_call


class Math:
    async def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def mul(self, a: int, b: int) -> dict[str, int]:
        return {"product": a * b}


class Echo:
    async def back(self, value: Any = None) -> Any:
        return value

    async def bytes(self, size: int) -> bytes:
        return b"\xff" * size

    async def headers(self) -> dict[str, str]:
        return dict(current_call().headers)


class Tape:
    """Streams; `run` has no end, and says when it was given up."""

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    async def run(self, size: int = 0) -> AsyncIterator[list[Any]]:
        number = 0
        try:
            while True:
                yield [number, "x" * size]
                number += 1
                await asyncio.sleep(0)
        finally:
            print("the stream was given up", flush=True)

    def run_in_thread(self, size: int = 0) -> Iterator[list[Any]]:
        number = 0
        try:
            while True:
                yield [number, "x" * size]
                number += 1
        finally:
            print("the stream was given up", flush=True)


class Gate:
    """`wait` never ends by itself; once `count` calls wait, it says so."""

    def __init__(self) -> None:
        self._waiting = 0

    async def wait(self, count: int) -> None:
        self._waiting += 1
        if self._waiting == count:
            print(f"{count} calls wait", flush=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("a call that waited was cancelled", flush=True)
            raise


async def main() -> None:
    worker = Worker(*sys.argv[1:], name="calculator")
    worker.add("math", Math())
    worker.add("echo", Echo())
    worker.add("tape", Tape())
    worker.add("gate", Gate())
    async with worker:
        print("registered", flush=True)
        await worker.serve()


if __name__ == "__main__":
    asyncio.run(main())
