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
        self._reserve = _Reserve(loop)

    def start(self, coroutine: Coro, context: contextvars.Context, name: str) -> asyncio.Task[None] | None:
        """The task in which it goes on; None when it has ended. It runs in `context`; nothing but exits may come out of it."""
        reserve = self._reserve
        task = reserve.task
        if not reserve.ready:
            return self._loop.create_task(coroutine, name=name, context=context)
        try:
            _enter_task(self._loop, task)
        except RuntimeError:  # another task is running
            return self._loop.create_task(coroutine, name=name, context=context)
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration:
            if task.cancelling():  # it has cancelled itself, with its last breath
                self._reserve = _Reserve(self._loop)
            return None
        finally:
            _leave_task(self._loop, task)
        self._reserve = _Reserve(self._loop)
        task.set_name(name)
        reserve.go_on(coroutine, context, waits_for)
        return task

    def close(self) -> None:
        self._reserve.ready = False
        self._reserve.task.cancel()


class _Reserve:
    """A task that waits for a coroutine to go on with."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ready = False
        self._coroutine: Coro | None = None
        self._context: contextvars.Context | None = None
        self._waits_for: Any = None
        self._given: asyncio.Future[None] = loop.create_future()
        self.task = loop.create_task(self._run())

    def go_on(self, coroutine: Coro, context: contextvars.Context, waits_for: Any) -> None:
        """With a coroutine that has taken its first step, and waits for that now."""
        self._coroutine, self._context, self._waits_for = coroutine, context, waits_for
        if not self._given.done():
            self._given.set_result(None)

    async def _run(self) -> None:
        self.ready = True
        error: BaseException | None = None
        try:
            await self._given
        except asyncio.CancelledError as cancelled:
            error = cancelled
        if self._coroutine is not None and self._context is not None:
            await _rest(self._coroutine, self._context, self._waits_for, error)


@types.coroutine
def _rest(
    coroutine: Coro, context: contextvars.Context, waits_for: Any, error: BaseException | None
) -> Generator[Any, Any, None]:
    """All steps but the first. `error` comes in the place of what it waits for."""
    while True:
        value = None
        if error is None:
            try:
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = True  # as `await` has left it, unless others wait for it too
                value = yield waits_for
            except BaseException as thrown:
                error = thrown
        try:
            if error is None:
                waits_for = context.run(coroutine.send, value)
            else:
                waits_for = context.run(coroutine.throw, error)
                error = None
        except StopIteration:
            return
