"""Events of one topic that are published one right after the other travel as one message."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from ..messages import Batch, Publish
from .codec import Codec

LARGEST = 16 * 1024
"""Bytes of values in one batch: it is taken, dropped and paid for with credit as a whole."""

MOST = 128
"""Values in one batch."""

LARGEST_VALUE = 2048
"""Bytes of a value beyond which it travels alone: there a batch saves nothing."""

SHALLOW = 512
"""Levels of nesting in such a value: one that is nested deeper may be more than the other end can read, which would take
all others in its batch along. No value of so many bytes has more."""

COST = 48
"""Bytes that a small event counts for at least: it takes time, however short it is, and others want their turn."""

FRAMING = 16
"""Bytes of a frame besides its opening and its values, at most: its length, the list's, and what closes it."""

ROOM = LARGEST + 16 * 1024
"""Bytes of a frame that a batch fits into, with any names. A broker passes on as a whole what is no larger: whoever takes
batches takes such a frame, and a few bytes more for the subscription's id, whatever limit it has agreed to."""

MOST_TAKEN = 1024
"""Values in one batch that a broker takes: it gives nobody else a turn until all are routed, and may have to refuse each."""

LARGEST_TAKEN = 256 * 1024
"""Bytes of values that it takes: as lists of small ones they need many times that."""


class Run:
    """Two or more events of one object and topic that wait to be written.

    `size` is what they count for while they wait: never less than their frame will take.
    """

    __slots__ = ("_object_name", "_room", "_topic", "_values", "size")

    def __init__(self, object_name: str, topic: str, opening: int) -> None:
        """`opening`: the bytes before the value in the frame of one event. What the first costs pays for as many of them."""
        self.size = max(opening + FRAMING - COST, 0)
        self._object_name = object_name
        self._topic = topic
        self._values: list[Raw] = []
        self._room = LARGEST

    def takes(self, object_name: str, topic: str) -> bool:
        """Whether one more of these names may be appended."""
        return topic == self._topic and object_name == self._object_name and self._room > 0 and len(self._values) < MOST

    def append(self, value: Raw, size: int) -> int:
        """`size` is the value's; gives what it counts for."""
        self._values.append(value)
        self._room -= size
        size += COST
        self.size += size
        return size

    def frame(self, codec: Codec) -> bytes:
        return codec.batch_frame(self._object_name, self._topic, codec.list_of(self._values))


def one_by_one(batch: Batch, codec: Codec) -> Iterator[Publish]:
    """What a batch says, as it would be said without. Raises msgspec.MsgspecError where it holds no list."""
    for value in codec.values_of(batch.values):
        yield Publish(batch.object_name, batch.topic, value)
