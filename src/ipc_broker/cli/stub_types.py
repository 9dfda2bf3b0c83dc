"""The types of an interface as they stand in the source of a stub: which classes it needs, and which imports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..description import Interface, Schema
from .legal_names import BUILTINS, Scope, as_class
from .literals import literal
from .schema import alternatives, kind_of, limits_in, properties_of, reference_of, required_in, schemas_in, values_of
from .type_text import TypeText

_MODULES = {
    "Annotated": "typing",
    "Any": "typing",
    "AsyncIterator": "collections.abc",
    "Decimal": "decimal",
    "Enum": "enum",
    "Iterator": "collections.abc",
    "Literal": "typing",
    "Meta": "msgspec",
    "NamedTuple": "typing",
    "Protocol": "typing",
    "Struct": "msgspec",
    "UNSET": "msgspec",
    "UUID": "uuid",
    "UnsetType": "msgspec",
    "date": "datetime",
    "datetime": "datetime",
    "field": "msgspec",
    "time": "datetime",
    "timedelta": "datetime",
}
_LIMITS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "minProperties": "min_length",
    "maxProperties": "max_length",
}
_SAID_BY_THE_TYPE = frozenset(
    (
        *("type", "enum", "items", "prefixItems", "uniqueItems", "$ref"),
        *("properties", "required", "additionalProperties", "propertyNames"),
    )
)
_SAYS_NOTHING = frozenset(("title", "description", "default", "examples", "deprecated", "discriminator"))


class StubTypes(TypeText):
    """`members` are the names of all methods and fields: within classes they would hide types of the same name."""

    def __init__(self, interface: Interface, members: set[str]) -> None:
        self.definitions: Mapping[str, Schema] = interface.definitions
        self.classes: dict[str, str] = {}
        """By definition, the name of the class that is to be written for it; more come while their fields are written."""
        self.scope = Scope({*members, *BUILTINS, *_MODULES, "self"})
        self._members = members
        self._names: dict[str, str] = {}
        self._inside: list[str] = []

    def imports(self) -> Iterator[tuple[str, str]]:
        """Modules, and what of them: `date`, or `date as date_`."""
        for name, local in sorted(self._names.items(), key=_import_order):
            module = _MODULES.get(name, "builtins")
            if module != "builtins" or local != name:
                yield module, name if local == name else f"{name} as {local}"

    def known(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = self.scope.take(f"{name}_") if name in self._members else name
        return self._names[name]

    def reference(self, name: str) -> str:
        schema = self.definitions.get(name, {})
        if not has_class(schema):
            if name in self._inside:
                return self.known("Any")
            self._inside.append(name)
            try:
                return self.of(schema, len(self._inside))
            finally:
                self._inside.pop()
        if name not in self.classes:
            self.classes[name] = self.scope.take(as_class(name) or "Type")
        return self.classes[name]

    def union(self, choices: list[tuple[Schema, str]]) -> str:
        """Any for those that msgspec cannot tell apart."""
        seen: set[str] = set()
        tags: set[tuple[str, object]] = set()
        for schema, _ in choices:
            for one in alternatives(schema, self.definitions):
                for category in _categories(one):
                    tag = tag_of(one) if category == "object" else None
                    if category in seen and (tag is None or tag in tags or not tags):
                        return self.known("Any")
                    seen.add(category)
                    tags |= {tag} if tag is not None else set()
        return self.known("Any") if "" in seen else super().union(choices)

    def limited(self, schema: Schema, text: str) -> str:
        if kind_of(schema) in ("", "enum", "null", "boolean") or text == self._names.get("Any"):
            return text
        said = [f"{name}={value}" for name, value in _meta(schema, self)]
        return f"{self.known('Annotated')}[{text}, {self.known('Meta')}({', '.join(said)})]" if said else text


def _import_order(names: tuple[str, str]) -> tuple[int, str]:
    """Constants, classes, functions, as import sorters want them."""
    name = names[0]
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def has_class(schema: Schema) -> bool:
    return is_enum(schema) or is_struct(schema) or is_list_class(schema)


def is_enum(schema: Schema) -> bool:
    values = values_of(schema)
    kinds = {type(one) for one in values}
    return kind_of(schema) == "enum" and kinds in ({str}, {int}) and len(values) == len(set(values))


def is_struct(schema: Schema) -> bool:
    return kind_of(schema) == "object" and bool(properties_of(schema))


def is_list_class(schema: Schema) -> bool:
    """A class whose fields are the items of a list, of which the last ones may be left out where they have defaults."""
    places = schemas_in(schema, "prefixItems")
    if kind_of(schema) != "array" or not places or "items" in schema:
        return False
    least = schema.get("minItems", 0)
    optional = places[least:] if isinstance(least, int) and 0 <= least <= len(places) else [{}]
    return schema.get("maxItems", len(places)) == len(places) and all(_has_literal(one) for one in optional)


def is_named_tuple(schema: Schema) -> bool:
    return is_list_class(schema) and "maxItems" in schema


def _has_literal(schema: Schema) -> bool:
    default = schema.get("default", ...)
    return default is None or (isinstance(default, (bool, int, float, str)) and literal(default) is not None)


def tag_of(schema: Schema) -> tuple[str, object] | None:
    """The field by which a class is known in a union, and what it holds."""
    for name, one in properties_of(schema).items():
        values = values_of(one)
        if name in required_in(schema) and len(values) == 1 and type(values[0]) in (str, int):
            return name, values[0]
        break  # it is the first, if there is one
    return None


def _categories(schema: Schema) -> set[str]:
    """Of types that msgspec tells apart in a union: there may be one of each."""
    kind = kind_of(schema)
    if kind != "enum":
        return {kind}
    names: dict[type, str] = {str: "string", int: "integer", type(None): "null"}
    return {names.get(type(one), "") for one in values_of(schema)} or {""}


def _meta(schema: Schema, types: StubTypes) -> Iterator[tuple[str, str]]:
    """What `msgspec.Meta` is to say of it."""
    kind = kind_of(schema)
    done = {*_SAID_BY_THE_TYPE, *_SAYS_NOTHING}
    plain = kind != "string" or "format" not in schema
    tuple_like = bool(schemas_in(schema, "prefixItems"))
    for keyword, limit in limits_in(schema) if plain and not tuple_like else ():
        name = _LIMITS[keyword]
        whole = kind != "number"
        if (whole and not _is_whole(limit, least=0 if "length" in name else -(2**63))) or literal(limit) is None:
            continue
        if name in ("gt", "lt") and f"{name[:1]}e" in {_LIMITS[other] for other in schema if other in _LIMITS}:
            continue  # of two bounds msgspec takes the inclusive one only
        done.add(keyword)
        yield name, repr(limit)
    multiple = schema.get("multipleOf")
    if kind in ("integer", "number") and _is_whole(multiple, least=1):
        done.add("multipleOf")
        yield "multiple_of", repr(multiple)
    pattern = schema.get("pattern")
    if kind == "string" and plain and "contentEncoding" not in schema and _is_pattern(pattern):
        done.add("pattern")
        yield "pattern", str(literal(pattern))
    if kind == "string" and types._plain(schema, 0) != types.known("str"):
        done |= {"format", "contentEncoding"}
    if tuple_like:
        done |= {"minItems", "maxItems"}
    further = literal({key: value for key, value in schema.items() if key not in done and key not in _LIMITS})
    if further not in (None, "{}"):
        yield "extra_json_schema", str(further)


def _is_whole(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _is_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str) or len(pattern) > 200:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def choices_of(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """What a value may be, with the names of their definitions, "" for those without."""
    for one in schemas_in(schema, "anyOf") or schemas_in(schema, "oneOf") or [schema]:
        name = reference_of(one)
        for inner in alternatives(one, definitions):
            yield name, inner
