"""Who subscribed to what."""

from __future__ import annotations

from collections.abc import Iterable

from .peer import Peer


class Subscriptions:
    """Subscribers by (object, topic); each of them once, in the order they came."""

    __slots__ = ("_subscribers", "count", "find")

    def __init__(self) -> None:
        self._subscribers: dict[tuple[str, str], dict[Peer, None]] = {}
        self.find = self._subscribers.get  # (object, topic) -> peers | None; bound once, for every event asks
        self.count = 0

    def add(self, object_name: str, topic: str, peer: Peer) -> None:
        key = (object_name, topic)
        if key not in peer.subscriptions:
            peer.subscriptions[key] = None
            self._subscribers.setdefault(key, {})[peer] = None
            self.count += 1

    def remove(self, object_name: str, topic: str, peer: Peer) -> bool:
        """False when there was no such subscription."""
        key = (object_name, topic)
        if key not in peer.subscriptions:
            return False
        del peer.subscriptions[key]
        self._forget(key, peer)
        return True

    def remove_all(self, peer: Peer) -> None:
        keys: Iterable[tuple[str, str]] = peer.subscriptions
        for key in keys:
            self._forget(key, peer)
        peer.subscriptions.clear()

    def _forget(self, key: tuple[str, str], peer: Peer) -> None:
        subscribers = self._subscribers[key]
        del subscribers[peer]
        if not subscribers:
            del self._subscribers[key]
        self.count -= 1
