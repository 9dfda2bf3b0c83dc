"""Tests that are coroutine functions run under asyncio's own loop and under uvloop, and must leave nothing behind.

Those that use `memory_broker` move its clock, and run under asyncio's own loop only.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest

from tests.aio.bus import AnyBroker
from tests.end_to_end.processes import free_port

TEST_TIMEOUT = 20.0
"""Seconds that a test may take: only a test that fails waits for it."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

if sys.platform == "win32":
    LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.ProactorEventLoop}
else:
    import uvloop

    LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_factory")
        names = ["asyncio"] if "memory_broker" in metafunc.fixturenames else list(LOOPS)
        metafunc.parametrize("loop_factory", [LOOPS[name] for name in names], ids=names)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    # A clock that the test moves is no limit for it: that of `memory_broker` finds a test that stands still.
    timeout = None if "memory_broker" in pyfuncitem.fixturenames else TEST_TIMEOUT
    _run(cast(LoopFactory, pyfuncitem.callspec.params["loop_factory"]), partial(pyfuncitem.obj, **arguments), timeout)
    return True


def _run(loop_factory: LoopFactory, test: Callable[[], Awaitable[None]], timeout: float | None) -> None:
    complaints: list[str] = []

    def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"{context['message']}: {context.get('exception')!r} {context}")

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(complain)
        async with asyncio.timeout(timeout):
            await test()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # what was cancelled last may still have to notice
            _, left = await asyncio.wait(left, timeout=1.0)
        assert not left, f"tasks were left behind: {left}"

    runner = asyncio.Runner(loop_factory=loop_factory)
    # Recorded here, as errors they are raised where nobody can catch them: uvloop then never ends to close.
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            runner.run(guarded())
            gc.collect()  # exceptions nobody retrieved, and tasks that were lost, complain only now
        finally:
            runner.close()
            gc.collect()
    complaints += [str(warning.message) for warning in warned]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def address() -> Iterator[str]:
    """An address to listen on, where nobody listens yet."""
    if sys.platform == "win32":
        yield f"tcp://127.0.0.1:{free_port()}"
    else:
        # Not pytest's own folders: the path of a socket must be short.
        with tempfile.TemporaryDirectory(prefix="aio-") as folder:
            yield f"unix://{folder}/bus.sock"


@pytest.fixture(params=["local", "tcp"])
def any_address(request: pytest.FixtureRequest, address: str) -> str:
    """`address`, and one for TCP."""
    return address if request.param == "local" else "tcp://127.0.0.1:0"


@pytest.fixture(params=["ours", "seed", "seed that starts"])
def any_broker(request: pytest.FixtureRequest, address: str) -> AnyBroker:
    """Ours, one that speaks the seed's protocol only, and one that does not know its own object yet."""
    return AnyBroker(request.param, address)
