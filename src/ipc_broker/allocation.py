"""Memory for large messages: kept for the next one, where the C library would give it back to the system each time.

A piece of memory that is new from the system is cleared page by page as it is first touched, which takes several times as
long as to copy a message into it: a call with 1 MiB there and back takes 0.8 ms in the place of 4 on the machine where this was
found out. See mallopt(3).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

KEPT = 64 * 1024 * 1024
"""Bytes at the end of the heap that stay with the process when they are free."""

LARGEST = 32 * 1024 * 1024
"""Bytes of a piece beyond which it is the system's each time; the most that the C library takes here."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc

asked = False
"""Whether `keep_large_pieces` was called."""


def keep_large_pieces() -> None:
    """For the whole process, and only where a large message has come or goes out: others do as they did."""
    global asked
    if not asked and sys.platform == "linux":
        import ctypes  # not earlier: it takes time to import

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # which musl has not
        if mallopt is not None:
            mallopt(_M_TRIM_THRESHOLD, KEPT)
            mallopt(_M_MMAP_THRESHOLD, LARGEST)
    asked = True


def _cleared(size: int) -> bytearray:
    return bytearray(size)


_allocate: Callable[[int], bytearray] | None = None


def uncleared(size: int) -> bytearray:
    """A piece of so many bytes, whatever they say: all of them are to be written. To clear them would be to write them twice.

    What is new from the system, and was never written, takes no memory yet.
    """
    global _allocate
    if _allocate is None:
        _allocate = _cleared
        if sys.implementation.name == "cpython":
            import ctypes

            make = ctypes.pythonapi.PyByteArray_FromStringAndSize
            make.argtypes, make.restype = (ctypes.c_char_p, ctypes.c_ssize_t), ctypes.py_object
            _allocate = partial(make, None)
    return _allocate(size)
