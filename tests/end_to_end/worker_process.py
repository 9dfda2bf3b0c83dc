"""Our worker as a process: `worker_process.py ADDRESS` serves `math` and `gate`, and prints what the tests wait for."""

from __future__ import annotations

import asyncio
import sys

from ipc_broker import Worker


class Math:
    async def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def mul(self, a: int, b: int) -> dict[str, int]:
        return {"product": a * b}


class Gate:
    """`wait` never ends by itself; once `count` calls wait, it says so."""

    def __init__(self) -> None:
        self._waiting = 0

    async def wait(self, count: int) -> None:
        self._waiting += 1
        if self._waiting == count:
            print(f"{count} calls wait", flush=True)
        await asyncio.Event().wait()


async def main() -> None:
    worker = Worker(*sys.argv[1:], name="calculator")
    worker.add("math", Math())
    worker.add("gate", Gate())
    async with worker:
        print("registered", flush=True)
        await worker.serve()


if __name__ == "__main__":
    asyncio.run(main())
