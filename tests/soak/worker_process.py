"""The long-lived worker: `python -m tests.soak.worker_process ADDRESS TICK`, until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from ipc_broker import Worker
from ipc_broker.aio.signals import on_stop_signal
from tests.soak.reports import READY, Tally


class Adder:
    async def add(self, a: int, b: int) -> int:
        return a + b

    def add_in_thread(self, a: int, b: int) -> int:
        return a + b

    async def slow_add(self, a: int, b: int) -> int:
        await asyncio.sleep(0.002)
        return a + b

    async def wait(self) -> None:
        """Until it is cancelled."""
        await asyncio.Event().wait()


class Tape:
    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number


async def main(address: str, tick: float) -> None:
    stopping = asyncio.Event()
    first, second = Worker(address, name="first"), Worker(address, name="second")
    first.add("plain", Adder())
    first.add("tape", Tape())
    first.add("capped", Adder(), concurrency=2)
    for worker in (first, second):
        worker.add("shared", Adder(), mode="shared")
    with on_stop_signal(stopping.set):
        async with first, second:
            print(READY, flush=True)
            tally = Tally()
            while not stopping.is_set():
                try:
                    async with asyncio.timeout(tick):
                        await stopping.wait()
                except TimeoutError:
                    tally.tell()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], float(sys.argv[2])))
