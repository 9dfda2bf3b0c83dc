"""Calls: one after the other from a blocking and from an asyncio client, and 100 in flight from one asyncio client.

The worker's method is `async def add(self, a: int, b: int)`; every result is looked at. Each role is a process:

    python -m benchmarks.calls worker ADDRESS
    python -m benchmarks.calls blocking|asyncio|in-flight ADDRESS SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import msgspec
import uvloop

from ipc_broker import Client, Worker, connect, sync

from .figures import Figure, Goal
from .latency import Latencies, latencies_of
from .processes import BenchmarkFailed, Bus

IN_FLIGHT = 100
WARM_UP = 500
WARM_UP_SECONDS = 0.1

ARGS = {"a": 10, "b": 32}
RESULT = {"sum": 42}


class Calculator:
    async def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def echo(self, data: bytes) -> bytes:
        return data

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number


class SequentialCalls:
    """One call after the other; `kind` of client is "blocking" or "asyncio"."""

    def __init__(self, kind: str, goal: float) -> None:
        self.name = kind
        self._p50 = Figure(f"{kind}-p50", f"{kind} client p50, us", "p50", Goal("at most", goal, "ratio"))
        self._p99 = Figure(f"{kind}-p99", f"{kind} client p99, us", "p99")
        self.figures = (self._p50, self._p99)

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        latencies = msgspec.json.decode(_run(bus, self.name, seconds), type=Latencies)
        return {self._p50.name: [latencies.p50], self._p99.name: [latencies.p99]}


class CallsInFlight:
    """As many calls as go through while `IN_FLIGHT` wait for their answers."""

    name = "in-flight"
    figures = (Figure("in-flight", f"calls/s, {IN_FLIGHT} in flight", "rate", Goal("at least", 150_000)),)

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        return {"in-flight": [msgspec.json.decode(_run(bus, self.name, seconds), type=float)]}


def _run(bus: Bus, role: str, seconds: float) -> bytes:
    return bus.processes.run([sys.executable, "-m", "benchmarks.calls", role, bus.address, str(seconds)], seconds)


def _check(result: object) -> None:
    if result != RESULT:
        raise BenchmarkFailed(f"math.add answered {result!r} where {RESULT!r} was due")


def blocking_calls(address: str, seconds: float) -> Latencies:
    samples: list[int] = []
    now = time.perf_counter_ns
    with sync.connect(address) as client:
        for _ in range(WARM_UP):
            _check(client.call("math", "add", ARGS))
        end = now() + int(seconds * 1e9)
        while (start := now()) < end:
            result = client.call("math", "add", ARGS)
            samples.append(now() - start)
            _check(result)
    return latencies_of(samples)


async def asyncio_calls(address: str, seconds: float) -> Latencies:
    samples: list[int] = []
    now = time.perf_counter_ns
    async with connect(address) as client:
        for _ in range(WARM_UP):
            _check(await client.call("math", "add", ARGS))
        end = now() + int(seconds * 1e9)
        while (start := now()) < end:
            result = await client.call("math", "add", ARGS)
            samples.append(now() - start)
            _check(result)
    return latencies_of(samples)


class _Callers:
    """`IN_FLIGHT` tasks, each of which calls again as soon as it has its answer."""

    def __init__(self, client: Client) -> None:
        self.answered = 0
        self._client = client
        self._stopping = False

    async def rate(self, seconds: float) -> float:
        """Answers a second, in the midst of the calling."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._call())
            await asyncio.sleep(WARM_UP_SECONDS)
            before, began = self.answered, time.perf_counter()
            await asyncio.sleep(seconds)
            answered, took = self.answered - before, time.perf_counter() - began
            self._stopping = True
        return answered / took

    async def _call(self) -> None:
        call = self._client.call
        while not self._stopping:
            _check(await call("math", "add", ARGS))
            self.answered += 1


async def calls_in_flight(address: str, seconds: float) -> float:
    async with connect(address) as client:
        return await _Callers(client).rate(seconds)


def serve(address: str) -> None:
    worker = Worker(address, name="benchmark")
    worker.add("math", Calculator())
    worker.run()


def main(role: str, address: str, seconds: float = 0.0) -> None:
    answer: Latencies | float
    match role:
        case "worker":
            serve(address)
            return
        case "blocking":
            answer = blocking_calls(address, seconds)
        case "asyncio":
            answer = uvloop.run(asyncio_calls(address, seconds))
        case "in-flight":
            answer = uvloop.run(calls_in_flight(address, seconds))
        case _:
            raise SystemExit(__doc__)
    print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
