"""Starts coroutines at once, without a turn of the loop, and without a task for those that end before they wait.

Most methods of a worker return without waiting for anything, and a task for each would take longer than they do. So there is
one task in reserve: a coroutine takes its first step as if it were that task's, and only one that waits then becomes it.
"""

from __future__ import annotations

import asyncio
import contextvars
import types

# What task libraries are to use (asyncio's documentation, "Extending").
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from typing import Any

Coro = Coroutine[Any, Any, None]


class Starter:
    """Belongs to one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reserve: _Reserve | None = _Reserve(loop)

    def start(self, coroutine: Coro, context: contextvars.Context, name: str) -> asyncio.Task[None] | None:
        """The task in which it goes on; None when it has ended. It runs in `context`; nothing but exits may come out of it."""
        reserve = self._reserve
        if reserve is None or not reserve.ready or reserve.given.done():
            if reserve is not None and reserve.is_spent:
                self._reserve = _Reserve(self._loop)
            return self._loop.create_task(coroutine, name=name, context=context)
        task = reserve.task
        try:
            _enter_task(self._loop, task)
        except RuntimeError:  # another task is running
            return self._loop.create_task(coroutine, name=name, context=context)
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration:
            return None
        finally:
            _leave_task(self._loop, task)
        self._reserve = _Reserve(self._loop)
        task.set_name(name)
        reserve.go_on(coroutine, context, waits_for)
        return task

    def close(self) -> None:
        """Leaves no task in reserve: what is started from now on gets one of its own."""
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            reserve.task.cancel()


class _Reserve:
    """A task that waits for a coroutine to go on with."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ready = False
        self._coroutine: Coro | None = None
        self._context: contextvars.Context | None = None
        self._waits_for: Any = None
        self.given: asyncio.Future[None] = loop.create_future()
        self.task = loop.create_task(self._run())

    @property
    def is_spent(self) -> bool:
        """It was cancelled: by somebody who ends all tasks, or by a coroutine that took its only step as this task."""
        return self.given.done() or self.task.done()

    def go_on(self, coroutine: Coro, context: contextvars.Context, waits_for: Any) -> None:
        """With a coroutine that has taken its first step, and waits for that now."""
        self._coroutine, self._context, self._waits_for = coroutine, context, waits_for
        if _is_awaited(waits_for):
            waits_for._asyncio_future_blocking = False  # until the task says so: others may wait for it before
        if not self.given.done():
            self.given.set_result(None)

    async def _run(self) -> None:
        self.ready = True
        error: BaseException | None = None
        try:
            await self.given
        except asyncio.CancelledError as cancelled:
            error = cancelled
        if self._coroutine is not None and self._context is not None:
            await _rest(self._coroutine, self._context, self._waits_for, error)


def _is_awaited(waits_for: object) -> bool:
    return getattr(waits_for, "_asyncio_future_blocking", None) is not None


@types.coroutine
def _rest(
    coroutine: Coro, context: contextvars.Context, waits_for: Any, error: BaseException | None
) -> Generator[Any, Any, None]:
    """All steps but the first. `error` comes in the place of what it waits for."""
    if _is_awaited(waits_for):
        if error is not None and waits_for.cancel():
            error = None  # it comes from there, as for any task that waits for something
        waits_for._asyncio_future_blocking = True  # as `await` had left it
    while True:
        value = None
        if error is None:
            try:
                value = yield waits_for
            except BaseException as thrown:
                error = thrown
        try:
            waits_for = context.run(coroutine.send, value) if error is None else context.run(coroutine.throw, error)
        except StopIteration:
            return
        finally:
            error = None  # or it would hold this frame, and its own, and views that the method was called with
