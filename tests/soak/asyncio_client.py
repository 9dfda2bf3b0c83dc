"""The long-lived asyncio client: `python -m tests.soak.asyncio_client ADDRESS TICK`, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ipc_broker import Client, Event, Gap, connect
from ipc_broker.aio.signals import on_stop_signal
from ipc_broker.aio.subscription import Callback, Subscription
from tests.soak.load import (
    CALLS,
    GROUP,
    ITEMS,
    OBJECT,
    PERIOD,
    PUBLISHERS,
    RETAIN_EVERY,
    STREAM_EVERY,
    WILLS,
    Intake,
    value,
)
from tests.soak.reports import READY, TIMEOUT, Final, Tally, in_words, tell_final

OWN = "asyncio"


class Load:
    def __init__(self, client: Client, tally: Tally) -> None:
        self.group = Intake(tally, "group", group=True)
        self.group_published = 0
        self.wills = 0
        self._client = client
        self._tally = tally
        self._plain = {topic: Intake(tally, topic) for topic in [f"steady.{name}" for name in PUBLISHERS]}
        self._patterns = {topic: Intake(tally, topic) for topic in ("steady.*", "state.>")}
        self._subscriptions: list[Subscription] = []
        self._came = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def subscribe(self) -> None:
        """The events go to callbacks or to an iteration, half of them each."""
        client = self._client

        def callback(intake: Intake) -> Callback:
            def take(event: Event | Gap) -> None:
                intake.take(event)
                self._came.set()

            return take

        async def take_all(subscription: Subscription, take: Callback) -> None:
            async for event in subscription:
                take(event)

        for topic, intake in self._plain.items():
            self._subscriptions.append(await client.subscribe(OBJECT, topic, callback=callback(intake)))
        for topic, intake in self._patterns.items():
            self._subscriptions.append(subscription := await client.subscribe(OBJECT, topic))
            self._spawn(take_all(subscription, callback(intake)))
        self._subscriptions.append(
            await client.subscribe(OBJECT, "group.*", group=GROUP, callback=callback(self.group)),
        )
        self._subscriptions.append(await client.subscribe(OBJECT, WILLS, callback=self._will))

    def _will(self, event: Event | Gap) -> None:
        self.wills += 1
        if isinstance(event, Gap):
            self._tally.fault(f"wills were lost: {event!r}")
        self._came.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Looks again after each event."""
        while not condition():
            self._came.clear()
            await self._came.wait()

    async def run(self, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while not stopping.is_set():
            await self._publish(number)
            for place, (name, method) in enumerate(CALLS):
                self._spawn(self._call(name, method, number, place))
            if number % STREAM_EVERY == 0:
                self._spawn(self._stream(leave=number % (2 * STREAM_EVERY) == 0))
            number += 1
            due += PERIOD
            await asyncio.sleep(max(due - loop.time(), 0.0))
        await self._publish(number, last=True)
        await self._client.drain()

    async def end(self) -> Final:
        """All that was published by anybody has come, or is told to be lost."""
        intakes = [*self._plain.values(), *self._patterns.values()]
        due = 2 * len(self._plain) + len(PUBLISHERS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await self._until(lambda: sum(len(intake.ended) for intake in intakes) == due)
        ended = sum(len(intake.ended) for intake in intakes)
        if ended < due:
            self._tally.fault(f"{due - ended} of {due} topics did not come to their last event within {TIMEOUT:g} s")
        # What the broker has routed until now comes before its answer.
        await self._client.call("rob", "ping", timeout=TIMEOUT)
        await self._until(lambda: not any(subscription.pending for subscription in self._subscriptions))
        for subscription in self._subscriptions:
            await subscription.close()
        if self._running:
            await asyncio.wait(self._running, timeout=2 * TIMEOUT)
        return Final(group_published=self.group_published, group_received=self.group.received, wills=self.wills)

    async def _publish(self, number: int, *, last: bool = False) -> None:
        """The last of the plain topic comes when everything else has."""
        client = self._client
        try:
            await client.publish(OBJECT, f"group.{OWN}", value(number))
            self.group_published += 1
            if number % RETAIN_EVERY == 0 or last:
                number_of_state = -(-number // RETAIN_EVERY)
                await client.publish(OBJECT, f"state.{OWN}", value(number_of_state, last=last), retain=True)
            await client.publish(OBJECT, f"steady.{OWN}", value(number, last=last))
        except Exception as error:
            self._tally.fault(f"publish: {in_words(error)}")

    async def _call(self, name: str, method: str, a: int, b: int) -> None:
        with self._tally.call(f"{name}.{method}"):
            result = await self._client.call(name, method, {"a": a, "b": b}, timeout=TIMEOUT)
            if result != a + b:
                self._tally.fault(f"{name}.{method} gave {result!r} where {a + b} was due")

    async def _stream(self, *, leave: bool) -> None:
        """To its end, or only for a tenth of its items."""
        with self._tally.call("tape.count"):
            due = ITEMS // 10 if leave else ITEMS
            came = []
            async with self._client.stream("tape", "count", {"stop": ITEMS}, timeout=TIMEOUT) as items:
                async for item in items:
                    came.append(item)
                    if leave and len(came) == due:
                        break
            if came != list(range(due)):
                self._tally.fault(f"tape.count gave {len(came)} items where {due} in order were due")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def main(address: str, tick: float) -> None:
    stopping = asyncio.Event()
    tally = Tally()

    async def tell() -> None:
        while True:
            await asyncio.sleep(tick)
            tally.tell()

    with on_stop_signal(stopping.set):
        async with connect(address, name=OWN) as client:
            load = Load(client, tally)
            await load.subscribe()
            print(READY, flush=True)
            telling = asyncio.ensure_future(tell())
            await load.run(stopping)
            final = await load.end()
            telling.cancel()
    tally.tell()
    tell_final(final)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], float(sys.argv[2])))
