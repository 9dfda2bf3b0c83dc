"""Which connection owns which object's name."""

from __future__ import annotations

from collections.abc import Iterator

from .peer import Peer

BROKER_OBJECT = "rob"
"""The broker's own object; nobody else can register it or publish as it."""


class Names:
    """The owner keeps a name until it gives it up or its connection ends."""

    __slots__ = ("_owners", "owner")

    def __init__(self) -> None:
        self._owners: dict[str, Peer] = {}
        self.owner = self._owners.get  # name -> Peer | None; bound once, for every call asks

    def register(self, name: str, peer: Peer) -> Peer:
        """Gives a free name to the peer; returns whoever owns it now."""
        owner = self._owners.setdefault(name, peer)
        if owner is peer:
            peer.names.add(name)
        return owner

    def unregister(self, name: str, peer: Peer) -> bool:
        """False when the name was not the peer's."""
        if name not in peer.names:
            return False
        peer.names.remove(name)
        del self._owners[name]
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __contains__(self, name: str) -> bool:
        return name in self._owners

    def __len__(self) -> int:
        return len(self._owners)
