"""Memory of two processes: without a name, so that nothing is left of it when both have gone, however they went.

Whoever makes it tells the other its descriptor's number and a token that stands in it. The other opens that through the first
one's entry in /proc, which the system allows to the same user only, and looks for the token. See memfd_create(2), proc_pid_fd(5).
"""

from __future__ import annotations

import os
import sys
from mmap import mmap

TOKEN = 16
"""Bytes of the token, with which the memory begins."""

AVAILABLE = sys.platform == "linux"
"""Whether there is such memory. Where it cannot be had all the same, both functions raise OSError.

To make it takes a Python that was built with a C library that has `memfd_create`, to open it any: those that are distributed
for all systems were often built with an older one, and lack the names of what the system they run on has.
"""


class SharedMemory:
    """What this process has made, and another may open as long as it is not closed here."""

    def __init__(self, memory: mmap, token: str, descriptor: int) -> None:
        self.memory = memory
        self.token = token
        self.descriptor = descriptor

    def close(self) -> None:
        """Nobody can open it any more; who has done so keeps it. May be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


if sys.platform == "linux":
    import fcntl

    # From linux/fcntl.h: not every Python has their names.
    _ADD_SEALS, _GET_SEALS = 1033, 1034
    _SEALS = 0x0002 | 0x0004 | 0x0001  # shrink, grow, seal

    def make_memory(size: int) -> SharedMemory:
        """It takes no space before something is written. Raises OSError."""
        if not hasattr(os, "memfd_create"):
            raise OSError("this Python was built without memfd_create")
        descriptor = os.memfd_create("ipc-broker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
            memory = mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        token = os.urandom(TOKEN)
        memory[:TOKEN] = token
        return SharedMemory(memory, token.hex(), descriptor)

    def open_memory(pid: int, descriptor: int, token: str, size: int) -> mmap:
        """What that process has made. Raises OSError, also where something else stands behind the number."""
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Whoever could make it smaller would end every process that reads there.
            if fcntl.fcntl(opened, _GET_SEALS) & _SEALS != _SEALS or os.fstat(opened).st_size != size:
                raise OSError(f"descriptor {descriptor} of process {pid} is no memory to share")
            memory = mmap(opened, size)
        finally:
            os.close(opened)
        if memory[:TOKEN].hex() != token:
            raise OSError(f"descriptor {descriptor} of process {pid} is another memory than was told")
        return memory

else:

    def make_memory(size: int) -> SharedMemory:
        raise OSError("only Linux has memory that leaves nothing behind")

    def open_memory(pid: int, descriptor: int, token: str, size: int) -> mmap:
        raise OSError("only Linux has memory that leaves nothing behind")
