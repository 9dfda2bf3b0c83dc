"""Messages in JSON: `{"Call":{"call_id":"1.1",...}}`. Seed peers speak nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from ..messages import Call, Message
from .codec import ABOUT_CALLS, MOST_TOPICS, Codec, Decoded, Encoded, NotOneMessage, Shape, checked_name
from .framing import write_length
from .json_payload import decode_any, encode_payload, payload_decoder

_FIRST_KEY = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:[ \t\r\n]*')
_CALL_ID = re.compile(
    rb'\s*\{\s*"(%b)"\s*:\s*\{\s*"call_id"\s*:\s*"([^"\\\x00-\x1f]{1,1024})"' % "|".join(ABOUT_CALLS).encode()
)
"""Where a call's id stands in a body that cannot be decoded, if whoever encoded it wrote the fields in their order."""

_encode = msgspec.json.Encoder().encode
_decode_any_body = msgspec.json.Decoder(dict[str, Raw]).decode
_SHAPES: dict[int, Shape] = {ord("{"): "map", ord("["): "list", ord("n"): "null"}


@lru_cache(maxsize=64)
def _opening(kind: type[Decoded]) -> bytes:
    return f'{{"{kind.__name__}":'.encode()


class JsonCodec(Codec):
    name = "json"
    null = Raw(b"null")
    closing = b"}"
    publish_closing = b"}}"

    encode_any = staticmethod(encode_payload)
    decode_any = staticmethod(decode_any)

    def encode_payload(self, value: Any) -> Raw:
        return encode_payload(value)

    def decoder(self, kind: Any) -> Callable[[Encoded], Any]:
        return payload_decoder(kind)

    def shape(self, payload: bytes | Raw) -> Shape:
        return _SHAPES.get(memoryview(payload)[0], "one")

    def as_list(self, payload: bytes) -> bytes:
        return b"[]" if payload == b"null" else b"[%b]" % payload

    def most_levels(self, payload: Raw) -> int:
        data = bytes(payload)
        return data.count(b"[") + data.count(b"{")

    def list_of(self, values: Sequence[Encoded]) -> bytes:
        return b"[%b]" % b",".join(values)

    def length_of(self, payload: Raw) -> int:
        return len(self.values_of(payload))

    def opening(self, kind: type[Decoded]) -> bytes:
        return _opening(kind)

    def encode(self, message: Message) -> bytes:
        opening = _opening(type(message))
        inner = _encode(message)
        return write_length(len(opening) + len(inner) + 1) + opening + inner + b"}"

    # The messages of the hot paths are put together around a payload that is encoded already: that saves encoding it twice,
    # and names come back often enough to be kept encoded.

    def call_frame(self, call_id: str, object_name: str, method: str, timeout_ms: int, args: bytes | Raw) -> bytes:
        names = _call_names(object_name, method)
        head = b'{"Call":{"call_id":"%b%b%b' % (call_id.encode(), names, _timeout(timeout_ms))
        return b"%b%b%b}}" % (write_length(len(head) + len(args) + 2), head, args)  # what may be large is copied once

    def result_frame(self, call: Call, value: Raw) -> bytes:
        head = b'{"Result":{"call_id":%b,"object_name":%b,"value":' % (
            _encode(call.call_id),
            _name(call.object_name),
        )
        return b"%b%b%b}}" % (write_length(len(head) + len(value) + 2), head, value)

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
        if not _is_alone(inner, body):
            raise NotOneMessage(f"{name!r} twice")
        return name, inner

    def check_text(self, body: bytes) -> None:
        str(body, "utf-8")

    def early_call(self, body: bytes) -> tuple[str, str] | None:
        early = _CALL_ID.match(body)
        return (early[1].decode(), early[2].decode("utf-8", "replace")) if early else None


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    checked_name(name)
    return _encode(name)


@lru_cache(maxsize=1024)
def _call_names(object_name: str, method: str) -> bytes:
    return b'","object_name":%b,"method":%b' % (_name(object_name), _name(method))


@lru_cache(maxsize=1024)
def _timeout(timeout_ms: int) -> bytes:
    return b',"timeout_ms":%d,"args":' % timeout_ms if timeout_ms else b',"args":'


@lru_cache(maxsize=MOST_TOPICS)
def _publish_opening(object_name: str, topic: str) -> bytes:
    return b'{"Publish":{"object_name":%b,"topic":%b,"args":' % (_name(object_name), _name(topic))


@lru_cache(maxsize=4096)
def _event_opening(object_name: str, topic: str, subscription: int) -> bytes:
    about = b'"subscription":%d,' % subscription if subscription else b""
    return b'{"Event":{%b"object_name":%b,"topic":%b,"args":' % (about, _name(object_name), _name(topic))


@lru_cache(maxsize=4096)
def _batch_opening(object_name: str, topic: str, subscription: int) -> bytes:
    about = b'"subscription":%d,' % subscription if subscription else b""
    return b'{"Batch":{%b"object_name":%b,"topic":%b,"values":' % (about, _name(object_name), _name(topic))


def _is_alone(inner: Raw, body: bytes) -> bool:
    """Whether the value of the last key is all that the body's object holds: a dict would hide a key that came before."""
    start = _FIRST_KEY.match(body)
    if start is None:
        return False
    value = bytes(inner)
    return body.startswith(value, start.end()) and body[start.end() + len(value) :].strip(b" \t\r\n") == b"}"
