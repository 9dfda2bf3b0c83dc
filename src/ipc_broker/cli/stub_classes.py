"""The classes of a stub: enums, Structs, and the literals of their defaults."""

from __future__ import annotations

from collections.abc import Mapping

from ..description import Schema
from .legal_names import Scope, as_constant, as_field, is_legal
from .literals import docstring, literal
from .schema import kind_of, properties_of, required_in, schemas_in, values_of
from .stub_types import StubTypes, choices_of, is_enum, is_list_class, is_named_tuple, tag_of

INDENT = "    "
WIDTH = 100


def class_lines(name: str, schema: Schema, types: StubTypes) -> list[str]:
    """`name` is that of the class; without lines around it."""
    if is_enum(schema):
        return _enum_lines(name, schema, types)
    return _struct_lines(name, schema, types)


def constants_of(schema: Schema) -> dict[object, str]:
    """The names of an enum's members, by their values."""
    scope = Scope(("mro", "name", "value"))
    return {value: scope.take(as_constant(value)) for value in values_of(schema)}


def fields_of(schema: Schema) -> dict[str, str]:
    """The names of a class's fields, by those that they have on the wire, without its tag."""
    tag = tag_of(schema)
    names = [name for name in properties_of(schema) if tag is None or name != tag[0]]
    if is_list_class(schema):
        names = [f"field_{place}" for place in range(len(schemas_in(schema, "prefixItems")))]
    scope = Scope(name for name in names if _is_field(name))
    return {name: name if _is_field(name) else scope.take(as_field(name)) for name in names}


def _is_field(name: str) -> bool:
    return is_legal(name) and not name.startswith("_")


def _enum_lines(name: str, schema: Schema, types: StubTypes) -> list[str]:
    members = [f"{INDENT}{constant} = {literal(value)}" for value, constant in constants_of(schema).items()]
    return [f"class {name}({types.known('Enum')}):", *_doc(schema), *members]


def _struct_lines(name: str, schema: Schema, types: StubTypes) -> list[str]:
    names = fields_of(schema)
    if is_list_class(schema):
        places = schemas_in(schema, "prefixItems")
        fields = dict(zip(names, places, strict=True))
        required = list(names)[: schema.get("minItems", 0)]
    else:
        fields = {key: one for key, one in properties_of(schema).items() if key in names}
        required = required_in(schema)
    lines = [f"{INDENT}{names[key]}: {_field(one, types, key in required)}" for key, one in fields.items()]
    body = [*_doc(schema), *lines] or [f"{INDENT}pass"]
    if is_named_tuple(schema):
        return [f"class {name}({types.known('NamedTuple')}):", *body]
    options = [types.known("Struct"), "frozen=True", "kw_only=True", *_options(schema, names)]
    head = f"class {name}({', '.join(options)}):"
    heads = [head] if len(head) <= WIDTH else [f"class {name}(", *(f"{INDENT}{one}," for one in options), "):"]
    return [*heads, *body]


def _options(schema: Schema, names: Mapping[str, str]) -> list[str]:
    options = ["array_like=True"] if is_list_class(schema) else []
    if (tag := tag_of(schema)) is not None:
        options += [f"tag_field={literal(tag[0])}", f"tag={literal(tag[1])}"]
    if schema.get("additionalProperties") is False:
        options.append("forbid_unknown_fields=True")
    renamed = {local: key for key, local in names.items() if local != key}
    return [*options, f"rename={literal(renamed)}"] if renamed else options


def _field(schema: Schema, types: StubTypes, required: bool) -> str:
    text = types.of(schema)
    if required:
        return text
    if schema.get("default", ...) in ([], {}) and text.startswith((types.known("list"), types.known("dict"))):
        factory = types.known("list" if schema["default"] == [] else "dict")
        if text.startswith(factory):
            return f"{text} = {types.known('field')}(default_factory={factory})"
    default = default_source(schema, types)
    if default is not None:
        return f"{text} = {default}"
    # Left out when it is sent, so that the worker's own default counts.
    return f"{text} | {types.known('UnsetType')} = {types.known('UNSET')}"


def default_source(schema: Schema, types: StubTypes, default: object = ...) -> str | None:
    """A default that is no container; None where there is none, or it is not of the type."""
    value = schema.get("default", ...) if default is ... else default
    if value is not None and not isinstance(value, (bool, int, float, str)):
        return None
    for name, one in choices_of(schema, types.definitions):
        if is_enum(one) and name in types.classes:
            constant = constants_of(one).get(value)
            if constant is not None and type(value) in map(type, values_of(one)):
                return f"{types.classes[name]}.{constant}"
        elif _is_of(value, one):
            return literal(value)
    return None


def _is_of(value: object, schema: Schema) -> bool:
    kind = kind_of(schema)
    kinds: Mapping[type, tuple[str, ...]] = {
        type(None): ("null", ""),
        bool: ("boolean", ""),
        int: ("integer", "number", ""),
        float: ("number", ""),
        str: ("string", ""),
    }
    if kind == "enum":
        return any(value == one and type(value) is type(one) for one in values_of(schema))
    return kind in kinds[type(value)] and "format" not in schema and "contentEncoding" not in schema


def _doc(schema: Schema) -> list[str]:
    doc = schema.get("description")
    return [*docstring(doc, INDENT), ""] if isinstance(doc, str) and doc.strip() else []
