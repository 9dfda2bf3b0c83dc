"""What it costs to be looked at: calls in flight and events with nobody who looks, with `rob.monitor`, with `rob.measure`.

Under one load that goes on, slices of time in which somebody watches stand between others in which nobody does, so that what
the machine does besides meets them alike; the slices with `rob.measure`, which counts for a while longer, come last. Rates are
differences of what the broker counts. On a busy machine they say little: what says most is the time that the broker's process
spends for each call or event. Whoever looks is a process of its own, with the default rate of records:

    python -m benchmarks.watching ADDRESS calls|events SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from msgspec import Struct

from ipc_broker import Client, connect
from ipc_broker.driver import Rob
from ipc_broker.observation import Record

from .events import READY
from .figures import Figure, Goal
from .processes import BenchmarkFailed, Bus

PAIRS = 3
"""Slices of each kind."""

WARM_UP = 4
"""Slices before the first that counts: then a subscriber slower than its publisher has all that it may be behind."""

BESIDES = 3.0
"""Seconds that a load goes on longer than the slices: the one who looks has to start meanwhile."""

TICKS = 100
"""In which /proc counts a second of a process (USER_HZ), on every machine of today."""

BEGUN = 50
"""Calls or events within 50 ms, by which it is seen that the load is at work."""

COUNTED = {"calls": "results", "events": "published"}


class Slice(Struct):
    """`rate` is calls or events a second, `cost` the broker's time for each, in microseconds."""

    rate: float
    cost: float


class Slices(Struct):
    nobody: list[Slice]
    monitor: list[Slice]
    measure: list[Slice]


def _figures(work: str, title: str) -> tuple[Figure, ...]:
    least, most = Goal("at least", 0.9), Goal("at most", 1.1)
    return (
        Figure(f"{work}-unwatched", f"{title}, nobody looks"),
        Figure(f"{work}-monitor", "rate with rob.monitor / without", goal=least),
        Figure(f"{work}-measure", "rate with rob.measure / without", goal=least),
        Figure(f"{work}-cost", f"broker's us for one of these {work}"),
        Figure(f"{work}-monitor-cost", "that with rob.monitor / without", goal=most),
        Figure(f"{work}-measure-cost", "that with rob.measure / without", goal=most),
    )


class Watching:
    """Rates, and what is left of them while somebody looks."""

    name = "watching"
    figures = (*_figures("calls", "calls/s in flight"), *_figures("events", "events/s to 1"))

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here; empty when it can."""
        return "" if sys.platform == "linux" else "it reads /proc, which only Linux has"

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        measured: dict[str, list[float]] = {}
        for work in COUNTED:
            slices = self._slices(bus, work, seconds)
            rate, cost = (median(each) for each in zip(*((one.rate, one.cost) for one in slices.nobody), strict=True))
            measured[f"{work}-unwatched"] = [one.rate for one in slices.nobody]
            measured[f"{work}-cost"] = [one.cost for one in slices.nobody]
            for kind, looked_at in (("monitor", slices.monitor), ("measure", slices.measure)):
                measured[f"{work}-{kind}"] = [one.rate / rate for one in looked_at]
                measured[f"{work}-{kind}-cost"] = [one.cost / cost for one in looked_at]
        return measured

    def _slices(self, bus: Bus, work: str, seconds: float) -> Slices:
        """On a bus of its own, which counts nothing yet."""
        processes, lasts = bus.processes, (WARM_UP + 3 * PAIRS) * seconds + BESIDES
        with tempfile.TemporaryDirectory(dir=bus.folder) as folder:
            own = Bus(processes, Path(folder), "--through-broker")  # which it does in any case while somebody looks
            load = self._calls(own, lasts) if work == "calls" else self._events(own, lasts)
            started = [processes.start([sys.executable, "-m", *command]) for command in load]
            looking = [sys.executable, "-m", "benchmarks.watching", own.address, work, str(seconds)]
            slices = msgspec.json.decode(processes.run(looking, lasts), type=Slices)
            for process in started:
                processes.output(process, lasts)
            own.stop()
        return slices

    def _calls(self, bus: Bus, seconds: float) -> list[list[str]]:
        return [["benchmarks.calls", "in-flight", bus.address, str(seconds)]]

    def _events(self, bus: Bus, seconds: float) -> list[list[str]]:
        subscriber = bus.processes.start([sys.executable, "-m", "benchmarks.events", "subscribers", bus.address, "1"])
        bus.processes.wait_line(subscriber, READY.encode())
        bus.add(subscriber)
        return [["benchmarks.events", "publisher", bus.address, str(seconds)]]


class Looker:
    """`asks` is the client that looks, `counts` the one that measures."""

    def __init__(self, asks: Client, counts: Client, work: str, seconds: float) -> None:
        self._client = asks
        self._asks = asks.object("rob", Rob)
        self._counts = counts.object("rob", Rob)
        self._counted = COUNTED[work]
        self._seconds = seconds

    async def all(self) -> Slices:
        slices = Slices([], [], [])
        while not await self._has_begun():
            pass
        await asyncio.sleep(WARM_UP * self._seconds)
        for _ in range(PAIRS):
            slices.nobody.append(await self._slice())
            async with self._watching():
                slices.monitor.append(await self._slice())
        for _ in range(PAIRS):
            async with self._measuring():
                slices.measure.append(await self._slice())
        return slices

    async def _has_begun(self) -> bool:
        before, _, _ = await self._look()
        await asyncio.sleep(0.05)
        now, _, _ = await self._look()
        return now > before + BEGUN

    async def _slice(self) -> Slice:
        count, used, began = await self._look()
        await asyncio.sleep(self._seconds)
        now_count, now_used, ended = await self._look()
        if now_count == count:
            raise BenchmarkFailed(f"no {self._counted} were counted within {self._seconds:g} s: the load has ended")
        return Slice((now_count - count) / (ended - began), (now_used - used) / (now_count - count) * 1e6)

    async def _look(self) -> tuple[int, float, float]:
        """What was counted, the broker's time in seconds, and the time."""
        stats = await self._counts.stats()
        words = Path(f"/proc/{stats['pid']}/stat").read_text().rpartition(")")[2].split()
        used = (int(words[11]) + int(words[12])) / TICKS
        return int(stats["totals"][self._counted]), used, time.perf_counter()

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        async with self._client.stream("rob", "monitor", returns=Record) as records:
            await anext(records)  # the first says that it has begun

            async def watch() -> None:
                async for record in records:
                    assert record.kind in ("call", "result", "event", "missed"), record

            task = asyncio.ensure_future(watch())
            yield
            await _cancelled(task)

    @asynccontextmanager
    async def _measuring(self) -> AsyncIterator[None]:
        async def measure() -> None:
            while True:
                await self._asks.measure()
                await asyncio.sleep(1.0)

        task = asyncio.ensure_future(measure())
        yield
        await _cancelled(task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def look(address: str, work: str, seconds: float) -> Slices:
    async with connect(address) as asks, connect(address) as counts:
        return await Looker(asks, counts, work, seconds).all()


def main(address: str, work: str, seconds: str) -> None:
    print(msgspec.json.encode(uvloop.run(look(address, work, float(seconds)))).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
