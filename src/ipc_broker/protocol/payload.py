"""Payloads: Python values to the JSON of `args` and `value`, and back.

What JSON cannot say is refused instead of changed: bytes (msgspec would send base64) and numbers that are not finite
(msgspec would send null).
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec
from msgspec import Raw, Struct, UnsetType

SEED_MAX_DEPTH = 127
"""serde_json, which the Rust crate's programs read with, refuses a body nested deeper than 128 levels."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ALWAYS_PLAIN = frozenset({str, int, bool, type(None)})
_SAYABLE = (
    str,
    int,
    type(None),
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    enum.Enum,
    uuid.UUID,
    Raw,
    UnsetType,
)


class Unsendable(Exception):
    """The value cannot be said in JSON; the message says what and where (`$` is the whole value)."""


def encode_payload(value: object) -> Raw:
    """Raises Unsendable."""
    try:
        data = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Unsendable(f"{reason} - at `$`") from error
    if type(value) not in _ALWAYS_PLAIN:
        _refuse_unsayable(value, "$")
    return Raw(data)


def decode_payload(payload: Raw, kind: Any = Any) -> Any:
    """The value, checked and converted to `kind`. Raises msgspec.MsgspecError, which names the path, or RecursionError."""
    return _decode(payload) if kind is Any else payload_decoder(kind)(payload)


@lru_cache(maxsize=1024)
def payload_decoder(kind: Any) -> Callable[[Raw], Any]:
    return msgspec.json.Decoder(kind).decode


def reason_of(error: Exception) -> str:
    """What was wrong with a payload, ending with the path where: `$` alone for the whole."""
    if isinstance(error, RecursionError):
        return "nested too deeply - at `$`"
    text = str(error)
    return text if text.endswith("`") and " - at `$" in text else f"{text} - at `$`"


def unreadable_to_seed(payload: Raw) -> str | None:
    """Why a program of the Rust crate could not read the payload, or None.

    Such a program ignores a body it cannot read, so that whoever waits for its answer would wait for ever.
    """
    data = bytes(payload)
    try:
        value = _decode(data)
    except RecursionError:
        return "it is nested too deeply"
    except (msgspec.MsgspecError, ValueError) as error:
        return str(error)
    # The levels of nesting cannot be more than the brackets, which are quicker to count.
    if data.count(b"[") + data.count(b"{") > SEED_MAX_DEPTH - 2 and _depth(value) > SEED_MAX_DEPTH - 2:
        return f"it is nested deeper than the {SEED_MAX_DEPTH - 2} levels the other side reads"
    return None


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _refuse_unsayable(value: object, path: str) -> None:
    if isinstance(value, _SAYABLE):
        return
    if isinstance(value, float):
        if not isfinite(value):
            raise Unsendable(f"JSON has no number {value} - at `{path}`")
    elif isinstance(value, bytes | bytearray | memoryview):
        raise Unsendable(f"JSON has no bytes; encode them as text, with base64 for example - at `{path}`")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                _refuse_unsayable(key, path)
            if type(item) not in _ALWAYS_PLAIN:
                _refuse_unsayable(item, f"{path}.{key}")
    elif isinstance(value, Iterable):
        for index, item in enumerate(value):
            if type(item) not in _ALWAYS_PLAIN:
                _refuse_unsayable(item, f"{path}[{index}]")
    else:
        _refuse_unsayable({name: getattr(value, name) for name in _field_names(value)}, path)


def _field_names(value: object) -> Iterable[str]:
    """The fields of a Struct, a dataclass or an attrs class, with slots or without."""
    kind = type(value)
    if isinstance(value, Struct):
        return value.__struct_fields__
    if fields := getattr(kind, "__dataclass_fields__", None):
        return tuple(fields)
    return [field.name for field in getattr(kind, "__attrs_attrs__", ())]
