"""A clock that moves only when it is told: the time of an event loop in the hands of a test."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import IPCError
from .places import waiting_places

ALMOST = 1e-6
"""Seconds by which sums of floats may be late."""

BUSY = 100_000
"""Turns of the loop after which it will not come to rest."""

PATIENCE = 5.0
"""Real seconds in which nothing happens, after which nobody will move the clock any more: it is the test that waits."""

BRIEFLY = 0.01
"""Real seconds for what a thread may still have to say, when the clock goes on by itself."""

GIVEN_UP = 120.0
"""Seconds that a clock nobody moves runs by itself, so that what waits can time out: four times a call's default timeout."""


class Clock:
    """The time of the loop of a `MemoryBroker`. It stands from the moment that the broker is entered.

    All that the loop waits for goes by it: timeouts, `asyncio.sleep`, deadlines of calls, heartbeats, reconnecting.
    Threads, and so methods that are plain `def`, take the time that they take. It goes on by itself only while a client or
    worker is being left.

    asyncio's own loops can be moved like this. In others, such as uvloop's, time runs as always, and `advance` says so.
    """

    def __init__(self) -> None:
        self.patience: float | None = PATIENCE
        """Real seconds that the test may stand still before it fails; None for ever."""
        self.stood_still = ""
        """What was wrong when it had stood still for so long."""
        self.hurries: list[Callable[[], bool]] = []
        """Whether somebody wants to leave, whose last words may wait for something that does not come."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = 0.0
        self._time = 0.0
        self._advancing = False
        self._runs_until: float | None = None  # by itself, since the test stands still
        self._real_select: Callable[[float | None], Any]

    def __repr__(self) -> str:
        return f"<Clock {self.now:g} s>"

    @property
    def now(self) -> float:
        """Seconds since the broker was entered."""
        time = self._loop.time() if self._loop is not None and not self._stands else self._time
        return round(time - self._begun, 6)

    async def advance(self, seconds: float) -> None:
        """Moves the clock, and runs what comes due on the way, each in its order and at its time.

        Returns when nothing is ready to run any more. `advance(0)` does just that.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: advance({seconds:g})")
        self._require_hold()
        if self._advancing:
            raise IPCError("the clock is being advanced already; await that first")
        self._advancing = True
        try:
            end = self._time + seconds
            await self._settle()
            while (due := self._next_due()) is not None and due <= end + ALMOST:
                self._time = max(self._time, due)
                await self._settle()
            self._time = max(self._time, end)
            await self._settle()
        finally:
            self._advancing = False

    # What the broker does

    def hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the loop's time in hand. Raises IPCError when another clock has it, or this one another loop."""
        if self._loop is not None:
            raise IPCError("this clock is in use already; each broker has one of its own")
        if isinstance(getattr(loop.time, "__self__", None), Clock):
            raise IPCError(
                "the time of this event loop is another clock's; two brokers share one: MemoryBroker(clock=first.clock)"
            )
        self._loop = loop
        self.stood_still = ""
        self._runs_until = None
        # In whole seconds a float is exact, and so are most sums with it.
        self._begun = self._time = math.ceil(loop.time())
        if self._stands:
            selector: Any = loop._selector  # type: ignore[attr-defined]  # both of asyncio's loops wait there
            self._real_select = selector.select
            selector.select = self._select
            loop.time = self._loop_time  # type: ignore[method-assign]  # the loop asks itself for the time
        else:
            self._begun = loop.time()

    def release(self) -> None:
        """Lets time run again."""
        loop = self._loop
        if loop is None:
            return
        if self._stands:
            del loop.time, loop._selector.select  # type: ignore[attr-defined]  # the class has them again
        else:
            self._time = loop.time()
        self._loop = None

    @property
    def held(self) -> bool:
        return self._loop is not None

    @property
    def _stands(self) -> bool:
        return isinstance(self._loop, asyncio.BaseEventLoop)

    def _loop_time(self) -> float:
        return self._time

    def _require_hold(self) -> None:
        if self._loop is None:
            raise IPCError("the clock stands only while the broker runs: enter it first, `async with memory_broker:`")
        if not self._stands:
            raise IPCError(
                f"the time of {type(self._loop).__module__}.{type(self._loop).__name__} cannot be moved;"
                " run tests that move the clock in asyncio's own loop: asyncio.run(...)"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise IPCError("the clock belongs to another event loop: the one that its broker was entered in")

    async def _settle(self) -> None:
        """Gives the others their turns until none of them wants one."""
        ready: deque[asyncio.Handle] = self._loop._ready  # type: ignore[union-attr]  # as `_require_hold` has seen
        for _ in range(BUSY):
            await asyncio.sleep(0)
            if not ready:
                return
        raise IPCError(
            f"the loop did not come to rest within {BUSY} turns: something in it goes on without waiting for anything,"
            " such as a loop around asyncio.sleep(0)"
        )

    def _next_due(self) -> float | None:
        scheduled: list[asyncio.TimerHandle] = self._loop._scheduled  # type: ignore[union-attr]  # the same
        return min((timer.when() for timer in scheduled if not timer.cancelled()), default=None)

    def _select(self, timeout: float | None) -> Any:
        """Nothing in the loop is ready when it wants to wait: only a thread, a process or a socket can go on."""
        if timeout is not None and timeout <= 0:
            return self._real_select(timeout)
        due = self._next_due()
        if due is not None and any(hurries() for hurries in self.hurries):
            found = self._real_select(BRIEFLY)
            if not found:
                self._time = max(self._time, due)
            return found
        found = self._real_select(self.patience if self._runs_until is None else BRIEFLY)
        if not found:
            self._stand_still(due)
        return found

    def _stand_still(self, due: float | None) -> None:
        """Nobody will move the clock: it goes on by itself, from timer to timer, so that what waits fails where it waits."""
        if self._runs_until is None:
            self._runs_until = self._time + GIVEN_UP
            assert self._loop is not None
            places = waiting_places(self._loop)
            what = (
                "nothing is due any more"
                if due is None
                else f"the next timer is due in {round(due - self._time, 3):g} s"
            )
            self.stood_still = (
                f"the test stood still for {self.patience:g} s{f' at {places}' if places else ''}: its clock is at"
                f" {self.now:g} s, {what}, and only `await memory_broker.clock.advance(seconds)` moves it, before that"
                " line or in a task beside it"
            )
        if due is None or due > self._runs_until:
            raise AssertionError(self.stood_still)
        self._time = max(self._time, due)
