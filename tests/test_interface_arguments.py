"""What becomes of the arguments that callers give."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import msgspec
import pytest
from msgspec import Meta, Raw, Struct

from ipc_broker.interface import Method, methods_of
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.protocol.payload import reason_of

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # it exists for nobody: that is the case to try


class Point(Struct):
    x: int
    y: int = 0


@dataclass
class Sum:
    value: int


class Colour(Enum):
    RED = "red"


def given(function: Any, args: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments the function would be called with, whatever the encoding they come in."""
    method = Method(function.__name__, function)
    found = [method.arguments(codec.encode_payload(args), codec) for codec in (JSON, MSGPACK)]
    assert repr(found[0]) == repr(found[1])
    positional, named = found[0]
    return tuple(positional), dict(named)


def called(function: Any, args: object) -> Any:
    positional, named = given(function, args)
    return function(*positional, **named)


def refused(function: Any, args: object) -> str:
    """Why the arguments do not fit, as the caller is told, whatever the encoding they come in."""
    method = Method(function.__name__, function)
    reasons = [refusal(method, codec.encode_payload(args), codec) for codec in (JSON, MSGPACK)]
    # The wording differs a little: msgspec calls null None there, and counts what is too much.
    alike = re.sub(r"(array` of (?:at most )?length \d+), got \d+", r"\1", reasons[1].replace("`None`", "`null`"))
    assert alike == reasons[0]
    return reasons[0]


def refusal(method: Method, args: Raw, codec: Codec) -> str:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)) as caught:
        method.arguments(args, codec)
    return reason_of(caught.value)


def add(a: int, b: int = 10) -> int:
    return a + b


def nothing() -> str:
    return "nothing"


def anything(value) -> Any:  # type: ignore[no-untyped-def]  # a method without hints is the case to try
    return value


# The four forms of arguments


@pytest.mark.parametrize(
    ("args", "result"),
    [({"a": 1, "b": 2}, 3), ({"b": 2, "a": 1}, 3), ({"a": 1}, 11), ([1, 2], 3), ([1], 11), (1, 11), ({"a": -5}, 5)],
)
def test_a_map_is_by_name_a_list_by_position_anything_else_one_argument(args: object, result: int) -> None:
    assert called(add, args) == result


@pytest.mark.parametrize("args", [None, [], {}])
def test_null_an_empty_list_and_an_empty_map_are_no_arguments(args: object) -> None:
    assert called(nothing, args) == "nothing"


@pytest.mark.parametrize("value", ["text", 2.5, True, False, 0, ""])
def test_one_value_is_one_argument(value: object) -> None:
    assert called(anything, value) == value


def test_a_list_or_a_map_or_null_as_the_one_argument_stands_in_a_list() -> None:
    assert called(anything, [[1, 2]]) == [1, 2]
    assert called(anything, [{"a": 1}]) == {"a": 1}
    assert called(anything, [None]) is None


# What does not fit


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"a": "x"}, "Expected `int`, got `str` - at `$.a`"),
        ({"a": 1, "b": None}, "Expected `int`, got `null` - at `$.b`"),
        (["x"], "Expected `int`, got `str` - at `$[0]`"),
        ("x", "Expected `int`, got `str` - at `$[0]`"),
        ({}, "Object missing required field `a` - at `$`"),
        ({"b": 1}, "Object missing required field `a` - at `$`"),
        ({"a": 1, "c": 2}, "Object contains unknown field `c` - at `$`"),
        (None, "Expected `array` of at least length 1, got 0 - at `$`"),
        ([], "Expected `array` of at least length 1, got 0 - at `$`"),
        ([1, 2, 3], "Expected `array` of at most length 2 - at `$`"),
        ({"a": 1.5}, "Expected `int`, got `float` - at `$.a`"),
        ({"a": True}, "Expected `int`, got `bool` - at `$.a`"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_path_at_the_end(args: object, reason: str) -> None:
    assert refused(add, args) == reason


def test_too_many_for_a_method_that_takes_nothing() -> None:
    assert refused(nothing, 1).endswith(" - at `$`")
    assert refused(nothing, {"a": 1}) == "Object contains unknown field `a` - at `$`"


def test_the_path_leads_into_the_argument() -> None:
    def draw(line: list[Point]) -> None: ...

    assert refused(draw, {"line": [{"x": 1}, {"x": "one"}]}) == "Expected `int`, got `str` - at `$.line[1].x`"


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        *((JSON, data) for data in (b"{", b"[1", b"nul", b"\xff", b'{"a": "\xff"}', b"[" * 30_000 + b"]" * 30_000)),
        *(
            (MSGPACK, data)
            for data in (b"\x81", b"\x92\x01", b"\xc1", b"\xa1\xff", b"\x81\xa1\xff\x01", b"\x91" * 30_000)
        ),
    ],
)
def test_what_is_no_payload_is_refused(codec: Codec, payload: bytes) -> None:
    def variable(*values: Any) -> None: ...

    for function in (anything, variable):
        assert refusal(Method("method", function), Raw(payload), codec).endswith("`")


# Type hints


def test_hints_convert() -> None:
    def take(
        point: Point,
        total: Sum,
        when: datetime,
        colour: Colour,
        level: Literal["low", "high"],
        maybe: Optional[int] = None,  # noqa: UP045 - the older form of the hint is to work, too
        few: Annotated[int, Meta(le=3)] = 0,
        pair: tuple[int, str] = (0, ""),
        names: frozenset[str] = frozenset(),
    ) -> tuple[object, ...]:
        return point, total, when, colour, level, maybe, few, pair, names

    args = {
        "point": {"x": 1},
        "total": {"value": 2},
        "when": "2024-05-06T07:08:09Z",
        "colour": "red",
        "level": "low",
        "maybe": 3,
        "few": 2,
        "pair": [1, "one"],
        "names": ["a", "b", "a"],
    }
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert called(take, args) == (
        Point(1), Sum(2), moment, Colour.RED, "low", 3, 2, (1, "one"), frozenset({"a", "b"}),
    )  # fmt: skip
    assert called(take, list(args.values())) == called(take, args)
    assert refused(take, args | {"level": "middle"}) == "Invalid enum value 'middle' - at `$.level`"
    assert refused(take, args | {"colour": "blue"}) == "Invalid enum value 'blue' - at `$.colour`"
    assert refused(take, args | {"few": 4}) == "Expected `int` <= 3 - at `$.few`"
    assert refused(take, args | {"when": "noon"}).endswith(" - at `$.when`")
    assert refused(take, args | {"pair": [1]}).endswith(" - at `$.pair`")
    assert called(take, args | {"maybe": None})[5] is None


def test_without_a_hint_anything_goes() -> None:
    for value in (1, "a", [1, [2]], {"a": None}, None):
        assert called(anything, [value]) == value


def test_a_hint_that_cannot_be_resolved_does_not_spoil_the_others() -> None:
    def take(known: int, unknown: Unknown) -> None: ...

    assert given(take, [1, {"any": "thing"}]) == ((1, {"any": "thing"}), {})
    assert refused(take, ["one", 2]) == "Expected `int`, got `str` - at `$[0]`"


def test_a_decorated_method_keeps_its_hints() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    assert called(logged(add), {"a": 1, "b": 2}) == 3
    assert refused(logged(add), {"a": "1"}) == "Expected `int`, got `str` - at `$.a`"


def test_a_hint_that_cannot_be_checked_is_refused_when_the_object_is_added() -> None:
    class Bad:
        def take(self, value: Point | Sum) -> None: ...

    with pytest.raises(TypeError, match=r"^cannot expose Bad\.take: .*; begin its name with _ to keep it private$"):
        methods_of(Bad())


# Defaults and kinds of parameters


def test_a_mutable_default_is_the_very_object_python_would_use() -> None:
    seen: list[int] = []

    def take(value: int, into: list[int] = seen) -> list[int]:
        into.append(value)
        return into

    assert called(take, [1]) is seen
    assert called(take, {"value": 2}) is seen
    assert seen == [1, 2]


def test_a_default_need_not_fit_its_hint() -> None:
    def take(value: int = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013 - what people write
        return value

    assert called(take, None) is None
    assert called(take, {}) is None
    assert called(take, 3) == 3


def test_keyword_only_arguments_are_given_by_name() -> None:
    def take(a: int, *, b: int, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert called(take, {"a": 1, "b": 2}) == (1, 2, 3)
    assert called(take, {"a": 1, "b": 2, "c": 4}) == (1, 2, 4)
    assert refused(take, [1]) == "Object missing required field `b`, which must be given by name - at `$`"
    assert refused(take, [1, 2]).endswith(" - at `$`")
    assert refused(take, {"a": 1}) == "Object missing required field `b` - at `$`"
    assert refused(take, {"a": 1, "b": "x"}) == "Expected `int`, got `str` - at `$.b`"


def test_keyword_only_arguments_with_defaults_may_be_left_out_by_position() -> None:
    def take(a: int, *, b: int = 2) -> tuple[int, int]:
        return a, b

    assert called(take, [1]) == (1, 2)
    assert called(take, 1) == (1, 2)


def test_positional_only_arguments_work_in_both_forms() -> None:
    def take(a: int, /, b: int) -> tuple[int, int]:
        return a, b

    assert called(take, [1, 2]) == (1, 2)
    assert called(take, {"a": 1, "b": 2}) == (1, 2)


def test_any_number_of_arguments() -> None:
    def take(first: int, *rest: int, **more: str) -> tuple[object, ...]:
        return first, rest, more

    assert called(take, [1, 2, 3]) == (1, (2, 3), {})
    assert called(take, {"first": 1, "a": "x"}) == (1, (), {"a": "x"})
    assert called(take, 1) == (1, (), {})
    for args in ({"first": 1, "a": 2}, [1, "x"], ["x"], None, {"a": "x"}):
        assert "- at `$" in refused(take, args), args


def test_any_number_of_arguments_without_hints() -> None:
    def by_position(*values: Any) -> tuple[Any, ...]:
        return values

    def by_name(**values: Any) -> dict[str, Any]:
        return values

    assert called(by_position, [1, "a", None]) == (1, "a", None)
    assert called(by_position, None) == ()
    assert called(by_name, {"a": 1, "class": 2}) == {"a": 1, "class": 2}
    assert called(by_name, None) == {}


@pytest.mark.parametrize(
    ("args", "path"), [({"point": {"x": "1"}}, "$.point.x"), ([{"x": "1"}], "$[0].x"), ([{"x": 1}, "a"], "$[1]")]
)
def test_with_any_number_of_arguments_the_path_still_begins_at_the_whole(args: object, path: str) -> None:
    def take(point: Point, *rest: int) -> None: ...

    assert refused(take, args) == f"Expected `int`, got `str` - at `{path}`"


def test_names_of_parameters_that_msgspec_or_python_use_themselves() -> None:
    def take(name: str, array_like: int, tag: str = "", self: int = 0, struct: int = 0) -> tuple[object, ...]:
        return name, array_like, tag, self, struct

    assert called(take, {"name": "n", "array_like": 1, "tag": "t", "self": 2}) == ("n", 1, "t", 2, 0)


# What each encoding has of its own


def test_bytes_are_text_in_base64_in_json_and_bytes_in_message_pack() -> None:
    def take(data: bytes, more: list[bytes] | None = None) -> tuple[bytes, list[bytes] | None]:
        return data, more

    method = Method("take", take)
    assert method.arguments(JSON.encode_payload({"data": "aGk="}), JSON) == ((b"hi", None), {})
    for args in ({"data": b"hi", "more": [b"\xff"]}, [b"hi", [b"\xff"]]):
        assert method.arguments(MSGPACK.encode_payload(args), MSGPACK) == ((b"hi", [b"\xff"]), {})
    assert method.arguments(MSGPACK.encode_payload(b"hi"), MSGPACK) == ((b"hi", None), {})
    assert refusal(method, MSGPACK.encode_payload({"data": 1}), MSGPACK) == "Expected `bytes`, got `int` - at `$.data`"


def test_bytes_do_not_pass_for_text() -> None:
    def take(text: str) -> str:
        return text

    reason = "Expected `str`, got `bytes` - at `$"
    assert refusal(Method("take", take), MSGPACK.encode_payload({"text": b"hi"}), MSGPACK) == f"{reason}.text`"
    assert refusal(Method("take", take), MSGPACK.encode_payload(b"hi"), MSGPACK) == f"{reason}[0]`"


def test_without_a_hint_message_pack_gives_all_that_it_says() -> None:
    method = Method("anything", anything)
    for value in (b"hi", [b"hi", {"a": b"x"}], 2**64 - 1, {1: 2}):
        assert method.arguments(MSGPACK.encode_payload([value]), MSGPACK) == ((value,), {})
    ((number,), _) = method.arguments(MSGPACK.encode_payload([math.nan]), MSGPACK)
    assert math.isnan(number)


def test_bytes_reach_a_method_of_any_number_of_arguments() -> None:
    def take(first: bytes, *rest: bytes) -> None: ...

    method = Method("take", take)
    assert method.arguments(MSGPACK.encode_payload([b"a", b"b"]), MSGPACK) == ((b"a", b"b"), {})
    assert refusal(method, MSGPACK.encode_payload([b"a", 1]), MSGPACK) == "Expected `bytes`, got `int` - at `$[1]`"


def test_the_larger_forms_of_maps_and_lists_in_message_pack_are_by_name_and_by_position_too() -> None:
    method = Method("add", add)
    for args in (
        b"\xde\x00\x01\xa1a\x05",
        b"\xdf\x00\x00\x00\x01\xa1a\x05",
        b"\xdc\x00\x01\x05",
        b"\xdd\x00\x00\x00\x01\x05",
    ):
        assert method.arguments(Raw(args), MSGPACK) == ((5, 10), {})
