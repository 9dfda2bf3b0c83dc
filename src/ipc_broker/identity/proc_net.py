"""The same as sock_diag, read from /proc/net: for systems, as some sandboxes are, that have no netlink for it.

Slower, since all sockets of the machine are listed (proc(5)).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_FILES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}


class Entry(NamedTuple):
    """Addresses are packed, in network order, with their ports. `state` is the kernel's number."""

    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    state: int
    uid: int
    inode: int


def entries(family: int) -> Iterator[Entry]:
    """All TCP sockets of the family. Raises OSError."""
    with open(_FILES[socket.AddressFamily(family)], encoding="ascii") as lines:
        next(lines, "")
        for line in lines:
            words = line.split()
            yield Entry(_end(words[1]), _end(words[2]), int(words[3], 16), int(words[7]), int(words[9]))


def _end(text: str) -> tuple[bytes, int]:
    """An address is written as words of 32 bits, in the order of this machine's bytes."""
    address, _, port = text.partition(":")
    words = [int(address[place : place + 8], 16) for place in range(0, len(address), 8)]
    return struct.pack(f"={len(words)}I", *words), int(port, 16)
