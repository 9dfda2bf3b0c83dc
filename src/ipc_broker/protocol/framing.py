"""Frames: a body behind its length.

| offset | size   | what                                        |
| ------ | ------ | ------------------------------------------- |
| 0      | 4      | length of the body, unsigned, big-endian    |
| 4      | length | the body                                    |
"""

from __future__ import annotations

from struct import Struct
from typing import cast

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


class FrameReader:
    """Cuts a stream of bytes into frames, however it was split on its way.

    `oversize` is the length of a body over the limit once one was announced: the stream cannot be followed any more, and
    every later `feed` gives nothing.
    """

    __slots__ = ("_large", "_tail", "count", "limit", "missing", "oversize")

    def __init__(self, limit: int = SEED_MAX_FRAME) -> None:
        self.limit = limit
        self.oversize = 0
        self.count = 0  # of the frames that were complete
        self._tail: list[bytes] = []
        self._large: bytearray | None = None
        self.missing = 0  # bytes that must come before it is worth looking again

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete."""
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
            return self._feed_large(data, self._large)
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
                allocation.keep_large_pieces()
                self._large = bytearray(data[start:])
            else:
                self._tail.append(data[start:])
        return frames

    def _feed_large(self, data: bytes, large: bytearray) -> list[bytes]:
        if len(data) < self.missing:
            large += data
            self.missing -= len(data)
            return []
        large += memoryview(data)[: self.missing]
        rest = data[self.missing :]
        self._large = None
        self.count += 1
        frame = cast(bytes, large)  # nobody has it but us, and nobody changes it any more
        return [frame, *self.feed(rest)] if rest else [frame]
