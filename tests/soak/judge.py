"""Whether a figure of a long run grew, and what else a run must not show.

The first third of the samples is warm-up. Of the second and of the last third the lower quartile counts: what a process
holds when little goes on. A burst of work, a slow moment of the machine or garbage that waits for its collection raises
single samples, a leak raises all. A figure has grown when it rose by more than it is allowed to between the two; a steady leak
shows a third of what it takes in the whole run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_SAMPLES = 6

FULL_LENGTH = 600.0
"""Seconds of a run whose warm-up is over after its first third. A shorter one is allowed more, in proportion."""

MEMORY = 128 * 1024
"""Bytes: a third of what a leak of 1 MiB in ten minutes shows. Allocators were seen to wander by a fifth of it."""

BLOCKS = 1000
"""Python's blocks of memory: some 70 KiB of small objects, which free room in its arenas may hide. 40 are noise."""

DESCRIPTORS = 2
"""The broker's are counted without those of its connections, which come and go with short lives."""

PEERS = 10
"""Connections, objects, calls: lives overlap by so many, more or less."""


@dataclass(frozen=True)
class Growth:
    """`before` and `after`: the lower quartiles of the second and of the last third."""

    figure: str
    before: float
    after: float
    allowed: float

    def __str__(self) -> str:
        rose = self.after - self.before
        return f"{self.figure} grew by {rose:,.0f}, from {self.before:,.0f} to {self.after:,.0f}; {self.allowed:,.0f} is allowed"


def growth(figure: str, samples: Sequence[float], allowed: float) -> Growth | None:
    """None when it did not grow. The samples are evenly spread over the run, and at least `LEAST_SAMPLES`."""
    if len(samples) < LEAST_SAMPLES:
        raise ValueError(f"{len(samples)} samples of {figure} tell nothing; {LEAST_SAMPLES} are needed")
    third = len(samples) // 3
    before = lower_quartile(samples[-2 * third : -third])
    after = lower_quartile(samples[-third:])
    return Growth(figure, before, after, allowed) if after - before > allowed else None


def lower_quartile(samples: Sequence[float]) -> float:
    return sorted(samples)[len(samples) // 4]


def allowed_memory(seconds: float) -> float:
    """Bytes, for a run of so many seconds."""
    return _allowed(MEMORY, seconds)


def allowed_blocks(seconds: float) -> float:
    return _allowed(BLOCKS, seconds)


def allowed_peers(seconds: float) -> float:
    return _allowed(PEERS, seconds)


def _allowed(full: float, seconds: float) -> float:
    return full * max(1.0, FULL_LENGTH / seconds)
