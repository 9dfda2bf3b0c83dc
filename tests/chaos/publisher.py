"""A publisher of a run: events that it counts, in bursts; now and then it learns that they have been routed."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

from msgspec import Struct

import ipc_broker
import ipc_broker.sync
from ipc_broker.errors import CallError
from tests.chaos.actor import Life, life_of_this_process
from tests.chaos.calling import call_often, callers_in_threads
from tests.chaos.traces import Acknowledged, Drained, NotDrained, NotPublished, Publishing, now

DRAIN_EVERY = 0.05
"""The share of bursts that is followed by a `drain`."""


class Next(Struct, frozen=True):
    object: str
    topic: str
    value: dict[str, Any]
    retain: bool
    ack: bool
    number: int


class EventSource:
    """What is published, and what is written down about it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._rng = Random(f"{life.seed} {life.process} events")
        self.number = 0

    def burst(self) -> int:
        """Events to publish now."""
        return self._rng.choices((1, 5, 60), (70, 25, 5))[0]

    def pause(self) -> float:
        return self._rng.uniform(0.0, 0.06)

    def drains(self) -> bool:
        return self._rng.random() < DRAIN_EVERY

    def begin(self) -> Next:
        """The next event, which is written down already."""
        rng = self._rng
        self.number += 1
        object, topic = rng.choice(self._life.actor.topics)
        size = rng.randrange(rng.choices((200, 5_000, 60_000, 600_000), (60, 30, 9, 1))[0])
        value = {"by": self._life.process, "number": self.number, "padding": "x" * size}
        retain = topic == "state"
        self._life.trace.write(Publishing(at=now(), number=self.number, object=object, topic=topic, retain=retain))
        return Next(object, topic, value, retain, rng.random() < 0.03, self.number)

    def acknowledged(self, event: Next) -> None:
        self._life.trace.write(Acknowledged(at=now(), number=event.number))

    def failed(self, event: Next, error: CallError) -> None:
        self._life.trace.write(
            NotPublished(
                at=now(), number=event.number, code=error.code, delivered=error.delivered, message=error.message
            )
        )

    def drained(self) -> None:
        self._life.trace.write(Drained(at=now(), number=self.number))

    def not_drained(self, error: CallError) -> None:
        self._life.trace.write(NotDrained(at=now(), number=self.number, code=error.code))


async def publish_often(life: Life, client: ipc_broker.Client) -> None:
    publishing = EventSource(life)
    while not life.stopping.is_set():
        for _ in range(publishing.burst()):
            event = publishing.begin()
            try:
                await client.publish(event.object, event.topic, event.value, retain=event.retain, ack=event.ack)
            except CallError as error:
                publishing.failed(event, error)
            else:
                if event.ack:
                    publishing.acknowledged(event)
        if publishing.drains():
            await _drain(client, publishing)
        await asyncio.sleep(publishing.pause())
    await _drain(client, publishing)


async def _drain(client: ipc_broker.Client, publishing: EventSource) -> None:
    try:
        await client.drain()
    except CallError as error:
        publishing.not_drained(error)
    else:
        publishing.drained()


async def play(life: Life, stopped: asyncio.Event) -> None:
    client = await life.connected()
    life.ready()
    calls = asyncio.ensure_future(call_often(life, client, life.actor.parallel))
    await publish_often(life, client)
    calls.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calls
    await client.close()


def publish_often_blocking(life: Life, client: ipc_broker.sync.Client) -> None:
    publishing = EventSource(life)
    while not life.stopping.is_set():
        for _ in range(publishing.burst()):
            event = publishing.begin()
            try:
                client.publish(event.object, event.topic, event.value, retain=event.retain, ack=event.ack)
            except CallError as error:
                publishing.failed(event, error)
                life.wait(publishing.pause())
            else:
                if event.ack:
                    publishing.acknowledged(event)
        if publishing.drains():
            _drain_blocking(client, publishing)
        life.wait(publishing.pause())
    _drain_blocking(client, publishing)


def _drain_blocking(client: ipc_broker.sync.Client, publishing: EventSource) -> None:
    try:
        client.drain()
    except CallError as error:
        publishing.not_drained(error)
    else:
        publishing.drained()


def play_blocking(life: Life) -> None:
    client = life.connected_blocking()
    life.ready()
    calls = callers_in_threads(life, client, life.actor.parallel)
    life.in_threads(lambda: publish_often_blocking(life, client), *calls)
    client.close()


if __name__ == "__main__":
    life = life_of_this_process()
    if life.actor.client == "asyncio":
        life.run_async(lambda stopped: play(life, stopped))
    else:
        life.run(lambda: play_blocking(life))
