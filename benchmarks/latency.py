"""How long round trips took."""

from __future__ import annotations

from msgspec import Struct


class Latencies(Struct, frozen=True):
    """Percentiles of `count` round trips, in microseconds."""

    count: int
    p50: float
    p99: float


def latencies_of(samples: list[int]) -> Latencies:
    """Of samples in nanoseconds, of which there must be one at least."""
    ordered = sorted(samples)
    count = len(ordered)
    return Latencies(count, p50=ordered[count // 2] / 1e3, p99=ordered[count * 99 // 100] / 1e3)
