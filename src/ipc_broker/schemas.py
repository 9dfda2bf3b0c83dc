"""The interface of a Python object, with its types as JSON Schema: what its worker tells the broker (description.py)."""

from __future__ import annotations

import datetime
import enum
import functools
import inspect
import operator
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import isfinite
from typing import Annotated, Any

import msgspec

from .description import INTEGER_KEYS, Interface, Kind, MethodDescription, Parameter, Schema
from .hints import type_hints
from .interface import Method
from .remote import RemoteMethod

_TEMPLATE = "#/definitions/{name}"

_KINDS: dict[Any, Kind] = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_POSITIONAL: "list",
    inspect.Parameter.VAR_KEYWORD: "map",
}

_FORMATS: dict[Any, str] = {datetime.datetime: "date-time", datetime.time: "time"}
"""Types whose format msgspec leaves out where they may be with or without a time zone."""

_NO_SCHEMA = (
    *(TypeError, ValueError, NotImplementedError, RecursionError, KeyError, msgspec.MsgspecError),
    *(NameError, AttributeError, SyntaxError),  # the hints within a class may exist for type checkers only
)


def interface_of(target: object, methods: Mapping[str, Method] | Mapping[str, RemoteMethod]) -> Interface:
    """`methods` are those of `methods_of(target)` or, of a class, `remote_methods(target)`."""
    hints = [hint for method in methods.values() for hint in (*method.hints.values(), method.returns)]
    schemas, definitions = schemas_of(hints)
    each = iter(schemas)
    kind = target if isinstance(target, type) else type(target)
    return Interface(
        type=kind.__name__,
        doc=_own_doc(kind),
        methods={name: _describe(method, each) for name, method in methods.items()},
        definitions=definitions,
    )


def _describe(method: Method | RemoteMethod, schemas: Iterator[Schema]) -> MethodDescription:
    """Takes the schemas of its hints, in their order."""
    parameters = []
    for one in method.signature.parameters.values():
        kind = _KINDS[one.kind]
        required = one.default is one.empty and kind not in ("list", "map")
        default = msgspec.UNSET if one.default is one.empty else _sayable(one.default)
        parameters.append(Parameter(one.name, next(schemas), kind, required, default))
    return MethodDescription(inspect.getdoc(method.function) or "", tuple(parameters), next(schemas), method.is_stream)


def schemas_of(hints: Iterable[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    """One schema for each hint, and what they refer to: made at once, so that two classes of one name are told apart.

    A type that has no schema is any value.
    """
    told = [_with_format(hint) if _have_schemas([hint]) else Any for hint in hints]
    if not _have_schemas(told):  # classes that even their modules call the same: only one of them can be told of
        every, told = told, []
        for hint in every:
            told.append(hint if _have_schemas([*told, hint]) else Any)
    fields, flags = _what_msgspec_tells_wrong(told)
    schemas, definitions = _components(
        [*told, *flags, *(one.owner for one in fields), *(_with_format(one.hint) for one in fields)]
    )
    rest = iter(schemas[len(told) :])
    for schema in islice(rest, len(flags)):
        definition = _defined(definitions, schema)
        definition["type"] = "integer"  # of which the members are the bits
        del definition["enum"]
    owners = list(islice(rest, len(fields)))
    for field, owner, schema in zip(fields, owners, rest, strict=True):
        definition = _defined(definitions, owner)
        places = definition["prefixItems"] if "prefixItems" in definition else definition["properties"]
        places[field.place if "prefixItems" in definition else field.name] |= schema
    return schemas[: len(told)], definitions


class _Field(typing.NamedTuple):
    owner: type
    name: str
    place: int
    hint: Any


def _defined(definitions: dict[str, Schema], pointer: Schema) -> Schema:
    return definitions[pointer["$ref"].removeprefix(_TEMPLATE.format(name=""))]


def _what_msgspec_tells_wrong(hints: Iterable[Any]) -> tuple[list[_Field], list[type]]:
    """In the classes that the hints lead to, whose schemas it makes by itself: fields without format, and `enum.Flag`s."""
    found: list[_Field] = []
    flags: list[type] = []
    waiting, seen = list(msgspec.inspect.multi_type_info(hints)), set[type]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, _CLASSES) and one.cls not in seen:
            seen.add(one.cls)
            declared = type_hints(one.cls)
            tagged = isinstance(one, msgspec.inspect.StructType) and one.tag is not None  # which comes first
            for place, field in enumerate(one.fields, start=int(tagged)):
                hint = declared.get(field.name, Any)
                if _with_format(hint) != hint:
                    found.append(_Field(one.cls, field.encode_name, place, hint))
                waiting.append(field.type)
        elif isinstance(one, msgspec.inspect.EnumType) and issubclass(one.cls, enum.Flag) and one.cls not in flags:
            flags.append(one.cls)
        elif isinstance(one, msgspec.inspect.UnionType):
            waiting += one.types
        elif isinstance(one, msgspec.inspect.TupleType):
            waiting += one.item_types
        elif isinstance(one, msgspec.inspect.CollectionType):
            waiting.append(one.item_type)
        elif isinstance(one, msgspec.inspect.DictType):
            waiting.append(one.value_type)
    return found, flags


_CLASSES = (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType)


def _components(hints: list[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    return msgspec.json.schema_components(hints, schema_hook=_custom, ref_template=_TEMPLATE)


def _have_schemas(hints: list[Any]) -> bool:
    try:
        _components(hints)
    except _NO_SCHEMA:
        return False
    return True


def _custom(kind: type) -> Schema:
    """The schema of a class that msgspec does not know, whose values nobody else can make either."""
    return {"title": kind.__name__}


def _with_format(hint: Any) -> Any:
    """The same type, with the format where msgspec would not tell it."""
    if (name := _FORMATS.get(hint) if isinstance(hint, type) else None) is not None:
        return Annotated[hint, msgspec.Meta(extra_json_schema={"format": name})]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is dict and inner[0] is int:
        keys = msgspec.Meta(extra_json_schema={"propertyNames": {"pattern": INTEGER_KEYS}})
        return Annotated[dict[int, _with_format(inner[1])], keys]  # type: ignore[misc]  # a type that is known only here
    if origin in (list, set, frozenset, tuple, dict):
        return origin[tuple(one if one is ... else _with_format(one) for one in inner)]
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, map(_with_format, inner))
    return hint


def _own_doc(kind: type) -> str:
    """But not the one that a dataclass writes for itself."""
    doc = kind.__doc__ or ""
    return "" if doc.startswith(f"{kind.__name__}(") else inspect.cleandoc(doc)


def _sayable(value: Any) -> Any:
    """A default as any encoding can say it; UNSET where that cannot."""
    try:
        said = msgspec.json.decode(msgspec.json.encode(value))
        msgspec.msgpack.encode(said)  # which has no larger numbers
        # JSON would say null for what is no number.
        return said if _is_finite(msgspec.to_builtins(value)) else msgspec.UNSET
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return msgspec.UNSET


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values())) and all(map(_is_finite, value))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or isfinite(value)
