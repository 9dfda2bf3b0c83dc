"""Words and JSON values -> what a schema asks for, or why they are not that.

Nothing is refused that the worker might take: what is not known of a schema is left to it.
"""

from __future__ import annotations

import sys
from binascii import Error as NoBase64
from binascii import a2b_base64
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from msgspec import DecodeError, ValidationError, convert
from msgspec.json import decode

from .expectations import unfit
from .schema import (
    alternatives,
    format_of,
    is_bytes,
    kind_of,
    limits_in,
    properties_of,
    required_in,
    schema_in,
    schemas_in,
    values_of,
)
from .signature import MOST_BYTES

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..description import Schema

MOST_TRIES = 10_000
"""After so many choices in vain a value is taken as it is: schemas can be made that would take for ever."""

_FORMATS: dict[str, type] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
}  # which msgspec has imported already
_NO_JSON = object()
_PYTHON = {("boolean", "True"): True, ("boolean", "False"): False, ("null", "None"): None}


class Misfit(Exception):
    """What was expected, and what was given: `an integer is expected, given 'ten'`."""


class _NoChoice(Misfit):
    """The words are found when they are asked for: of most there is another choice."""

    def __init__(self, choices: Sequence[Schema], value: object, path: str) -> None:
        self._choices = choices
        self._value = value
        self._path = path

    def __str__(self) -> str:
        return unfit(self._choices, self._value) + _at(self._path)


def read_bytes(source: str) -> bytes:
    """All of standard input (`-`) or of the file `source`. Raises OSError."""
    if source == "-":
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    with open(source, "rb") as file:
        return file.read(MOST_BYTES + 1)


class Fitting:
    """Against the schemas of one interface, which point to its `definitions`."""

    def __init__(self, definitions: Mapping[str, Schema], read: Callable[[str], bytes] = read_bytes) -> None:
        self._definitions = definitions
        self._read = read
        self._tries = 0

    def word(self, word: str, schema: Schema) -> Any:
        """The value that the word stands for. Raises Misfit.

        It is JSON where that fits, and text as it stands where text does: so a text may also stand in JSON's quotes. For
        bytes it is base64, or `@FILE` or `-` for the content of a file or of standard input.
        """
        choices = alternatives(schema, self._definitions)
        value = _json(word)
        if not all(map(kind_of, choices)):
            return word if value is _NO_JSON else value
        if (word == "-" or word[:1] == "@") and any(map(is_bytes, choices)):
            return self._content(word)
        if any(map(_is_decimal, choices)) and not isinstance(value, str):
            value = _NO_JSON  # a number would lose digits
        inner: Misfit | None = None  # which says where in the value
        if value is not _NO_JSON:
            try:
                return self._any_of(value, choices, "")
            except Misfit as misfit:
                inner = misfit if isinstance(value, (dict, list)) else None
        try:
            return self._any_of(word, choices, "")
        except Misfit as misfit:
            for choice in choices:
                if (key := (kind_of(choice), word)) in _PYTHON:
                    return _PYTHON[key]
            raise inner or misfit from None

    def value(self, value: Any, schema: Schema, path: str = "") -> Any:
        """A value out of JSON, with bytes in place of their base64. Raises Misfit, with the path to what is wrong in it."""
        if self._tries > MOST_TRIES:
            return value
        return self._any_of(value, alternatives(schema, self._definitions), path)

    def _any_of(self, value: Any, choices: Sequence[Schema], path: str) -> Any:
        misfits: list[Misfit] = []
        for choice in choices:
            try:
                return self._one(value, choice, path)
            except Misfit as misfit:
                self._tries += len(choices) > 1
                if len(choices) == 1 or _is_meant(value, choice):
                    misfits.append(misfit)
        raise misfits[0] if len(misfits) == 1 else _NoChoice(choices, value, path)

    def _one(self, value: Any, schema: Schema, path: str) -> Any:
        kind = kind_of(schema)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        match kind:
            case "enum":
                fits = any(
                    value == one and isinstance(value, bool) is isinstance(one, bool) for one in values_of(schema)
                )
            case "integer":
                fits = number and isinstance(value, int) and _within(value, schema)
            case "number":
                fits = number and _within(value, schema)
            case "boolean":
                fits = isinstance(value, bool)
            case "null":
                fits = value is None
            case "string" if isinstance(value, str):
                return _string(value, schema, path)
            case "string":
                fits = number and _is_decimal(schema)
            case "array":
                fits = isinstance(value, list) and _within(len(value), schema)
            case "object":
                fits = isinstance(value, dict) and _within(len(value), schema)
            case _:
                fits = True
        if not fits:
            raise _NoChoice([schema], value, path)
        if kind == "array":
            return self._array(value, schema, path)
        return self._object(value, schema, path) if kind == "object" else value

    def _array(self, value: list[Any], schema: Schema, path: str) -> list[Any]:
        places = schemas_in(schema, "prefixItems")
        rest = schema_in(schema, "items")
        return [
            self.value(item, places[index] if index < len(places) else rest, f"{path}[{index}]")
            for index, item in enumerate(value)
        ]

    def _object(self, value: dict[str, Any], schema: Schema, path: str) -> dict[str, Any]:
        known = properties_of(schema)
        for name in required_in(schema):
            if name not in value:
                raise Misfit(f"{name!r} is missing{_at(path)}")
        if schema.get("additionalProperties") is False:
            for name in value:
                if name not in known:
                    raise Misfit(f"{name!r} is unknown{_at(path)}: there are {', '.join(known) or 'none'}")
        rest = schema_in(schema, "additionalProperties")
        return {name: self.value(item, known.get(name, rest), f"{path}.{name}") for name, item in value.items()}

    def _content(self, word: str) -> bytes:
        source = word if word == "-" else word[1:]
        try:
            data = self._read(source)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise Misfit(f"cannot read {'standard input' if word == '-' else repr(source)}: {reason}") from None
        if len(data) > MOST_BYTES:
            raise Misfit(f"more than {MOST_BYTES} bytes fit into no frame")
        return data


def _json(word: str) -> Any:
    """_NO_JSON for what is none."""
    try:
        return decode(word)
    except (DecodeError, RecursionError, UnicodeEncodeError):
        return _NO_JSON


def _is_meant(value: Any, schema: Schema) -> bool:
    """Whether a list or map is of that kind, and has the field by which classes are told apart."""
    if not isinstance(value, dict):
        return isinstance(value, list) and kind_of(schema) == "array"
    fixed = {name: values_of(one) for name, one in properties_of(schema).items() if len(values_of(one)) == 1}
    return kind_of(schema) == "object" and all(value.get(name) in values for name, values in fixed.items())


def _is_decimal(schema: Schema) -> bool:
    return kind_of(schema) == "string" and format_of(schema) == "decimal"


def _within(value: float, schema: Schema) -> bool:
    for keyword, limit in limits_in(schema):
        if keyword == "exclusiveMinimum":
            fits = value > limit
        elif keyword == "exclusiveMaximum":
            fits = value < limit
        else:
            fits = value >= limit if keyword.startswith("min") else value <= limit
        if not fits:
            return False
    return True


def _string(value: str, schema: Schema, path: str) -> str | bytes:
    if is_bytes(schema):
        try:
            return a2b_base64(value, strict_mode=True)
        except (NoBase64, ValueError):
            raise _NoChoice([schema], value, path) from None
    if not _within(len(value), schema) or not _has_format(value, format_of(schema)):
        raise _NoChoice([schema], value, path)
    return value


def _has_format(value: str, name: str) -> bool:
    """Where it is one that msgspec knows."""
    try:
        convert(value, _FORMATS.get(name, str))
    except ValidationError:
        return False
    return True


def _at(path: str) -> str:
    return f" at {path.removeprefix('.')}" if path else ""
