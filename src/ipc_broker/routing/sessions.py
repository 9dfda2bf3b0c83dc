"""Sessions whose connection was lost: what their subscriptions miss is counted for a while, until they come back."""

from __future__ import annotations

from collections import deque

from ..config import Limits
from .peer import Peer
from .subscriptions import Subscription

MOST_DETACHED = 1000
"""Sessions that are kept; the oldest goes first."""


class DetachedSession:
    """Its subscriptions stay where they were, and get nothing."""

    __slots__ = ("expires", "subscriptions", "token")

    def __init__(self, peer: Peer, expires: float) -> None:
        """Those that the peer was to take over from an earlier session, and had no time for, go along with its own."""
        self.token = peer.token
        self.expires = expires
        self.subscriptions: dict[int, Subscription] = {one.id: one for one in peer.subscriptions.values() if one.id}
        if peer.resumes is not None:
            for id in peer.resumes.subscriptions.keys() - self.subscriptions.keys():
                self.subscriptions[id] = peer.resumes.subscriptions.pop(id)

    def take(self, subscription: Subscription) -> Subscription | None:
        """The same subscription in this session, which is the caller's to end now; None when there was none."""
        earlier = self.subscriptions.get(subscription.id)
        if earlier is None:
            return None
        names = (earlier.object_name, earlier.topic, earlier.group)
        if names != (subscription.object_name, subscription.topic, subscription.group):
            return None
        return self.subscriptions.pop(subscription.id)


class DetachedSessions:
    """By their token, in the order in which they expire."""

    def __init__(self, limits: Limits) -> None:
        self._kept_for = limits.resume
        self._by_token: dict[str, DetachedSession] = {}
        self._order: deque[DetachedSession] = deque()

    def detach(self, peer: Peer, now: float) -> list[Subscription]:
        """The peer is gone. Gives the subscriptions that are not kept any longer, those of an older session."""
        session = DetachedSession(peer, now + self._kept_for)
        self._by_token[session.token] = session
        self._order.append(session)
        return self._expire_first() if len(self._order) > MOST_DETACHED else []

    def find(self, token: str) -> DetachedSession | None:
        return self._by_token.get(token)

    def next_deadline(self) -> float | None:
        return self._order[0].expires if self._order else None

    def expire(self, now: float) -> list[Subscription]:
        """The subscriptions that are not kept any longer."""
        expired: list[Subscription] = []
        while self._order and self._order[0].expires <= now:
            expired += self._expire_first()
        return expired

    def _expire_first(self) -> list[Subscription]:
        session = self._order.popleft()
        del self._by_token[session.token]
        expired = list(session.subscriptions.values())
        session.subscriptions.clear()  # for a connection that has named the session, and asks for them only now
        return expired

    def __len__(self) -> int:
        return len(self._by_token)
