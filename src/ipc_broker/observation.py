"""What the broker tells of the bus to those who look at it: the answers of `rob.monitor`, `measure`, `inspect`, `topics`.

Times are seconds since the broker started, unless they are called an age, which is seconds until now. Peers are described
as people read them: "'thermostat' (process 4711)".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from .messages import Count, Name

RecordKind = Literal[
    "begin",
    "call",
    "item",
    "result",
    "error",
    "cancel",
    "event",
    "registered",
    "lost",
    "connected",
    "disconnected",
    "missed",
]

PAYLOAD = 4096
RATE = 1000


class Watch(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of `rob.monitor`, a stream of `Record`s.

    `object` and `method` (of an event: its topic) may be patterns; "" is everything, but for the object `rob`. Payloads of
    more than `payload` bytes are left out, and all records over `rate` a second, 0 for any number; so are those for which the
    watcher has given no credit, or which it leaves unread. A record of the kind "missed" tells how many. What a watcher does
    itself is left out, and is counted only among those that were missed.
    """

    object: Name = ""
    method: Name = ""
    payload: Count = PAYLOAD
    rate: Count = RATE


class Record(Struct, frozen=True, omit_defaults=True):
    """Something that happened on the bus. `kind` says what, and which fields have a meaning:

    "begin": the watcher misses nothing from here on. "call": `call`, an id that is unique at this broker, `object`, `method`,
    `peer` (the caller), `value` (its arguments), `headers`, `timeout` (seconds, 0 for none), `stream`. "item" of a stream,
    "result", "error" (`code`, `message`, `type`) and "cancel": `call`, `object`, `method`, `peer` (the worker; of an error that
    the broker answered and of "cancel" the caller), `seconds` since the call. Calls of `rob` are told without their answers. An
    answer that its caller cannot take is told as it was given, and then as the "error" that the caller gets in its place.
    "event": `object`, `method` (its topic), `peer` (the publisher), `value`, `retained`, `count` (subscribers that get it).
    "registered", "lost": `object`, `peer`. "connected" (once it has said hello, as the Rust crate's programs never do),
    "disconnected": `peer`, `message` (why). "missed": `count`.

    `size` is that of the payload, in bytes; without `value` it was over `Watch.payload`.
    """

    kind: RecordKind
    time: float = 0.0
    call: str = ""
    object: str = ""
    method: str = ""
    peer: str = ""
    value: Raw | UnsetType = UNSET
    size: int = 0
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    type: str = ""
    """The name of the exception that the method raised."""
    headers: Mapping[str, str] = {}
    timeout: float = 0.0
    stream: bool = False
    retained: bool = False
    count: int = 0


class ConnectionState(Struct, frozen=True, omit_defaults=True):
    """One connection. `protocol` is "seed", "json" or "msgpack"; `outbox` the bytes that wait for it."""

    id: int
    name: str = ""
    pid: int | None = None
    uid: int | None = None
    address: str = ""
    protocol: str = "seed"
    age: float = 0.0
    outbox: int = 0
    objects: int = 0
    subscriptions: int = 0
    calls: int = 0
    """In flight, made by it."""
    serving: int = 0
    """In flight, to be answered by it."""
    paused: bool = False
    """It was asked to publish nothing for now."""


class ObjectMeasures(Struct, omit_defaults=True):
    """What was counted for an object since `Measurement.since`; `in_flight` and `waiting` (for room) are of this moment.

    `latency` counts answers by how long they took: the key k is for 2**(k/4) to 2**((k+1)/4) microseconds.
    """

    calls: int = 0
    results: int = 0
    errors: int = 0
    events: int = 0
    in_flight: int = 0
    waiting: int = 0
    latency: dict[int, int] = {}


class SubscriptionState(Struct, frozen=True, omit_defaults=True):
    """A subscription that is behind. `state` is "behind" (its backlog is not empty), "full" (publishers wait for it) or
    "lagging" (nobody waits any more: `missed` events were dropped).
    """

    object: str
    topic: str
    peer: str
    state: Literal["behind", "full", "lagging"]
    backlog: int = 0
    missed: int = 0
    age: float = 0.0
    """Since it is full or lagging."""


class Measurement(Struct, omit_defaults=True):
    """The answer of `rob.measure`. To count costs the bus a little, so it does for `LEASE` seconds after each such call.

    Whoever asks again in time gets counters that go on: rates are differences. `since` is when the counting began. Of
    objects and connections only the busiest `MOST_LISTED` are listed; `objects_total` and `connections_total` are of all.
    """

    time: float
    since: float
    objects: dict[str, ObjectMeasures]
    objects_total: int
    connections: list[ConnectionState]
    connections_total: int
    behind: list[SubscriptionState]
    calls_in_flight: int
    published: int
    delivered: int
    dropped: int


LEASE = 10.0
MOST_LISTED = 200


class CallState(Struct, frozen=True, omit_defaults=True):
    """A call in flight. `state` is "waiting for room", "waiting for its service" (to start), "at its worker", "waiting for its
    caller" (who gives no credit for the stream) or "given up": its caller does not wait any more, but its worker, which takes
    only so many calls at once, is still at work. `left` is what remains of its timeout, None for ever.
    """

    call: str
    object: str
    method: str
    caller: str
    worker: str
    age: float
    state: str
    left: float | None = None


class PublisherState(Struct, frozen=True):
    """A publisher that was asked to wait, and for which subscriptions ("sensor heat of 'logger' (process 3)")."""

    peer: str
    waits_for: list[str]


class Departure(Struct, frozen=True):
    """A connection that has ended, how long ago and why. `expected`: it said goodbye."""

    peer: str
    age: float
    reason: str
    expected: bool


class Inspection(Struct, frozen=True):
    """The answer of `rob.inspect`: what is stuck, who is slow, who has gone. The oldest calls and the last departures, at most
    `MOST_LISTED` of each; `calls_total` is of all in flight but those that go directly to their workers, as those of `direct`
    callers may.
    """

    time: float
    calls: list[CallState]
    calls_total: int
    behind: list[SubscriptionState]
    publishers: list[PublisherState]
    connections: list[ConnectionState]
    """Those for which something waits to be written."""
    departures: list[Departure]
    direct: int = 0


class TopicState(Struct, frozen=True, omit_defaults=True):
    """A topic that somebody subscribes to (patterns too), that is retained or that was published of late."""

    object: str
    topic: str
    subscribers: int = 0
    retained: bool = False


class ServiceState(Struct, frozen=True, omit_defaults=True):
    """A service, as `rob.services` tells: `state` is "stopped", "starting", "running", "stopping" or "failed", for `seconds`."""

    object: str
    state: str
    seconds: float = 0.0
    pid: int | None = None
    failures: int = 0
    reason: str = ""
    """Why it failed last, with the last lines that it has written."""
    exec: tuple[str, ...] = ()
    systemd_unit: str = ""
