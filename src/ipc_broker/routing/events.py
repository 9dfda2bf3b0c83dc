"""Events on their way: from a publisher to the subscriptions they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Event, EventCredit, Publish, Result, Subscribe, Subscribed
from ..protocol.encodings import JSON, transcode
from ..protocol.payload import Unsendable
from .delivery import Delivery
from .feeds import ConnectionFeed
from .names import BROKER_OBJECT
from .patterns import PatternError, topic_refusal
from .peer import Peer
from .retained import Retained, RetainedEvents
from .sessions import DetachedSessions
from .subscriptions import LatestSubscription, Route, Subscription, Subscriptions, choose, refusal_of

if TYPE_CHECKING:
    from .router import Router

_MOST_CREDIT = 2**53


class Events:
    """All that has to do with events."""

    __slots__ = (
        "_route",
        "_router",
        "backpressure",
        "delivery",
        "published",
        "retained",
        "sessions",
        "subscriptions",
    )

    def __init__(self, router: Router) -> None:
        limits = router.limits
        self._router = router
        self.published = 0
        self.subscriptions = Subscriptions()
        self._route = self.subscriptions.route
        self.delivery = Delivery(router)
        self.backpressure = self.delivery.backpressure
        self.retained = RetainedEvents(limits.retained)
        self.sessions = DetachedSessions(limits)

    @property
    def delivered(self) -> int:
        """Each event once for every subscription that it went to, or waits for."""
        return self.delivery.delivered

    @property
    def reached(self) -> int:
        """What a publication has changed here is how many subscriptions its own event went to."""
        return self.delivery.delivered + self.delivery.displaced

    @property
    def has_deadlines(self) -> bool:
        return bool(self.backpressure.full) or bool(self.sessions)

    # From publishers

    def publish(self, peer: Peer, event: Publish, frame: bytes, now: float) -> None:
        object_name, topic = event.object_name, event.topic
        if object_name == BROKER_OBJECT:
            self._refuse(peer, event, "permission_denied", "only the broker publishes as 'rob'")
            self._router.taps.unpublished(event)
            return
        route = self._route((object_name, topic))
        if route is None:
            refusal = topic_refusal(object_name, topic)
            if refusal and peer.prefix:
                self._refuse(peer, event, *refusal)
                self._router.taps.unpublished(event)
                return
            # A seed peer's topic may look like a pattern. It is not kept, so that others are refused all the same.
            route = self.subscriptions.find(object_name, topic, keep=refusal is None)
        self.published += 1
        if event.retain and not self._retain(peer, event):
            return
        codec = peer.connection.codec
        if event.if_absent and event.retain:
            self._restore(route, now)
            problem = None
        else:
            problem = self.delivery.deliver(route, peer, event.args, codec, now)
        if peer.paused:
            self.backpressure.overran(peer, len(frame))
        if problem is not None:
            self._refuse(peer, event, *problem)
        elif event.call_id:
            peer.connection.send(Result(event.call_id, object_name, codec.null))

    def announce(self, topic: str, name: str, now: float) -> None:
        """Publishes an event of the broker's own object."""
        route = self._route((BROKER_OBJECT, topic)) or self.subscriptions.find(BROKER_OBJECT, topic)
        self.delivery.deliver(route, None, JSON.encode_payload({"object": name}), JSON, now)

    def publish_will(self, peer: Peer, will: Publish, now: float) -> None:
        """The last will of a peer that is gone without goodbye."""
        self.published += 1
        reached = self.reached
        codec = peer.connection.codec
        if will.retain:
            self.retained.keep(will.object_name, will.topic, will.args, codec)
        route = self.subscriptions.find(will.object_name, will.topic)
        self.delivery.deliver(route, None, will.args, codec, now)
        for observer in self._router.observers:
            observer.willed(peer, will, self.reached - reached, now)

    def _retain(self, peer: Peer, event: Publish) -> bool:
        """Whether the event is also to be delivered."""
        if event.if_absent and (event.object_name, event.topic) in self.retained:
            if event.call_id:
                peer.connection.send(Result(event.call_id, event.object_name, peer.connection.codec.null))
            return False
        if not self.retained.keep(event.object_name, event.topic, event.args, peer.connection.codec):
            message = f"the retained events take {self._router.limits.retained} bytes, the limit (retained)"
            self._refuse(peer, event, "overloaded", message)
            return False
        return True

    def _refuse(self, peer: Peer, event: Publish, code: str, message: str) -> None:
        self._router.refuse(peer, event.call_id or None, event.object_name, code, message, about="Publish")

    # From subscribers

    def subscribe(self, peer: Peer, wish: Subscribe, frame: bytes, now: float) -> None:
        if not peer.prefix:
            wish = Subscribe(wish.object_name, wish.topic)  # a peer that has not said hello knows no more
        try:
            subscription = (LatestSubscription if wish.overflow == "latest" else Subscription)(peer, wish)
        except PatternError as error:
            self._router.refuse(
                peer, None, wish.object_name, "invalid_args", str(error), about="Subscribe", subscription=wish.id
            )
            return
        refusal = refusal_of(wish, peer, self._router.limits)
        if refusal is not None:
            self._router.refuse(peer, None, wish.object_name, *refusal, about="Subscribe", subscription=wish.id)
            return
        missed = self._resume(peer, subscription, wish, now)
        if subscription.key not in peer.subscriptions:
            peer.subscriptions[subscription.key] = subscription
            self.subscriptions.add(subscription)
            if not wish.id and peer.feed is None:
                peer.feed = ConnectionFeed(peer)
        peer.connection.send(Subscribed(wish.object_name, wish.topic, wish.id, missed))
        if wish.id and missed is None:
            self._send_retained(subscription, now)

    def _resume(self, peer: Peer, subscription: Subscription, wish: Subscribe, now: float) -> int | None:
        """How many events the same subscription missed since its connection was lost, if that is known."""
        if wish.seen is None:
            return None
        earlier = peer.resumes.take(subscription) if peer.resumes is not None else None
        if earlier is None:
            subscription.position = wish.seen
            return None
        self._end(earlier)
        subscription.position = earlier.position
        return max(earlier.position - wish.seen, 0)

    def _send_retained(self, one: Subscription, now: float) -> None:
        self._router.turns.work += len(self.retained) if one.is_pattern else 1
        for object_name, topic, kept in self.retained.find(one.object_name, one.topic):
            self._send_one_retained(one, (object_name, topic), kept, now)
            if self.delivery.end_overfull(now):
                break

    def _restore(self, route: Route, now: float) -> None:
        """A value that another broker has kept: those who were subscribed there have had it, and can tell that by its mark."""
        kept = self.retained[route.key]
        for one in [*route.subscriptions, *map(choose, route.groups)]:
            self._send_one_retained(one, route.key, kept, now)
        self.delivery.end_overfull(now)

    def _send_one_retained(self, one: Subscription, key: tuple[str, str], kept: Retained, now: float) -> None:
        one.position += 1
        try:
            value = transcode(kept.args, kept.codec, one.codec)
        except Unsendable:
            one.skip()
            return
        frame = one.codec.encode(Event(*key, value, one.id, retained=True))
        if len(frame) > one.longest_frame:
            one.skip()
        else:
            self.delivery.send(one, frame, key, None, now)

    def credit(self, peer: Peer, credit: EventCredit, frame: bytes, now: float) -> None:
        """For a subscription that has just ended, it is nobody's fault."""
        one = peer.subscriptions.get(credit.subscription)
        if one is not None and credit.bytes:
            one.credit = min(one.credit + credit.bytes, _MOST_CREDIT)
            if one.backlog or one.gap or one.dropped:
                missed = one.missed
                one.flush()
                if one.full:
                    self.backpressure.taken(one, missed, now)

    def unsubscribe(self, peer: Peer, key: int | tuple[str, str]) -> bool:
        """False when there is no such subscription."""
        one = peer.subscriptions.pop(key, None)
        if one is None:
            return False
        self._end(one)
        return True

    def written(self, peer: Peer, now: float) -> None:
        """The transport took bytes of a peer that has a feed."""
        feed = peer.feed
        if feed is not None:
            self._flush(feed, not feed.held, now)

    def answered(self, peer: Peer, now: float) -> None:
        """A peer that has a feed was sent an answer. That is no event: if another call is in flight, it took nothing."""
        feed = peer.feed
        if feed is not None:
            self._flush(feed, False, now)

    def _flush(self, feed: ConnectionFeed, took: bool, now: float) -> None:
        took |= feed.flush()
        if took and feed.full and self.backpressure.taken(feed, feed.missed, now):
            feed.caught_up()

    # Losses

    def peer_gone(self, peer: Peer, now: float) -> None:
        self.backpressure.publisher_gone(peer)
        if peer.feed is not None:
            self.backpressure.forget(peer.feed)
        left = peer.resumes is not None and bool(peer.resumes.subscriptions)
        resumable = "resume" in peer.features and (bool(peer.subscriptions) or left)
        for one in peer.subscriptions.values():
            if resumable and one.id:
                self._detach(one)
            else:
                self._end(one)
        if resumable:
            for one in self.sessions.detach(peer, now):
                self._end(one)
        peer.subscriptions.clear()
        peer.features -= {"resume"}  # this may be called again

    def _detach(self, one: Subscription) -> None:
        """It stays where it was, to count what it misses. In a group it misses only what no other member can get."""
        self.backpressure.forget(one)
        one.detach()

    def _end(self, one: Subscription) -> None:
        if not one.detached:
            self.backpressure.forget(one)
        self.subscriptions.remove(one)

    def handle_timer(self, now: float) -> None:
        self.backpressure.handle_timer(now)
        for one in self.sessions.expire(now):
            self._end(one)
