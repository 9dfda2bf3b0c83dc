"""What the processes of a soak tell their runner: a line after each tick, and one at their end."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Struct

from tests.soak.latencies import Latencies

READY, REPORT, FINAL = "ready", "report ", "final "

TIMEOUT = 5.0
"""Seconds that a call, or an event that is due, may take before it has failed."""

BOUND = 2.0
"""Seconds that a call may take: the time for which one that is stalled may hold up others."""

MOST_FAULTS = 5
"""Told in words, for each tick; all are counted."""


class Report(Struct, kw_only=True):
    """Since the last one, except for `blocks`, which are Python's blocks of memory in use."""

    calls: int = 0
    events: int = 0
    faults: int = 0
    told: list[str] = []
    latencies: dict[int, int] = {}
    worst: float = 0.0
    blocks: int = 0


class Final(Struct, kw_only=True):
    """Over the whole run. `wills`: published, as a subscriber sees it, or due, as the lives that set them know."""

    group_published: int = 0
    group_received: int = 0
    wills: int = 0
    lives: int = 0
    killed: int = 0


class Tally:
    """Counts what one process does; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report = Report()
        self._latencies = Latencies()

    def event(self) -> None:
        with self._lock:
            self._report.events += 1

    def fault(self, text: str) -> None:
        with self._lock:
            self._report.faults += 1
            if len(self._report.told) < MOST_FAULTS:
                self._report.told.append(text)

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        """A call, made within the block: one that fails or takes too long is a fault."""
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.fault(f"{what}: {in_words(error)}")
        took = time.perf_counter() - started
        if took > BOUND:
            self.fault(f"{what} took {took:.2f} s; at most {BOUND:g} s are allowed")
        with self._lock:
            self._report.calls += 1
            self._latencies.add(took)

    def tell(self) -> None:
        """On stdout; counting begins anew."""
        with self._lock:
            report, self._report = self._report, Report()
            latencies, self._latencies = self._latencies, Latencies()
        report.latencies, report.worst = latencies.counts, latencies.worst
        report.blocks = sys.getallocatedblocks()
        print(REPORT + msgspec.json.encode(report).decode(), flush=True)


def tell_final(final: Final) -> None:
    print(FINAL + msgspec.json.encode(final).decode(), flush=True)


def in_words(error: BaseException) -> str:
    """With the place, in one line."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    places = "".join(f" at {one.filename.rpartition('/')[2]}:{one.lineno}" for one in where)
    return f"{type(error).__name__}: {error}{places}"
