"""Events of all peers: publishers and subscribers, their numbers, and who is ready when.

An event is `size` bytes, of which the first eight are its number. Before the start publishers send probes, until each
subscriber has seen one: that is the only sign that holds for every peer that what is published now would arrive. After
the last event they send the end again and again, as a peer may lose it.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable

import msgspec
import uvloop

from . import line
from .orders import READY, Publish, Received, Sent, Subscribe
from .peer import Ends, Take

NUMBER = 8
PROBE, END = 2**63, 2**63 + 1

AGAIN = 0.02
"""Seconds between two probes, and between two ends."""

LOOK_AT_CLOCK = 64
"""Events between two looks at the clock."""

SLOW_CHUNK = 200
"""Events that a slow subscriber takes at once; then it blocks."""


def event(number: int, size: int) -> bytes:
    return number.to_bytes(NUMBER, "big") + bytes(size - NUMBER)


class _Counter:
    """One subscriber's events."""

    def __init__(self, pace: float, first: Callable[[], None]) -> None:
        self.count = self.disordered = 0
        self.ended = 0.0
        self._due = 0
        self._pace = pace
        self._first = first
        self._probed = False

    def take(self, data: bytes) -> bool:
        number = int.from_bytes(data[:NUMBER], "big")
        if number >= PROBE:
            return self._take_sign(number)
        self.count += 1
        if number < self._due:
            self.disordered += 1
        self._due = number + 1
        if self._pace and self.count % SLOW_CHUNK == 0:
            time.sleep(SLOW_CHUNK / self._pace)
        return False

    def _take_sign(self, number: int) -> bool:
        if number == END:
            self.ended = time.monotonic()
            return True
        if not self._probed:
            self._probed = True
            self._first()
        return False

    def received(self) -> Received:
        return Received(self.count, self.disordered, self.ended)


class _AllProbed:
    """Says that this process is ready once each of its subscribers is."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()

    def one(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                gc.collect()
                print(READY, flush=True)


def subscribe(ends: Ends, order: Subscribe) -> list[Received]:
    probed = _AllProbed(len(order.topics))
    counters = [_Counter(order.pace, probed.one) for _ in order.topics]
    if ends.asyncio_subscriber is not None:
        uvloop.run(_subscribe_all(ends, order, counters))
    else:
        assert ends.subscriber is not None
        _in_threads(order, ends.subscriber, counters)
    return [counter.received() for counter in counters]


async def _subscribe_all(ends: Ends, order: Subscribe, counters: list[_Counter]) -> None:
    subscribe = ends.asyncio_subscriber
    assert subscribe is not None
    async with asyncio.TaskGroup() as group:
        for topic, counter in zip(order.topics, counters, strict=True):
            group.create_task(subscribe(order.address, topic, counter.take))


def _in_threads(order: Subscribe, subscriber: Callable[[str, str, Take], None], counters: list[_Counter]) -> None:
    """One subscriber is worth no thread."""
    jobs = list(zip(order.topics, counters, strict=True))
    threads = [
        threading.Thread(target=subscriber, args=(order.address, topic, counter.take)) for topic, counter in jobs[1:]
    ]
    for thread in threads:
        thread.start()
    topic, counter = jobs[0]
    subscriber(order.address, topic, counter.take)
    for thread in threads:
        thread.join()


def publish(ends: Ends, order: Publish) -> None:
    """Goes on with the end until the process is ended."""
    if ends.asyncio_publisher is not None:
        uvloop.run(_publish_asyncio(ends, order))
    else:
        _publish_blocking(ends, order)


def _publish_blocking(ends: Ends, order: Publish) -> None:
    assert ends.publisher is not None
    pairs = [(ends.publisher(order.address), topic) for topic in order.topics]

    def sign(number: int) -> None:
        for publisher, topic in pairs:
            publisher.publish(topic, event(number, order.size))
            publisher.flush()
        time.sleep(AGAIN)

    while not line.is_open(order.line):
        sign(PROBE)
    filler = bytes(order.size - NUMBER)
    number, began = 0, time.monotonic()
    end = began + order.seconds
    most = order.most // len(pairs)
    while time.monotonic() < end and number < most:
        stop = min(number + LOOK_AT_CLOCK, most)
        for each in range(number, stop):
            data = each.to_bytes(NUMBER, "big") + filler
            for publisher, topic in pairs:
                publisher.publish(topic, data)
        number = stop
    for publisher, _ in pairs:
        publisher.flush()
    _tell(Sent(number * len(pairs), began))
    while True:
        sign(END)


async def _publish_asyncio(ends: Ends, order: Publish) -> None:
    assert ends.asyncio_publisher is not None
    pairs = [(await ends.asyncio_publisher(order.address), topic) for topic in order.topics]

    async def sign(number: int) -> None:
        for publisher, topic in pairs:
            await publisher.publish(topic, event(number, order.size))
            await publisher.flush()
        await asyncio.sleep(AGAIN)

    while not line.is_open(order.line):
        await sign(PROBE)
    filler = bytes(order.size - NUMBER)
    number, began = 0, time.monotonic()
    end = began + order.seconds
    most = order.most // len(pairs)
    while time.monotonic() < end and number < most:
        stop = min(number + LOOK_AT_CLOCK, most)
        for each in range(number, stop):
            data = each.to_bytes(NUMBER, "big") + filler
            for publisher, topic in pairs:
                await publisher.publish(topic, data)
        number = stop
    for publisher, _ in pairs:
        await publisher.flush()
    _tell(Sent(number * len(pairs), began))
    while True:
        await sign(END)


def _tell(sent: Sent) -> None:
    print(msgspec.json.encode(sent).decode(), flush=True)
