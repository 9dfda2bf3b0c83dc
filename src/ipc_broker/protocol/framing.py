"""Frames: a body behind its length.

| offset | size   | what                                        |
| ------ | ------ | ------------------------------------------- |
| 0      | 4      | length of the body, unsigned, big-endian    |
| 4      | length | the body                                    |
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import cast

from msgspec import Raw

from .. import allocation

HEADER_SIZE = 4
_LENGTH = Struct(">I")
_read_length = _LENGTH.unpack_from
write_length = _LENGTH.pack
"""The header of a body of so many bytes."""

SEED_MAX_FRAME = 65_536
"""The largest body, in bytes, that the Rust crate's programs read; a longer one makes them drop the connection."""


LARGE = 256 * 1024
"""Bytes of a frame beyond which it is put together as its parts arrive: joining it at its end would take too long at once."""

FIRST_ROOM = 2 * 1024 * 1024
"""Bytes that are set aside for a frame before they have come: its length is only a word so far."""

GROWTH = 4
"""How many times as much is set aside when all that has come: a longer frame is moved less than once altogether."""


class Parts:
    """A frame whose payload stays where it is: it is written behind its opening, not copied there before.

    The payload is longer than `LARGE`, and is not changed any more.
    """

    __slots__ = ("_size", "opening", "rest")

    def __init__(self, opening: bytes, *rest: bytes | memoryview | Raw) -> None:
        """The opening begins with the frame's length; the rest are the payload, which may be several, and what ends it."""
        self.opening = opening
        self.rest = [memoryview(one) for one in rest if len(one)]
        self._size = len(opening) + sum(map(len, self.rest))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join((self.opening, *self.rest))


Frame = bytes | Parts
"""A whole one that is to be sent, header included."""


class FrameReader:
    """Cuts a stream of bytes into frames, however it was split on its way.

    `oversize` is the length of a body over the limit once one was announced: the stream cannot be followed any more, and
    every later `feed` gives nothing.

    What belongs to a `LARGE` frame may be read straight to its place: `on_large` is called with the reader when one
    has begun, `room` is where its next bytes belong, and `filled` is to be told how many were put there.
    """

    __slots__ = ("_large", "_size", "_tail", "count", "had_large", "limit", "missing", "on_large", "oversize")

    def __init__(self, limit: int = SEED_MAX_FRAME) -> None:
        self.limit = limit
        self.oversize = 0
        self.count = 0  # of the frames that were complete
        self.had_large = False
        self.on_large: Callable[[FrameReader], None] | None = None
        self._tail: list[bytes] = []
        self._large: bytearray | None = None
        self._size = 0  # of the large frame
        self.missing = 0  # bytes that must come before it is worth looking again

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete, those included that are set aside for it."""
        return len(self._large) if self._large is not None else sum(map(len, self._tail))

    def is_one_frame(self, data: bytes) -> bool:
        """Whether that would give one frame, which is all of it."""
        return (
            HEADER_SIZE < len(data) <= LARGE
            and _read_length(data)[0] == len(data) - HEADER_SIZE <= self.limit
            and not self._tail
            and self._large is None
            and not self.oversize
        )

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are now complete, headers included. Those that are `LARGE` may be bytearrays."""
        if self.oversize:
            return []
        if self._large is not None:
            return self._feed_large(data)
        if self._tail:
            self._tail.append(data)
            self.missing -= len(data)
            if self.missing > 0:
                return []
            data = b"".join(self._tail)
            self._tail = []
        if len(data) > HEADER_SIZE and _read_length(data)[0] == len(data) - HEADER_SIZE <= self.limit:
            self.count += 1
            return [data]  # one frame and nothing else: what a lone call is
        frames: list[bytes] = []
        start, end = 0, len(data)
        while True:
            body = start + HEADER_SIZE
            if body > end:
                stop = body
                break
            (length,) = _read_length(data, start)
            if length > self.limit:
                self.oversize = length
                self.count += len(frames)
                return frames
            stop = body + length
            if stop > end:
                break
            frames.append(data[start:stop])
            start = stop
        self.count += len(frames)
        if start < end:
            self.missing = stop - end
            if stop - start > LARGE:
                self._begin_large(memoryview(data)[start:], stop - start)
            else:
                self._tail.append(data[start:])
        return frames

    @property
    def in_large(self) -> bool:
        """Whether the next bytes belong to a large frame."""
        return self._large is not None and self.missing > 0

    def room(self) -> memoryview | None:
        """Where the next bytes belong, and no others; None when they belong to no large frame, and are to be fed.

        It is not to be kept.
        """
        large = self._large
        if large is None or not self.missing:  # it is complete, and nobody wanted it: the connection is to be closed
            return None
        there = self._size - self.missing
        if there == len(large):
            self._large = allocation.uncleared(min(there * GROWTH, self._size))
            self._large[:there] = large
            large = self._large
        return memoryview(large)[there:]

    def filled(self, count: int) -> bool:
        """So many bytes were read into `room`. Whether that was the last of the frame: `feed(b"")` gives it."""
        self.missing -= count
        return not self.missing

    def _begin_large(self, beginning: memoryview, size: int) -> None:
        allocation.keep_large_pieces()
        self._size = size
        self.had_large = True
        large = self._large = allocation.uncleared(min(max(FIRST_ROOM, len(beginning)), size))
        large[: len(beginning)] = beginning
        if self.on_large is not None:
            self.on_large(self)

    def _feed_large(self, data: bytes) -> list[bytes]:
        rest = memoryview(data)
        while rest and (room := self.room()) is not None:
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.missing -= count
            rest = rest[count:]
        if self.missing:
            return []
        frame = cast(bytes, self._large)  # nobody has it but us, and nobody changes it any more
        self._large = None
        self.count += 1
        return [frame, *self.feed(bytes(rest))] if rest else [frame]
