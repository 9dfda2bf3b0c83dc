"""Ctrl-C and SIGTERM as a function call on the event loop, on every platform."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def on_stop_signal(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM call `stop` on the running loop. Only for the main thread."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    if sys.platform != "win32":
        before = [(number, signal.getsignal(number)) for number in numbers]
        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number, previous in before:
                loop.remove_signal_handler(number)
                signal.signal(number, previous)
    else:

        def handler(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(stop)

        replaced = [(number, signal.signal(number, handler)) for number in numbers]
        try:
            yield
        finally:
            for number, previous in replaced:
                signal.signal(number, previous)
