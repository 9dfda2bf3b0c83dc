from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ipc_broker import IPCError
from ipc_broker.testing import Clock, MemoryBroker
from ipc_broker.testing.places import waiting_places
from tests.aio.conftest import LOOPS


@asynccontextmanager
async def held(clock: Clock) -> AsyncIterator[Clock]:
    clock.hold(asyncio.get_running_loop())
    try:
        yield clock
    finally:
        clock.release()


def with_clock(test: Callable[[Clock], object]) -> None:
    """Runs the coroutine function under asyncio's own loop, with a clock that stands."""

    async def run() -> None:
        async with held(Clock()) as clock:
            await test(clock)  # type: ignore[misc]  # each is one

    with asyncio.Runner(loop_factory=LOOPS["asyncio"]) as runner:
        runner.run(run())


def test_it_begins_at_zero_and_moves_only_when_it_is_told() -> None:
    async def test(clock: Clock) -> None:
        assert clock.now == 0
        before = asyncio.get_running_loop().time()
        await clock.advance(0.1)
        await clock.advance(0.2)
        assert clock.now == 0.3
        assert asyncio.get_running_loop().time() == pytest.approx(before + 0.3)
        assert repr(clock) == "<Clock 0.3 s>"

    with_clock(test)


def test_what_comes_due_runs_in_its_order_and_at_its_time() -> None:
    async def test(clock: Clock) -> None:
        seen: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await asyncio.sleep(nap)
                seen.append((name, clock.now))

        tasks = [asyncio.create_task(sleeper("a", 3, 3)), asyncio.create_task(sleeper("b", 1, 1, 1.5))]
        await clock.advance(4.9)
        assert seen == [("b", 1), ("b", 2), ("a", 3), ("b", 3.5)]
        assert clock.now == 4.9
        await clock.advance(1.1)
        assert seen[-1] == ("a", 6)
        await asyncio.gather(*tasks)

    with_clock(test)


def test_a_timer_is_due_to_the_moment() -> None:
    async def test(clock: Clock) -> None:
        nap = asyncio.create_task(asyncio.sleep(1))
        await clock.advance(0.999)
        assert not nap.done()
        for _ in range(10):
            await clock.advance(0.0001)
        assert nap.done()

    with_clock(test)


def test_time_limits_go_by_it() -> None:
    async def test(clock: Clock) -> None:
        async def wait() -> None:
            async with asyncio.timeout(5):
                await asyncio.Event().wait()

        waiting = asyncio.create_task(wait())
        await clock.advance(5)
        with pytest.raises(TimeoutError):
            await waiting

    with_clock(test)


def test_advancing_returns_when_nothing_is_ready_any_more() -> None:
    async def test(clock: Clock) -> None:
        turns = 0

        async def many_turns() -> None:
            nonlocal turns
            for _ in range(1000):
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(many_turns())
        await clock.advance(0)
        assert turns == 1000
        await task

    with_clock(test)


def test_a_timer_that_was_cancelled_is_none() -> None:
    async def test(clock: Clock) -> None:
        asyncio.get_running_loop().call_later(1, print).cancel()
        await clock.advance(2)
        assert clock.now == 2

    with_clock(test)


def test_threads_take_the_time_that_they_take() -> None:
    async def test(clock: Clock) -> None:
        opened = threading.Event()
        waiting = asyncio.create_task(asyncio.to_thread(opened.wait))
        await clock.advance(1000)
        assert not waiting.done()
        opened.set()
        assert await waiting

    with_clock(test)


def test_time_runs_again_when_it_is_released() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        clock = Clock()
        async with held(clock):
            await clock.advance(7)
        assert clock.now == 7
        assert loop.time() == pytest.approx(time.monotonic(), abs=5)
        await asyncio.sleep(0.001)
        clock.release()  # once more, which does nothing

    with asyncio.Runner(loop_factory=LOOPS["asyncio"]) as runner:
        runner.run(run())


def test_a_loop_has_one_clock_and_a_clock_one_loop() -> None:
    async def test(clock: Clock) -> None:
        with pytest.raises(IPCError, match=r"two brokers share one: MemoryBroker\(clock=first.clock\)"):
            Clock().hold(asyncio.get_running_loop())
        with pytest.raises(IPCError, match="in use already"):
            clock.hold(asyncio.get_running_loop())
        second = MemoryBroker(clock=clock)
        async with second:
            await second.clock.advance(1)
        assert clock.now == 1
        await clock.advance(1)  # still held by the first

    with_clock(test)


def test_it_moves_forward_only_by_one_at_a_time_and_in_its_loop() -> None:
    clock = Clock()

    async def test() -> None:
        async with held(clock):
            with pytest.raises(ValueError, match="time does not run backwards"):
                await clock.advance(-1)
            first = asyncio.create_task(clock.advance(1))
            await asyncio.sleep(0)
            with pytest.raises(IPCError, match="advanced already"):
                await clock.advance(1)
            await first

            async def elsewhere() -> None:
                with pytest.raises(IPCError, match="belongs to another event loop"):
                    await clock.advance(1)

            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        with pytest.raises(IPCError, match=r"enter it first, `async with memory_broker:`"):
            await clock.advance(1)

    with asyncio.Runner(loop_factory=LOOPS["asyncio"]) as runner:
        runner.run(test())


def test_a_loop_that_never_rests_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_broker.testing.clock.BUSY", 100)

    async def test(clock: Clock) -> None:
        async def spin() -> None:
            while True:  # noqa: ASYNC110 - what should not be done
                await asyncio.sleep(0)

        spinning = asyncio.create_task(spin())
        with pytest.raises(IPCError, match="did not come to rest within 100 turns"):
            await clock.advance(1)
        spinning.cancel()

    with_clock(test)


@pytest.mark.parametrize("name", sorted(set(LOOPS) - {"asyncio"}))
def test_in_another_loop_time_runs_and_says_so_when_it_should_move(name: str) -> None:
    async def run() -> None:
        async with held(Clock()) as clock:
            await asyncio.sleep(0.01)
            assert 0.005 < clock.now < 5
            with pytest.raises(IPCError, match=r"the time of uvloop.Loop cannot be moved; .* asyncio\.run"):
                await clock.advance(1)
        assert 0.005 < clock.now < 5

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        runner.run(run())


# A test that stands still


def test_what_waits_for_a_clock_that_nobody_moves_fails_where_it_waits() -> None:
    async def nap() -> None:
        await asyncio.sleep(30)

    async def test(clock: Clock) -> None:
        clock.patience = 0.01
        napping = asyncio.create_task(nap())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.Event().wait()
        assert clock.now == 20
        told = re.sub(r":\d+", "", clock.stood_still)
        assert told == (
            "the test stood still for 0.01 s at test_clock.py (nap), test_clock.py (test): its clock is at 0 s, the next"
            " timer is due in 20 s, and only `await memory_broker.clock.advance(seconds)` moves it, before that line or"
            " in a task beside it"
        )
        await napping

    with_clock(test)


async def test_a_place_is_the_innermost_line_of_the_test_s_own_code() -> None:
    async def inner() -> None:
        await asyncio.sleep(10)

    async def numbers() -> AsyncIterator[int]:
        await inner()
        yield 1

    async def outer() -> None:
        async for _ in numbers():
            pass

    tasks = [asyncio.create_task(outer()), asyncio.create_task(asyncio.sleep(10))]
    await asyncio.sleep(0)
    [place] = [place for place in waiting_places(asyncio.get_running_loop()).split(", ") if "test_clock" in place]
    assert re.fullmatch(r"test_clock\.py:\d+ \((inner|outer)\)", place)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("has_timer", [False, True])
def test_what_waits_for_nothing_at_all_is_given_up(has_timer: bool) -> None:
    async def test(clock: Clock) -> None:
        clock.patience = 0.01
        if has_timer:
            asyncio.get_running_loop().call_later(1000, print)
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="1000 s, and only" if has_timer else "nothing is due any more, and only"):
        with_clock(test)


def test_without_patience_it_waits_for_ever() -> None:
    async def test(clock: Clock) -> None:
        clock.patience = None
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        timer = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(done.set))
        timer.start()
        await done.wait()
        timer.join()
        assert not clock.stood_still

    with_clock(test)
