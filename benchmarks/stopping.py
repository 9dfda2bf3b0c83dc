"""Ctrl-C and other ways to end a benchmark."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_by_signals() -> None:
    """From now on a signal leaves all blocks, and so ends the processes: nothing may interrupt that."""
    if sys.platform == "win32":
        raise NotImplementedError("the benchmarks measure Unix sockets")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)
