"""SIGINT and SIGTERM as a function call on the loop."""

from __future__ import annotations

import asyncio
import signal

import pytest

from ipc_broker.aio.signals import on_stop_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_both_signals_call_stop_on_the_loop(number: signal.Signals) -> None:
    stopped: asyncio.Future[asyncio.AbstractEventLoop] = asyncio.get_running_loop().create_future()
    with on_stop_signal(lambda: stopped.set_result(asyncio.get_running_loop())):
        signal.raise_signal(number)
        assert await stopped is asyncio.get_running_loop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_calls_it_again(number: signal.Signals) -> None:
    calls: list[int] = []
    again = asyncio.Event()

    def stop() -> None:
        calls.append(1)
        again.set()

    with on_stop_signal(stop):
        for _ in range(2):
            again.clear()
            signal.raise_signal(number)
            await again.wait()
    assert calls == [1, 1]


async def test_after_the_block_the_signals_do_what_they_did_before() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with pytest.raises(RuntimeError, match="mine"), on_stop_signal(lambda: came.append(0)):
            raise RuntimeError("mine")
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler), f"SIGTERM now does {handler!r}, not what it did before the block"
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
