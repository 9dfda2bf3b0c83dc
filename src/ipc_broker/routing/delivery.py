"""How an event gets to the subscriptions of its route: sent, kept waiting, or counted as missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..protocol.codec import Codec
from ..protocol.encodings import transcode
from ..protocol.framing import LARGE, Frame, Parts
from ..protocol.json_payload import unreadable_to_seed
from ..protocol.payload import Unsendable
from .backpressure import Backpressure
from .peer import Peer
from .pending import over_limit
from .subscriptions import FEW, Route, Subscription, choose

if TYPE_CHECKING:
    from .router import Router


class Delivery:
    """Of all events. `delivered` counts each once for every subscription that it went to, or waits for."""

    __slots__ = ("_ending", "_limit", "_outbox", "_overfull", "_router", "backpressure", "delivered", "displaced")

    def __init__(self, router: Router) -> None:
        limits = router.limits
        self._router = router
        self._limit = limits.backlog
        self._outbox = limits.outbox
        self._overfull: list[tuple[Peer, str]] = []  # peers that cannot stay, and why
        self._ending = False
        self.backpressure = Backpressure(limits, router.woken)
        self.delivered = 0
        self.displaced = 0
        """With `delivered`: what a publication has changed there is how many subscriptions its own event went to."""

    def deliver(
        self, route: Route, publisher: Peer | None, args: Raw, codec: Codec, now: float
    ) -> tuple[str, str] | None:
        """Why some do not get the event: an error's code and text for its publisher; None when all do."""
        heads = route.heads.get(codec) or route.new_heads(codec)
        value: Any = args  # any buffer may be appended to bytes, and is copied once then
        if codec.publish_closing:
            value = bytes(args) + codec.publish_closing
        length = len(value)
        problem: tuple[str, str] | None = None
        if route.reach > FEW:
            self._router.turns.work += route.reach * (1 + (length >> 12))
        subscriptions = route.subscriptions
        if route.groups:
            subscriptions = [*subscriptions, *map(choose, route.groups)]
        last_codec: Codec | None = None
        last_id = size = 0
        frame: Frame = b""
        for one in subscriptions:
            one.position += 1
            if one.id != last_id or one.codec is not last_codec:
                # Most clients have few subscriptions, so that the next one's id is often the same.
                last_codec, last_id = one.codec, one.id
                if last_codec is codec:
                    head = heads.find(last_id)
                    if head is None or head[0] != length:
                        head = heads.make(last_id, length)
                    frame = head[1] + value if length <= LARGE else Parts(head[1], value)
                else:
                    frame, problem = self._transcoded(route, args, codec, last_codec, last_id, problem)
                size = len(frame)
            if size > one.longest_frame or not size:
                if size:
                    problem = "too_large", over_limit(frame, one.peer)
                one.skip()
            elif one.credit > 0 and not one.backlog:
                one.credit -= size
                one.send_frame(frame)
                self.delivered += 1
                if one.connection.queued > self._outbox:
                    self._left_unread(one)
            else:
                self._keep_waiting(one, frame, route.key, publisher, now)
        if route.plain:
            problem = self._deliver_plain(route, publisher, args, codec, now) or problem
        if self._overfull:
            self.end_overfull(now)
        return problem

    def _deliver_plain(
        self, route: Route, publisher: Peer | None, args: Raw, codec: Codec, now: float
    ) -> tuple[str, str] | None:
        """To those whose events carry no id."""
        problem: tuple[str, str] | None = None
        object_name, topic = route.key
        for one in route.plain:
            peer = one.peer
            feed = peer.feed
            assert feed is not None
            try:
                value = transcode(args, codec, one.codec)
                unreadable = unreadable_to_seed(value) if peer.is_seed else None
            except Unsendable as error:
                unreadable = str(error)
            if unreadable:
                problem = "invalid_args", f"subscribers of '{object_name}' cannot read this event: {unreadable}"
                continue
            frame = one.codec.event_frame(object_name, topic, value, 0)
            if len(frame) > one.longest_frame:
                problem = "too_large", over_limit(frame, peer)
            elif feed.lagging:
                self.backpressure.drop(feed)
                feed.drop()
            else:
                self.delivered += 1
                if not feed.backlog and feed.takes:
                    peer.send_frame(frame)
                else:
                    feed.append(frame)
                    if feed.backlog_bytes > self._limit:
                        self.backpressure.filled(feed, publisher, now)
        return problem

    def send(
        self,
        one: Subscription,
        frame: Frame,
        key: tuple[str, str],
        publisher: Peer | None,
        now: float,
        count: int = 1,
    ) -> None:
        """A frame of one event, or of so many, that it takes; `end_overfull` is to be called then."""
        if one.credit > 0 and not one.backlog:
            one.credit -= len(frame)
            one.send_frame(frame)
            self.delivered += count
            if one.connection.queued > self._outbox:
                self._left_unread(one)
        else:
            self._keep_waiting(one, frame, key, publisher, now, count)

    def _keep_waiting(
        self,
        one: Subscription,
        frame: Frame,
        key: tuple[str, str],
        publisher: Peer | None,
        now: float,
        count: int = 1,
    ) -> None:
        if one.lagging:
            if not one.detached:
                self.backpressure.drop(one, count)
            one.gap += count
            return
        dropped = one.append(frame, key, self._limit)
        self.delivered += count - dropped
        self.displaced += dropped
        self.backpressure.dropped += dropped
        if one.backlog_bytes > self._limit:
            if one.overflow == "disconnect":
                message = f"over {self._limit} bytes of events wait for '{one.object_name}' '{one.topic}' (backlog)"
                self._overfull.append((one.peer, message))
            elif not one.overflow:
                self.backpressure.filled(one, publisher, now)

    def _transcoded(
        self,
        route: Route,
        args: Raw,
        source: Codec,
        target: Codec,
        subscription: int,
        problem: tuple[str, str] | None,
    ) -> tuple[bytes, tuple[str, str] | None]:
        """The event's frame in another encoding, empty where that cannot say it."""
        try:
            value = transcode(args, source, target)
        except Unsendable as error:
            return b"", ("invalid_args", f"a subscriber of '{route.key[0]}' cannot be told this: {error}")
        return target.event_frame(*route.key, value, subscription), problem

    def _left_unread(self, one: Subscription) -> None:
        self._overfull.append((one.peer, f"over {self._outbox} bytes of events were left unread (outbox)"))

    def end_overfull(self, now: float) -> bool:
        """Ends those that cannot stay, when all have got the event: it publishes more, their wills and their names.

        Whether there were any.
        """
        if not self._overfull or self._ending:
            return bool(self._overfull)
        self._ending = True
        reached = self.delivered + self.displaced
        while self._overfull:
            self._router.end(*self._overfull.pop(), now)
        self.displaced -= self.delivered + self.displaced - reached
        self._ending = False
        return True
