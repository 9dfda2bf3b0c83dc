"""Deadlines of many things, most of which end long before.

They stand in buckets of 50 ms, so that one costs a dictionary entry that is gone when its call ends; a heap would keep an
entry for each until its time comes (at 120,000 calls/s with 30 s each: over 150 MiB).
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

Key = TypeVar("Key")

BUCKET_SECONDS = 0.05
"""How late a deadline may be noticed."""


class Deadlines(Generic[Key]):
    """Whoever adds a key keeps the bucket it gets, and deletes the key from it when it is done with."""

    __slots__ = ("_buckets", "_order", "earliest")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Key, None]] = {}
        self._order: list[int] = []
        self.earliest = math.inf
        """Not later than `next_deadline`, and quicker to ask."""

    def add(self, key: Key, deadline: float) -> dict[Key, None]:
        slot = int(deadline / BUCKET_SECONDS) + 1
        bucket = self._buckets.get(slot)
        if bucket is None:
            bucket = self._buckets[slot] = {}
            heapq.heappush(self._order, slot)
            self.earliest = self._order[0] * BUCKET_SECONDS
        bucket[key] = None
        return bucket

    def next_deadline(self) -> float | None:
        """When `expired` should be asked next; None while nothing waits."""
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        self.earliest = self._order[0] * BUCKET_SECONDS if self._order else math.inf
        return self.earliest if self._order else None

    def expired(self, now: float) -> list[Key]:
        """The keys whose time has come. They are no longer here."""
        keys: list[Key] = []
        while self._order and self._order[0] * BUCKET_SECONDS <= now:
            keys += self._buckets.pop(heapq.heappop(self._order))
        return keys
