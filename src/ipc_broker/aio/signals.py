"""Signals as function calls on the event loop: Ctrl-C and SIGTERM on every platform, SIGHUP where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import os
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


@contextlib.contextmanager
def on_hangup_signal(reload: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, SIGHUP calls `reload`; or `stop`, when it came because the terminal was closed."""
    if sys.platform == "win32":
        yield
    else:
        has_terminal = _has_terminal()

        def on_hangup() -> None:
            if has_terminal and not _has_terminal():
                stop()
            else:
                reload()

        loop = asyncio.get_running_loop()
        previous = signal.getsignal(signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, previous)


if sys.platform != "win32":

    def _has_terminal() -> bool:
        """A terminal that was closed cannot be opened any more."""
        try:
            os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        except OSError:
            return False
        return True
