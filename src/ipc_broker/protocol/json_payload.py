"""Payloads in JSON: Python values to `args` and `value`, and back.

What JSON cannot say is refused instead of changed: bytes (msgspec would send base64) and numbers that are not finite
(msgspec would send null).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec
from msgspec import Raw

from .payload import Unsendable

SEED_MAX_DEPTH = 127
"""Levels of nesting of a whole body that serde_json reads, with which the Rust crate's programs decode."""

_MAX_PAYLOAD_DEPTH = SEED_MAX_DEPTH - 2
_LONG_NUMBER = re.compile(rb"\d{309}").search

_encode = msgspec.json.Encoder().encode
decode_any = msgspec.json.Decoder().decode
_ALWAYS_PLAIN = frozenset({str, int, bool, type(None)})
_PLAIN_ITEMS = _ALWAYS_PLAIN.issuperset
_TEXT = frozenset({str}).issuperset


def encode_payload(value: Any) -> Raw:
    """Raises Unsendable."""
    try:
        data = _encode(value)
        # What most payloads are is looked at first: this is on the way of every call and event.
        kind = type(value)
        if kind is dict:
            if not (_PLAIN_ITEMS(map(type, value.values())) and _TEXT(map(type, value))):
                _refuse_unsayable(_builtins(value), "$")
        elif kind is list:
            if not _PLAIN_ITEMS(map(type, value)):
                _refuse_unsayable(_builtins(value), "$")
        elif kind is float:
            if not isfinite(value):
                _refuse_unsayable(value, "$")
        elif kind not in _ALWAYS_PLAIN:
            _refuse_unsayable(_builtins(value), "$")
    except RecursionError as error:
        raise Unsendable("it is nested too deeply - at `$`") from error
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise Unsendable(f"{error} - at `$`") from error
    return Raw(data)


@lru_cache(maxsize=1024)
def payload_decoder(kind: Any) -> Callable[[bytes | memoryview | Raw], Any]:
    return msgspec.json.Decoder(kind).decode


def unreadable_to_seed(payload: Raw) -> str | None:
    """Why a program of the Rust crate could not read the payload, or None.

    Such a program ignores a body it cannot read, so that whoever waits for its answer would wait for ever.
    """
    data = bytes(payload)
    try:
        value = decode_any(data)
    except RecursionError:
        return "it is nested too deeply"
    except (msgspec.MsgspecError, ValueError) as error:
        return str(error)
    # Both are rare and cost a walk, which is made only where the bytes leave room for them.
    if data.count(b"[") + data.count(b"{") > _MAX_PAYLOAD_DEPTH or (len(data) > 308 and _LONG_NUMBER(data)):
        return _unreadable_part(value)
    return None


def _unreadable_part(value: object) -> str | None:
    depth, level = 0, [value]
    while level:
        if any(isinstance(item, int) and abs(item) > sys.float_info.max for item in level):
            return "it has a number that is out of range"
        containers = [item for item in level if isinstance(item, dict | list)]
        depth += bool(containers)
        if depth > _MAX_PAYLOAD_DEPTH:
            return f"it is nested deeper than the {_MAX_PAYLOAD_DEPTH} levels the other side reads"
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return None


def _builtins(value: Any) -> Any:
    """The value in maps, lists, text, numbers and bytes, as msgspec would encode it. Raw is JSON already."""
    return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_nothing)


def _nothing(value: object) -> None:
    return None


def _refuse_unsayable(value: object, path: str) -> None:
    if isinstance(value, float):
        if not isfinite(value):
            raise Unsendable(f"JSON has no number {value} - at `{path}`")
    elif isinstance(value, bytes | bytearray | memoryview):
        raise Unsendable(f"JSON has no bytes; encode them as text, with base64 for example - at `{path}`")
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                _refuse_unsayable(key, path)
            if type(item) not in _ALWAYS_PLAIN:
                _refuse_unsayable(item, f"{path}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            if type(item) not in _ALWAYS_PLAIN:
                _refuse_unsayable(item, f"{path}[{index}]")
