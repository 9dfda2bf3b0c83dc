"""JSON bodies: messages to frames and frames to messages.

A body is an object with one key, the message's type. Nearly all bodies come in the shortest form, `{"Call":{...}}`: for
these the decoder looks up the opening and decodes what stands between it and the last brace, which also proves that
nothing else is in the object. Any other form takes a slower way to the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache

import msgspec
from msgspec import Raw

from .. import events
from ..errors import InvalidArgs
from ..messages import (
    MAX_NAME,
    Call,
    Error,
    Event,
    HasObject,
    HasObjectResult,
    Invalid,
    Message,
    Name,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Subscribe,
    Subscribed,
)
from .framing import HEADER_SIZE, write_length

MESSAGE_TYPES: tuple[type[Message], ...] = (
    RegisterObject,
    RegisterService,
    Call,
    Result,
    Error,
    Subscribe,
    Publish,
    Event,
    Subscribed,
    HasObject,
    HasObjectResult,
    Registered,
)

Decoded = Message | events.Event
"""A client gets the events it subscribed to with their values decoded, in one step."""

Received = tuple[Decoded | events.Gap | Invalid, bytes]
"""A message and the frame it came in."""

NULL = Raw(b"null")


class _CallId(msgspec.Struct):
    """What is looked for in a call that is no valid one, so that whoever waits for it can be told."""

    call_id: Name


_START = 7  # bytes of a body by which its type is looked up
_BRACE = 0x7D
_FIRST_KEY = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:[ \t\r\n]*')
_CALL_ID = re.compile(rb'\s*\{\s*"Call"\s*:\s*\{\s*"call_id"\s*:\s*"([^"\\\x00-\x1f]{1,1024})"')
"""Where a call's id stands in a body that cannot be decoded, if whoever encoded it wrote the fields in their order."""
_encode = msgspec.json.Encoder().encode
_decode_any_body = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw_event = msgspec.json.Decoder(Event).decode
_decode_call_id = msgspec.json.Decoder(_CallId).decode


def _opening(kind: type[Decoded]) -> bytes:
    return f'{{"{kind.__name__}":'.encode()


_OPENINGS: dict[type[Message], bytes] = {kind: _opening(kind) for kind in MESSAGE_TYPES}
_PUBLISH_SIZE = HEADER_SIZE + len(_OPENINGS[Publish])


def encode(message: Message) -> bytes:
    """The whole frame. Its size is not checked here: the limit belongs to the connection it is for."""
    opening = _OPENINGS[type(message)]
    inner = _encode(message)
    return write_length(len(opening) + len(inner) + 1) + opening + inner + b"}"


# The messages of the hot paths are put together around a payload that is encoded already: that saves encoding it twice,
# and names come back often enough to be kept encoded.


def call_frame(call_id: str, object_name: str, method: str, args: Raw) -> bytes:
    """The frame of a `Call`. `call_id` is one of ours: nothing in it has to be escaped. Raises InvalidArgs."""
    body = b'{"Call":{"call_id":"%b%b%b}}' % (call_id.encode(), _call_names(object_name, method), args)
    return write_length(len(body)) + body


def result_frame(call: Call, value: Raw) -> bytes:
    """The frame of the `Result` for a call."""
    body = b'{"Result":{"call_id":%b,"object_name":%b,"value":%b}}' % (
        _encode(call.call_id),
        encode_name(call.object_name),
        value,
    )
    return write_length(len(body)) + body


def publish_frame(object_name: str, topic: str, value: Raw) -> bytes:
    """The frame of a `Publish`. Raises InvalidArgs."""
    body = b"%b%b}}" % (_publish_names(object_name, topic), value)
    return write_length(len(body)) + body


def event_frame(frame: bytes) -> bytes:
    """The frame that subscribers get for the frame of a `Publish`, as the decoder gave it: its bytes under another tag."""
    return _event_opening(len(frame)) + frame[_PUBLISH_SIZE:]


@lru_cache(maxsize=1024)
def encode_name(name: str) -> bytes:
    """Raises InvalidArgs for a name that is too long, or that UTF-8 cannot say."""
    if len(name) > MAX_NAME:
        raise InvalidArgs(f"the name {name[:32]!r}... is longer than {MAX_NAME} characters", delivered="no")
    try:
        return _encode(name)
    except UnicodeEncodeError as error:
        raise InvalidArgs(f"the name {name!r} cannot be said in UTF-8: {error.reason}", delivered="no") from error


@lru_cache(maxsize=1024)
def _call_names(object_name: str, method: str) -> bytes:
    return b'","object_name":%b,"method":%b,"args":' % (encode_name(object_name), encode_name(method))


@lru_cache(maxsize=1024)
def _publish_names(object_name: str, topic: str) -> bytes:
    return b'{"Publish":{"object_name":%b,"topic":%b,"args":' % (encode_name(object_name), encode_name(topic))


@lru_cache(maxsize=1024)
def _event_opening(publish_size: int) -> bytes:
    opening = _OPENINGS[Event]
    return write_length(publish_size - _PUBLISH_SIZE + len(opening)) + opening


def _is_alone(inner: Raw, body: bytes) -> bool:
    """Whether the value of the last key is all that the body's object holds: a dict would hide a key that came before."""
    start = _FIRST_KEY.match(body)
    if start is None:
        return False
    value = bytes(inner)
    return body.startswith(value, start.end()) and body[start.end() + len(value) :].strip(b" \t\r\n") == b"}"


class Decoder:
    """Decodes the frames of the message types one side of a connection may receive."""

    __slots__ = ("_by_name", "_by_start", "_for_subscribers")

    def __init__(self, kinds: Collection[type[Decoded]]) -> None:
        self._for_subscribers = events.Event in kinds
        self._by_name: dict[str, Callable[[bytes | Raw], Decoded]] = {}
        self._by_start: dict[bytes, tuple[bytes, int, Callable[[bytes | Raw], Decoded]]] = {}
        for kind in kinds:
            decode = msgspec.json.Decoder(kind).decode
            opening = _opening(kind)
            self._by_name[kind.__name__] = decode
            # Where several types begin alike, the first, which comes most often, is found here and the others more slowly.
            self._by_start.setdefault(opening[:_START], (opening, HEADER_SIZE + len(opening), decode))

    def decode_all(self, frames: Iterable[bytes]) -> list[Received]:
        """For each, the message and its frame in the shortest form, fit to be forwarded.

        Never raises: a body that is no message gives an `Invalid` that says why.
        """
        received: list[Received] = []
        by_start = self._by_start
        for frame in frames:
            found = by_start.get(frame[HEADER_SIZE : HEADER_SIZE + _START])
            if found is not None:
                opening, end, decode = found
                if frame.startswith(opening, HEADER_SIZE) and frame[-1] == _BRACE:
                    inner = frame[end:-1]
                    try:
                        message = decode(inner)
                        if not inner.isascii():
                            str(inner, "utf-8")
                    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                        pass  # the slower way finds out what is wrong with it
                    else:
                        received.append((message, frame))
                        continue
            received.append(self._decode_other_form(frame))
        return received

    def _decode_other_form(self, frame: bytes) -> Received:
        body = frame[HEADER_SIZE:]
        early = _CALL_ID.match(body)
        call_id = early[1].decode("utf-8", "replace") if early else None
        try:
            variants = _decode_any_body(body)
            if len(variants) != 1:
                return Invalid(f"a message is an object with exactly one key, this one has {len(variants)}"), frame
            [(name, inner)] = variants.items()
            if not _is_alone(inner, body):
                return Invalid(f"a message is an object with exactly one key, this one has {name!r} twice"), frame
            decode = self._by_name.get(name)
            if decode is None:
                return Invalid(f"unknown message {name[:64]!r}; known here: {', '.join(self._by_name)}"), frame
            if name == "Call":
                call_id = _decode_call_id(inner).call_id
            message = decode(inner)
            # msgspec checks the strings it decodes, but not what it leaves as Raw.
            str(body, "utf-8")
        except RecursionError:
            return self._gap(frame) or Invalid("the body is nested too deeply", call_id=call_id), frame
        except UnicodeDecodeError as error:
            return Invalid(f"the body is not UTF-8: {error}", call_id=call_id), frame
        except msgspec.MsgspecError as error:
            return self._gap(frame) or Invalid(f"not a message: {error}", call_id=call_id), frame
        return message, frame if isinstance(message, events.Event) else encode(message)

    def _gap(self, frame: bytes) -> events.Gap | None:
        """What a subscriber gets for an event whose value cannot be decoded."""
        opening = _OPENINGS[Event]
        if not self._for_subscribers or not frame.startswith(opening, HEADER_SIZE):
            return None
        try:
            event = _decode_raw_event(frame[HEADER_SIZE + len(opening) : -1])
        except (msgspec.MsgspecError, RecursionError):
            return None
        return events.Gap(event.object_name, event.topic, missed=1)
