"""What `rob bench` calls and publishes to, in a process of its own: `python -m ipc_broker.cli.bench_peer ADDRESS NAME`."""

from __future__ import annotations

import asyncio
import sys

from .. import Event, Worker
from ..aio.signals import on_stop_signal
from ..aio.subscription import Subscription
from .serving import run

TOPIC = "tick"
READY = "ready"


class Peer:
    """Adds, and counts the events that it gets."""

    def __init__(self) -> None:
        self._received = 0
        self._changed = asyncio.Event()

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def received(self, count: int) -> None:
        """Returns when so many events have come."""
        while self._received < count:
            self._changed.clear()
            await self._changed.wait()

    async def _take(self, events: Subscription) -> None:
        async for event in events:
            self._received += 1 if isinstance(event, Event) else event.missed or 0
            self._changed.set()

    async def take_part(self, address: str, name: str) -> None:
        """Until the process is asked to end."""
        worker = Worker(address, name="rob bench")
        worker.add(name, self)
        async with worker, worker.client.subscribe(name, TOPIC) as events:
            taking = asyncio.create_task(self._take(events))
            print(READY, flush=True)
            with on_stop_signal(worker.stop):
                await worker.serve()
            taking.cancel()


async def _main(address: str, name: str) -> None:
    await Peer().take_part(address, name)


if __name__ == "__main__":
    run(_main(*sys.argv[1:3]))
