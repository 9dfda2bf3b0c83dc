"""The last values of topics, for those who subscribe later."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw, Struct

from ..protocol.codec import Codec
from .patterns import is_pattern, matches

ENTRY_SIZE = 512
"""Bytes that a value costs in memory besides its own."""


class Retained(Struct, frozen=True, gc=False):
    """One value, in the encoding that it came in."""

    args: Raw
    codec: Codec
    size: int


class RetainedEvents:
    """At most `limit` bytes, with names and all else that it costs to keep them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[tuple[str, str], Retained] = {}
        self.size = 0

    def keep(self, object_name: str, topic: str, args: Raw, codec: Codec) -> bool:
        """In the place of an earlier one. False when there is no room; the earlier one stays then."""
        key = (object_name, topic)
        earlier = self._values.get(key)
        size = ENTRY_SIZE + len(object_name.encode()) + len(topic.encode()) + len(bytes(args))
        growth = size - (earlier.size if earlier is not None else 0)
        if self.size + growth > self._limit:
            return False
        self.size += growth
        # A copy: `args` may be a view into a frame that holds more.
        self._values[key] = Retained(Raw(bytes(args)), codec, size)
        return True

    def clear(self, object_name: str, topic: str) -> bool:
        """False when none was kept."""
        kept = self._values.pop((object_name, topic), None)
        if kept is None:
            return False
        self.size -= kept.size
        return True

    def find(self, object_name: str, topic: str) -> Iterator[tuple[str, str, Retained]]:
        """Those that a subscription to these, patterns or not, is for."""
        if not is_pattern(object_name) | is_pattern(topic):
            kept = self._values.get((object_name, topic))
            if kept is not None:
                yield object_name, topic, kept
            return
        for (one_object, one_topic), kept in self._values.items():
            if matches(object_name, one_object) and matches(topic, one_topic):
                yield one_object, one_topic, kept

    def __getitem__(self, key: tuple[str, str]) -> Retained:
        return self._values[key]

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
