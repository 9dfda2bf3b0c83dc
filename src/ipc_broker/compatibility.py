"""What has changed between two interfaces, and whether programs written for the old one still work with the new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from .description import Interface, MethodDescription, Parameter, Schema

_ABOUT_VALUES = ("title", "description", "default", "examples", "deprecated")
"""Keywords of a schema that do not change which values fit."""


class Change(Struct, frozen=True):
    """`compatible`: whoever was written for the old interface does not notice."""

    text: str
    compatible: bool


def changes(old: Interface, new: Interface) -> list[Change]:
    """The incompatible ones first. Docstrings and names of classes do not count."""
    found: list[Change] = []
    for name, method in old.methods.items():
        if (now := new.methods.get(name)) is None:
            found.append(Change(f"'{name}' is gone", False))
        else:
            compared = _Comparison(old.definitions, new.definitions)
            found += [Change(f"'{name}' {one.text}", one.compatible) for one in _of_method(method, now, compared)]
    found += [Change(f"'{name}' is new", True) for name in new.methods if name not in old.methods]
    return sorted(found, key=lambda change: change.compatible)


def _of_method(old: MethodDescription, new: MethodDescription, compared: _Comparison) -> Iterator[Change]:
    if old.stream is not new.stream:
        yield Change("is a stream now" if new.stream else "is no stream any more", False)
    yield from _of_parameters(old, new, compared)
    if not compared.fits(new.returns, old.returns, swapped=True):
        what = "yields" if new.stream else "returns"
        yield Change(f"{what} {brief(new.returns)} instead of {brief(old.returns)}", False)
    elif not compared.fits(old.returns, new.returns):
        yield Change(f"{'yields' if new.stream else 'returns'} {brief(new.returns)} only", True)


def _of_parameters(old: MethodDescription, new: MethodDescription, compared: _Comparison) -> Iterator[Change]:
    now = {one.name: one for one in new.parameters}
    takes_any_name = next((one for one in new.parameters if one.kind == "map"), None)
    takes_any_place = any(one.kind == "list" for one in new.parameters)
    for before in old.parameters:
        after = now.get(before.name)
        if before.kind in ("list", "map"):
            if not any(one.kind == before.kind for one in new.parameters):
                yield Change(f"takes no further arguments by {_HOW[before.kind]} any more", False)
        elif after is None or after.kind in ("list", "map"):
            if before.kind == "positional" and takes_any_place:
                continue
            if before.kind == "positional" or takes_any_name is None:
                yield Change(f"has no parameter '{before.name}' any more", False)
        else:
            yield from _of_parameter(before, after, compared)
    before_names = {one.name for one in old.parameters}
    for after in new.parameters:
        if after.name not in before_names and after.kind not in ("list", "map"):
            what = "must be given" if after.required else "may be given"
            yield Change(f"has a new parameter '{after.name}', which {what}", not after.required)
    if _places(old) != _places(new)[: len(_places(old))]:
        yield Change(f"takes its arguments by position as ({', '.join(_places(new))})", False)


def _of_parameter(old: Parameter, new: Parameter, compared: _Comparison) -> Iterator[Change]:
    if new.required and not old.required:
        yield Change(f"must be given '{new.name}' now", False)
    elif old.required and not new.required:
        yield Change(f"need not be given '{new.name}' any more", True)
    if new.kind == "positional" != old.kind:
        yield Change(f"takes '{new.name}' by position only", False)
    if not compared.fits(old.schema, new.schema):
        yield Change(f"takes {brief(new.schema)} as '{new.name}' instead of {brief(old.schema)}", False)
    elif not compared.fits(new.schema, old.schema, swapped=True):
        yield Change(f"takes {brief(new.schema)} as '{new.name}', more than before", True)


_HOW = {"list": "position", "map": "name"}


def _places(method: MethodDescription) -> list[str]:
    """The parameters that can be given by position, in their order."""
    return [one.name for one in method.parameters if one.kind in ("", "positional")]


class _Comparison:
    """Of schemas from two interfaces, each with the definitions that its schemas point to."""

    def __init__(self, old: Mapping[str, Schema], new: Mapping[str, Schema]) -> None:
        self._old = old
        self._new = new
        self._assumed: set[tuple[str, str, bool]] = set()

    def fits(self, inner: Schema, outer: Schema, *, swapped: bool = False) -> bool:
        """Whether every value of `inner` is one of `outer`, as far as can be told: where it cannot, they must be equal.

        `inner` is a schema of the old interface, unless `swapped`.
        """
        inner_name, outer_name = str(inner.get("$ref", "")), str(outer.get("$ref", ""))
        if inner_name and outer_name:  # recursive types: what is being compared already fits, unless the rest does not
            key = inner_name, outer_name, swapped
            if key in self._assumed:
                return True
            self._assumed.add(key)
        of_inner, of_outer = (self._new, self._old) if swapped else (self._old, self._new)
        inner, outer = _resolved(inner, of_inner), _resolved(outer, of_outer)
        if "anyOf" in inner:
            return all(self.fits(one, outer, swapped=swapped) for one in inner["anyOf"])
        if "anyOf" in outer:
            return any(self.fits(inner, one, swapped=swapped) for one in outer["anyOf"])
        if not inner or not outer:  # any value: as with Any in Python's types, nothing is known
            return True
        if "enum" in outer:
            return "enum" in inner and all(value in outer["enum"] for value in inner["enum"])
        if "enum" in inner:
            return all(_is_a(value, outer.get("type")) for value in inner["enum"])
        kinds = inner.get("type"), outer.get("type")
        if kinds not in ((kinds[0], kinds[0]), ("integer", "number")):
            return False
        if kinds == ("object", "object") and ("properties" in inner or "properties" in outer):
            return self._object_fits(inner, outer, swapped)
        return self._rest_fits(inner, outer, swapped)

    def _object_fits(self, inner: Schema, outer: Schema, swapped: bool) -> bool:
        given, wanted = inner.get("properties", {}), outer.get("properties", {})
        missing = set(outer.get("required", ())) - set(inner.get("required", ()))
        known = all(self.fits(given[name], wanted[name], swapped=swapped) for name in given if name in wanted)
        further = outer.get("additionalProperties") is not False or all(name in wanted for name in given)
        return not missing and known and further

    def _rest_fits(self, inner: Schema, outer: Schema, swapped: bool) -> bool:
        """What is asked of a value beyond its type."""
        for key, wanted in outer.items():
            given = inner.get(key)
            if key in _ABOUT_VALUES or key == "type":
                continue
            if key in ("items", "additionalProperties") and isinstance(wanted, dict):
                if not self.fits(given if isinstance(given, dict) else {}, wanted, swapped=swapped):
                    return False
            elif key == "prefixItems":
                if given is None or len(given) != len(wanted):
                    return False
                if not all(self.fits(one, other, swapped=swapped) for one, other in zip(given, wanted, strict=True)):
                    return False
            elif key in _LEAST or key in _MOST:
                if given is None or (given < wanted if key in _LEAST else given > wanted):
                    return False
            elif given != wanted:
                return False
        return True


_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Behind all pointers, and without what does not concern values."""
    for _ in range(len(definitions) + 1):
        name = schema.get("$ref")
        if not isinstance(name, str):
            break
        schema = definitions.get(name.rpartition("/")[2], {})
    return {key: value for key, value in schema.items() if key not in _ABOUT_VALUES}


def _is_a(value: Any, kind: Any) -> bool:
    names: dict[Any, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
    }
    return isinstance(value, names.get(kind, ())) and (kind == "boolean") is isinstance(value, bool)


def brief(schema: Schema) -> str:
    """A type in a few words, for a line of text."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(map(brief, schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"array of {brief(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "anything")
