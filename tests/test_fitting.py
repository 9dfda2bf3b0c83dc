"""Whether every value of one type is one of another, by the schemas that msgspec makes of them."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import uuid
from decimal import Decimal
from time import process_time
from typing import Annotated, Any, Literal, TypedDict

import pytest
from msgspec import Meta, Struct

from ipc_broker.description import Schema
from ipc_broker.fitting import DEEPEST, Fitting
from ipc_broker.schemas import schemas_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Red(enum.Enum):
    RED = "red"


class Point(Struct):
    x: int
    y: int = 0


class Other(Struct):
    x: float
    z: str = ""


class Without(Struct):
    y: int


class Strict(Struct, forbid_unknown_fields=True):
    x: int


class StrictBoth(Struct, forbid_unknown_fields=True):
    x: int
    y: int = 0


@dataclasses.dataclass
class Placed:
    x: int


class Mapped(TypedDict):
    x: int


class Crate(Struct, tag="crate"):
    size: int


class Bag(Struct, tag="bag"):
    weight: float


class Tree(Struct):
    value: int
    children: list[Tree] = []


class TextTree(Struct):
    value: str
    children: list[TextTree] = []


class FloatTree(Struct):
    value: float
    children: list[FloatTree] = []


class Pair(Struct, array_like=True):
    a: int
    b: str


Aware = Annotated[datetime.datetime, Meta(tz=True)]


def fits(inner: Any, outer: Any) -> bool:
    (one,), old = schemas_of([inner])
    (other,), new = schemas_of([outer])
    found = Fitting(old, new).fits(one, other)
    assert Fitting(new, old).fits(one, other, swapped=True) is found
    return found


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (int, float),
        (int, int | None),
        (int | None, int | str | None),
        (int | str, Any),
        (Any, int),
        (bool, bool),
        (Literal["a"], Literal["a", "b"]),
        (Literal["a", None], str | None),
        (Literal["a", 1], str | int),
        (Literal[1], float),
        (Colour, str),
        (Red, Colour),
        (Red, Literal["red", "green"]),
        (list[int], list[float]),
        (list, list[int]),
        (list[int], list),
        (set[int], list[int]),
        (list[int], set[int]),
        (tuple[int, str], tuple[float, str]),
        (tuple[int, ...], list[int]),
        (tuple[int, int], list),
        (Pair, tuple[int, str] | Pair),
        (dict[str, int], dict[str, float]),
        (dict[int, int], dict[int, float]),
        (dict, dict[int, int]),
        (dict[int, int], dict),
        (Point, Other),
        (Point, Without | Point),
        (Placed, Point),
        (Mapped, Placed),
        (Point, dict[str, int]),
        (Strict, StrictBoth),
        (Crate, Crate | Bag),
        (Tree, FloatTree),
        (list[Tree], list[FloatTree]),
        (uuid.UUID, str),
        (Decimal, str),
        (datetime.date, str),
        (datetime.datetime, Aware),
        (bytes, bytes),
        (Annotated[int, Meta(ge=2, le=3)], Annotated[int, Meta(ge=1, le=5)]),
        (Annotated[int, Meta(ge=2)], int),
        (Annotated[str, Meta(min_length=2, max_length=3)], Annotated[str, Meta(max_length=3)]),
        (Annotated[int, Meta(title="t", description="d", examples=[1])], Annotated[int, Meta(title="other")]),
        (None, None),
        (None, int | None),
    ],
)
def test_what_fits(inner: Any, outer: Any) -> None:
    assert fits(inner, outer)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (float, int),
        (int, str),
        (int, bool),
        (bool, int),
        (int | None, int),
        (int | str, int | None),
        (Literal["a", "b"], Literal["a"]),
        (Literal["a", 1], str | None),
        (Literal["a", None], str),
        (str, Literal["a"]),
        (Literal["a"], int),
        (Colour, Red),
        (str, Colour),
        (list[int], list[str]),
        (list[int], tuple[int, int]),
        (tuple[int, int], tuple[int, int, int]),
        (tuple[int, int], tuple[int, str]),
        (dict[str, int], dict[str, str]),
        (dict[str, int], dict[int, int]),
        (dict[int, int], dict[str, int]),
        (dict[str, int], list[int]),
        (dict[str, int], Point),
        (Point, Without),
        (Other, Point),
        (Point, dict[str, str]),
        (StrictBoth, Strict),
        (Crate, Bag),
        (Crate | Bag, Crate),
        (Tree, TextTree),
        (list[Tree], list[TextTree]),
        (bytes, str),
        (str, bytes),
        (datetime.datetime, str),
        (str, datetime.datetime),
        (str, uuid.UUID),
        (datetime.date, uuid.UUID),
        (Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=2)]),
        (int, Annotated[int, Meta(ge=2)]),
        (Annotated[str, Meta(max_length=5)], Annotated[str, Meta(max_length=3)]),
        (str, Annotated[str, Meta(pattern="a")]),
        (int, None),
    ],
)
def test_what_does_not_fit(inner: Any, outer: Any) -> None:
    assert not fits(inner, outer)


def test_python_takes_true_for_one_and_json_does_not() -> None:
    one: Schema = {"enum": [1]}
    assert not Fitting({}, {}).fits({"enum": [True]}, one)
    assert not Fitting({}, {}).fits({"enum": [True]}, {"type": "integer"})
    assert Fitting({}, {}).fits({"enum": [True]}, {"type": "boolean"})
    assert Fitting({}, {}).fits({"enum": [1]}, one)


def object_of(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def test_what_does_not_fit_in_one_place_does_not_fit_in_another() -> None:
    old = {"A": object_of(v={"type": "integer"})}
    new = {"B": object_of(v={"type": "string"})}
    a, b = {"$ref": "#/definitions/A"}, {"$ref": "#/definitions/B"}
    fitting = Fitting(old, new)
    choices: Schema = {"anyOf": [object_of(x=b, y={"type": "null"}), object_of(x=b)]}
    assert not fitting.fits(object_of(x=a), choices)
    assert not fitting.fits(a, b)
    assert not fitting.fits(a, b)


def test_what_was_assumed_of_types_that_contain_each_other_is_dropped_with_them() -> None:
    """A holds itself in a B, which alone would fit."""
    old = {"A": object_of(b={"$ref": "B"}, v={"type": "integer"}), "B": object_of(a={"$ref": "A"})}
    new = {"A": object_of(b={"$ref": "B"}, v={"type": "string"}), "B": object_of(a={"$ref": "A"})}
    for first, second in ("AB", "BA"):
        fitting = Fitting(old, new)
        for name in (first, second, first):
            assert not fitting.fits(old["A"]["properties"]["b"] if name == "B" else {"$ref": "A"}, {"$ref": name})


def endless(name: str) -> dict[str, Schema]:
    return {name: {"$ref": f"#/definitions/{name}"}}


@pytest.mark.parametrize("other", [{"type": "integer"}, {"$ref": "#/definitions/A"}, {"anyOf": [{"type": "null"}]}])
@pytest.mark.parametrize(
    "definitions", [endless("A"), {}, {"A": {"anyOf": [{"$ref": "A"}]}}, {"A": {"$ref": "B"}, "B": {"$ref": "A"}}]
)
def test_pointers_that_lead_nowhere_end_nothing(definitions: dict[str, Schema], other: Schema) -> None:
    pointer: Schema = {"$ref": "#/definitions/A"}
    assert Fitting(definitions, definitions).fits(pointer, other)
    assert isinstance(Fitting(definitions, definitions).fits(other, pointer), bool)


def nested(depth: int, innermost: Schema) -> Schema:
    for _ in range(depth):
        innermost = {"type": "array", "items": innermost}
    return innermost


def test_deep_types_are_compared_to_a_depth() -> None:
    text, number = {"type": "string"}, {"type": "integer"}
    assert not Fitting({}, {}).fits(nested(DEEPEST - 1, text), nested(DEEPEST - 1, number))
    assert Fitting({}, {}).fits(nested(5000, text), nested(5000, number))


HOSTILE: dict[str, tuple[Schema, dict[str, Schema]]] = {
    "unions of unions": (
        {"anyOf": [{"anyOf": [{"type": "array", "prefixItems": [{"type": "null"}] * 40}] * 40}] * 40},
        {},
    ),
    "long enumerations": ({"enum": list(range(60_000))}, {}),
    "enumerations and unions": ({"anyOf": [{"enum": [number, -number]} for number in range(1, 8000)]}, {}),
    "many keywords": (
        {"anyOf": [{"$ref": "A"}] * 5000},
        {"A": {"type": "object", **{f"x{number}": number for number in range(10_000)}}},
    ),
    "chains": (
        {"anyOf": [{"$ref": f"A{number}"} for number in range(5000)]},
        {f"A{number}": {"$ref": f"A{number + 1}"} for number in range(5000)},
    ),
    "tangles": (
        {"$ref": "A0"},
        {
            f"A{one}": {"anyOf": [object_of(x={"$ref": f"A{(one * 7 + k) % 90}"}) for k in range(30)]}
            for one in range(90)
        },
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_take_long_ends_soon(name: str) -> None:
    """A broker stands still meanwhile. The bound is far from what it takes, and farther from what it would."""
    schema, definitions = HOSTILE[name]
    same, same_definitions = copy.deepcopy((schema, definitions))
    began = process_time()
    Fitting(definitions, same_definitions).fits(schema, same)
    Fitting(definitions, same_definitions).fits(same, schema, swapped=True)
    assert process_time() - began < 3.0
