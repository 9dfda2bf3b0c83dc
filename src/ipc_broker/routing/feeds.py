"""Where events wait for a subscriber that does not take them as fast as they come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peer import Peer

OUTBOX_WINDOW = 1024 * 1024
"""Bytes in the outbox of a connection beyond which events without credit wait in its feed."""


class Feed:
    """What back-pressure (backpressure.py) sees of a queue of events."""

    __slots__ = ("backlog_bytes", "blocks", "full", "lagging", "peer", "stalled_since")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.backlog_bytes = 0
        self.full = False  # it passed the limit and is not half empty again
        self.lagging = False  # it was full for too long: nobody waits for it any more
        self.stalled_since = 0.0
        self.blocks: set[Peer] = set()  # publishers that wait for it

    def describe(self) -> str:
        return self.peer.describe()

    @property
    def missed(self) -> int:
        """Events that were dropped and of which the subscriber was not told."""
        raise NotImplementedError


class ConnectionFeed(Feed):
    """The events for all subscriptions of one connection that have no id: those of a seed peer.

    They have no credit either: what counts is the connection's outbox. A seed peer with a call in flight would take an
    event for the answer, so that its events wait here for that.
    """

    __slots__ = ("_dropped", "backlog")

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.backlog: deque[bytes] = deque()
        self._dropped = 0

    def describe(self) -> str:
        topics = [f"'{one.object_name}' '{one.topic}'" for one in self.peer.subscriptions.values() if not one.id]
        if not topics:  # all were given up, and events of them still wait
            return self.peer.describe()
        more = f" and {len(topics) - 1} more" if len(topics) > 1 else ""
        return f"{self.peer.describe()}, subscribed to {topics[0]}{more},"

    @property
    def held(self) -> bool:
        """Whether it waits for an answer."""
        return bool(self.peer.calls) and self.peer.is_seed

    @property
    def takes(self) -> bool:
        return self.peer.connection.queued < OUTBOX_WINDOW and not self.held

    @property
    def missed(self) -> int:
        return self._dropped

    def append(self, frame: bytes) -> None:
        self.backlog.append(frame)
        self.backlog_bytes += len(frame)

    def drop(self) -> None:
        """It cannot be told: the loss is counted."""
        self._dropped += 1

    def caught_up(self) -> int:
        """The events that were dropped since the last time."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def flush(self) -> bool:
        """Sends what can be taken; whether that was anything."""
        backlog = self.backlog
        before = len(backlog)
        while backlog and self.takes:
            frame = backlog.popleft()
            self.backlog_bytes -= len(frame)
            self.peer.send_frame(frame)
        return len(backlog) < before
