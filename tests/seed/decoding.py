"""What the seed's programs take for a message, and what they ignore as a whole.

Where the seed is not known to be lenient, this is strict: whatever passes here passes there.
"""

import json

from tests.seed.frames import Json, Message

MAX_NESTING = 127

_STRING = (str,)
# Every variant with its fields, in the order in which they are written, and the types they may have; None: any JSON.
FIELDS: dict[str, dict[str, tuple[type, ...] | None]] = {
    "RegisterObject": {"object_name": _STRING},
    "RegisterService": {"object_name": _STRING, "service_name": _STRING},
    "Call": {"call_id": _STRING, "object_name": _STRING, "method": _STRING, "args": None},
    "Result": {"call_id": _STRING, "object_name": _STRING, "value": None},
    "Error": {"call_id": (str, type(None)), "object_name": _STRING, "message": _STRING},
    "Subscribe": {"object_name": _STRING, "topic": _STRING},
    "Publish": {"object_name": _STRING, "topic": _STRING, "args": None},
    "Event": {"object_name": _STRING, "topic": _STRING, "args": None},
    "Subscribed": {"object_name": _STRING, "topic": _STRING},
    "HasObject": {"object_name": _STRING},
    "HasObjectResult": {"object_name": _STRING, "exists": (bool,)},
    "Registered": {"object_name": _STRING},
}


class InvalidMessage(Exception):
    """The body is no message of the seed's."""


class _Object(list[tuple[str, object]]):
    """A JSON object before its keys are known to be unique."""


def decode(body: bytes) -> tuple[str, dict[str, Json]]:
    """The variant and its own fields; fields it does not have are left out. Raises InvalidMessage."""
    if _nesting(body) > MAX_NESTING:
        raise InvalidMessage(f"nested over {MAX_NESTING} levels")
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_Object,
            parse_float=_number,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
        json.dumps(document, ensure_ascii=False).encode()  # fails on a lone surrogate
    except ValueError as error:
        raise InvalidMessage(str(error)) from error
    if not isinstance(document, _Object) or len(document) != 1:
        raise InvalidMessage("an object with exactly one key is expected")
    variant, content = document[0]
    if variant not in FIELDS:
        raise InvalidMessage(f"unknown variant {variant!r}")
    if not isinstance(content, _Object):
        raise InvalidMessage(f"the content of {variant} is no object")
    return variant, _fields(variant, content)


def decode_message(body: bytes) -> Message:
    """As decode, in the form in which messages are written."""
    variant, fields = decode(body)
    return {variant: fields}


def _fields(variant: str, content: _Object) -> dict[str, Json]:
    given = [(name, value) for name, value in content if name in FIELDS[variant]]
    fields = {name: _plain(value) for name, value in given}
    if len(fields) != len(given):
        raise InvalidMessage(f"{variant} has a field twice")
    for name, types in FIELDS[variant].items():
        if name not in fields:
            raise InvalidMessage(f"{variant} lacks its field {name!r}")
        if types is not None and not isinstance(fields[name], types):
            raise InvalidMessage(f"the field {name!r} of {variant} is of a wrong type: {fields[name]!r}")
    return {name: fields[name] for name in FIELDS[variant]}


def _plain(value: object) -> Json:
    match value:
        case _Object():
            return {key: _plain(inner) for key, inner in value}  # of two equal keys inside a payload the last counts
        case list():
            return [_plain(inner) for inner in value]
        case bool() | int() | float() | str() | None:
            return value
        case _:
            raise TypeError(f"json gave a {type(value).__name__}")


def _nesting(body: bytes) -> int:
    depth = deepest = 0
    in_string = escaped = False
    for byte in body:
        if escaped:
            escaped = False
        elif in_string:
            escaped = byte == 0x5C
            in_string = byte != 0x22
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _number(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _integer(text: str) -> int | float:
    """Exact within 64 bits, signed or not; beyond them the nearest floating point number."""
    if len(text) <= 20 and -(2**63) <= int(text) < 2**64:
        return int(text)
    return _number(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
