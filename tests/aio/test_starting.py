"""Coroutines that are started at once: what they see is what they would see in a task of their own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ipc_broker import Worker, connect
from ipc_broker.aio.starting import Starter
from tests.aio.bus import broker_at, serving

VALUE: contextvars.ContextVar[str] = contextvars.ContextVar("value", default="outside")

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None]


@asynccontextmanager
async def starting() -> AsyncIterator[Start]:
    """Starts as a callback of the loop does, outside of any task, and waits until a task is in reserve."""
    loop = asyncio.get_running_loop()
    starter = Starter(loop)

    def start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        tested = asyncio.current_task()
        assert tested is not None
        asyncio.tasks._leave_task(loop, tested)
        try:
            return starter.start(coroutine, contextvars.copy_context(), "named")
        finally:
            asyncio.tasks._enter_task(loop, tested)

    await asyncio.sleep(0)
    try:
        yield start
    finally:
        starter.close()


def only_task(tasks: set[asyncio.Task[Any]]) -> asyncio.Task[Any]:
    [task] = tasks - {asyncio.current_task()}
    return task


async def test_what_waits_for_nothing_has_ended_and_needs_no_task() -> None:
    ran: list[object] = []

    async def quick() -> None:
        ran.append(asyncio.current_task())

    async with starting() as start:
        reserve = only_task(asyncio.all_tasks())
        assert start(quick()) is None
        assert start(quick()) is None
        assert ran == [reserve, reserve]


async def test_what_waits_goes_on_as_the_task_that_it_began_as() -> None:
    tasks: list[object] = []

    async def waits() -> None:
        for _ in range(3):
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)

    async with starting() as start:
        task = start(waits())
        assert task is not None
        assert task.get_name() == "named"
        assert tasks == [task], "the first step was taken at once"
        await task
        assert tasks == [task] * 3


async def test_while_no_task_is_in_reserve_each_gets_its_own() -> None:
    order: list[int] = []
    event = asyncio.Event()

    async def waits(number: int) -> None:
        order.append(number)
        await event.wait()

    async with starting() as start:
        tasks = [start(waits(number)) for number in range(3)]
        assert order == [0]
        await asyncio.sleep(0)
        assert order == [0, 1, 2], "they begin in their order"
        assert start(waits(3)) is not None
        assert order == [0, 1, 2, 3], "at once again"
        event.set()
        assert len(set(tasks)) == 3
        await asyncio.gather(*(task for task in tasks if task is not None))


async def test_within_a_task_nothing_is_started_at_once() -> None:
    ran: list[object] = []

    async def quick() -> None:
        ran.append(asyncio.current_task())

    starter = Starter(asyncio.get_running_loop())
    await asyncio.sleep(0)
    task = starter.start(quick(), contextvars.copy_context(), "named")
    assert task is not None
    assert not ran
    await task
    assert ran == [task]
    starter.close()


async def test_all_steps_run_in_the_context_that_was_given_and_no_other_sees_it() -> None:
    seen: list[str] = []
    children: list[str] = []

    async def child() -> None:
        children.append(VALUE.get())

    async def waits(own: str) -> None:
        VALUE.set(own)
        await asyncio.sleep(0)
        seen.append(VALUE.get())
        await asyncio.create_task(child())
        seen.append(VALUE.get())

    async with starting() as start:
        first = start(waits("first"))
        assert first is not None
        assert VALUE.get() == "outside"
        await first
        second = start(waits("second"))
        assert second is not None
        await second
    assert seen == ["first", "first", "second", "second"]
    assert children == ["first", "second"]


async def test_exceptions_of_what_it_waits_for_come_where_it_waits() -> None:
    loop = asyncio.get_running_loop()
    caught: list[BaseException] = []

    async def waits(future: asyncio.Future[None]) -> None:
        for _ in range(2):
            try:
                await future
            except ValueError as error:
                caught.append(error)

    async with starting() as start:
        future: asyncio.Future[None] = loop.create_future()
        task = start(waits(future))
        assert task is not None
        error = ValueError("planted")
        future.set_exception(error)
        await task
        assert caught == [error, error]


async def test_a_future_that_others_wait_for_too() -> None:
    loop = asyncio.get_running_loop()
    got: list[str] = []

    async def waits(future: asyncio.Future[str]) -> None:
        got.append(await future)

    for is_done_meanwhile in (False, True):
        async with starting() as start:
            future: asyncio.Future[str] = loop.create_future()
            another = asyncio.ensure_future(waits(future))
            task = start(waits(future))
            assert task is not None
            if is_done_meanwhile:
                future.set_result("value")
            await asyncio.sleep(0)
            third = asyncio.ensure_future(waits(future))
            await asyncio.sleep(0)
            if not is_done_meanwhile:
                future.set_result("value")
            await asyncio.gather(task, another, third)
    assert got == ["value"] * 6


async def test_timeouts_and_task_groups_in_the_first_step() -> None:
    ended: list[str] = []

    async def in_time() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append("timeout")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))
                await asyncio.sleep(0)
                raise ValueError("planted")
        except* ValueError:
            ended.append("group")

    async with starting() as start:
        task = start(in_time())
        assert task is not None
        await task
        assert not task.cancelling()
    assert ended == ["timeout", "group"]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_cancelling_cancels_what_it_waits_for(turns: int) -> None:
    inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ended: list[str] = []

    async def waits() -> None:
        try:
            await inner
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with starting() as start:
        task = start(waits())
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert ended == ["cancelled"]
        assert inner.cancelled()


async def test_what_cancels_itself_in_its_first_step_is_cancelled_where_it_waits_next() -> None:
    ended: list[str] = []

    async def cancels_itself(*, waits: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                ended.append("cancelled")

    async with starting() as start:
        task = start(cancels_itself(waits=True))
        assert task is not None
        await task
        assert ended == ["cancelled"]


@pytest.mark.parametrize("takes_it_back", [False, True])
async def test_the_next_one_is_not_cancelled_for_what_the_last_one_did(takes_it_back: bool) -> None:
    """A coroutine that cancels itself and ends has spent the task in reserve; the next begins with another."""
    ended: list[str] = []
    event = asyncio.Event()

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if takes_it_back:
            task.uncancel()

    async def waits() -> None:
        await event.wait()
        ended.append("done")

    async with starting() as start:
        for turns in (0, 1, 2):
            assert start(cancels_itself()) is None
            for _ in range(turns):
                await asyncio.sleep(0)
            task = start(waits())
            assert task is not None
            await asyncio.sleep(0)
            event.set()
            await task
            event.clear()
    assert ended == ["done"] * 3


async def test_after_all_tasks_were_cancelled_by_somebody_the_next_ones_run() -> None:
    ended: list[str] = []

    async def waits() -> None:
        await asyncio.sleep(0)
        ended.append("done")

    async with starting() as start:
        for turns in (0, 2):
            only_task(asyncio.all_tasks()).cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            task = start(waits())
            assert task is not None
            await task
            for _ in range(2):
                await asyncio.sleep(0)
    assert ended == ["done"] * 2


async def test_an_interrupt_in_the_first_step_comes_out_and_the_next_one_runs() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def quick() -> None:
        ran.append(asyncio.current_task())

    ran: list[object] = []
    async with starting() as start:
        with pytest.raises(KeyboardInterrupt):
            start(interrupted())
        assert start(quick()) is None
        assert len(ran) == 1


async def test_when_it_is_closed_nothing_is_left_and_what_still_comes_gets_its_own_task() -> None:
    async def quick() -> None:
        await asyncio.sleep(0)

    starter = Starter(asyncio.get_running_loop())
    await asyncio.sleep(0)
    starter.close()
    starter.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for _ in range(2):
        task = starter.start(quick(), contextvars.copy_context(), "named")
        assert task is not None
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


# In a worker


class Follower:
    """What it knows comes as events, and it is asked for it in calls."""

    def __init__(self) -> None:
        self.known: list[int] = []

    def take(self, event: Any) -> None:
        self.known.append(event.value)

    async def last(self) -> int:
        return self.known[-1]


async def test_a_method_sees_what_the_callback_of_an_event_before_its_call_has_done(address: str) -> None:
    follower = Follower()
    async with (
        broker_at(address),
        serving(address, it=follower) as worker,
        connect(address) as client,
    ):
        await worker.client.subscribe("sensor", "value", callback=follower.take)
        for number in range(200):
            await client.publish("sensor", "value", number)
            assert await client.call("it", "last") == number


async def test_a_method_that_removes_its_own_object_is_cancelled(address: str) -> None:
    ended = asyncio.Event()

    class Leaving:
        worker: Worker

        async def quick(self) -> None:
            """So that a task is in reserve."""

        async def leave(self) -> None:
            self.worker.remove("it")
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    leaving = Leaving()
    async with broker_at(address), serving(address, it=leaving) as worker, connect(address) as client:
        leaving.worker = worker
        await client.call("it", "quick")
        calling = asyncio.ensure_future(client.call("it", "leave"))
        await ended.wait()
        await asyncio.wait([calling])
        assert calling.exception() is not None
