"""Events that come several in one message, and go on as one to the subscriptions that take them so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import MsgspecError, Raw

from ..messages import Batch, Publish
from ..protocol.batching import LARGEST_TAKEN, MOST_TAKEN, ROOM
from ..protocol.codec import Codec
from .names import BROKER_OBJECT
from .peer import Peer
from .pending import Refusal
from .subscriptions import FEW, Route
from .taps import Handler

if TYPE_CHECKING:
    from .router import Router


class Batches:
    """A batch is as many events: they are counted, missed and limited as if each had come alone."""

    __slots__ = ("_events", "_route", "_router", "seen")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._events = router.events
        self._route = router.events.subscriptions.route
        self.seen: list[tuple[Raw, int]] = []
        """While somebody watches: the events of the last batch, without those that were refused, and how many
        subscriptions each went to."""

    def publish(self, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        """The router's own handler."""
        route = self._route((batch.object_name, batch.topic))
        if route is not None and len(frame) <= ROOM and batch.object_name != BROKER_OBJECT:
            self._publish_whole(route, peer, batch, frame, now)
        else:
            self._publish_one_by_one(self._events.publish, peer, batch, frame, now)

    def one_by_one(self, publish: Handler) -> Handler:
        """A handler of batches that gives the events to one of `Publish`."""

        def publish_one_by_one(peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
            self._publish_one_by_one(publish, peer, batch, frame, now)

        return publish_one_by_one

    def _publish_one_by_one(self, publish: Handler, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        _, values = self._open(peer, batch, now, apart=True)
        events, watched = self._events, self._watched
        for value in values:
            number, reached = events.published, events.reached
            publish(peer, Publish(batch.object_name, batch.topic, value), frame, now)
            if watched and events.published != number:
                self.seen.append((value, events.reached - reached))
            frame = b""  # it has been counted

    def _publish_whole(self, route: Route, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        codec = peer.connection.codec
        split = route.splits.get(codec) or route.new_split(codec)
        watched = self._watched
        count, values = self._open(peer, batch, now, apart=watched or split.others is not None)
        if not count:
            return
        events, delivery = self._events, self._events.delivery
        before = events.reached
        events.published += count
        if len(split.together) > FEW:
            self._router.turns.work += len(split.together) * (1 + (len(frame) >> 12))
        last_id = 0
        passed = b""
        for one in split.together:
            one.position += count
            if one.id != last_id:
                last_id = one.id
                passed = codec.batch_frame(*route.key, batch.values, last_id)
            delivery.send(one, passed, route.key, peer, now, count)
        if watched:
            self.seen = [(value, (events.reached - before) // count) for value in values]
        if split.others is not None:
            self._deliver_to_others(route, split.others, peer, values, now)
        delivery.end_overfull(now)
        if peer.paused:
            events.backpressure.overran(peer, len(frame))

    def _deliver_to_others(self, route: Route, others: Route | None, peer: Peer, values: list[Raw], now: float) -> None:
        events, codec = self._events, peer.connection.codec
        for place, value in enumerate(values):
            if self._route(route.key) is not route:  # somebody was ended who could not stay with what came before
                route = self._route(route.key) or events.subscriptions.find(*route.key)
                others = (route.splits.get(codec) or route.new_split(codec)).others
            if others is None:
                return
            before = events.reached
            problem = events.delivery.deliver(others, peer, value, codec, now)
            if self.seen:
                self.seen[place] = value, self.seen[place][1] + events.reached - before
            if problem is not None:
                self._router.refuse(peer, None, route.key[0], *problem, about="Publish")

    @property
    def _watched(self) -> bool:
        return bool(self._router.taps.watchers)

    def _open(self, peer: Peer, batch: Batch, now: float, *, apart: bool) -> tuple[int, list[Raw]]:
        """How many events it is, and `apart` their values; none of one that is refused.

        They are paid for here, but for one: that was the message itself.
        """
        self.seen = []
        codec = peer.connection.codec
        try:
            count = count_of(batch, codec)
            values = _values_of(batch, codec) if apart else []
        except Refusal as refusal:
            self._router.refuse(peer, None, batch.object_name, refusal.code, str(refusal), about="Batch")
            return 0, []
        if peer.account is not None and count > 1:
            self._router.accounts.spend(peer.account, count - 1, now)
        return count, values


def count_of(batch: Batch, codec: Codec) -> int:
    """How many events it is. Raises Refusal."""
    size = len(batch.values)
    if size > LARGEST_TAKEN:
        raise Refusal("too_large", f"a batch of {size} bytes is over the limit of {LARGEST_TAKEN} bytes")
    try:
        count = codec.length_of(batch.values)
    except (MsgspecError, RecursionError) as error:
        raise _no_list(error) from error
    if count > MOST_TAKEN:
        raise Refusal("too_large", f"a batch of {count} events is over the limit of {MOST_TAKEN} events")
    return count


def _values_of(batch: Batch, codec: Codec) -> list[Raw]:
    """Raises Refusal."""
    try:
        return codec.values_of(batch.values)
    except (MsgspecError, RecursionError) as error:
        raise _no_list(error) from error


def _no_list(error: Exception) -> Refusal:
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Refusal("invalid_args", f"a batch is a list of values: {reason} - at `$.values`")
