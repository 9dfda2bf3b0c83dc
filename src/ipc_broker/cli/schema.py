"""JSON Schema as workers send it: read with care, since anybody can be a worker."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ..description import Schema

MOST_ALTERNATIVES = 200


def reference_of(schema: Schema) -> str:
    """The name of the definition that it points to, "" when to none."""
    reference = schema.get("$ref")
    return reference.rpartition("/")[2] if isinstance(reference, str) else ""


def alternatives(schema: Schema, definitions: Mapping[str, Schema]) -> list[Schema]:
    """What a value may be: one of these schemas, which point nowhere and have no alternatives themselves.

    An empty one is any value, as is whatever leads nowhere.
    """
    found: list[Schema] = []
    waiting = [schema]
    seen: set[str] = set()
    while waiting and len(found) < MOST_ALTERNATIVES:
        one = waiting.pop(0)
        if name := reference_of(one):
            if name not in seen:
                seen.add(name)
                waiting.insert(0, definitions.get(name, {}))
        elif inner := schemas_in(one, "anyOf") or schemas_in(one, "oneOf"):
            waiting[:0] = inner
        elif isinstance(kinds := one.get("type"), list):
            found += [{**one, "type": kind} for kind in kinds]
        else:
            found.append(one)
    return found or [{}]


def kind_of(schema: Schema) -> str:
    """Its `type`, "enum" for one of some values, or "" for any value."""
    if isinstance(schema.get("enum"), list):
        return "enum"
    kind = schema.get("type")
    return kind if isinstance(kind, str) else ""


def format_of(schema: Schema) -> str:
    """Of a string: "date-time" and the like; "" for any."""
    name = schema.get("format")
    return name if isinstance(name, str) else ""


def values_of(schema: Schema) -> list[Any]:
    """Those of an enum that are text, numbers, true, false or null."""
    values = schema.get("enum")
    return (
        [one for one in values if isinstance(one, (str, int, float)) or one is None] if isinstance(values, list) else []
    )


def schemas_in(schema: Schema, keyword: str) -> list[Schema]:
    """The list of schemas behind a keyword; empty when there is none."""
    inner = schema.get(keyword)
    return [one if isinstance(one, dict) else {} for one in inner] if isinstance(inner, list) else []


def schema_in(schema: Schema, keyword: str) -> Schema:
    inner = schema.get(keyword)
    return inner if isinstance(inner, dict) else {}


def properties_of(schema: Schema) -> dict[str, Schema]:
    properties = schema_in(schema, "properties")
    return {name: one if isinstance(one, dict) else {} for name, one in properties.items()}


def required_in(schema: Schema) -> list[str]:
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def is_bytes(schema: Schema) -> bool:
    return kind_of(schema) == "string" and schema.get("contentEncoding") == "base64"


def limits_in(schema: Schema) -> Iterator[tuple[str, float]]:
    """Those on its number, length or size, by keyword."""
    for keyword in _LIMITS.get(kind_of(schema), ()):
        limit = schema.get(keyword)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool):
            yield keyword, limit


_OF_NUMBERS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_LIMITS = {
    "integer": _OF_NUMBERS,
    "number": _OF_NUMBERS,
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}
