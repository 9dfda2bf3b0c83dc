"""Publishers wait for slow subscribers, up to a limit.

When more than `limits.backlog` bytes wait for a subscriber, whoever publishes to it is told to `Pause`, until half of that
was taken. Publishers that cannot be told, and those that go on all the same, are not read from. A subscriber that takes
nothing at all for `limits.stall` seconds is *lagging*: nobody waits for it any more and its events are dropped and counted.
"""

from __future__ import annotations

import logging

from ..config import Limits
from ..messages import Pause, Resume
from .feeds import Feed
from .peer import Peer

logger = logging.getLogger("ipc_broker")

OVERRUN = 16 * 1024 * 1024
"""Bytes that a publisher may send after `Pause`: what was on its way when it was told, which the kernel's buffers of a TCP
connection bound. Less would stop reading from one that obeys, and with that what it says as a subscriber."""


class Backpressure:
    """The shell looks at `Peer.reads` of the peers in `woken`."""

    def __init__(self, limits: Limits, woken: list[Peer]) -> None:
        self._limits = limits
        self._woken = woken
        self.full: set[Feed] = set()
        """Those that publishers may still have to wait for."""
        self.lagging: set[Feed] = set()
        """Those whose events are dropped now."""
        self.dropped = 0

    def drop(self, feed: Feed, count: int = 1) -> None:
        """Counts events that the subscriber does not get; to be asked before they are counted there."""
        if not feed.missed:
            logger.warning("%s is too slow: its events are dropped from now on", feed.describe())
        self.dropped += count

    def filled(self, feed: Feed, publisher: Peer | None, now: float) -> None:
        """The feed is over the limit.

        `publisher` is None for the broker's own events, for which nobody can be made to wait.
        """
        if not feed.full:
            feed.full = True
            self.full.add(feed)
            feed.stalled_since = now
        if publisher is None:
            return
        feed.blocks.add(publisher)
        publisher.waits_for.add(feed)
        if "flow" not in publisher.features:
            self._stop_reading(publisher)
        elif not publisher.paused:
            publisher.paused = True
            publisher.overrun = 0
            publisher.connection.send(Pause())

    def overran(self, publisher: Peer, size: int) -> None:
        """It was told to pause, before or for this event of so many bytes."""
        publisher.overrun += size
        if publisher.overrun > OVERRUN:
            self._stop_reading(publisher)

    def holds(self, publisher: Peer) -> bool:
        """Whether it is not to be read from because of the feeds that it publishes to."""
        return bool(publisher.waits_for) and ("flow" not in publisher.features or publisher.overrun > OVERRUN)

    def taken(self, feed: Feed, missed: int, now: float) -> bool:
        """The subscriber, which had missed so many, took something; whether its lag has ended with that."""
        if not feed.full:
            return False
        feed.stalled_since = now
        if feed.backlog_bytes > self._limits.backlog // 2:
            return False
        self.full.discard(feed)
        feed.full = False
        lagged, feed.lagging = feed.lagging, False
        if lagged:
            self.lagging.discard(feed)
            # A seed peer is not told what it missed: this is the only place where that is said.
            level = logging.WARNING if missed else logging.INFO
            logger.log(level, "%s takes events again; it missed %d", feed.describe(), missed)
        self._release(feed)
        return lagged

    def forget(self, feed: Feed) -> None:
        """It gets no events any more."""
        self.full.discard(feed)
        self.lagging.discard(feed)
        feed.full = False
        if feed.missed:
            logger.warning("%s left without the last %d events", feed.describe(), feed.missed)
        self._release(feed)

    def publisher_gone(self, publisher: Peer) -> None:
        for feed in publisher.waits_for:
            feed.blocks.discard(publisher)
        publisher.waits_for.clear()

    def next_deadline(self) -> float | None:
        return min((feed.stalled_since + self._limits.stall for feed in self.full), default=None)

    def handle_timer(self, now: float) -> None:
        for feed in [feed for feed in self.full if now >= feed.stalled_since + self._limits.stall]:
            self.full.discard(feed)
            self.lagging.add(feed)
            feed.lagging = True
            logger.warning(
                "%s has taken nothing for %g s with %d bytes waiting: nobody waits for it any more",
                feed.describe(),
                self._limits.stall,
                feed.backlog_bytes,
            )
            self._release(feed)

    def _stop_reading(self, publisher: Peer) -> None:
        if publisher.reads:
            publisher.reads = False
            self._woken.append(publisher)

    def _release(self, feed: Feed) -> None:
        for publisher in feed.blocks:
            publisher.waits_for.discard(feed)
            if not publisher.waits_for:
                if publisher.paused:
                    publisher.paused = False
                    publisher.connection.send(Resume())
                if not publisher.reads and not publisher.throttled:
                    publisher.reads = True
                    self._woken.append(publisher)
        feed.blocks.clear()
