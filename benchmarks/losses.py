"""Losses: how soon callers learn that their worker was killed, and how soon all are back after their broker was.

Each role is a process of its own; those of `peers` hold several connections each, and stay for the others until they are
ended:

    python -m benchmarks.losses worker ADDRESS
    python -m benchmarks.losses caller ADDRESS COUNT PID
    python -m benchmarks.losses peers|blocking ADDRESS COUNT FIRST
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator

import uvloop

from ipc_broker import Gap, Worker, connect, errors, sync

from .events import OBJECT, READY, TOPIC
from .figures import Figure, Goal
from .processes import PATIENCE, BenchmarkFailed, Bus, start_broker

ROLE = [sys.executable, "-m", "benchmarks.losses"]

MOST_MILLISECONDS = 100
MOST_SECONDS = 2
CONNECTIONS = 5
"""Of each process of peers."""

BLOCKING_PROCESSES = 2

AGAIN = 0.005
"""Seconds until a call that nobody could take yet is made again."""


class Gate:
    """Calls that wait for ever; `full` returns when so many do."""

    def __init__(self) -> None:
        self._waiting = 0
        self._full = asyncio.Event()

    async def wait(self, count: int) -> None:
        self._waiting += 1
        if self._waiting == count:
            self._full.set()
        await asyncio.Event().wait()

    async def full(self) -> None:
        await self._full.wait()


class Known:
    async def number(self) -> int:
        return 42


class KilledWorker:
    """From `kill -9` of a worker until the last of its `count` calls has failed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._took = Figure(
            f"killed-{count}",
            f"killed worker: its {count:,} calls have failed, ms",
            None,
            Goal("at most", MOST_MILLISECONDS),
        )
        self.figures = (self._took,)

    def measure(self, bus: Bus) -> dict[str, list[float]]:
        processes = bus.processes
        worker = processes.start([*ROLE, "worker", bus.address])
        processes.wait_line(worker, READY.encode())
        printed = processes.run([*ROLE, "caller", bus.address, str(self._count), str(worker.pid)], 0.0)
        processes.stop(worker)
        return {self._took.name: [1000 * float(printed)]}


class RestartedBroker:
    """From the start of a new broker, where another was killed at that moment, until all its peers are at work again.

    All have subscribed, half of them are workers and have registered an object. Each is back when its subscription has told
    the `Gap`, and when a call of it was answered, which for a worker goes to its own object. The peers of further processes
    are blocking clients.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        count = (processes + BLOCKING_PROCESSES) * CONNECTIONS
        self._listens = Figure("restart-listens", "restarted broker: listens, s")
        self._back = Figure(
            f"restart-{count}", f"restarted broker: all {count} are back, s", None, Goal("at most", MOST_SECONDS)
        )
        self.figures = (self._listens, self._back)

    def measure(self, bus: Bus) -> dict[str, list[float]]:
        processes = bus.processes
        address = f"unix://{bus.folder}/restart.sock"
        broker = start_broker(processes, address)
        kinds = ["peers"] * self._processes + ["blocking"] * BLOCKING_PROCESSES
        peers = [
            processes.start([*ROLE, kind, address, str(CONNECTIONS), str(place * CONNECTIONS)])
            for place, kind in enumerate(kinds)
        ]
        for peer in peers:
            processes.wait_line(peer, READY.encode())
        broker.kill()
        processes.stop(broker)
        began = time.monotonic()
        broker = start_broker(processes, address)
        listens = time.monotonic()
        last = max(float(processes.line(peer)) for peer in peers)
        for process in (*peers, broker):
            processes.stop(process)
        return {self._listens.name: [listens - began], self._back.name: [last - began]}


async def serve(address: str) -> None:
    worker = Worker(address, name="gate")
    worker.add("gate", Gate())
    async with worker:
        print(READY, flush=True)
        await worker.serve()


async def call_and_kill(address: str, count: int, pid: int) -> float:
    """Seconds until all calls of a worker that is killed have failed."""
    async with connect(address) as client:
        calls = [asyncio.ensure_future(client.call("gate", "wait", [count], timeout=None)) for _ in range(count)]
        await client.call("gate", "full")
        killed = time.monotonic()
        if sys.platform != "win32":
            os.kill(pid, signal.SIGKILL)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - killed
    if wrong := [one for one in ended if not isinstance(one, errors.WorkerLost)]:
        raise BenchmarkFailed(
            f"{len(wrong)} calls of a killed worker did not end with WorkerLost, but with {wrong[0]!r}"
        )
    return took


@contextlib.asynccontextmanager
async def peer_of(address: str, number: int) -> AsyncIterator[asyncio.Future[float]]:
    """One connection, every second a worker's; gives when it will be back."""
    name = f"known.{number - number % 2}"  # its own, or that of the worker before it
    async with contextlib.AsyncExitStack() as stack:
        if number % 2 == 0:
            worker = Worker(address, name=name)
            worker.add(name, Known())
            client = (await stack.enter_async_context(worker)).client
        else:
            client = await stack.enter_async_context(connect(address))

        async def come_back() -> float:
            gap = await events.get()
            if not isinstance(gap, Gap):
                raise BenchmarkFailed(f"after the broker was killed a Gap was due, {gap!r} came")
            while True:
                try:
                    await client.call(name, "number", timeout=PATIENCE)
                except (errors.NoSuchObject, errors.ConnectionLost):
                    await asyncio.sleep(AGAIN)
                else:
                    return time.monotonic()

        events = await stack.enter_async_context(client.subscribe(OBJECT, TOPIC))
        await client.wait_for(name, PATIENCE)
        yield asyncio.ensure_future(come_back())


async def peers(address: str, count: int, first: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        entering = (stack.enter_async_context(peer_of(address, first + number)) for number in range(count))
        waiting = [await one for one in entering]
        print(READY, flush=True)
        try:
            async with asyncio.timeout(PATIENCE):
                print(max(await asyncio.gather(*waiting)), flush=True)
        except TimeoutError:
            left = sum(one.cancelled() for one in waiting)
            raise BenchmarkFailed(f"{left} of {count} peers were not back within {PATIENCE:g} s") from None
        await asyncio.Event().wait()


def blocking_peers(address: str, count: int) -> float:
    """Clients only, each with a thread that waits for events and calls; gives when the last of them is back."""
    backs: list[float] = []

    def come_back(client: sync.Client, events: sync.Subscription) -> None:
        gap = events.get()
        if not isinstance(gap, Gap):
            raise BenchmarkFailed(f"after the broker was killed a Gap was due, {gap!r} came")
        while True:
            try:
                client.call("known.0", "number", timeout=PATIENCE)
            except (errors.NoSuchObject, errors.ConnectionLost):
                time.sleep(AGAIN)
            else:
                backs.append(time.monotonic())
                return

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(sync.connect(address)) for _ in range(count)]
        subscribed = [(client, client.subscribe(OBJECT, TOPIC)) for client in clients]
        threads = [threading.Thread(target=come_back, args=one, daemon=True) for one in subscribed]
        for thread in threads:
            thread.start()
        print(READY, flush=True)
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
    if len(backs) < count:
        raise BenchmarkFailed(f"{count - len(backs)} of {count} blocking peers were not back within {PATIENCE:g} s")
    return max(backs)


def main(role: str, address: str, *what: str) -> None:
    logging.getLogger("ipc_broker").setLevel(logging.ERROR)  # that connections are lost is what is measured
    match role, what:
        case "worker", []:
            asyncio.run(serve(address))
        case "caller", [count, pid]:
            print(uvloop.run(call_and_kill(address, int(count), int(pid))), flush=True)
        case "peers", [count, first]:
            uvloop.run(peers(address, int(count), int(first)))
        case "blocking", [count, _]:
            print(blocking_peers(address, int(count)), flush=True)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
