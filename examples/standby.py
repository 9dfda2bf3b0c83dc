"""A hot standby: when the owner of a name is lost, another worker takes over at once, and goes on where it was.

    $ python examples/standby.py serve one &
    one is ready
    $ python examples/standby.py serve two &
    two is ready
    $ python examples/standby.py count 3
    1, says one
    2, says one
    3, says one
    $ kill -9 %1
    $ python examples/standby.py count 2
    4, says two
    5, says two

The state travels as a retained event: whoever stands by follows it, and also a worker that starts later has it.
"""

import asyncio
import sys
from contextlib import suppress

from ipc_broker import Event, Gap, Worker, connect


class Counter:
    def __init__(self, name: str, worker: Worker) -> None:
        self._name = name
        self._client = worker.client
        self._count = 0

    async def next(self) -> str:
        self._count += 1
        count = self._count
        # Not before the broker has it does the caller get its number: so none is given twice.
        await self._client.publish("counter", "count", count, retain=True, ack=True)
        return f"{count}, says {self._name}"

    def _follow(self, event: Event | Gap) -> None:
        if isinstance(event, Event):
            self._count = max(self._count, event.value)


async def serve(name: str) -> None:
    worker = Worker(name=name)
    counter = Counter(name, worker)
    async with worker:
        await worker.client.subscribe("counter", "count", callback=counter._follow)
        worker.add("counter", counter, mode="standby")
        await worker.client.wait_for("counter")
        print(f"{name} is ready", flush=True)
        await worker.serve()


async def count(times: int) -> None:
    async with connect() as client:
        for _ in range(times):
            print(await client.call("counter", "next"))


with suppress(KeyboardInterrupt):
    asyncio.run(serve(sys.argv[2]) if sys.argv[1] == "serve" else count(int(sys.argv[2])))
