"""Publishers wait for slow subscribers, up to a limit.

When a subscriber's outbox holds more than `limits.backlog` bytes, whoever publishes to it is not read from until the
outbox is half empty. A subscriber that takes nothing at all for `limits.stall` seconds is *lagging*: nobody waits for it
any more and its events are dropped and counted, until its outbox is half empty again.
"""

from __future__ import annotations

import logging

from ..config import Limits
from .peer import Peer

logger = logging.getLogger("ipc_broker")


class Backpressure:
    """The shell tells it what was written (`written`), and looks at `Peer.reads` of the peers that are woken."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.full: set[Peer] = set()
        """Subscribers over the backlog; while there is none there is no deadline either."""
        self.dropped = 0

    def drop(self, subscriber: Peer) -> None:
        """Counts an event that the subscriber does not get."""
        if not subscriber.missed:
            logger.warning("%s is too slow: its events are dropped from now on", subscriber.describe())
        subscriber.missed += 1
        self.dropped += 1

    def filled(self, subscriber: Peer, publisher: Peer | None, now: float) -> list[Peer]:
        """The subscriber's outbox is over the backlog. Gives the peers whose `reads` changed.

        `publisher` is None for the broker's own events, for which nobody can be made to wait.
        """
        if not subscriber.full:
            subscriber.full = True
            self.full.add(subscriber)
            subscriber.stalled_since = now
        if publisher is None:
            return []
        subscriber.blocks.add(publisher)
        publisher.waits_for.add(subscriber)
        if not publisher.reads:
            return []
        publisher.reads = False
        return [publisher]

    def written(self, subscriber: Peer, now: float) -> list[Peer]:
        """The subscriber took something. Gives the peers whose `reads` changed."""
        if not subscriber.full:
            return []
        subscriber.stalled_since = now
        if subscriber.connection.queued > self._limits.backlog // 2:
            return []
        self.full.remove(subscriber)
        subscriber.full = False
        if subscriber.lagging:
            subscriber.lagging = False
        if subscriber.missed:
            logger.warning("%s takes events again; it missed %d", subscriber.describe(), subscriber.missed)
            subscriber.missed = 0
        return self._release(subscriber)

    def forget(self, peer: Peer) -> list[Peer]:
        """The peer is gone. Gives the peers whose `reads` changed."""
        for subscriber in peer.waits_for:
            subscriber.blocks.discard(peer)
        peer.waits_for.clear()
        self.full.discard(peer)
        peer.full = False
        if peer.missed:
            logger.warning("%s left without the last %d events", peer.describe(), peer.missed)
        return self._release(peer)

    def next_deadline(self) -> float | None:
        return min((peer.stalled_since + self._limits.stall for peer in self.full if not peer.lagging), default=None)

    def handle_timer(self, now: float) -> list[Peer]:
        """Gives the peers whose `reads` changed."""
        changed: list[Peer] = []
        for peer in self.full:
            if not peer.lagging and now >= peer.stalled_since + self._limits.stall:
                peer.lagging = True
                logger.warning(
                    "%s has taken nothing for %g s with %d bytes waiting: nobody waits for it any more",
                    peer.describe(),
                    self._limits.stall,
                    peer.connection.queued,
                )
                changed += self._release(peer)
        return changed

    def _release(self, subscriber: Peer) -> list[Peer]:
        changed: list[Peer] = []
        for publisher in subscriber.blocks:
            publisher.waits_for.discard(subscriber)
            if not publisher.waits_for and not publisher.reads:
                publisher.reads = True
                changed.append(publisher)
        subscriber.blocks.clear()
        return changed
