"""Whether every value of one JSON Schema is one of another, of the schemas that msgspec makes of types.

Schemas come from whoever wrote a worker: whatever stands in them, this ends soon and with an answer. What cannot be told, of
any value, of keywords in forms that nobody uses, or of what is endless, fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .description import INTEGER_KEYS, Schema

MOST_WORK = 200_000
"""Keywords of schemas that are looked at; the largest interface has fewer than 50,000."""

DEEPEST = 50
"""Levels of schemas within schemas that are followed."""

_WITHOUT_MEANING = ("title", "description", "default", "examples", "deprecated", "discriminator", "uniqueItems")
"""Keywords that do not change which values are taken: a set takes a list in which something comes twice."""

_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_ABOUT_OBJECTS = ("properties", "required", "additionalProperties", "propertyNames")

_ANYTHING: Schema = {}

_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "array",
    dict: "object",
}


class Fitting:
    """Of schemas from two interfaces, each with the definitions that its schemas point to. It is kept what was found out.

    The schemas must live on meanwhile: they are known by their identity.
    """

    def __init__(self, old: Mapping[str, Schema], new: Mapping[str, Schema]) -> None:
        self._old = old
        self._new = new
        self._known: dict[tuple[int, int, bool], bool] = {}
        self._assumed: list[tuple[int, int, bool]] = []
        """Those that fit, as far as is known, in the order in which they were begun."""
        self._resolved: dict[tuple[int, int], Schema] = {}
        self._left = MOST_WORK
        self._depth = 0

    def fits(self, inner: Schema, outer: Schema, *, swapped: bool = False) -> bool:
        """`inner` is a schema of the old interface and `outer` of the new one, unless `swapped`."""
        key = id(inner), id(outer), swapped
        known = self._known.get(key)
        if known is not None:
            return known
        if self._left < 0 or self._depth > DEEPEST:
            return True
        begun = len(self._assumed)
        self._known[key] = True  # recursive types: what is being compared fits, unless the rest of it does not
        self._assumed.append(key)
        self._depth += 1
        fits = self._compare(inner, outer, swapped)
        self._depth -= 1
        if not fits:
            for later in self._assumed[begun:]:  # they may fit only if this one does
                del self._known[later]
            del self._assumed[begun:]
            self._known[key] = False
        return fits

    def _compare(self, inner: Schema, outer: Schema, swapped: bool) -> bool:
        of_inner, of_outer = (self._new, self._old) if swapped else (self._old, self._new)
        inner, outer = self._resolve(inner, of_inner), self._resolve(outer, of_outer)
        self._left -= 1 + len(inner) + len(outer)
        if not inner or not outer:  # any value: as with Any in Python's types, nothing is known
            return True
        if (choices := inner.get("anyOf")) is not None:
            return all(self.fits(one, outer, swapped=swapped) for one in self._schemas(choices))
        if (values := inner.get("enum")) is not None:
            return self._values_fit(values, outer, of_outer)
        if (choices := outer.get("anyOf")) is not None:
            return any(self.fits(inner, one, swapped=swapped) for one in self._schemas(choices))
        if "enum" in outer:
            return False
        kinds = _kind(inner), _kind(outer)
        if kinds[0] != kinds[1] and kinds != ("integer", "number"):
            return False
        if kinds[1] == "object" and not self._object_fits(inner, outer, swapped):
            return False
        return all(
            self._keyword_fits(key, inner.get(key), wanted, swapped)
            for key, wanted in outer.items()
            if key != "type" and (kinds[1] != "object" or key not in _ABOUT_OBJECTS)
        )

    def _values_fit(self, values: Any, outer: Schema, definitions: Mapping[str, Schema]) -> bool:
        """Each of the values of an enumeration, on its own."""
        choices = [self._resolve(one, definitions) for one in self._schemas(outer.get("anyOf", [outer]))]
        self._left -= len(choices)
        if any(not one or "anyOf" in one for one in choices):
            return True
        allowed = {one for choice in choices for one in self._plain(choice.get("enum"))}
        kinds = {choice.get("type") for choice in choices if "enum" not in choice and _is_text(choice.get("type"))}
        if "number" in kinds:
            kinds.add("integer")
        return all(one in allowed or one[0] in kinds for one in self._plain(values))

    def _plain(self, values: Any) -> list[tuple[str, Any]]:
        """With their types, since Python takes 1 for True. Only those that an enumeration of Python can have."""
        if not isinstance(values, list):
            return []
        self._left -= len(values)
        return [(_TYPES[type(one)], one) for one in values if isinstance(one, str | int | float | None)]

    def _object_fits(self, inner: Schema, outer: Schema, swapped: bool) -> bool:
        are_maps = all(isinstance(one.get("additionalProperties"), dict) for one in (inner, outer))
        if are_maps and _has_integer_keys(inner) is not _has_integer_keys(outer):
            return False
        given, wanted = _map(inner.get("properties")), _map(outer.get("properties"))
        self._left -= len(given) + len(wanted)
        if not _names(outer.get("required")) <= _names(inner.get("required")):
            return False
        rest = outer.get("additionalProperties")
        is_open = isinstance(inner.get("additionalProperties"), dict)  # of names that nobody knows
        if rest is False and not is_open and not given.keys() <= wanted.keys():
            return False
        further = _schema(rest)
        if not all(
            self.fits(_schema(one), _schema(wanted.get(name, further)), swapped=swapped) for name, one in given.items()
        ):
            return False
        return self.fits(_schema(inner.get("additionalProperties")), further, swapped=swapped)

    def _keyword_fits(self, key: str, given: Any, wanted: Any, swapped: bool) -> bool:
        """What is asked of a value beyond its type."""
        if key == "items" and isinstance(wanted, dict):
            return self.fits(_schema(given), wanted, swapped=swapped)
        if key == "prefixItems":
            ours, theirs = self._schemas(given), self._schemas(wanted)
            pairs = zip(ours, theirs, strict=False)
            return len(ours) == len(theirs) and all(self.fits(one, other, swapped=swapped) for one, other in pairs)
        if key in _LEAST or key in _MOST:
            if not _is_number(wanted):
                return True
            return _is_number(given) and (given >= wanted if key in _LEAST else given <= wanted)
        return isinstance(wanted, dict | list) or bool(given == wanted)

    def _resolve(self, schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
        """Behind all pointers, and without what does not concern values."""
        key = id(schema), id(definitions)
        resolved = self._resolved.get(key)
        if resolved is None:
            hops = 0
            while isinstance(name := schema.get("$ref"), str) and hops < DEEPEST:
                schema = definitions.get(name.rpartition("/")[2], _ANYTHING)
                hops += 1
            self._left -= hops + len(schema)
            resolved = {one: schema[one] for one in schema if one not in _WITHOUT_MEANING}
            for choices in ("anyOf", "enum"):
                if not isinstance(resolved.get(choices, []), list):
                    del resolved[choices]
            if "$ref" in schema:
                resolved = _ANYTHING
            self._resolved[key] = resolved
        return resolved

    def _schemas(self, value: Any) -> list[Schema]:
        if not isinstance(value, list):
            return []
        self._left -= len(value)
        return [_schema(one) for one in value]


def _kind(schema: Schema) -> Any:
    """The type, as it is on the wire: bytes and times are no text in MessagePack."""
    if "contentEncoding" in schema:
        return "bytes"
    return "date-time" if schema.get("format") == "date-time" else schema.get("type")


def _has_integer_keys(schema: Schema) -> bool:
    """Which are text in JSON only."""
    return _map(schema.get("propertyNames")).get("pattern") == INTEGER_KEYS


def _schema(value: Any) -> Schema:
    return value if isinstance(value, dict) else _ANYTHING


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: Any) -> set[str]:
    return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
