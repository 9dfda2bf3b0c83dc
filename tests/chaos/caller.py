"""A caller of a run: many calls at once, for as long as it lives."""

from __future__ import annotations

import asyncio

from tests.chaos.actor import Life, life_of_this_process
from tests.chaos.calling import STOP_PATIENCE, call_often, callers_in_threads


async def play(life: Life, stopped: asyncio.Event) -> None:
    client = await life.connected()
    life.ready()
    calls = asyncio.ensure_future(call_often(life, client, life.actor.parallel))
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((calls, stopping), return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait((calls,), timeout=STOP_PATIENCE)
    calls.cancel()
    await asyncio.wait((calls,))
    if not calls.cancelled():
        await calls
    stopping.cancel()
    await client.close()


def play_blocking(life: Life) -> None:
    client = life.connected_blocking()
    life.ready()
    life.in_threads(*callers_in_threads(life, client, life.actor.parallel))
    client.close()


if __name__ == "__main__":
    life = life_of_this_process()
    if life.actor.client == "asyncio":
        life.run_async(lambda stopped: play(life, stopped))
    else:
        life.run(lambda: play_blocking(life))
