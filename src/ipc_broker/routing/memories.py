"""Memory that peers have made for what is large, and this broker has opened. See protocol/lending.py.

What stands there can be changed by its peer while it is read: it is taken as it is of those only who may do everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..messages import Memory
from ..protocol.lending import SIZE, Lending
from .peer import Peer

if TYPE_CHECKING:
    from mmap import mmap

MOST_OPEN = 64
"""Peers with such memory: of each the broker has a descriptor, and 32 MiB of addresses."""


class Memories:
    def __init__(self) -> None:
        self.open: Callable[[int, int, str, int], mmap] | None = None
        """The shell's, where there is such memory: of that process, its descriptor, token and size. Raises OSError."""
        self._peers: set[Peer] = set()

    def __len__(self) -> int:
        return len(self._peers)

    def begin(self, peer: Peer, told: Memory, frame: bytes, now: float) -> None:
        """Opens what the peer has made, or tells it that it cannot: then all is sent, as before."""
        opened = self._opened(peer, told)
        if opened is not None:
            self._peers.add(peer)
            peer.connection.share(Lending(opened, is_maker=False))
        peer.connection.send(Memory() if opened is None else Memory(token=told.token))

    def _opened(self, peer: Peer, told: Memory) -> mmap | None:
        pid = peer.credentials.pid
        if self.open is None or pid is None or not peer.is_unchecked or peer in self._peers or len(self) >= MOST_OPEN:
            return None
        try:
            return self.open(pid, told.descriptor, told.token, SIZE)
        except OSError:
            return None

    def standings_changed(self) -> None:
        """Of any peers: from those who may not do everything any more what comes is copied before it is looked at."""
        for peer in self._peers:
            if peer.connection.lending is not None and not peer.is_unchecked:
                peer.connection.lending.copies = True

    def peer_gone(self, peer: Peer) -> None:
        """May be called again. What others have yet to read of it stays until they have."""
        self._peers.discard(peer)
        peer.connection.share(None)
