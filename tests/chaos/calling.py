"""Calls: which ones are made, and what is written down about each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct

import ipc_broker
import ipc_broker.sync
from ipc_broker.errors import CallError
from tests.chaos.actor import Life
from tests.chaos.traces import Called, Failed, GaveUp, Returned, now

ENOUGH_TIME = 20.0
"""Seconds for calls that nothing can delay so long; also for those of `safe`, which always end with their result."""

STOP_PATIENCE = 3.0
"""Seconds until calls of a process that was asked to end are cancelled."""


class Choice(Struct, frozen=True):
    """One call. `patience` are the seconds after which its caller cancels it, None for never."""

    object: str
    method: str
    args: dict[str, Any]
    timeout: float
    takes: float
    expects: int | str
    patience: float | None


class Calling:
    """The calls of one process, from several tasks or threads."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._lock = threading.Lock()
        self._last_id = 0

    def begin(self, *, can_cancel: bool) -> tuple[str, Choice]:
        """The next call, which is written down already."""
        with self._lock:
            self._last_id += 1
            id = f"{self._life.process}:{self._last_id}"
            choice = choose(self._life.rng, self._life.actor.calls, id, can_cancel)
        self._life.trace.write(
            Called(
                at=now(),
                id=id,
                object=choice.object,
                method=choice.method,
                timeout=choice.timeout,
                takes=choice.takes,
                expects=choice.expects,
            )
        )
        return id, choice

    def pause(self) -> float:
        with self._lock:
            return self._life.rng.uniform(0.0, 0.15)

    def returned(self, id: str, answers: list[Any]) -> None:
        """One answer, or all items of a stream: the last counts if the others are right."""
        in_order = [answer["value"] for answer in answers] == list(range(len(answers))) or len(answers) == 1
        echoes = {answer["id"] for answer in answers}
        last = answers[-1]
        self._life.trace.write(
            Returned(
                at=now(),
                id=id,
                value=last["value"] if in_order else -1,
                echo=last["id"] if len(echoes) == 1 else str(echoes),
                by=last["by"],
            )
        )

    def failed(self, id: str, error: CallError) -> None:
        self._life.trace.write(
            Failed(at=now(), id=id, code=error.code, delivered=error.delivered, message=error.message)
        )

    def gave_up(self, id: str) -> None:
        self._life.trace.write(GaveUp(at=now(), id=id))


def choose(rng: Random, objects: tuple[str, ...], id: str, can_cancel: bool) -> Choice:
    object = rng.choice(objects)
    safe = object == "safe"
    number = rng.randrange(1_000_000)
    method = rng.choices(("work", "toil", "quick", "count", "fail", "unknown", "wrong"), (10, 4, 6, 3, 1, 1, 1))[0]
    takes = 0.0
    if method in ("work", "toil"):
        takes = rng.choices((0.0, rng.uniform(0.0, 0.3), 1.2), (70, 27, 0 if safe else 3))[0]
    args: dict[str, Any] = {"id": id, "number": number}
    expects: int | str = number + 1
    match method:
        case "work" | "toil":
            args["takes"] = takes
        case "count":
            args["number"] = expects = rng.randrange(1, 200)
        case "fail":
            expects = "remote_error"
        case "unknown":
            expects = "no_such_method"
        case "wrong":
            method, args["number"], expects = "quick", "no number", "invalid_args"
    return Choice(
        object=object,
        method=method,
        args=args,
        timeout=ENOUGH_TIME if safe else rng.choice((0.3, 1.0, 3.0, 3.0 if not can_cancel else ENOUGH_TIME)),
        takes=takes,
        expects=expects,
        patience=rng.uniform(0.0, 0.2) if can_cancel and rng.random() < 0.05 else None,
    )


async def call_often(life: Life, client: ipc_broker.Client, parallel: int) -> None:
    """Until the process is asked to end."""
    calling = Calling(life)
    tasks = [asyncio.ensure_future(_call_often(life, client, calling)) for _ in range(parallel)]
    if not tasks:
        return
    try:
        for finished in asyncio.as_completed(tasks):
            await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _call_often(life: Life, client: ipc_broker.Client, calling: Calling) -> None:
    while not life.stopping.is_set():
        id, choice = calling.begin(can_cancel=True)
        try:
            async with asyncio.timeout(choice.patience):
                calling.returned(id, await _answers(client, choice))
        except CallError as error:
            calling.failed(id, error)
        except TimeoutError:
            calling.gave_up(id)
        except asyncio.CancelledError:
            calling.gave_up(id)
            raise
        await asyncio.sleep(calling.pause())


async def _answers(client: ipc_broker.Client, choice: Choice) -> list[Any]:
    if choice.method != "count":
        return [await client.call(choice.object, choice.method, choice.args, timeout=choice.timeout)]
    async with client.stream(choice.object, choice.method, choice.args, timeout=choice.timeout) as items:
        return [item async for item in items]


def callers_in_threads(life: Life, client: ipc_broker.sync.Client, parallel: int) -> list[Callable[[], None]]:
    """For `Life.in_threads`."""
    calling = Calling(life)
    return [lambda: _call_often_blocking(life, client, calling)] * parallel


def _call_often_blocking(life: Life, client: ipc_broker.sync.Client, calling: Calling) -> None:
    while not life.stopping.is_set():
        id, choice = calling.begin(can_cancel=False)
        try:
            calling.returned(id, _blocking_answers(client, choice))
        except CallError as error:
            calling.failed(id, error)
        life.wait(calling.pause())


def _blocking_answers(client: ipc_broker.sync.Client, choice: Choice) -> list[Any]:
    if choice.method != "count":
        return [client.call(choice.object, choice.method, choice.args, timeout=choice.timeout)]
    with client.stream(choice.object, choice.method, choice.args, timeout=choice.timeout) as items:
        return list(items)
