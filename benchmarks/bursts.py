"""Slow subscribers: bursts that one cannot take as fast as they come, and one of ten that takes nothing at all.

A publisher that nobody holds up is timed first; the subscriber then takes a quarter of what that publishes in a second. Every
event must arrive. Each role is a process of its own:

    python -m benchmarks.bursts subscriber ADDRESS COUNT EVENTS_A_SECOND
    python -m benchmarks.bursts publisher ADDRESS COUNT TOPIC
    python -m benchmarks.bursts steady ADDRESS COUNT
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from ipc_broker import Event, connect, sync

from .events import OBJECT, READY, TOPIC, Received
from .figures import Figure, Goal
from .processes import BenchmarkFailed, Bus, start_broker

ROLE = [sys.executable, "-m", "benchmarks.bursts"]

SLOWER = 4
CHUNK = 200
"""Events that the slow subscriber takes at once."""

BURST_SIZE = 500
"""Bytes of an event in a burst: a broker that kept all of a large burst would miss the goal."""

MOST_MEMORY = 64
NOBODY = "nobody"
SUBSCRIBERS = 10

PACE = 0.001
"""Seconds between two events of the steady publisher: what nine subscribers in one process take with ease."""

SIZE = 20_000
"""Bytes of such an event. The frozen subscriber's backlog of 8 MiB is full after less than half of `STEADY_EVENTS`."""

STEADY_EVENTS = 1000

HELD_UP = 0.01
"""Seconds from which on a `publish` was held up; others take a hundredth of that."""

MARGIN = 0.25
"""Seconds beyond the stall limit: the broker looks for those that stall at intervals."""


class Sent(Struct, frozen=True):
    """`held_up`: the seconds of all publishes together that took longer than `HELD_UP`."""

    seconds: float
    held_up: float


class Burst:
    """What a burst of `count` events takes of the broker's memory, at its peak, above what it had before."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._peak = Figure(
            f"burst-{count}", f"broker's peak in a burst of {count:,}, MiB more", None, Goal("at most", MOST_MEMORY)
        )
        self.figures = (self._peak,)

    def measure(self, bus: Bus) -> dict[str, list[float]]:
        processes = bus.processes
        address, count = f"unix://{bus.folder}/burst.sock", str(self._count)
        broker = start_broker(processes, address)
        alone = msgspec.json.decode(processes.run([*ROLE, "publisher", address, count, NOBODY], 0.0), type=Sent)
        pace = self._count / alone.seconds / SLOWER
        subscriber = processes.start([*ROLE, "subscriber", address, count, str(pace)])
        processes.wait_line(subscriber, READY.encode())
        # What earlier peaks have left to the allocator would hide a new one, so the mark is set anew.
        before = _reset_peak(broker)
        processes.run([*ROLE, "publisher", address, count, TOPIC], self._count / pace)
        received = msgspec.json.decode(processes.output(subscriber, self._count / pace), type=Received)
        if received.count != self._count:
            raise BenchmarkFailed(f"{self._count} events were published in a burst, {received.count} came")
        peak = _memory(broker, "VmHWM")
        processes.stop(broker)
        return {self._peak.name: [(peak - before) / 2**20]}


class Frozen:
    """How long one subscriber of ten that is stopped holds up the publisher; the other nine get every event."""

    def __init__(self, stall: float) -> None:
        """`stall` is the broker's limit."""
        self._stall = stall
        self._held_up = Figure(
            "frozen", "publisher held up by a frozen subscriber, s", None, Goal("at most", stall + MARGIN)
        )
        self.figures = (self._held_up,)

    def measure(self, bus: Bus) -> dict[str, list[float]]:
        processes = bus.processes
        address = f"unix://{bus.folder}/frozen.sock"
        # What it would warn of is what is measured.
        broker = start_broker(processes, address, "--limit-stall", str(self._stall), "--log-level", "error")
        role = [sys.executable, "-m", "benchmarks.bursts", "subscriber", address, str(STEADY_EVENTS), "inf"]
        subscribers = [processes.start(role) for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            processes.wait_line(subscriber, READY.encode())
        frozen, *others = subscribers
        if sys.platform != "win32":
            frozen.send_signal(signal.SIGSTOP)
        try:
            printed = processes.run([*ROLE, "steady", address, str(STEADY_EVENTS)], self._stall)
            for subscriber in others:
                received = msgspec.json.decode(processes.output(subscriber, self._stall), type=Received)
                if received.count != STEADY_EVENTS:
                    raise BenchmarkFailed(f"{STEADY_EVENTS} events were published beside a frozen one, {received} came")
        finally:
            frozen.kill()
        with sync.connect(address) as client:
            if not client.call("rob", "stats")["totals"]["dropped"]:
                raise BenchmarkFailed("the frozen subscriber's backlog was never full: nobody was held up")
        processes.stop(frozen)
        processes.stop(broker)
        return {self._held_up.name: [msgspec.json.decode(printed, type=Sent).held_up]}


def _reset_peak(process: subprocess.Popen[bytes]) -> int:
    """Gives the bytes that are resident now."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return _memory(process, "VmRSS")


def _memory(process: subprocess.Popen[bytes], field: str) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kibibytes) * 1024


async def subscribe(address: str, count: int, pace: float) -> Received:
    """Takes lists that begin with the numbers from 0 on, `pace` of them a second."""
    async with connect(address) as client, client.subscribe(OBJECT, TOPIC) as events:
        print(READY, flush=True)
        began = 0.0
        for due in range(count):
            event = await events.get(timeout=None)
            if not isinstance(event, Event) or event.value[0] != due:
                raise BenchmarkFailed(f"event {due} was due, {event!r} came")
            began = began or time.monotonic()
            if due % CHUNK == 0:
                ahead = began + due / pace - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
        return Received(count, time.monotonic())


async def publish(address: str, count: int, topic: str) -> Sent:
    """As fast as it can."""
    filler = "x" * BURST_SIZE
    async with connect(address) as client:
        began = time.monotonic()
        for number in range(count):
            await client.publish(OBJECT, topic, [number, filler])
        await client.drain(timeout=None)
        return Sent(time.monotonic() - began, 0.0)


async def publish_steadily(address: str, count: int) -> Sent:
    """One event each `PACE`; those that were held up follow one another at once."""
    held_up, filler = 0.0, "x" * SIZE
    async with connect(address) as client:
        began = time.monotonic()
        for number in range(count):
            started = time.monotonic()
            await client.publish(OBJECT, TOPIC, [number, filler])
            took = time.monotonic() - started
            held_up += took if took > HELD_UP else 0.0
            ahead = began + number * PACE - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        return Sent(time.monotonic() - began, held_up)


def main(role: str, address: str, count: str, *what: str) -> None:
    answer: Received | Sent
    match role, what:
        case "subscriber", [pace]:
            answer = uvloop.run(subscribe(address, int(count), float(pace)))
        case "publisher", [topic]:
            answer = uvloop.run(publish(address, int(count), topic))
        case "steady", []:
            answer = uvloop.run(publish_steadily(address, int(count)))
        case _:
            raise SystemExit(__doc__)
    print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
