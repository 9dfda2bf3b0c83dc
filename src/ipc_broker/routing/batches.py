"""Events that come several in one message, and go on as one to the subscriptions that take them so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import MsgspecError

from ..messages import Batch
from ..protocol.batching import one_by_one
from ..protocol.codec import Codec
from .names import BROKER_OBJECT
from .peer import Peer
from .subscriptions import FEW, Split
from .taps import Handler

if TYPE_CHECKING:
    from .router import Router

_LONGER = 64
"""Bytes by which a batch may be longer for a subscriber than it came: the id of the subscription."""


class Batches:
    """A batch is as many events: they are counted, missed and limited as if each had come alone."""

    __slots__ = ("_events", "_route", "_router")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._events = router.events
        self._route = router.events.subscriptions.route

    def publish(self, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        """The router's own handler."""
        route = self._route((batch.object_name, batch.topic))
        if route is not None and batch.object_name != BROKER_OBJECT:
            split, codec = route.split or route.new_split(), peer.connection.codec
            if split.takes(codec, len(frame) + _LONGER):
                self._publish_whole(split, codec, peer, batch, frame, now)
                return
        self._publish_one_by_one(self._events.publish, peer, batch, frame, now)

    def one_by_one(self, publish: Handler) -> Handler:
        """A handler of batches that gives the events to one of `Publish`."""

        def publish_one_by_one(peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
            self._publish_one_by_one(publish, peer, batch, frame, now)

        return publish_one_by_one

    def _publish_one_by_one(self, publish: Handler, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        count = self._count(peer, batch, now)
        if count:
            for event in one_by_one(batch, peer.connection.codec):
                publish(peer, event, frame, now)
                frame = b""  # it has been counted

    def _publish_whole(self, split: Split, codec: Codec, peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
        count = self._count(peer, batch, now)
        if not count:
            return
        events, delivery = self._events, self._events.delivery
        events.published += count
        if len(split.together) > FEW:
            self._router.turns.work += len(split.together) * (1 + (len(frame) >> 12))
        key = batch.object_name, batch.topic
        last_id = 0
        passed = b""
        for one in split.together:
            one.position += count
            if one.id != last_id:
                last_id = one.id
                passed = codec.batch_frame(*key, batch.values, last_id)
            delivery.send(one, passed, key, peer, now, count)
        delivery.end_overfull(now)
        if split.others is not None:
            for value in codec.values_of(batch.values):
                problem = delivery.deliver(split.others, peer, value, codec, now)
                if problem is not None:
                    self._router.refuse(peer, None, batch.object_name, *problem, about="Publish")
        if peer.paused:
            events.backpressure.overran(peer, len(frame))

    def _count(self, peer: Peer, batch: Batch, now: float) -> int:
        """Of the events; they are paid for here, but for one that the message itself was. 0 when there are none."""
        try:
            count = peer.connection.codec.length_of(batch.values)
        except MsgspecError as error:
            self._router.refuse(peer, None, batch.object_name, "invalid_args", f"a batch: {error}", about="Batch")
            return 0
        if peer.account is not None:
            self._router.accounts.spend(peer.account, count - 1, now)
        return count
