"""What a worker tells of a Python object: its methods with their types as JSON Schema."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import pytest
from msgspec import UNSET, Meta, Struct, defstruct, field, json, msgpack

from ipc_broker.description import INTEGER_KEYS, Interface, MethodDescription, Parameter, Schema
from ipc_broker.driver import Rob
from ipc_broker.interface import methods_of
from ipc_broker.remote import remote_methods
from ipc_broker.routing.driver import Driver, own_interface
from ipc_broker.schemas import interface_of, schemas_of
from tests.catalogue import AsyncCatalogue, BlockingCatalogue, Catalogue
from tests.memory import Bus

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # for type checkers only, and not even for them

T = TypeVar("T")


def of_object(target: object) -> Interface:
    """What a worker sends of it; any encoding can say it, and it comes as it was."""
    interface = interface_of(target, methods_of(target))
    assert json.decode(json.encode(interface), type=Interface) == interface
    assert msgpack.decode(msgpack.encode(interface), type=Interface) == interface
    return interface


def of_function(function: Callable[..., Any]) -> MethodDescription:
    class Served:
        method = staticmethod(function)

    return of_object(Served()).methods["method"]


def schema_of(hint: Any) -> tuple[Schema, dict[str, Schema]]:
    (schema,), definitions = schemas_of([hint])
    return schema, definitions


# Docstrings and names


class Calculator:
    """Calculates.

    And more.
    """

    def add(self, a: int, b: int = 10) -> int:
        """Adds.

        Two numbers, `a` and `b`.
        """
        return a + b

    def bare(self, x, y=None):  # type: ignore[no-untyped-def]  # that is what is tested
        return x


class Inherits(Calculator):
    def add(self, a: int, b: int = 10) -> int:
        return a + b


@dataclasses.dataclass
class Held:
    x: int

    def get(self) -> int:
        return self.x


def test_an_interface_has_the_class_its_docstring_and_its_methods() -> None:
    interface = of_object(Calculator())
    assert interface == Interface(
        type="Calculator",
        doc="Calculates.\n\nAnd more.",
        methods={
            "add": MethodDescription(
                doc="Adds.\n\nTwo numbers, `a` and `b`.",
                parameters=(
                    Parameter("a", {"type": "integer"}),
                    Parameter("b", {"type": "integer"}, required=False, default=10),
                ),
                returns={"type": "integer"},
            ),
            "bare": MethodDescription(parameters=(Parameter("x"), Parameter("y", required=False, default=None))),
        },
    )


def test_docstrings_that_are_inherited_or_none() -> None:
    interface = of_object(Inherits())
    assert (interface.type, interface.doc) == ("Inherits", "")
    assert interface.methods["add"].doc.startswith("Adds.")
    assert of_object(Held(1)).doc == "", "a dataclass writes its own"


def test_a_class_is_described_as_an_object_of_it() -> None:
    for kind in (Calculator, Catalogue):
        assert interface_of(kind, remote_methods(kind)) == of_object(kind())
    of_worker = of_object(Catalogue()).methods
    for api in (AsyncCatalogue, BlockingCatalogue):
        methods = interface_of(api, remote_methods(api)).methods
        assert methods["places"] == of_worker["places"]
        assert methods["lamp"] == of_worker["lamp"]


# Parameters


def test_every_kind_of_parameter() -> None:
    def method(a: int, /, b: str, *rest: float, c: bool, d: int = 1, **more: bytes) -> None: ...

    assert of_function(method).parameters == (
        Parameter("a", {"type": "integer"}, "positional"),
        Parameter("b", {"type": "string"}),
        Parameter("rest", {"type": "number"}, "list", required=False),
        Parameter("c", {"type": "boolean"}, "keyword"),
        Parameter("d", {"type": "integer"}, "keyword", required=False, default=1),
        Parameter("more", {"type": "string", "contentEncoding": "base64"}, "map", required=False),
    )


class Colour(enum.Enum):
    RED = "red"


class Point(Struct):
    x: int = 1
    y: tuple[int, ...] = (2,)


endless: list[Any] = []
endless.append(endless)


@pytest.mark.parametrize(
    ("default", "told"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (-1.5, -1.5),
        ("", ""),
        ([], []),
        ((1, "a"), [1, "a"]),
        ({"a": {"b": None}}, {"a": {"b": None}}),
        ({1: 2}, {"1": 2}),
        (Colour.RED, "red"),
        (Point(), {"x": 1, "y": [2]}),
        (Held(3), {"x": 3}),
        (b"\x00", "AA=="),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 1, 5), "2026-01-05"),
        (datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC), "2026-01-05T00:00:00Z"),
        (2**64 - 1, 2**64 - 1),
        # what cannot be said in every encoding
        (2**64, UNSET),
        (-(2**63) - 1, UNSET),
        ([{"a": 2**70}], UNSET),
        (math.nan, UNSET),
        (math.inf, UNSET),
        ([1.0, (-math.inf,)], UNSET),
        (Point(x=1, y=(math.nan,)), UNSET),  # type: ignore[arg-type]  # nobody checks a default
        ("\ud800", UNSET),
        (object(), UNSET),
        (len, UNSET),
        ({(1, 2): 3}, UNSET),
        (endless, UNSET),
        (1j, UNSET),
    ],
)
def test_defaults_as_far_as_they_can_be_said(default: Any, told: Any) -> None:
    def method(a: Any = default) -> None: ...

    [parameter] = of_function(method).parameters
    assert not parameter.required
    if told is UNSET:
        assert parameter.default is UNSET
    else:
        assert (parameter.default, type(parameter.default)) == (told, type(told))


# Types


class Item(Struct):
    name: str
    colour: Colour
    price: Decimal = Decimal(0)


@dataclasses.dataclass
class Place:
    shelf: int
    item: Item | None = None


class Options(TypedDict, total=False):
    depth: int


class Pair(NamedTuple):
    a: int
    b: str = ""


class Crate(Struct, tag="crate"):
    size: int


class Bag(Struct, tag="bag"):
    weight: float


class Tree(Struct):
    children: list[Tree]


class Box(Struct, Generic[T]):
    content: T


class Custom:
    pass


Number = NewType("Number", int)
Level = enum.IntEnum("Level", "LOW HIGH")

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Any, {}),
        (None, {"type": "null"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Number, {"type": "integer"}),
        (Literal["a", 1, None], {"enum": [None, 1, "a"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (Decimal, {"type": "string", "format": "decimal"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.timedelta, {"type": "string", "format": "duration"}),
        (datetime.datetime, TIME),
        (datetime.time, {"type": "string", "format": "time"}),
        (datetime.datetime | None, {"anyOf": [TIME, {"type": "null"}]}),
        (list[datetime.datetime | int], {"type": "array", "items": {"anyOf": [TIME, {"type": "integer"}]}}),
        (dict[str, datetime.datetime], {"type": "object", "additionalProperties": TIME}),
        (tuple[datetime.datetime, ...], {"type": "array", "items": TIME}),
        (
            Annotated[int, Meta(ge=1, description="how many")],
            {"type": "integer", "minimum": 1, "description": "how many"},
        ),
        (Custom, {"title": "Custom"}),
        (object, {"title": "object"}),
        (complex, {"title": "complex"}),
        (T, {}),
    ],
)
def test_types(hint: Any, expected: Schema) -> None:
    schema, definitions = schema_of(hint)
    if "enum" in expected:
        schema, expected = ({"enum": sorted(one["enum"], key=repr)} for one in (schema, expected))
    assert schema == expected
    assert definitions == {}


@pytest.mark.parametrize("hint", [Colour, Level, Item, Place, Options, Pair, Crate, Tree])
def test_classes_are_defined_once_and_pointed_to(hint: Any) -> None:
    name = hint.__name__
    schema, definitions = schema_of(hint)
    assert schema == {"$ref": f"#/definitions/{name}"}
    assert definitions[name]["title"] == name
    (one, other, many), again = schemas_of([hint, hint, list[hint]])
    assert one == other == schema
    assert many == {"type": "array", "items": schema}
    assert again == definitions


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Door(Struct):
    open_to: list[Access]
    since: datetime.datetime


def test_flags_are_numbers_since_they_can_be_combined() -> None:
    assert json.decode(json.encode(Access.READ | Access.WRITE), type=Access) == Access.READ | Access.WRITE
    number = {"title": "Access", "type": "integer"}
    for hint in (Access, Access | None, dict[str, Access]):
        assert schema_of(hint)[1] == {"Access": number}
    definitions = schema_of(Door)[1]
    assert definitions["Access"] == number
    assert definitions["Door"]["properties"]["since"] == TIME


def test_what_is_within_classes() -> None:
    assert schema_of(Colour)[1]["Colour"]["enum"] == ["red"]
    assert schema_of(Level)[1]["Level"]["enum"] == [1, 2]
    definitions = schema_of(Place)[1]
    assert set(definitions) == {"Place", "Item", "Colour"}
    assert definitions["Item"]["required"] == ["name", "colour"]
    assert schema_of(Options)[1]["Options"]["properties"] == {"depth": {"type": "integer"}}
    assert schema_of(Tree)[1]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/definitions/Tree"}
    union, definitions = schema_of(Crate | Bag)
    assert union["anyOf"] == [{"$ref": "#/definitions/Crate"}, {"$ref": "#/definitions/Bag"}]
    assert definitions["Bag"]["properties"]["type"] == {"enum": ["bag"]}


class Dated(Struct):
    made: datetime.datetime
    renamed: datetime.datetime | None = field(name="until", default=None)


@dataclasses.dataclass
class DatedPlace:
    times: list[datetime.time]


class Row(Struct, array_like=True):
    number: int
    at: datetime.datetime


class TaggedRow(Struct, array_like=True, tag="row"):
    number: int
    at: datetime.datetime


class Timetable(Struct, Generic[T]):
    at: datetime.datetime
    what: T


def test_times_within_classes_have_their_format() -> None:
    ((_, _, _, _), definitions) = schemas_of([dict[str, Dated], tuple[DatedPlace, int], Row, TaggedRow])
    assert definitions["Dated"]["properties"] == {
        "made": TIME,
        "until": {"anyOf": [TIME, {"type": "null"}], "default": None},
    }
    assert definitions["DatedPlace"]["properties"]["times"]["items"] == {"type": "string", "format": "time"}
    assert definitions["Row"]["prefixItems"] == [{"type": "integer"}, TIME]
    assert definitions["TaggedRow"]["prefixItems"] == [{"enum": ["row"]}, {"type": "integer"}, TIME]


def test_generic_classes_do_without() -> None:
    (schema,), definitions = schemas_of([Timetable[int]])
    assert definitions[schema["$ref"].rpartition("/")[2]]["properties"] == {"at": TEXT, "what": {"type": "integer"}}


def test_maps_by_numbers_say_so() -> None:
    schema, _ = schema_of(dict[int, datetime.datetime])
    assert schema.pop("propertyNames") == {"pattern": INTEGER_KEYS}
    assert schema == {"type": "object", "additionalProperties": TIME}


def test_every_pointer_leads_somewhere() -> None:
    interface = of_object(Catalogue())
    text = json.encode(interface).decode()
    pointers = {part.partition('"')[0] for part in text.split('"#/definitions/')[1:]}
    assert pointers == set(interface.definitions)
    (boxes, texts), definitions = schemas_of([Box[int], Box[str]])
    assert {one["$ref"].rpartition("/")[2] for one in (boxes, texts)} == set(definitions)


def test_classes_of_one_name_are_told_apart_or_one_is_any_value() -> None:
    class Item(Struct):  # there is another one in this module
        other: int

    (one, other), definitions = schemas_of([Item, Place])
    assert one["$ref"] != other["$ref"]
    assert sum(name.endswith("Item") for name in definitions) == 2
    locals_ = [defstruct("Local", [("value", kind)]) if kind else str for kind in (int, None, str)]
    schemas, definitions = schemas_of([*locals_, int])
    assert schemas == ({"$ref": "#/definitions/Local"}, {"type": "string"}, {}, {"type": "integer"})
    assert definitions["Local"]["properties"]["value"] == {"type": "integer"}


def test_hints_that_cannot_be_resolved_are_any_value_and_those_beside_them_count() -> None:
    def method(a: Unknown, b: int, *, c: list[Unknown]) -> Unknown: ...

    described = of_function(method)
    assert [(one.name, one.schema) for one in described.parameters] == [
        ("a", {}),
        ("b", {"type": "integer"}),
        ("c", {}),
    ]
    assert described.returns == {}


@dataclasses.dataclass
class HalfKnown:
    known: int
    unknown: Unknown


def test_a_class_with_hints_for_type_checkers_only_can_be_returned_all_the_same() -> None:
    def method() -> HalfKnown:
        return HalfKnown(1, 2)

    assert of_function(method).returns == {}


def test_types_that_have_no_schema_are_any_value() -> None:
    class Odd(Struct):
        value: Callable[[int], int]

    (one, other), _ = schemas_of([dict[tuple[int, int], str], int])
    assert other == {"type": "integer"}
    assert one in ({}, {"type": "object", "additionalProperties": TEXT})
    assert schema_of(Odd)[1]["Odd"]["properties"]["value"] == {"title": "Callable"}


# Streams


def test_streams_are_described_by_their_items() -> None:
    class Streams:
        async def ticks(self) -> AsyncIterator[int]:
            yield 1

        def lines(self) -> Iterator[Place]:
            yield Place(1)

        def untyped(self):  # type: ignore[no-untyped-def]  # that is what is tested
            yield 1

        def once(self) -> list[int]:
            return []

    methods = of_object(Streams()).methods
    assert {name for name, method in methods.items() if method.stream} == {"ticks", "lines", "untyped"}
    assert methods["ticks"].returns == {"type": "integer"}
    assert methods["lines"].returns == {"$ref": "#/definitions/Place"}
    assert methods["untyped"].returns == {}


def test_wrapped_functions_are_described_as_what_they_wrap() -> None:
    def plain(a: int) -> str:
        """Does it."""
        return ""

    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    assert of_function(wrapped) == of_function(plain)


# The broker's own


def test_the_broker_describes_every_method_that_it_has() -> None:
    driver = Driver(Bus().router)
    assert {*driver._methods, "monitor"} - {"hello"} == set(own_interface().methods)
    interface = own_interface()
    assert interface.type == ""
    assert interface.doc.startswith("The broker itself")
    assert all(method.doc for method in interface.methods.values())
    assert [name for name, method in interface.methods.items() if method.stream] == ["monitor"]
    assert interface.methods == interface_of(Rob, remote_methods(Rob)).methods
