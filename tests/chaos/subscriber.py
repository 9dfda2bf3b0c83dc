"""A subscriber of a run: several subscriptions, some of them slow.

Asked to end, it first takes all that the broker had for it (`settle`), so that what it did not get by then is lost. The
answer to a question comes behind the events that the broker has sent before; when a client has consumed all that came,
there is credit, and with that the broker keeps none back. So nothing that was routed before a `ping` is under way when the
answer has come and there is nothing to take.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random

import ipc_broker
import ipc_broker.aio.subscription
import ipc_broker.sync
import ipc_broker.sync.subscription
from ipc_broker import Event, Gap
from ipc_broker.errors import CallError
from tests.chaos.actor import RETRY, Life, life_of_this_process
from tests.chaos.plan import Subscribes
from tests.chaos.traces import Got, Missed, Settled, Subscribed, now

LOOK_EVERY = 0.2
"""Seconds after which a thread that waits for events looks whether it should end."""

DOZES_AFTER = 0.02
"""The share of events after which a slow subscriber takes none for a while."""

MOST_QUESTIONS = 50
"""Of one subscriber that settles, while events go on coming."""

AsyncSubscription = ipc_broker.aio.subscription.Subscription
BlockingSubscription = ipc_broker.sync.subscription.Subscription


def note(life: Life, subscription: int, event: Event | Gap) -> None:
    if isinstance(event, Gap):
        life.trace.write(Missed(at=now(), subscription=subscription, count=event.missed))
        return
    life.trace.write(
        Got(
            at=now(),
            subscription=subscription,
            by=event.value["by"],
            number=event.value["number"],
            object=event.object,
            topic=event.topic,
            retained=event.retained,
        )
    )


def settled(life: Life, subscription: int, since: float) -> None:
    life.trace.write(Settled(at=now(), subscription=subscription, since=since))


async def play(life: Life, stopped: asyncio.Event) -> None:
    client = await life.connected()
    subscriptions: list[AsyncSubscription] = []
    while len(subscriptions) < len(life.actor.subscribes) and not stopped.is_set():
        number, wish = len(subscriptions), life.actor.subscribes[len(subscriptions)]
        since = now()
        try:
            events = await client.subscribe(wish.object, wish.topic, group=wish.group, overflow=wish.overflow)
        except CallError:  # a broker that is lost in this moment takes the question with it
            await asyncio.sleep(RETRY)
            continue
        life.trace.write(Subscribed(at=now(), subscription=number, since=since))
        subscriptions.append(events)
    life.ready()
    readers = [
        asyncio.ensure_future(read(life, number, wish, events))
        for number, (wish, events) in enumerate(zip(life.actor.subscribes, subscriptions, strict=False))
    ]
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((*readers, stopping), return_when=asyncio.FIRST_COMPLETED)
    for reader in readers:
        reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*readers)
    await stopping
    with contextlib.suppress(CallError):  # without a connection there is no telling
        await settle(life, client, subscriptions)
    await client.close()


async def read(life: Life, number: int, wish: Subscribes, events: AsyncSubscription) -> None:
    rng = Random(f"{life.seed} {life.process} {number}")
    async for event in events:
        note(life, number, event)
        if wish.dozes and rng.random() < DOZES_AFTER:
            await asyncio.sleep(rng.uniform(0.0, wish.dozes))
    life.surprised(f"the subscription {number} has ended by itself")


async def settle(life: Life, client: ipc_broker.Client, subscriptions: list[AsyncSubscription]) -> None:
    for _ in range(MOST_QUESTIONS):
        await _take_all(life, subscriptions)
        since = now()
        await client.call("rob", "ping")
        for number, events in enumerate(subscriptions):
            if not events.pending:
                settled(life, number, since)
        if not any(events.pending for events in subscriptions):
            return


async def _take_all(life: Life, subscriptions: list[AsyncSubscription]) -> None:
    for number, events in enumerate(subscriptions):
        while events.pending:
            note(life, number, await events.get())


def play_blocking(life: Life) -> None:
    client = life.connected_blocking()
    subscriptions: list[BlockingSubscription] = []
    while len(subscriptions) < len(life.actor.subscribes) and not life.stopping.is_set():
        number, wish = len(subscriptions), life.actor.subscribes[len(subscriptions)]
        since = now()
        try:
            events = client.subscribe(wish.object, wish.topic, group=wish.group, overflow=wish.overflow)
        except CallError:
            life.wait(RETRY)
            continue
        life.trace.write(Subscribed(at=now(), subscription=number, since=since))
        subscriptions.append(events)
    life.ready()
    life.in_threads(*_readers(life, subscriptions))
    with contextlib.suppress(CallError):
        settle_blocking(life, client, subscriptions)
    client.close()


def _readers(life: Life, subscriptions: list[BlockingSubscription]) -> list[Callable[[], None]]:
    def reader(number: int, wish: Subscribes, events: BlockingSubscription) -> Callable[[], None]:
        return lambda: read_blocking(life, number, wish, events)

    return [
        reader(number, wish, events)
        for number, (wish, events) in enumerate(zip(life.actor.subscribes, subscriptions, strict=False))
    ]


def read_blocking(life: Life, number: int, wish: Subscribes, events: BlockingSubscription) -> None:
    rng = Random(f"{life.seed} {life.process} {number}")
    while not life.stopping.is_set():
        try:
            event = events.get(timeout=LOOK_EVERY)
        except TimeoutError:
            continue
        note(life, number, event)
        if wish.dozes and rng.random() < DOZES_AFTER:
            life.wait(rng.uniform(0.0, wish.dozes))


def settle_blocking(life: Life, client: ipc_broker.sync.Client, subscriptions: list[BlockingSubscription]) -> None:
    for _ in range(MOST_QUESTIONS):
        for number, events in enumerate(subscriptions):
            while events.pending:
                note(life, number, events.get())
        since = now()
        client.call("rob", "ping")
        for number, events in enumerate(subscriptions):
            if not events.pending:
                settled(life, number, since)
        if not any(events.pending for events in subscriptions):
            return


if __name__ == "__main__":
    life = life_of_this_process()
    if life.actor.client == "asyncio":
        life.run_async(lambda stopped: play(life, stopped))
    else:
        life.run(lambda: play_blocking(life))
