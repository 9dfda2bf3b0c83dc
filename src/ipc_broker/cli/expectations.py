"""What a schema asks for, in words."""

from __future__ import annotations

from .render import render_json
from .schema import format_of, is_bytes, kind_of, limits_in, properties_of, values_of

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..description import Schema

MOST_SHOWN = 60


def unfit(choices: Iterable[Schema], given: object) -> str:
    """`an integer is expected, given 'ten'`; `given` is a word, or a value out of JSON."""
    wanted = " or ".join(dict.fromkeys(map(expected, choices)))
    return f"{wanted} is expected, given {shown(given)}"


def shown(given: object) -> str:
    text = repr(given) if isinstance(given, str) else render_json(given)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def expected(schema: Schema) -> str:
    """`an integer of at least 1`."""
    kind = kind_of(schema)
    if kind == "enum":
        return "one of " + ", ".join(one if isinstance(one, str) else render_json(one) for one in values_of(schema))
    if kind == "object" and isinstance(title := schema.get("title"), str):
        fields = ", ".join(f"{render_json(name)}: ..." for name in properties_of(schema))
        return f"{title} as JSON ({{{fields}}})"
    if kind == "string" and is_bytes(schema):
        return "base64, @FILE or -"
    if kind == "string" and (text := _FORMATS.get(format_of(schema))):
        return text
    limits = " and ".join(_LIMITS[keyword].format(limit) for keyword, limit in limits_in(schema))
    return _KINDS.get(kind, "a value") + (f" of {limits}" if limits else "") + _ENDS.get(kind, "")


_KINDS = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "string": "text",
    "array": "a list",
    "object": "a map",
}

_ENDS = {"array": " as JSON ([...])", "object": " as JSON ({...})"}

_FORMATS: dict[str, str] = {
    "date-time": "a date and time (as 2026-01-31T12:30:00Z)",
    "date": "a date (as 2026-01-31)",
    "time": "a time (as 12:30:00)",
    "duration": "a duration (as PT1H30M or PT0.5S)",
    "uuid": "a UUID",
    "decimal": "a decimal number",
}

_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
}
