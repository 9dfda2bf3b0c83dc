"""How long calls took, in memory that does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Mapping

STEPS = 8
"""Buckets for each doubling: a percentile is at most 9 % too high."""


class Latencies:
    """Counts by bucket; bucket b holds times of up to 2 ** (b / STEPS) microseconds."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.worst = 0.0

    def add(self, seconds: float) -> None:
        bucket = math.ceil(math.log2(max(seconds * 1e6, 1.0)) * STEPS)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.worst = max(self.worst, seconds)

    def merge(self, counts: Mapping[int, int], worst: float) -> None:
        for bucket, count in counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.worst = max(self.worst, worst)

    def percentile(self, percent: float) -> float:
        """In seconds; 0.0 when nothing was counted."""
        left = math.ceil(sum(self.counts.values()) * percent / 100)
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(min(2 ** (bucket / STEPS) / 1e6, self.worst))
        return 0.0
