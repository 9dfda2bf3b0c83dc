"""Words and JSON against the schemas that workers make of their type hints."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli.expectations import expected
from ipc_broker.cli.fitting import MOST_TRIES, Fitting, Misfit
from ipc_broker.cli.schema import alternatives
from ipc_broker.description import Schema


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: float = 0.0
    tags: list[str] | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    data: bytes
    inner: Strict | None = None


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


def refuse_to_read(source: str) -> bytes:
    raise AssertionError(f"{source!r} must not be read")


def schema_of(hint: Any) -> tuple[Schema, dict[str, Schema]]:
    schemas, definitions = msgspec.json.schema_components([hint], ref_template="#/definitions/{name}")
    return schemas[0], definitions


def fit(word: str, hint: Any, read: Callable[[str], bytes] = refuse_to_read) -> Any:
    schema, definitions = schema_of(hint)
    return Fitting(definitions, read).word(word, schema)


def misfit(word: str, hint: Any) -> str:
    with pytest.raises(Misfit) as caught:
        fit(word, hint)
    return str(caught.value)


def aware(hint: Any) -> Any:
    """As schemas.py tells of dates and times."""
    return Annotated[hint, msgspec.Meta(extra_json_schema={"format": {datetime: "date-time", time: "time"}[hint]})]


@pytest.mark.parametrize(
    ("hint", "word", "value"),
    [
        (int, "10", 10),
        (int, "-10", -10),
        (float, "1.5", 1.5),
        (float, "1", 1),
        (float, "1e3", 1000.0),
        (bool, "true", True),
        (bool, "False", False),
        (None, "null", None),
        (None, "None", None),
        (str, "10", "10"),
        (str, "true", "true"),
        (str, "null", "null"),
        (str, "", ""),
        (str, "a=b", "a=b"),
        (str, "@home", "@home"),
        (str, "-", "-"),
        (str, '"10"', "10"),
        (str, '"\\"quoted\\""', '"quoted"'),
        (str, '"one" and "two"', '"one" and "two"'),
        (int | None, "null", None),
        (int | None, "5", 5),
        (str | None, "null", None),
        (str | None, "None", "None"),
        (str | None, '"null"', "null"),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (int | str, '"5"', "5"),
        (bytes, "AP8=", b"\x00\xff"),
        (bytes, "", b""),
        (Color, "red", "red"),
        (Color, '"red"', "red"),
        (Level, "2", 2),
        (Literal["a", 1, None], "1", 1),
        (Literal["a", 1, None], "a", "a"),
        (Literal["a", 1, None], "null", None),
        (Literal["1"], "1", "1"),
        (aware(datetime), "2026-01-31T12:30:00Z", "2026-01-31T12:30:00Z"),
        (aware(time), "12:30:00", "12:30:00"),
        (date, "2026-01-31", "2026-01-31"),
        (timedelta, "PT0.5S", "PT0.5S"),
        (UUID, "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        (Decimal, "1.10", "1.10"),
        (list[int], "[1, 2]", [1, 2]),
        (list[bytes], '["AP8="]', [b"\x00\xff"]),
        (tuple[int, str], '[1, "a"]', [1, "a"]),
        (dict[str, bytes], '{"a": "AP8="}', {"a": b"\x00\xff"}),
        (Point, '{"x": 1}', {"x": 1}),
        (Point, '{"x": 1, "y": 2, "tags": null, "more": 1}', {"x": 1, "y": 2, "tags": None, "more": 1}),
        (Strict, '{"data": "AA==", "inner": {"data": ""}}', {"data": b"\x00", "inner": {"data": b""}}),
        (Circle | Square, '{"type": "Square", "side": 2}', {"type": "Square", "side": 2}),
        (Any, "10", 10),
        (Any, "ten", "ten"),
        (Any, '{"a": 1}', {"a": 1}),
        (Annotated[int, msgspec.Meta(ge=1, lt=5)], "4", 4),
        (Annotated[str, msgspec.Meta(pattern="^[0-9]+$", max_length=3)], "abc", "abc"),  # the worker judges patterns
    ],
)
def test_what_a_word_stands_for(hint: Any, word: str, value: Any) -> None:
    found = fit(word, hint)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("hint", "word", "reason"),
    [
        (int, "ten", "an integer is expected, given 'ten'"),
        (int, "1.5", "an integer is expected, given '1.5'"),
        (int, "", "an integer is expected, given ''"),
        (int, "true", "an integer is expected, given 'true'"),
        (int, "[1]", "an integer is expected, given [1]"),
        (float, "nan", "a number is expected, given 'nan'"),
        (bool, "1", "true or false is expected, given '1'"),
        (None, "x", "null is expected, given 'x'"),
        (bytes, "?", "base64, @FILE or - is expected, given '?'"),
        (Color, "green", "one of blue, red is expected, given 'green'"),
        (Level, "true", "one of 1, 2 is expected, given 'true'"),
        (int | None, "x", "an integer or null is expected, given 'x'"),
        (date, "31.1.2026", "a date (as 2026-01-31) is expected, given '31.1.2026'"),
        (UUID, "1", "a UUID is expected, given '1'"),
        (Decimal, "one", "a decimal number is expected, given 'one'"),
        (timedelta, "1h", "a duration (as PT1H30M or PT0.5S) is expected, given '1h'"),
        (aware(datetime), "now", "a date and time (as 2026-01-31T12:30:00Z) is expected, given 'now'"),
        (list[int], "1,2", "a list as JSON ([...]) is expected, given '1,2'"),
        (list[int], '[1, "a"]', "an integer is expected, given 'a' at [1]"),
        (dict[str, int], '{"a": null}', "an integer is expected, given null at a"),
        (Point, "1", 'Point as JSON ({"x": ..., "y": ..., "tags": ...}) is expected, given \'1\''),
        (Point, "{}", "'x' is missing"),
        (Point, '{"x": 1, "tags": [2]}', "text is expected, given 2 at tags[0]"),
        (list[Point], '[{"x": "a"}]', "an integer is expected, given 'a' at [0].x"),
        (Circle | Square, '{"type": "Square", "side": "a"}', "a number is expected, given 'a' at side"),
        (Circle | Square, '{"type": "Square"}', "'side' is missing"),
        (list[int] | None, '["a"]', "an integer is expected, given 'a' at [0]"),
        (Strict, '{"data": "", "date": 1}', "'date' is unknown: there are data, inner"),
        (
            Annotated[int, msgspec.Meta(ge=1, lt=5)],
            "5",
            "an integer of at least 1 and less than 5 is expected, given '5'",
        ),
        (
            Annotated[int, msgspec.Meta(gt=1, le=5)],
            "1",
            "an integer of more than 1 and at most 5 is expected, given '1'",
        ),
        (
            Annotated[int, msgspec.Meta(le=1234567)],
            "1234568",
            "an integer of at most 1234567 is expected, given '1234568'",
        ),
        (Annotated[str, msgspec.Meta(max_length=2)], "abc", "text of at most 2 characters is expected, given 'abc'"),
        (
            Annotated[list[int], msgspec.Meta(min_length=1)],
            "[]",
            "a list of at least 1 items as JSON ([...]) is expected, given []",
        ),
        (int, "x" * 100, f"an integer is expected, given '{'x' * 56}..."),
    ],
)
def test_why_a_word_does_not_fit(hint: Any, word: str, reason: str) -> None:
    assert misfit(word, hint) == reason


def test_bytes_may_come_from_a_file_or_standard_input() -> None:
    assert fit("@a.bin", bytes, {"a.bin": b"\xff"}.__getitem__) == b"\xff"
    assert fit("-", bytes | None, {"-": b""}.__getitem__) == b""


def test_a_file_that_cannot_be_read(tmp_path: Any) -> None:
    schema, _ = schema_of(bytes)
    file = tmp_path / "value.bin"
    with pytest.raises(Misfit, match=r"cannot read '.*value.bin': No such file or directory"):
        Fitting({}).word(f"@{file}", schema)
    file.write_bytes(b"\x00")
    assert Fitting({}).word(f"@{file}", schema) == b"\x00"


# What others send as a schema need not make sense


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/definitions/A"},
        {"$ref": "nowhere"},
        {"$ref": 1},
        {"anyOf": []},
        {"anyOf": [1, None]},
        {"type": 5},
        {"type": "shape"},
        {"enum": "red"},
        {"type": "integer", "minimum": "a", "maximum": True},
        {"type": ["integer", "null"]},
        {"allOf": [{"type": "string"}]},
    ],
)
def test_a_schema_that_says_little_refuses_little(schema: Schema) -> None:
    definitions: dict[str, Schema] = {"A": {"anyOf": [{"$ref": "#/definitions/A"}, {"$ref": "#/definitions/A"}]}}
    assert Fitting(definitions).word("1", schema) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": 5, "prefixItems": "x"},
        {"type": "object", "properties": [], "required": "a", "additionalProperties": 1},
        {"type": "object", "properties": {"a": 1}, "required": [1]},
    ],
)
def test_a_container_that_says_little(schema: Schema) -> None:
    for word in ('{"a": 1}', "[1]"):
        if (word[0] == "[") is (schema["type"] == "array"):
            assert Fitting({}).word(word, schema) == json.loads(word)


def test_a_schema_cannot_take_for_ever() -> None:
    one = {"type": "array", "items": {"$ref": "#/definitions/A"}}
    definitions = {"A": {"anyOf": [one, one, {"type": "null"}]}}
    fitting = Fitting(definitions)
    fitting.word("[" * 60 + "1" + "]" * 60, {"$ref": "#/definitions/A"})
    assert MOST_TRIES < fitting._tries < MOST_TRIES + 200


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
hints = st.sampled_from(
    [
        int,
        float,
        str,
        bool,
        None,
        int | None,
        str | int,
        list[int],
        dict[str, float],
        tuple[int, str],
        Color,
        Level,
        Point,
        Literal["a", 1],
        Circle | Square,
        Annotated[int, msgspec.Meta(ge=0)],
        Decimal,
        UUID,
        date,
    ]
)


@given(json_values, hints)
def test_what_the_worker_would_take_is_never_refused(value: Any, hint: Any) -> None:
    schema, definitions = schema_of(hint)
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=hint)
    except msgspec.ValidationError:
        return
    assert Fitting(definitions).value(value, schema) == value
    if not isinstance(value, str):
        word = json.dumps(value)
        # A decimal goes as text, with all the digits that were typed; the worker takes either.
        assert Fitting(definitions).word(word, schema) == (word if hint is Decimal else value)


def test_a_format_that_is_no_name_asks_for_nothing() -> None:
    assert Fitting({}).word("text", {"type": "string", "format": []}) == "text"


schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "array", "object", "null", "boolean"])
            | json_values,
            "$ref": st.just("#/definitions/A") | json_values,
            "minimum": json_values,
            "enum": json_values,
            "format": json_values,
            "required": json_values,
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "anyOf": st.lists(inner, max_size=3),
            "items": inner,
            "prefixItems": st.lists(inner, max_size=2),
            "properties": st.dictionaries(st.text(max_size=2), inner, max_size=2),
            "type": st.sampled_from(["array", "object"]),
        },
    ),
    max_leaves=4,
)


@given(schemas, schemas, st.text() | json_values.map(json.dumps))
def test_whatever_the_schema_is_a_word_fits_or_is_refused(schema: Schema, other: Schema, word: str) -> None:
    for one in alternatives(schema, {"A": other}):
        assert expected(one)
    with contextlib.suppress(Misfit):
        Fitting({"A": other}, lambda source: b"").word(word, schema)
