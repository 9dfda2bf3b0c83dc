"""Every message on the wire.

On the wire a message is a map with one key, the name of its type: `{"Call": {"call_id": ...}}`. Payloads (`args`, `value`,
`data`) stay undecoded: `Raw` holds their bytes as they came. The first twelve types are those of the Rust crate
`ipc-broker` 1.1 (docs/protocol.md); its programs ignore fields they do not know, such as `Error.code`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_NAME = 1024

Name = Annotated[str, Meta(max_length=MAX_NAME)]
"""A call id, or the name of an object, topic or method. Bounded, so that an answer that repeats it fits into a frame."""


class RegisterObject(Struct, frozen=True, gc=False):
    """Worker to broker: I serve the object. Answered with `Registered`, or an `Error` without call id."""

    object_name: Name


class RegisterService(Struct, frozen=True, gc=False):
    """To the broker: a call to the object starts this service. Not answered."""

    object_name: Name
    service_name: Name


class Call(Struct, frozen=True, gc=False):
    """Caller to broker to worker, forwarded as it is. Answered with one `Result` or `Error` of the same call id."""

    call_id: Name
    object_name: Name
    method: Name
    args: Raw


class Result(Struct, frozen=True, gc=False):
    """Worker to broker to caller, forwarded as it is."""

    call_id: Name
    object_name: Name
    value: Raw


class Error(Struct, frozen=True, gc=False, omit_defaults=True):
    """The answer to a call that failed, or (`call_id` None) to something else that could not be done.

    The fields from `code` on are ours: the error's code; the exception's name, or without a call the type of the message
    that was refused; what the worker attached; and whether the call reached the worker ("no", "maybe", "yes").
    """

    call_id: Name | None
    object_name: Name
    message: str
    code: str = ""
    type: str = ""
    data: Raw | UnsetType = UNSET
    delivered: str = ""


class Subscribe(Struct, frozen=True, gc=False):
    """To the broker. Answered with `Subscribed`."""

    object_name: Name
    topic: Name


class Publish(Struct, frozen=True, gc=False):
    """To the broker; each subscriber gets an `Event` with the same fields. Not answered."""

    object_name: Name
    topic: Name
    args: Raw


class Event(Struct, frozen=True, gc=False):
    """Broker to subscriber."""

    object_name: Name
    topic: Name
    args: Raw


class Subscribed(Struct, frozen=True, gc=False):
    """Broker to subscriber: every event published from now on will come."""

    object_name: Name
    topic: Name


class HasObject(Struct, frozen=True, gc=False):
    """To the broker. Answered with `HasObjectResult`."""

    object_name: Name


class HasObjectResult(Struct, frozen=True, gc=False):
    """Broker to whoever asked."""

    object_name: Name
    exists: bool


class Registered(Struct, frozen=True, gc=False):
    """Broker to worker: the name is yours."""

    object_name: Name


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
)


class Invalid(Struct, frozen=True, gc=False):
    """What a connection gives in the place of a frame that is no message. Never sent.

    `call_id` is set when the frame was a call whose payload is broken, so that its caller can be answered. After a
    `fatal` one the stream cannot be trusted any more and must be closed.
    """

    reason: str
    code: str = "invalid_args"
    call_id: str | None = None
    fatal: bool = False


class Hello(Struct, frozen=True, gc=False):
    """The arguments of `rob.hello`, the first message of our clients and workers."""

    encodings: tuple[str, ...] = ("json",)
    features: tuple[str, ...] = ()
    max_frame: int = 65_536
    name: Name = ""
    pid: int = 0


class Welcome(Struct, frozen=True, gc=False):
    """The broker's answer to `rob.hello`: what both sides use from now on.

    `prefix` begins every call id of this client; `epoch` names this run of the broker, `session` this connection.
    """

    encoding: str
    features: tuple[str, ...]
    max_frame: int
    prefix: str
    epoch: str
    session: str
    version: str
    pid: int
