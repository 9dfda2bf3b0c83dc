"""A worker of a run: it writes down the id of every call before it does anything for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TypedDict

from ipc_broker import Worker, inline
from tests.chaos.actor import Life, life_of_this_process
from tests.chaos.traces import Ran, now


class Answer(TypedDict):
    id: str
    value: int
    by: str


class Served:
    """Every method takes the id of its call and a number, and answers with the number's successor."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def work(self, id: str, number: int, takes: float) -> Answer:
        answer = self._begin(id, number)
        await asyncio.sleep(takes)
        return answer

    def toil(self, id: str, number: int, takes: float) -> Answer:
        """In a thread."""
        answer = self._begin(id, number)
        time.sleep(takes)
        return answer

    @inline
    def quick(self, id: str, number: int) -> Answer:
        return self._begin(id, number)

    async def count(self, id: str, number: int) -> AsyncIterator[Answer]:
        """A stream of the numbers from 0 to `number`."""
        answer = self._begin(id, number)
        for value in range(number + 1):
            yield {**answer, "value": value}

    async def fail(self, id: str, number: int) -> Answer:
        self._begin(id, number)
        raise ValueError(f"{number} is a number to fail with")

    def _begin(self, id: str, number: int) -> Answer:
        self._life.trace.write(Ran(at=now(), id=id))
        return {"id": id, "value": number + 1, "by": self._life.process}


def quiet(record: logging.LogRecord) -> bool:
    """Not about what methods raise: they are made to."""
    return record.msg != "%r raised"


async def play(life: Life, stopped: asyncio.Event) -> None:
    logging.getLogger("ipc_broker").addFilter(quiet)
    worker = Worker(life.address, name=life.process)
    for one in life.actor.serves:
        worker.add(one.object, Served(life), mode=one.mode, concurrency=one.concurrency)
    entering = asyncio.ensure_future(worker.__aenter__())
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((entering, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not entering.done():  # there is no broker: it must be possible to end all the same
        entering.cancel()
        await asyncio.wait((entering,))
        return
    await entering
    life.ready()
    await stopping
    await worker.__aexit__(None, None, None)


if __name__ == "__main__":
    life = life_of_this_process()
    life.run_async(lambda stopped: play(life, stopped))
