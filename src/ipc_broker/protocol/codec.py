"""JSON bodies: messages to frames and frames to messages.

A body is an object with one key, the message's type. Nearly all bodies come in the shortest form, `{"Call":{...}}`: for
these the decoder looks up the opening and decodes what stands between it and the last brace, which also proves that
nothing else is in the object. Any other form takes a slower way to the same result.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from ..messages import (
    Call,
    Error,
    Event,
    HasObject,
    HasObjectResult,
    Invalid,
    Message,
    Publish,
    RegisterObject,
    Registered,
    RegisterService,
    Result,
    Subscribe,
    Subscribed,
)
from .framing import HEADER_SIZE

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

Received = tuple[Message | Invalid, bytes]
"""A message and the frame it came in."""

NULL = Raw(b"null")

_LONGEST_OPENING = 32
_encode = msgspec.json.Encoder().encode
_decode_any_body = msgspec.json.Decoder(dict[str, Raw]).decode
_OPENINGS: dict[type[Message], bytes] = {kind: f'{{"{kind.__name__}":'.encode() for kind in MESSAGE_TYPES}
_EVENT_OPENING = _OPENINGS[Event]
_PUBLISH_SIZE = HEADER_SIZE + len(_OPENINGS[Publish])


def encode(message: Message) -> bytes:
    """The whole frame. Its size is not checked here: the limit belongs to the connection it is for."""
    opening = _OPENINGS[type(message)]
    inner = _encode(message)
    return b"%b%b%b}" % ((len(opening) + len(inner) + 1).to_bytes(HEADER_SIZE, "big"), opening, inner)


def event_frame(frame: bytes) -> bytes:
    """The frame that subscribers get for the frame of a `Publish`, as the decoder gave it: its bytes under another tag."""
    inner = frame[_PUBLISH_SIZE:]
    return b"%b%b%b" % ((len(_EVENT_OPENING) + len(inner)).to_bytes(HEADER_SIZE, "big"), _EVENT_OPENING, inner)


class Decoder:
    """Decodes the frames of the message types one side of a connection may receive."""

    __slots__ = ("_by_name", "_by_opening")

    def __init__(self, kinds: Iterable[type[Message]]) -> None:
        self._by_name = {kind.__name__: msgspec.json.Decoder(kind).decode for kind in kinds}
        self._by_opening = {_OPENINGS[kind]: self._by_name[kind.__name__] for kind in kinds}

    def decode(self, frame: bytes) -> Received:
        """The message and its frame in the shortest form, fit to be forwarded.

        Never raises: a body that is no message gives an `Invalid` that says why.
        """
        end = frame.find(b":", HEADER_SIZE, _LONGEST_OPENING) + 1
        decode = self._by_opening.get(frame[HEADER_SIZE:end])
        if decode is None or frame[-1] != 0x7D:  # }
            return self._decode_other_form(frame)
        inner = frame[end:-1]
        try:
            message = decode(inner)
            if not inner.isascii():
                str(inner, "utf-8")
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._decode_other_form(frame)
        return message, frame

    def _decode_other_form(self, frame: bytes) -> Received:
        body = frame[HEADER_SIZE:]
        message: Message | None = None
        try:
            variants = _decode_any_body(body)
            if len(variants) != 1:
                return Invalid(f"a message is an object with exactly one key, this one has {len(variants)}"), frame
            [(name, inner)] = variants.items()
            decode = self._by_name.get(name)
            if decode is None:
                return Invalid(f"unknown message {name[:64]!r}; known here: {', '.join(self._by_name)}"), frame
            message = decode(inner)
            # msgspec checks the strings it decodes, but not what it leaves as Raw.
            str(body, "utf-8")
        except RecursionError:
            return Invalid("the body is nested too deeply"), frame
        except UnicodeDecodeError as error:
            call_id = message.call_id if isinstance(message, Call) else None
            return Invalid(f"the body is not UTF-8: {error}", call_id=call_id), frame
        except msgspec.MsgspecError as error:
            return Invalid(f"not a message: {error}"), frame
        return message, encode(message)
