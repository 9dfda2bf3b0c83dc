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

AVAILABLE = sys.platform == "linux" and hasattr(os, "memfd_create")
"""Whether there is such memory; a Python that was built against an old C library has none. Where it cannot be had all the same
both functions raise OSError."""


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

    _SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

    def make_memory(size: int) -> SharedMemory:
        """It takes no space before something is written. Raises OSError."""
        if not AVAILABLE:
            raise OSError("this Python has no memfd_create")
        descriptor = os.memfd_create("ipc-broker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            memory = mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        token = os.urandom(TOKEN)
        memory[:TOKEN] = token
        return SharedMemory(memory, token.hex(), descriptor)

    def open_memory(pid: int, descriptor: int, token: str, size: int) -> mmap:
        """What that process has made. Raises OSError, also where something else stands behind the number."""
        if not AVAILABLE:
            raise OSError("this Python has no memfd_create, nor its seals")
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Whoever could make it smaller would end every process that reads there.
            if fcntl.fcntl(opened, fcntl.F_GET_SEALS) & _SEALS != _SEALS or os.fstat(opened).st_size != size:
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
