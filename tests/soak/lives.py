"""Short lives: clients and workers that connect, do a few things of all that can be done, and leave or are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import ipc_broker
import ipc_broker.sync
from ipc_broker import Event, Gap, Worker
from tests.soak.load import ITEMS, OBJECT, WILLS
from tests.soak.reports import TIMEOUT

Deed = Literal["call", "events", "group", "retained", "stream", "serve", "publish", "keep"]

DEEDS: tuple[Deed, ...] = ("call", "events", "group", "retained", "stream", "serve", "publish", "keep")

TOPICS = 50
"""Of retained values that lives leave; more would be growth by intent."""


@dataclass(frozen=True)
class Plan:
    """`will`: whether one is set; the broker owes it when the life is killed."""

    number: int
    kind: Literal["asyncio", "blocking"]
    deeds: tuple[Deed, ...]
    will: bool
    killed: bool


def plan(seed: int, number: int) -> Plan:
    rng = Random(f"{seed} {number}")
    return Plan(
        number,
        rng.choice(("asyncio", "blocking")),
        tuple(rng.sample(DEEDS, rng.randint(1, 4))),
        will=rng.random() < 0.5,
        killed=rng.random() < 0.5,
    )


class WrongAnswer(Exception):
    """Something else came than what was due."""


def live(address: str, plan: Plan) -> None:
    """Returns only when the plan is to leave in good order."""
    if plan.kind == "asyncio":
        asyncio.run(_live(address, plan))
    else:
        _live_blocking(address, plan)


def _die() -> None:
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)


def _check(what: str, came: object, due: object) -> None:
    if came != due:
        raise WrongAnswer(f"{what}: {due!r} was due, {came!r} came")


def _check_retained(event: Event | Gap) -> None:
    if not isinstance(event, Event) or not event.retained:
        raise WrongAnswer(f"a retained event was due, {event!r} came")


class _Guest:
    async def add(self, a: int, b: int) -> int:
        return a + b


async def _live(address: str, plan: Plan) -> None:
    async with ipc_broker.connect(address, timeout=TIMEOUT, name=f"life {plan.number}") as client:
        if plan.will:
            await client.set_will(OBJECT, WILLS, plan.number)
        for deed in plan.deeds:
            await _do(client, deed, plan.number)
        if plan.killed:  # in the midst of things: what is begun here does not end
            waiting = asyncio.ensure_future(client.call("plain", "wait", timeout=None))
            await client.subscribe(OBJECT, "steady.>", callback=lambda event: None)
            await client.call("plain", "add", [1, 2], timeout=TIMEOUT)
            _die()
            await waiting


async def _do(client: ipc_broker.Client, deed: Deed, number: int) -> None:
    match deed:
        case "call":
            _check("plain.add", await client.call("plain", "add", [number, 1], timeout=TIMEOUT), number + 1)
            await _give_up_a_call(client)
        case "events":
            async with client.subscribe(OBJECT, "steady.*") as events:
                for _ in range(3):
                    await events.get(TIMEOUT)
        case "group":
            async with client.subscribe(OBJECT, "steady.asyncio", group=f"lives.{number % 3}", overflow="latest"):
                pass
        case "retained":
            async with client.subscribe(OBJECT, "state.asyncio") as events:
                _check_retained(await events.get(TIMEOUT))
        case "stream":
            async with client.stream("tape", "count", [ITEMS], timeout=TIMEOUT) as items:
                _check("tape.count", [await anext(items) for _ in range(5)], list(range(5)))
        case "serve":
            await _serve(client, f"life.{number}")
        case "publish":
            await client.publish(OBJECT, "lives.hello", number, ack=True)
        case "keep":
            topic = f"lives.kept.{number % TOPICS}"
            await client.publish(OBJECT, topic, number, retain=True, ack=True)
            await client.clear(OBJECT, topic)


async def _give_up_a_call(client: ipc_broker.Client) -> None:
    given_up = asyncio.ensure_future(client.call("plain", "wait", timeout=TIMEOUT))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])


async def _serve(client: ipc_broker.Client, name: str) -> None:
    """Registered, called, and unregistered; by a connection of its own."""
    worker = Worker(client.address, name=name)
    worker.add(name, _Guest())
    async with worker:
        await client.wait_for(name, TIMEOUT)
        _check(name, await client.call(name, "add", [1, 2], timeout=TIMEOUT), 3)
        worker.remove(name)


def _live_blocking(address: str, plan: Plan) -> None:
    with ipc_broker.sync.connect(address, timeout=TIMEOUT, name=f"life {plan.number}") as client:
        if plan.will:
            client.set_will(OBJECT, WILLS, plan.number)
        for deed in plan.deeds:
            _do_blocking(client, deed, plan.number)
        if plan.killed:
            client.subscribe(OBJECT, "steady.>")
            items: Any = client.stream("tape", "count", [100 * ITEMS])
            _check("tape.count", next(items), 0)
            _die()


def _do_blocking(client: ipc_broker.sync.Client, deed: Deed, number: int) -> None:
    match deed:
        case "call":
            _check("shared.add", client.call("shared", "add", [number, 1], timeout=TIMEOUT), number + 1)
        case "events":
            with client.subscribe(OBJECT, "steady.*") as events:
                for _ in range(3):
                    events.get(TIMEOUT)
        case "group":
            with client.subscribe(OBJECT, "steady.blocking", group=f"lives.{number % 3}", overflow="drop_oldest"):
                pass
        case "retained":
            with client.subscribe(OBJECT, "state.asyncio") as events:
                _check_retained(events.get(TIMEOUT))
        case "stream":
            with client.stream("tape", "count", [ITEMS], timeout=TIMEOUT) as items:
                _check("tape.count", [next(items) for _ in range(5)], list(range(5)))
        case "serve":
            client.wait_for("plain", TIMEOUT)
            _check("has", client.has(f"nobody.{number}"), False)
        case "publish":
            client.publish(OBJECT, "lives.hello", number, ack=True)
        case "keep":
            topic = f"lives.kept.{number % TOPICS}"
            client.publish(OBJECT, topic, number, retain=True, ack=True)
            client.clear(OBJECT, topic)
