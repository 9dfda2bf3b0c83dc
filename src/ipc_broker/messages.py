"""Every message on the wire.

On the wire a message is a map with one key, the name of its type: `{"Call": {"call_id": ...}}`, in JSON or in MessagePack.
Payloads (`args`, `value`, `data`) stay undecoded: `Raw` holds their bytes as they came. The types up to `Registered` are
those of the Rust crate `ipc-broker` 1.1 (docs/protocol.md); fields with a default are ours, and its programs ignore them.
The rest are ours too, and are sent to extended peers only.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_NAME = 1024

Name = Annotated[str, Meta(max_length=MAX_NAME)]
"""A call id, or the name of an object, topic or method. Bounded, so that an answer that repeats it fits into a frame."""

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Bytes, milliseconds or events: what every language's JSON can say."""


class RegisterObject(Struct, frozen=True, gc=False, omit_defaults=True):
    """Worker to broker: I serve the object. Answered with `Registered`, or an `Error` without call id.

    `mode` is "exclusive", "shared" (each call goes to the member with the fewest in flight) or "standby" (takes over when
    the owner is lost). `concurrency` is how many calls this worker takes at once, 0 for any number. `interface` is what the
    object offers (description.py); without it the object is opaque. An object of one's own may be registered again.
    """

    object_name: Name
    mode: Name = "exclusive"
    concurrency: Count = 0
    interface: Raw | UnsetType = UNSET


class RegisterService(Struct, frozen=True, gc=False):
    """To the broker: a call to the object starts this service. Not answered."""

    object_name: Name
    service_name: Name


class Call(Struct, frozen=True, gc=False, omit_defaults=True):
    """Caller to broker to worker, forwarded as it is. Answered with one `Result` or `Error` of the same call id.

    `timeout_ms` counts from when it is received, 0 is for ever. A caller that gives `credit` takes a stream: `Item`s of so
    many bytes, and more for every `Credit`.
    """

    call_id: Name
    object_name: Name
    method: Name
    args: Raw
    timeout_ms: Count = 0
    credit: Count = 0
    headers: dict[str, str] | UnsetType = UNSET


class Result(Struct, frozen=True, gc=False, omit_defaults=True):
    """Worker to broker to caller, forwarded as it is. `ended` closes a stream."""

    call_id: Name
    object_name: Name
    value: Raw
    ended: bool = False


class Error(Struct, frozen=True, gc=False, omit_defaults=True):
    """The answer to a call that failed, or (`call_id` None) to something else that could not be done.

    The fields from `code` on are ours: the error's code; the exception's name, or without a call the type of the message
    that was refused; what the worker attached; whether the call reached the worker ("no", "maybe", "yes"); and the
    subscription that the error is about.
    """

    call_id: Name | None
    object_name: Name
    message: str
    code: str = ""
    type: str = ""
    data: Raw | UnsetType = UNSET
    delivered: str = ""
    subscription: Count = 0


class Subscribe(Struct, frozen=True, gc=False, omit_defaults=True):
    """To the broker. Answered with `Subscribed`.

    An extended peer chooses an `id` that it uses once, and gives `credit`: the bytes of events that it takes, more with
    every `EventCredit`. In its object and topic `*` and `>` are wildcards. Of a `group`'s members one gets each event.
    `overflow` is what happens when its backlog is full: "" (publishers wait), "drop_oldest", "latest" or "disconnect".
    `seen` is how many events it got, or was told of as missed, before it was interrupted.
    """

    object_name: Name
    topic: Name
    id: Count = 0
    credit: Count = 0
    group: Name = ""
    overflow: Name = ""
    seen: Count | None = None


class Publish(Struct, frozen=True, gc=False, omit_defaults=True):
    """To the broker; each subscriber gets an `Event` with the same fields.

    With a `call_id` it is answered with a `Result` (null) when it was routed, or an `Error`. With `retain` the value is kept
    for those who subscribe later, with `if_absent` only where none is kept.
    """

    object_name: Name
    topic: Name
    args: Raw
    call_id: Name = ""
    retain: bool = False
    if_absent: bool = False


class Event(Struct, frozen=True, gc=False, omit_defaults=True):
    """Broker to subscriber. `subscription` is the id that an extended peer gave."""

    object_name: Name
    topic: Name
    args: Raw
    subscription: Count = 0
    retained: bool = False


class Subscribed(Struct, frozen=True, gc=False, omit_defaults=True):
    """Broker to subscriber: every event published from now on will come.

    `missed` answers `Subscribe.seen`: the events in between, None when the broker does not know.
    """

    object_name: Name
    topic: Name
    id: Count = 0
    missed: Count | None = None


class HasObject(Struct, frozen=True, gc=False):
    """To the broker. Answered with `HasObjectResult`."""

    object_name: Name


class HasObjectResult(Struct, frozen=True, gc=False):
    """Broker to whoever asked."""

    object_name: Name
    exists: bool


class Registered(Struct, frozen=True, gc=False):
    """Broker to worker: the name is yours, or in the mode "standby" will be."""

    object_name: Name


class Batch(Struct, frozen=True, gc=False, omit_defaults=True):
    """Several events of one topic: `values` is the list of their values, in order.

    To the broker it is as many `Publish` that ask for nothing else; to a subscriber with `subscription` as many `Event`.
    """

    object_name: Name
    topic: Name
    values: Raw
    subscription: Count = 0


class Cancel(Struct, frozen=True, gc=False):
    """Caller to broker, and broker to worker: nobody waits for the call any more. Not answered."""

    call_id: Name


class Item(Struct, frozen=True, gc=False):
    """Worker to broker to caller, forwarded as it is: the next value of a stream."""

    call_id: Name
    value: Raw


class Credit(Struct, frozen=True, gc=False):
    """Caller to broker to worker: the stream may send so many bytes of `Item` frames more."""

    call_id: Name
    bytes: Count


class EventCredit(Struct, frozen=True, gc=False):
    """Subscriber to broker: so many bytes of `Event` frames more."""

    subscription: Count
    bytes: Count


class Missed(Struct, frozen=True, gc=False):
    """Broker to subscriber, in the place of `count` events that it does not get."""

    subscription: Count
    count: Count


class Pause(Struct, frozen=True, gc=False):
    """Broker to publisher: a subscriber is slow, publish nothing until `Resume`. All else goes on."""


class Resume(Struct, frozen=True, gc=False):
    """Broker to publisher: publish again."""


class Ping(Struct, frozen=True, gc=False):
    """Broker to client, over a connection from which nothing came for a while. Answered with `Pong` at once."""


class Pong(Struct, frozen=True, gc=False):
    """The answer to `Ping`: the client is still there."""


class Caller(Struct, frozen=True, gc=False, omit_defaults=True):
    """Broker to worker, before the first call whose id begins with `prefix`: who calls.

    `uid` is None where the transport does not tell.
    """

    prefix: Name
    name: str = ""
    uid: int | None = None
    pid: int | None = None


class CallerGone(Struct, frozen=True, gc=False):
    """Broker to worker: no call with this prefix will come any more."""

    prefix: Name


class Direct(Struct, frozen=True, gc=False, omit_defaults=True):
    """The calls of this object come over a connection of their own from now on, to the worker at this address.

    With the caller's `prefix` it is the first message of that connection, which the worker sends back when it has room; then it
    goes from the caller to the broker, and with `prefix` and `pid`, which the caller has proven, from there to the worker, which
    begins with the calls when it has both. It says so with `memory` when it takes `Memory`.
    """

    object_name: Name
    address: Name
    prefix: Name = ""
    pid: Count = 0
    memory: bool = False


class Memory(Struct, frozen=True, gc=False, omit_defaults=True):
    """Over a direct connection: memory of the caller's, for what is large (protocol/lending.py).

    It is the caller's `descriptor`, and begins with the `token`. The worker says it back when it has opened it, and without
    the token when it could not.
    """

    descriptor: Count = 0
    token: Name = ""


class Lent(Struct, frozen=True, gc=False):
    """Over a direct connection: a message that stands in the memory, in this slot, as a frame of so many bytes."""

    slot: Count
    size: Count


class DirectEnded(Struct, frozen=True, gc=False, omit_defaults=True):
    """From the broker to a caller: the worker at this address is gone or, `refused`, was not told of it.

    To a worker, without an address: no call comes directly any more, and whatever does is to be sent back; from there to the
    broker: all that came is answered. From a worker, over the direct connection: it goes, and answers what it has.
    """

    address: Name = ""
    refused: bool = False


class Served(Struct, frozen=True, gc=False, omit_defaults=True):
    """Worker to broker: so many calls have come directly since the last time, and so many were answered with an error."""

    calls: Count = 0
    errors: Count = 0


class Goodbye(Struct, frozen=True, gc=False, omit_defaults=True):
    """Whoever closes the connection in good order says so first: a client's last will is then not published.

    To the broker: it closes the connection then, so that nothing of what was said before is lost.
    """

    reason: str = ""


Message = (
    RegisterObject
    | RegisterService
    | Call
    | Result
    | Error
    | Subscribe
    | Publish
    | Event
    | Subscribed
    | HasObject
    | HasObjectResult
    | Registered
    | Batch
    | Cancel
    | Item
    | Credit
    | EventCredit
    | Missed
    | Pause
    | Resume
    | Ping
    | Pong
    | Caller
    | CallerGone
    | Direct
    | Memory
    | Lent
    | DirectEnded
    | Served
    | Goodbye
)


class Invalid(Struct, frozen=True, gc=False):
    """What a connection gives in the place of a frame that is no message. Never sent.

    `call_id` is set when the frame was a call, or `about` one, whose payload is broken, so that its caller can be told;
    `about` is the type of that message. After a `fatal` one the stream cannot be trusted any more and must be closed.
    """

    reason: str
    code: str = "invalid_args"
    call_id: str | None = None
    about: str = ""
    fatal: bool = False


class Hello(Struct, frozen=True, gc=False):
    """The arguments of `rob.hello`, the first message of our clients and workers.

    `session` is the token that this client's previous connection was given, for what it missed since; `token` is one that was
    made for whoever connects (`ipc-broker token create`). `direct` is the abstract Unix socket, without its leading zero byte,
    at which a worker takes direct calls.
    """

    encodings: tuple[str, ...] = ("json",)
    features: tuple[str, ...] = ()
    max_frame: Count = 65_536
    name: Name = ""
    pid: Count = 0
    session: Name = ""
    token: str = ""
    """Of any length: one that cannot hold is a wrong one, and not a hello that is none."""
    direct: Name = ""


class Welcome(Struct, frozen=True, gc=False):
    """The broker's answer to `rob.hello`: what both sides use from now on.

    `prefix` begins every call id of this client; `epoch` names this run of the broker, `session` this connection. A client
    with heartbeats to which nothing has come for `heartbeat_ms` may take the broker for gone; 0: never.
    """

    encoding: str
    features: tuple[str, ...]
    max_frame: Count
    prefix: Name
    epoch: str
    session: Name
    version: str
    pid: int
    heartbeat_ms: Count = 0


class DirectOffer(Struct, frozen=True, gc=False):
    """What `rob.direct` answers, or null: where the object's worker listens (`Hello.direct`), and which process that is."""

    address: str
    pid: int
