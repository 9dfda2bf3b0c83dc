"""Wildcards: 10,000 topics reach a subscriber by 1,000 patterns, or by a subscription for each.

The second is measured in the same round, so that what patterns cost is seen. Every event must arrive. Each role is a
process of its own:

    python -m benchmarks.patterns subscriber ADDRESS patterns|plain
    python -m benchmarks.patterns publisher ADDRESS SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop

from ipc_broker import Event, Gap, connect

from .events import READY, Published, Received
from .figures import Figure, Goal
from .processes import BenchmarkFailed, Bus

OBJECT, LAST = "sensors", "last"
PATTERNS, TOPICS = 1000, 10_000
TOPIC_NAMES = [f"room{number % PATTERNS}.sensor{number // PATTERNS}" for number in range(TOPICS)]
SUBSCRIPTIONS = {"patterns": [f"room{number}.*" for number in range(PATTERNS)], "plain": TOPIC_NAMES}


class Patterns:
    """Events a second with either kind of subscription, and the one in terms of the other."""

    name = "patterns"
    figures = (
        Figure("plain-topics", f"events/s, {TOPICS:,} topics", None),
        Figure("patterns", f"events/s, the same by {PATTERNS:,} patterns", None),
        Figure("patterns-plain", "patterns / topics", None, Goal("at least", 0.8)),
    )

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        plain, patterns = (self._rate(bus, kind, seconds) for kind in ("plain", "patterns"))
        return {"plain-topics": [plain], "patterns": [patterns], "patterns-plain": [patterns / plain]}

    def _rate(self, bus: Bus, kind: str, seconds: float) -> float:
        role = [sys.executable, "-m", "benchmarks.patterns"]
        processes = bus.processes
        subscriber = processes.start([*role, "subscriber", bus.address, kind])
        processes.wait_line(subscriber, READY.encode())
        printed = processes.run([*role, "publisher", bus.address, str(seconds)], seconds)
        published = msgspec.json.decode(printed, type=Published)
        received = msgspec.json.decode(processes.output(subscriber, seconds), type=Received)
        if received.count != published.count:
            raise BenchmarkFailed(f"{published.count} events were published, {received.count} came")
        return received.count / (received.ended - published.began)


async def publish(address: str, seconds: float) -> Published:
    """Each topic in turn, then how many they were."""
    count = 0
    async with connect(address) as client:
        for topic in TOPIC_NAMES:  # what is kept for a topic is made before the clock runs
            await client.publish(OBJECT, topic, None)
        await client.drain()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for topic in TOPIC_NAMES[count % TOPICS : count % TOPICS + 100]:
                await client.publish(OBJECT, topic, 25.6)
            count += 100
        await client.publish(OBJECT, LAST, count)
    return Published(count, began)


async def subscribe(address: str, kind: str) -> Received:
    received = 0
    changed = asyncio.Event()

    def take(event: Event | Gap) -> None:
        nonlocal received
        if isinstance(event, Gap):
            raise BenchmarkFailed(f"events were missed: {event!r}")
        received += event.value is not None
        changed.set()

    async with connect(address) as client:
        await asyncio.gather(*(client.subscribe(OBJECT, topic, callback=take) for topic in SUBSCRIPTIONS[kind]))
        async with client.subscribe(OBJECT, LAST) as last:
            print(READY, flush=True)
            event = await last.get()
            assert isinstance(event, Event)
            while received < event.value:
                changed.clear()
                await changed.wait()
            return Received(received, time.monotonic())


def main(role: str, address: str, what: str) -> None:
    answer = publish(address, float(what)) if role == "publisher" else subscribe(address, what)
    print(msgspec.json.encode(uvloop.run(answer)).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
