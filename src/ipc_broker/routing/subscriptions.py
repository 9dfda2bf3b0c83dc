"""Who subscribed to what, and which events reach whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from ..config import Limits
from ..messages import Missed, Subscribe
from ..protocol.codec import Codec
from ..protocol.framing import Frame, write_length
from .feeds import Feed
from .patterns import PatternTree, is_pattern
from .peer import Peer

OVERFLOWS = ("", "drop_oldest", "latest", "disconnect")

MOST_ROUTES = 65_536
"""Names of events for which it is kept who gets them."""


MOST_HEADS = 64
"""Ids of subscriptions for which it is kept how the frame of a topic's last event began: most values are about as long."""

FEW = 8
"""Subscriptions that an event has to be held against without that being counted (turns.py)."""


class Subscription(Feed):
    """One subscription of an extended peer, or (`id` 0) of a peer that says no more than the Rust crate's programs do."""

    __slots__ = (
        "backlog",
        "codec",
        "connection",
        "credit",
        "detached",
        "dropped",
        "gap",
        "group",
        "id",
        "is_pattern",
        "longest_frame",
        "object_name",
        "overflow",
        "position",
        "routed",
        "send_frame",
        "takes_batches",
        "topic",
    )

    def __init__(self, peer: Peer, wish: Subscribe) -> None:
        super().__init__(peer)
        self.object_name = wish.object_name
        self.topic = wish.topic
        self.id = wish.id
        self.group = wish.group
        self.overflow = wish.overflow
        self.credit = wish.credit
        """Bytes of events that may be sent."""
        self.position = 0
        """Events that it was meant to get so far, delivered or not."""
        self.backlog: deque[Frame | int] = deque()
        """Frames; a number stands for so many events that were dropped there."""
        self.dropped = 0
        """Events dropped before the first that waits."""
        self.gap = 0
        """Events dropped behind the last that waits."""
        self.routed = False  # whether events find it
        self.detached = False  # its connection was lost
        self.is_pattern = bool(wish.id) and (is_pattern(wish.object_name) | is_pattern(wish.topic))
        # Looked up once, for every event asks.
        self.connection = peer.connection
        self.codec = peer.connection.codec
        self.send_frame = peer.send_frame
        self.longest_frame = peer.longest_frame
        # What is dropped, or chosen for a member of a group, is chosen event by event.
        self.takes_batches = bool(
            wish.id and "batches" in peer.features and not wish.group and wish.overflow in ("", "disconnect")
        )

    @property
    def key(self) -> int | tuple[str, str]:
        """By which its peer finds it."""
        return self.id or (self.object_name, self.topic)

    @property
    def missed(self) -> int:
        return self.gap

    def describe(self) -> str:
        return f"{self.peer.describe()}, subscribed to '{self.object_name}' '{self.topic}',"

    def append(self, frame: Frame, key: tuple[str, str], limit: int) -> int:
        """Lets the event wait. Gives how many others were dropped for it, as `overflow` wants."""
        if self.gap:
            self.backlog.append(self.gap)
            self.gap = 0
        self.backlog.append(frame)
        self.backlog_bytes += len(frame)
        return self._drop_oldest(limit) if self.overflow == "drop_oldest" else 0

    def skip(self) -> None:
        """The newest event is one that it does not get."""
        self.gap += 1
        if not self.lagging:
            self._close_gap()

    def flush(self) -> None:
        """Sends as much as there is credit for. What tells of dropped events takes none."""
        backlog, credit = self.backlog, self.credit
        if self.dropped and credit > 0:
            self.send_frame(self._missed_frame(self.dropped))
            self.dropped = 0
        take = self._take
        frames: list[Frame] = []
        size = besides = 0
        while size < credit and backlog:
            frame = take()
            if isinstance(frame, int):
                frame = self._missed_frame(frame)
                besides += len(frame)
            else:
                size += len(frame)
            frames.append(frame)
        self.backlog_bytes -= size
        self.credit = credit - size
        self.peer.connection.send_frames(frames, size + besides)
        self._close_gap()

    def _take(self) -> Frame | int:
        return self.backlog.popleft()

    def _close_gap(self) -> None:
        if self.gap and not self.backlog and self.credit > 0:
            self.send_frame(self._missed_frame(self.gap))
            self.gap = 0

    def _drop_oldest(self, limit: int) -> int:
        dropped = 0
        while self.backlog_bytes > limit and len(self.backlog) > 1:
            oldest = self.backlog.popleft()
            if isinstance(oldest, int):
                self.dropped += oldest
            else:
                self.backlog_bytes -= len(oldest)
                dropped += 1
        self.dropped += dropped
        return dropped

    def detach(self) -> None:
        """It only counts what it misses from now on."""
        self.backlog.clear()
        self.backlog_bytes = self.credit = 0
        self.detached = self.lagging = True

    def _missed_frame(self, count: int) -> bytes:
        return self.codec.encode(Missed(self.id, count))

    def __repr__(self) -> str:
        return (
            f"<Subscription {self.object_name!r} {self.topic!r} of {self.peer.describe()} credit={self.credit}"
            f" backlog={len(self.backlog)}>"
        )


class LatestSubscription(Subscription):
    """Of the events that wait it keeps only the last of each object and topic."""

    __slots__ = ("_latest",)

    def __init__(self, peer: Peer, wish: Subscribe) -> None:
        super().__init__(peer, wish)
        self._latest: dict[tuple[str, str], Frame] = {}  # in the order in which the first of each came

    def append(self, frame: Frame, key: tuple[str, str], limit: int) -> int:
        earlier = self._latest.get(key)
        self._latest[key] = frame
        self.backlog_bytes += len(frame)
        if earlier is not None:
            self.backlog_bytes -= len(earlier)
            self.dropped += 1
            return 1
        self.backlog.append(b"")  # only to be counted
        dropped = 0
        while self.backlog_bytes > limit and len(self._latest) > 1:
            self.backlog_bytes -= len(self._take())
            dropped += 1
        self.dropped += dropped
        return dropped

    def _take(self) -> Frame:
        self.backlog.popleft()
        return self._latest.pop(next(iter(self._latest)))

    def detach(self) -> None:
        super().detach()
        self._latest.clear()


class Route:
    """Who gets the events of one object and topic."""

    __slots__ = ("_found", "groups", "heads", "key", "plain", "reach", "splits", "subscriptions")

    def __init__(self, key: tuple[str, str], found: list[Subscription]) -> None:
        self.key = key
        self._found = found
        self.splits: dict[Codec, Split] = {}
        self.heads: dict[Codec, Heads] = {}
        self.reach = len(found)
        self.subscriptions = [one for one in found if one.id and not one.group]
        self.plain = [one for one in found if not one.id]
        groups: dict[tuple[str, str, str], deque[Subscription]] = {}
        for one in found:
            if one.group:
                groups.setdefault((one.object_name, one.topic, one.group), deque()).append(one)
        self.groups = list(groups.values())

    def new_split(self, codec: Codec) -> Split:
        split = self.splits[codec] = Split(self, self._found, codec)
        return split

    def new_heads(self, codec: Codec) -> Heads:
        heads = self.heads[codec] = Heads(codec, *self.key)
        return heads


class Split:
    """A route for batches in one encoding: who takes them as they are, and the route of the others."""

    __slots__ = ("others", "together")

    def __init__(self, route: Route, found: list[Subscription], codec: Codec) -> None:
        self.together = [one for one in found if one.takes_batches and one.codec is codec]
        self.others: Route | None = None
        others = [one for one in found if not (one.takes_batches and one.codec is codec)]
        if others:
            self.others = Route(route.key, others)
            self.others.groups = route.groups  # whose members take turns, whichever way the events come


Head = tuple[int, bytes, bytes]
"""For a value of so many bytes: the head, which is their length and the opening; and the opening alone."""


class Heads:
    """What stands before the value in the frames of one encoding: the length, and the opening with the names.

    One for each id, of the last length: a topic whose values are of many lengths, among thousands, is not to take more.
    """

    __slots__ = ("_codec", "_key", "find", "made")

    def __init__(self, codec: Codec, object_name: str, topic: str) -> None:
        self._codec = codec
        self._key = object_name, topic
        self.made: dict[int, Head] = {}
        self.find = self.made.get  # id of the subscription -> Head | None; None, or another length: ask `make`

    def make(self, subscription: int, length: int) -> Head:
        earlier = self.find(subscription)
        if earlier is not None:
            opening = earlier[2]
        else:
            opening = self._codec.event_opening(*self._key, subscription)
            if len(self.made) >= MOST_HEADS:
                self.made.clear()
        made = self.made[subscription] = length, write_length(len(opening) + length) + opening, opening
        return made


def refusal_of(wish: Subscribe, peer: Peer, limits: Limits) -> tuple[str, str] | None:
    """Why it may not subscribe so: an error's code and text; None when it may."""
    if len(peer.subscriptions) >= limits.subscriptions:
        return (
            "overloaded",
            f"this connection has {limits.subscriptions} subscriptions, which is the limit (subscriptions)",
        )
    if wish.id and wish.id in peer.subscriptions:
        return "invalid_args", f"the subscription id {wish.id} is in use; take another for each subscription"
    if wish.overflow not in OVERFLOWS:
        known = ", ".join(repr(one) for one in OVERFLOWS)
        return "invalid_args", f"there is no overflow {wish.overflow!r}; there is {known}"
    if not wish.id and (wish.group or wish.overflow or wish.credit):
        return "invalid_args", "a subscription with a group, overflow or credit needs an id"
    return None


def choose(group: deque[Subscription]) -> Subscription:
    """The next member in turn that takes an event now; else the one with the least to take."""
    for _ in range(len(group)):
        member = group[0]
        group.rotate(-1)
        if member.credit > 0 and not member.backlog:
            return member
    return min(group, key=lambda member: (member.detached, member.lagging, member.backlog_bytes))


class Subscriptions:
    """All subscriptions; what was found for an event is kept, so that the next one is found with one look."""

    __slots__ = ("_literal", "_patterns", "_routes", "count", "route")

    def __init__(self) -> None:
        self._literal: dict[tuple[str, str], dict[Subscription, None]] = {}
        self._patterns: PatternTree[Subscription] = PatternTree()
        self._routes: dict[tuple[str, str], Route] = {}
        self.route = self._routes.get  # (object, topic) -> Route | None; None: ask `find`
        self.count = 0

    @property
    def published(self) -> Collection[tuple[str, str]]:
        """Objects and topics of which there were events lately."""
        return self._routes.keys()

    def add(self, subscription: Subscription) -> None:
        key = (subscription.object_name, subscription.topic)
        if subscription.is_pattern:
            self._patterns.add(*key, subscription)
            self._routes.clear()
        else:
            self._literal.setdefault(key, {})[subscription] = None
            self._routes.pop(key, None)
        subscription.routed = True
        self.count += 1

    def remove(self, subscription: Subscription) -> None:
        """May be called again."""
        if not subscription.routed:
            return
        subscription.routed = False
        key = (subscription.object_name, subscription.topic)
        if subscription.is_pattern:
            self._patterns.remove(*key, subscription)
            self._routes.clear()
        else:
            subscribers = self._literal[key]
            del subscribers[subscription]
            if not subscribers:
                del self._literal[key]
            self._routes.pop(key, None)
        self.count -= 1

    def find(self, object_name: str, topic: str, *, keep: bool = True) -> Route:
        """Without `keep`, `route` does not know it."""
        key = (object_name, topic)
        route = Route(key, [*self._literal.get(key, ()), *self._patterns.find(object_name, topic)])
        if keep:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route
