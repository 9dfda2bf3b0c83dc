"""Events: one publisher process, and one or eight subscribers.

Every subscriber has a client and a connection of its own, takes every event with `async for`, and holds its number
against the one that is due: an event that is lost, doubled or out of order fails the benchmark. The eight live in two
processes, four in each: eight processes on few cores would measure how the kernel switches between them. The clock runs
from before the first `publish` until the last subscriber has taken the last event. Each role is a process:

    python -m benchmarks.events subscribers ADDRESS COUNT
    python -m benchmarks.events publisher ADDRESS SECONDS
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import msgspec
import uvloop
from msgspec import Struct

from ipc_broker import Event, connect
from ipc_broker.aio.subscription import Subscription

from .figures import Figure, Goal
from .processes import BenchmarkFailed, Bus

OBJECT, TOPIC = "sensor", "temperature"
READY = "subscribed"
LOOK_AT_CLOCK = 100
"""Events between two looks at the clock."""


class Published(Struct, frozen=True):
    """`began`: on the machine's monotonic clock, in seconds."""

    count: int
    began: float


class Received(Struct, frozen=True):
    """`ended`: on the machine's monotonic clock, in seconds."""

    count: int
    ended: float


class Events:
    """Counts each event once for every subscriber that received it; `subscribers`: how many in each process."""

    def __init__(self, subscribers: tuple[int, ...], goal: int) -> None:
        self._subscribers = subscribers
        count = sum(subscribers)
        self.name = f"events-{count}"
        title = f"{'events' if count == 1 else 'deliveries'}/s to {count}"
        self.figures = (Figure(self.name, title, "rate", Goal("at least", goal)),)

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        role = [sys.executable, "-m", "benchmarks.events"]
        processes = bus.processes
        subscribers = [processes.start([*role, "subscribers", bus.address, str(count)]) for count in self._subscribers]
        for subscriber in subscribers:
            processes.wait_line(subscriber, READY.encode())
        printed = processes.run([*role, "publisher", bus.address, str(seconds)], seconds)
        published = msgspec.json.decode(printed, type=Published)
        received: list[Received] = []
        for subscriber in subscribers:
            received += msgspec.json.decode(processes.output(subscriber, seconds), type=list[Received])
        if wrong := [each.count for each in received if each.count != published.count]:
            raise BenchmarkFailed(f"{published.count} events were published; subscribers received {wrong}")
        took = max(each.ended for each in received) - published.began
        return {self.name: [sum(each.count for each in received) / took]}


async def publish(address: str, seconds: float) -> Published:
    """Numbers from 0 on, then None."""
    count = 0
    async with connect(address) as client:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for number in range(count, count + LOOK_AT_CLOCK):
                await client.publish(OBJECT, TOPIC, number)
            count += LOOK_AT_CLOCK
        await client.publish(OBJECT, TOPIC, None)
    return Published(count, began)


async def subscribe(address: str, count: int) -> list[Received]:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(address)) for _ in range(count)]
        subscriptions = [await stack.enter_async_context(client.subscribe(OBJECT, TOPIC)) for client in clients]
        print(READY, flush=True)
        return await asyncio.gather(*(receive(subscription) for subscription in subscriptions))


async def receive(subscription: Subscription) -> Received:
    due = 0
    async for event in subscription:
        if isinstance(event, Event) and event.value == due:
            due += 1
        elif isinstance(event, Event) and event.value is None:
            return Received(due, time.monotonic())
        else:
            raise BenchmarkFailed(f"event {due} was due, {event!r} came")
    raise BenchmarkFailed(f"the events ended before number {due}")


def main(role: str, address: str, amount: str) -> None:
    answer: Published | list[Received]
    match role:
        case "publisher":
            answer = uvloop.run(publish(address, float(amount)))
        case "subscribers":
            answer = uvloop.run(subscribe(address, int(amount)))
        case _:
            raise SystemExit(__doc__)
    print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
