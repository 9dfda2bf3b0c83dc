"""The sockets of direct calls: without a file, so that nothing is left of a process that was killed.

Anybody on the machine can connect to one, or listen where another did: both ends ask the kernel who the other is.
"""

from __future__ import annotations

import os
import socket
import sys

from ..messages import DirectOffer
from .peer import credentials_of
from .users import is_own_or_root

AVAILABLE = sys.platform == "linux"
"""Whether there are such sockets."""

BACKLOG = 128


if sys.platform == "linux":

    def listen_for_callers(address: str) -> socket.socket:
        """Raises OSError."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(f"\0{address}")
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def connect_to_worker(offer: DirectOffer) -> socket.socket:
        """At once or not at all; to the process that the broker has named, and to no other. Raises OSError."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.connect(f"\0{offer.address}")
            if pid_of(connected) != offer.pid:
                raise PermissionError(f"another process than {offer.pid} listens there")
        except BaseException:
            connected.close()
            raise
        return connected

    def take_no_more(descriptor: int) -> None:
        """Whoever writes there from now on is told that nothing of it was sent; what was before can still be read."""
        with socket.socket(fileno=os.dup(descriptor)) as same:
            same.shutdown(socket.SHUT_RD)

else:

    def listen_for_callers(address: str) -> socket.socket:
        raise OSError("only Linux has sockets without a file")

    def connect_to_worker(offer: DirectOffer) -> socket.socket:
        raise OSError("only Linux has sockets without a file")

    def take_no_more(descriptor: int) -> None:
        raise OSError("only Linux has sockets without a file")


def pid_of(connected: socket.socket) -> int | None:
    """The process at the other end; None where it is not of our user, or root's."""
    who = credentials_of(connected)
    return who.pid if who.uid is not None and is_own_or_root(who.uid) else None
