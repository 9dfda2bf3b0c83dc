"""`rob.inspect`, `rob.topics` and `rob.describe`: what stands where at this moment. It is read, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import UNSET

from ..description import EncodedDescription, Owner
from ..observation import (
    MOST_LISTED,
    CallState,
    ConnectionState,
    Departure,
    Inspection,
    PublisherState,
    SubscriptionState,
    TopicState,
)
from ..protocol.codec import Codec
from .feeds import ConnectionFeed, Feed
from .names import Name, Registration
from .patterns import is_pattern, matches
from .peer import Peer
from .pending import PendingCall
from .subscriptions import Subscription

if TYPE_CHECKING:
    from .router import Router


def inspect(router: Router, now: float) -> Inspection:
    calls = [pending for peer in router.peers for pending in peer.calls.values()]
    calls += [pending for peer in router.peers for pending in peer.serving.values() if pending.caller is None]
    paused = [peer for peer in router.peers if peer.waits_for]
    return Inspection(
        time=round(now - router.started, 6),
        calls=[_call_state(one, now) for one in nsmallest(MOST_LISTED, calls, key=attrgetter("started"))],
        calls_total=len(calls),
        behind=behind(router, now),
        publishers=[_publisher_state(peer) for peer in paused[:MOST_LISTED]],
        connections=[
            connection_state(peer, now)
            for peer in sorted(router.peers, key=lambda peer: -peer.connection.queued)[:MOST_LISTED]
            if peer.connection.queued
        ],
        departures=[
            Departure(one.peer, round(now - one.at, 3), one.reason, one.said_goodbye)
            for one in reversed(router.departures)
        ],
        direct=router.directs.callers,
    )


def connection_state(peer: Peer, now: float) -> ConnectionState:
    who = peer.credentials
    return ConnectionState(
        id=peer.id,
        name=peer.name,
        pid=who.pid,
        uid=who.uid,
        address=who.address,
        protocol="seed" if peer.is_seed else peer.connection.codec.name,
        age=round(now - peer.since, 3),
        outbox=peer.connection.queued,
        objects=len(peer.registrations),
        subscriptions=len(peer.subscriptions),
        calls=len(peer.calls),
        serving=len(peer.serving),
        paused=peer.paused,
    )


def _call_state(pending: PendingCall, now: float) -> CallState:
    caller, registration = pending.caller, pending.registration
    if caller is None:
        state = "given up"
    elif registration is None:
        state = "waiting for room" if pending.name.members else "waiting for its service"
    elif pending.credit < 0:  # it streams: an item may take more than was left
        state = "waiting for its caller"
    else:
        state = "at its worker"
    return CallState(
        call=pending.call_id if caller is None or caller.prefix else f"{caller.id}.{pending.call_id}",
        object=pending.object_name,
        method=pending.method,
        caller="" if caller is None else caller.describe(),
        worker="" if registration is None else registration.peer.describe(),
        age=round(now - pending.started, 3),
        state=state,
        left=max(round(pending.deadline - now, 3), 0.0) if pending.timeout_ms else None,
    )


def in_flight_by_object(router: Router) -> dict[str, tuple[int, int]]:
    """Calls in flight, and those of them that wait for room."""
    counts: dict[str, tuple[int, int]] = {}
    for peer in router.peers:
        for pending in peer.calls.values():
            in_flight, waiting = counts.get(pending.object_name, (0, 0))
            counts[pending.object_name] = in_flight + 1, waiting + (pending.registration is None)
    return counts


# Subscribers


def behind(router: Router, now: float) -> list[SubscriptionState]:
    """The subscriptions whose subscriber does not take its events as they come, the worst first."""
    pressure = router.events.backpressure
    feeds: set[Feed] = pressure.full | pressure.lagging
    for peer in router.peers:
        if peer.feed is not None and peer.feed.backlog_bytes:
            feeds.add(peer.feed)
        feeds.update(one for one in peer.subscriptions.values() if one.backlog_bytes)
    states = [_subscription_state(feed, now) for feed in feeds]
    states.sort(key=lambda one: (-one.missed, -one.backlog, one.object, one.topic))
    return states[:MOST_LISTED]


def _subscription_state(feed: Feed, now: float) -> SubscriptionState:
    object_name, topic = "", ""
    if isinstance(feed, Subscription):
        object_name, topic = feed.object_name, feed.topic
    elif isinstance(feed, ConnectionFeed):  # all that it subscribes to, together
        names = [(one.object_name, one.topic) for one in feed.peer.subscriptions.values() if not one.id]
        object_name, topic = names[0] if len(names) == 1 else ("*", "*")
    return SubscriptionState(
        object=object_name,
        topic=topic,
        peer=feed.peer.describe(),
        state="lagging" if feed.lagging else "full" if feed.full else "behind",
        backlog=feed.backlog_bytes,
        missed=feed.missed,
        age=round(now - feed.stalled_since, 3) if feed.full or feed.lagging else 0.0,
    )


def _publisher_state(peer: Peer) -> PublisherState:
    waits_for = [_subscription_state(feed, 0.0) for feed in peer.waits_for]
    return PublisherState(peer.describe(), sorted(f"{one.object} {one.topic} of {one.peer}" for one in waits_for))


# Names


def topics(router: Router, wanted: str) -> list[TopicState]:
    """Those of the objects `wanted`, a name or a pattern; "" is all."""
    pattern = is_pattern(wanted)
    counts: dict[tuple[str, str], int] = {}
    for peer in router.peers:
        for one in peer.subscriptions.values():
            key = one.object_name, one.topic
            counts[key] = counts.get(key, 0) + 1
    keys = {*counts, *router.events.retained, *router.events.subscriptions.published}
    return [
        TopicState(key[0], key[1], counts.get(key, 0), key in router.events.retained)
        for key in sorted(keys)
        if not wanted or (matches(wanted, key[0]) if pattern else wanted == key[0])
    ]


def describe(name: Name, codec: Codec, direct: int) -> EncodedDescription:
    """For a peer of this encoding; of several that share the name, the interface of the oldest that told one.

    `direct` is how many callers may call the object directly.

    Raises Unsendable where that encoding cannot say it.
    """
    members = sorted(name.members, key=lambda one: one.peer.id)  # which are in the order of their turns
    known = next((one.interface for one in members if one.interface is not None), None)
    return EncodedDescription(
        object=name.object_name,
        mode=name.members[0].mode,
        owners=(*_owners(members, "serving", direct), *_owners(name.standby, "standby")),
        waiting=len(name.waiting),
        interface=UNSET if known is None else known.encoded_for(codec),
    )


def _owners(registrations: Iterable[Registration], state: str, direct: int = 0) -> Iterator[Owner]:
    for one in registrations:
        who = one.peer.credentials
        yield Owner(one.peer.name, who.pid, who.uid, who.address, state, one.concurrency, one.running, direct)
