"""Messages in MessagePack: the same maps, in fewer bytes, with binary data and all numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from ..messages import Call, Message, Publish, Result
from .codec import ABOUT_CALLS, MOST_TOPICS, Codec, Decoded, DecodedResult, Encoded, NotOneMessage, Shape, checked_name
from .framing import HEADER_SIZE, write_length
from .payload import Unsendable
from .pieces import Payload, holds_large, in_pieces

_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder().decode
_decode_any_body = msgspec.msgpack.Decoder(dict[str, Raw]).decode
_decode_call = msgspec.msgpack.Decoder(Call).decode
_NULL = b"\xc0"


def _shape_of(first: int) -> Shape:
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        return "map"
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        return "list"
    return "null" if first == _NULL[0] else "one"


_SHAPES: tuple[Shape, ...] = tuple(_shape_of(first) for first in range(256))
_NO_CONTAINERS = bytes(first for first, shape in enumerate(_SHAPES) if shape not in ("map", "list"))


@lru_cache(maxsize=64)
def _opening(kind: type[Decoded]) -> bytes:
    return b"\x81" + _encode(kind.__name__)


_CALL_OPENING = _opening(Call)
_CALL_AT = HEADER_SIZE + len(_CALL_OPENING)
_CALL = _CALL_OPENING + b"\x84\xa7call_id"
_TIMED_CALL = _CALL_OPENING + b"\x85\xa7call_id"
_RESULT = _opening(Result)
_RESULT_ID = b"\x83\xa7call_id"
_RESULT_AT = HEADER_SIZE + len(_RESULT)
_CALL_ID = re.compile(
    rb"\x81[\xa0-\xbf](%b)[\x82-\x8f]\xa7call_id(?:([\xa1-\xbf])|\xd9([^\x00]))" % "|".join(ABOUT_CALLS).encode(),
    re.DOTALL,
)
"""What stands before a call's id, and how many bytes it has, if whoever encoded it wrote the fields in their order."""


_LIST_SIZES = {0xDC: 2, 0xDD: 4}
"""The first byte of a list of 16 values and more, and in how many bytes behind it they are counted."""


class MessagePackCodec(Codec):
    name = "msgpack"
    null = Raw(_NULL)
    closing = b""
    publish_closing = b""

    encode_any = staticmethod(_encode)
    decode_any = staticmethod(_decode_any)

    def encode_value(self, value: Any) -> Payload:
        if holds_large(value):
            with suppress(TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
                return in_pieces(value, _encode)
            # As a whole it is told what is wrong, and where.
        return self.encode_payload(value)

    def encode_payload(self, value: Any) -> Raw:
        try:
            return Raw(_encode(value))
        except RecursionError as error:
            raise Unsendable("it is nested too deeply - at `$`") from error
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise Unsendable(f"{error} - at `$`") from error

    def decoder(self, kind: Any) -> Callable[[Encoded], Any]:
        return _decoder(kind)

    def shape(self, payload: bytes | Raw) -> Shape:
        return _SHAPES[memoryview(payload)[0]]

    def as_list(self, payload: bytes) -> bytes:
        return b"\x90" if payload == _NULL else b"\x91" + payload

    def most_levels(self, payload: Raw) -> int:
        return len(bytes(payload).translate(None, _NO_CONTAINERS))

    def list_of(self, values: Sequence[Encoded]) -> bytes:
        return _list_header(len(values)) + b"".join(values)

    def length_of(self, payload: Raw) -> int:
        """From its header: that as many values follow was found out when the message was decoded."""
        head = bytes(memoryview(payload)[:5])
        first = head[0]
        if 0x90 <= first <= 0x9F:
            return first & 0x0F
        if first not in _LIST_SIZES:
            raise msgspec.ValidationError("Expected `array`")
        return int.from_bytes(head[1 : 1 + _LIST_SIZES[first]])

    def opening(self, kind: type[Decoded]) -> bytes:
        return _opening(kind)

    def encode(self, message: Message) -> bytes:
        opening, inner = _opening(type(message)), _encode(message)
        return b"%b%b%b" % (write_length(len(opening) + len(inner)), opening, inner)

    def call_frame(self, call_id: str, object_name: str, method: str, timeout_ms: int, args: bytes | Raw) -> bytes:
        opening = _TIMED_CALL if timeout_ms else _CALL
        head = b"".join((opening, _encode(call_id), _call_names(object_name, method), _timeout(timeout_ms)))
        return b"".join((write_length(len(head) + len(args)), head, args))  # what may be large is copied once

    def decode_call(self, frame: bytes) -> Call:
        if frame[HEADER_SIZE:_CALL_AT] != _CALL_OPENING:
            raise NotOneMessage("in another form")
        return _decode_call(frame[_CALL_AT:])

    def result_frame(self, call: Call, value: Raw) -> bytes:
        head = b"".join((_RESULT, _RESULT_ID, _encode(call.call_id), _result_name(call.object_name)))
        return b"".join((write_length(len(head) + len(value)), head, value))

    def decode_result(self, data: bytes, kind: Any) -> DecodedResult:
        """The frame ends where its body does: more, or less, is an error of the decoder."""
        if data[HEADER_SIZE:_RESULT_AT] != _RESULT:
            raise NotOneMessage("in another form")
        result: DecodedResult = _result_decoder(kind)(data[_RESULT_AT:])
        return result

    def publish_frame(self, object_name: str, topic: str, value: Raw) -> bytes:
        opening = _publish_opening(object_name, topic)
        appended: Any = value  # any buffer may be appended to bytes, and is copied once then
        framed: bytes = write_length(len(opening) + len(value)) + opening + appended
        return framed

    def publish_opening(self, object_name: str, topic: str) -> bytes:
        return _publish_opening(object_name, topic)

    def event_opening(self, object_name: str, topic: str, subscription: int) -> bytes:
        return _event_opening(object_name, topic, subscription)

    def batch_opening(self, object_name: str, topic: str, subscription: int) -> bytes:
        return _batch_opening(object_name, topic, subscription)

    def decode_body(self, body: bytes) -> tuple[str, Raw]:
        variants: dict[str, Raw] = _decode_any_body(body)
        if len(variants) != 1:
            raise NotOneMessage(str(len(variants)))
        [(name, inner)] = variants.items()
        if body[0] != 0x81:  # other forms of a map may say the key more than once
            size = {0xDE: 2, 0xDF: 4}.get(body[0], 0)
            if int.from_bytes(body[1 : 1 + size]) != 1:
                raise NotOneMessage(f"{name!r} twice")
        return name, inner

    def check_text(self, body: bytes) -> None:
        """Text in a payload is checked by whoever decodes it."""

    def early_call(self, body: bytes) -> tuple[str, str] | None:
        early = _CALL_ID.match(body)
        if early is None:
            return None
        about, short, longer = early.groups()
        start = early.end()
        stop = start + (short or longer)[0] - (0xA0 if short else 0)
        return (about.decode(), body[start:stop].decode("utf-8", "replace")) if len(body) >= stop else None


@lru_cache(maxsize=1024)
def _decoder(kind: Any) -> Callable[[Encoded], Any]:
    return msgspec.msgpack.Decoder(kind).decode


@lru_cache(maxsize=1024)
def _result_decoder(kind: Any) -> Callable[[Encoded], Any]:
    if kind is Any:
        return msgspec.msgpack.Decoder(DecodedResult).decode
    fields = [("call_id", str), ("value", kind)]
    return msgspec.msgpack.Decoder(msgspec.defstruct("DecodedResult", fields, bases=(DecodedResult,))).decode


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    checked_name(name)
    return _encode(name)


@lru_cache(maxsize=1024)
def _call_names(object_name: str, method: str) -> bytes:
    return b"\xabobject_name%b\xa6method%b" % (_name(object_name), _name(method))


@lru_cache(maxsize=1024)
def _timeout(timeout_ms: int) -> bytes:
    return b"\xaatimeout_ms%b\xa4args" % _encode(timeout_ms) if timeout_ms else b"\xa4args"


@lru_cache(maxsize=1024)
def _result_name(object_name: str) -> bytes:
    return b"\xabobject_name%b\xa5value" % _name(object_name)


@lru_cache(maxsize=MOST_TOPICS)
def _publish_opening(object_name: str, topic: str) -> bytes:
    return _opening(Publish) + b"\x83\xabobject_name%b\xa5topic%b\xa4args" % (_name(object_name), _name(topic))


@lru_cache(maxsize=4096)
def _event_opening(object_name: str, topic: str, subscription: int) -> bytes:
    about = b"\x84\xacsubscription" + _encode(subscription) if subscription else b"\x83"
    return b"\x81\xa5Event%b\xabobject_name%b\xa5topic%b\xa4args" % (about, _name(object_name), _name(topic))


@lru_cache(maxsize=4096)
def _batch_opening(object_name: str, topic: str, subscription: int) -> bytes:
    about = b"\x84\xacsubscription" + _encode(subscription) if subscription else b"\x83"
    return b"\x81\xa5Batch%b\xabobject_name%b\xa5topic%b\xa6values" % (about, _name(object_name), _name(topic))


def _list_header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2) if count < 65_536 else b"\xdd" + count.to_bytes(4)
