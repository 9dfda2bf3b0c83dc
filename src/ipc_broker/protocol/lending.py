"""Large messages in memory that both ends of a connection have: one copy into it, and none out of it.

| offset                    | size         | what                                                              |
| ------------------------- | ------------ | ----------------------------------------------------------------- |
| 0                         | 16           | a token, by which the other end knows the memory                  |
| `STATES`                  | 1 for a slot | 0 while the slot is free; set by its writer, cleared by the other |
| `FIRST` + n * `SLOT_SIZE` | `SLOT_SIZE`  | slot n: one frame                                                 |

Whoever has made the memory writes to the first `SLOTS`, the other end to the others. Which slot holds a message, `Lent` says on
the connection itself, so that the order of all messages is as it was. What is decoded from a slot are views of it: it is free
again when nobody has any of them. Where no slot is free, or the message is too large for one, it goes over the connection as
any other.
"""

from __future__ import annotations

import os
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..messages import Lent
from .framing import LARGE, Parts

if TYPE_CHECKING:
    from mmap import mmap

SLOTS = 4
"""Of each end. The lowest that is free is taken, so that pages of the others are seldom touched."""

SLOT_SIZE = 4 * 1024 * 1024
"""Bytes: beyond, two processes that write to a socket and read from it at the same time are as fast."""

FIRST = 4096
STATES = 16
SIZE = FIRST + 2 * SLOTS * SLOT_SIZE
"""Bytes of the memory."""


@lru_cache(maxsize=1)
def _slot() -> Any:
    """The type of a slot's bytes: other than a memoryview, an array can be watched, and lives as long as any view of it."""
    import ctypes  # here, since it takes time to import

    return ctypes.c_ubyte * SLOT_SIZE


class Lending:
    """One end's, of memory of `SIZE` bytes."""

    __slots__ = ("_begin", "_borrowed", "_memory", "_process", "copies", "may_lend")

    def __init__(self, memory: mmap, *, is_maker: bool) -> None:
        self.may_lend = not is_maker
        """The other end has opened the memory."""
        self.copies = False
        """What comes is copied first: who is at the other end may not do everything, and could change what was checked."""
        self._memory = memory
        self._begin = STATES if is_maker else STATES + SLOTS
        self._borrowed: dict[int, weakref.ref[Any]] = {}
        self._process = os.getpid()

    @property
    def borrowed(self) -> int:
        """Slots of the other end of which somebody here still has a view."""
        return len(self._borrowed)

    @property
    def lent_slots(self) -> int:
        """Slots of ours that the other end has not given back yet."""
        return SLOTS - self._memory[self._begin : self._begin + SLOTS].count(0)

    def lend(self, frame: Parts) -> Lent | None:
        """The frame, in a slot of ours; None where there is none for it."""
        memory, size = self._memory, len(frame)
        state = memory.find(b"\0", self._begin, self._begin + SLOTS) if self.may_lend and size <= SLOT_SIZE else -1
        if state < 0:
            return None
        start = FIRST + (state - STATES) * SLOT_SIZE
        for part in (memoryview(frame.opening), *frame.rest):
            memory[start : start + len(part)] = part
            start += len(part)
        memory[state] = 1
        return Lent(state - STATES, size)

    def lent(self, lent: Lent) -> bytes:
        """A copy of a frame, of either end."""
        start = FIRST + lent.slot * SLOT_SIZE
        return self._memory[start : start + lent.size]

    def borrow(self, lent: Lent) -> memoryview | None:
        """The frame in a slot of the other end; None where none can be. It is given back when no view of it is left."""
        state = STATES + lent.slot
        is_theirs = STATES <= state < STATES + 2 * SLOTS and not self._begin <= state < self._begin + SLOTS
        if not is_theirs or state in self._borrowed or not LARGE < lent.size <= SLOT_SIZE:
            return None
        if self.copies:
            frame = self.lent(lent)
            self._memory[state] = 0
            return memoryview(frame)
        slot = _slot().from_buffer(self._memory, FIRST + lent.slot * SLOT_SIZE)
        self._borrowed[state] = weakref.ref(slot, lambda _: self._give_back(state))
        return memoryview(slot).toreadonly().cast("B")[: lent.size]

    def _give_back(self, state: int) -> None:
        del self._borrowed[state]
        if os.getpid() == self._process:  # a child's copies of the views say nothing about ours
            self._memory[state] = 0
