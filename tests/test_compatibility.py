"""What a program that was written for the old interface of an object would notice of the new one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, json

from ipc_broker.compatibility import MOST_SAID, Change, brief, changes
from ipc_broker.description import Interface, Kind, MethodDescription, Parameter, Schema
from ipc_broker.interface import methods_of
from ipc_broker.schemas import interface_of
from tests.catalogue import Catalogue


class Point(Struct):
    x: int


class Named(Struct):
    x: int
    name: str = ""


class Strict(Struct, forbid_unknown_fields=True):
    x: Literal[1, 2]


Function = Callable[..., Any]


def api(function: Function) -> Interface:
    """An object whose only method `m` is this function."""

    class Served:
        m = staticmethod(function)

    return interface_of(Served(), methods_of(Served()))


def changed(old: Function, new: Function) -> dict[str, bool]:
    """The texts without the method's name, and whether they are compatible."""
    found = changes(api(old), api(new))
    assert found == sorted(found, key=lambda one: one.compatible), "the incompatible ones come first"
    return {one.text.removeprefix("'m' "): one.compatible for one in found}


# Methods


def test_methods_that_come_and_go() -> None:
    one, two = (Interface(methods=dict.fromkeys(names, MethodDescription())) for names in (("a", "b"), ("b", "c")))
    assert changes(one, two) == [Change("'a' is gone", False), Change("'c' is new", True)]


def test_what_nobody_notices_is_no_change() -> None:
    def old(a: int = 1) -> Point:
        """Does this."""
        raise AssertionError

    def new(a: int = 2) -> Point:
        """Does that."""
        raise AssertionError

    one, two = api(old), api(new)
    assert one != two
    assert changes(one, two) == []


def test_streams_and_what_they_yield() -> None:
    def once() -> int:
        return 1

    def numbers() -> Iterator[int]:
        yield 1

    async def ticks() -> AsyncIterator[int]:
        yield 1

    def texts() -> Iterator[str]:
        yield ""

    assert changed(numbers, ticks) == {}
    assert changed(once, numbers) == {"is a stream now": False}
    assert changed(numbers, once) == {"is no stream any more": False}
    assert changed(numbers, texts) == {"yields string instead of integer": False}


def returns(hint: Any) -> Function:
    def function() -> Any: ...

    function.__annotations__ = {"return": hint}
    return function


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (int, int, {}),
        (int, str, {"returns string instead of integer": False}),
        (int | None, int, {"returns integer only": True}),
        (int, int | None, {"returns integer | null instead of integer": False}),
        (float, int, {"returns integer only": True}),
        (int, float, {"returns number instead of integer": False}),
        (Point, Named, {}),
        (Point, Strict, {"returns Strict only": True}),
        (Named, Point, {}),  # a field with a default need not be there
        (Any, int, {}),
        (int, Any, {}),
        (None, int, {"returns integer instead of null": False}),
        (Literal["a", "b"], Literal["a"], {"returns one of 'a' only": True}),
        (list[int], list[str], {"returns array of string instead of array of integer": False}),
    ],
)
def test_results(old: Any, new: Any, expected: dict[str, bool]) -> None:
    assert changed(returns(old), returns(new)) == expected


# Parameters


def none() -> None: ...
def a(a: int) -> None: ...
def a_default(a: int = 0) -> None: ...
def a_text(a: str) -> None: ...
def a_maybe(a: int | None) -> None: ...
def a_any(a) -> None: ...  # type: ignore[no-untyped-def]  # that is what is tested
def a_b(a: int, b: int) -> None: ...
def b_a(b: int, a: int) -> None: ...
def a_b_default(a: int, b: int = 0) -> None: ...
def a_key(*, a: int) -> None: ...
def b_key(*, b: int = 0) -> None: ...
def a_place(a: int, /) -> None: ...
def x_place(x: int, /) -> None: ...
def a_b_place(a: int, b: int, /) -> None: ...
def b_a_place(b: int, a: int, /) -> None: ...
def rest(*args: int) -> None: ...
def rest_of_text(*args: str) -> None: ...
def a_rest(a: int, *args: int) -> None: ...
def text_and_rest(a: str = "", *args: int) -> None: ...
def more(**kwargs: int) -> None: ...
def more_text(**kwargs: str) -> None: ...
def text_and_more(*, a: str = "", **kwargs: int) -> None: ...
def a_more(a: int, **kwargs: int) -> None: ...
def all_ways(*args: int, **kwargs: int) -> None: ...


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # whether they must be given
        (a, a_default, {"need not be given 'a' any more": True}),
        (a_default, a, {"must be given 'a' now": False}),
        (a, a_b_default, {"has a new parameter 'b', which may be given": True}),
        (a, a_b, {"has a new parameter 'b', which must be given": False}),
        (a_b, a, {"has no parameter 'b' any more": False}),
        (a, none, {"has no parameter 'a' any more": False}),
        # types
        (a, a_maybe, {"takes integer | null as 'a', more than before": True}),
        (a_maybe, a, {"takes integer as 'a' instead of integer | null": False}),
        (a, a_text, {"takes string as 'a' instead of integer": False}),
        (a, a_any, {}),
        (a_any, a, {}),
        # by name, by position
        (a_b, b_a, {"takes its arguments by position as (b, a)": False}),
        (a, a_key, {"takes its arguments by position as ()": False}),
        (a_key, a, {}),
        (a, a_place, {"takes 'a' by position only": False}),
        (a_key, a_place, {"takes 'a' by position only": False}),
        (a_place, a, {}),
        (a_place, x_place, {}),
        (a_b_place, b_a_place, {"takes its arguments by position as (b, a)": False}),
        (
            a_place,
            a_key,
            {"has no parameter 'a' any more": False, "has a new parameter 'a', which must be given": False},
        ),
        # *args
        (none, rest, {"takes further arguments by position": True}),
        (rest, none, {"takes no further arguments by position any more": False}),
        (rest, rest_of_text, {"takes string as 'args' instead of integer": False}),
        (a_place, rest, {"takes further arguments by position": True}),
        (rest, a_rest, {"has a new parameter 'a', which must be given": False}),
        (
            rest,
            text_and_rest,
            {
                "takes string as 'a' instead of integer": False,
                "has a new parameter 'a', which may be given": True,
            },
        ),
        (a, rest, {"has no parameter 'a' any more": False, "takes further arguments by position": True}),
        (a, all_ways, {"takes further arguments by position": True, "takes further arguments by name": True}),
        # **kwargs
        (none, more, {"takes further arguments by name": True}),
        (more, none, {"takes no further arguments by name any more": False}),
        (more, more_text, {"takes string as 'kwargs' instead of integer": False}),
        (a_key, more, {"takes further arguments by name": True}),
        (
            a_key,
            more_text,
            {"takes string as 'kwargs' instead of integer": False, "takes further arguments by name": True},
        ),
        (a, more, {"takes its arguments by position as ()": False, "takes further arguments by name": True}),
        (more, a_more, {"has a new parameter 'a', which must be given": False}),
        (
            more,
            text_and_more,
            {
                "takes string as 'a' instead of integer": False,
                "has a new parameter 'a', which may be given": True,
            },
        ),
        (b_key, all_ways, {"takes further arguments by position": True, "takes further arguments by name": True}),
    ],
)
def test_parameters(old: Function, new: Function, expected: dict[str, bool]) -> None:
    assert changed(old, new) == expected


def test_each_parameter_of_a_type_that_does_not_fit_is_told() -> None:
    def old(a: Point, b: Point) -> Point:
        return a

    class Point2(Struct):
        x: str

    def new(a: Any, b: Any) -> Any:
        return a

    new.__annotations__ = {"a": Point2, "b": Point2, "return": Point2}
    assert list(changed(old, new)) == [
        "takes Point2 as 'a' instead of Point",
        "takes Point2 as 'b' instead of Point",
        "returns Point2 instead of Point",
    ]


# Whatever comes


def schemas() -> st.SearchStrategy[Schema]:
    """What msgspec makes, and what it would never make."""
    plain: list[Schema] = [
        *({"type": name} for name in ("string", "integer", "number", "boolean", "null", "array", "object", "odd")),
        {"type": "string", "format": "date-time"},
        {"type": "string", "contentEncoding": "base64"},
        {"enum": ["a", 1, None, True, 1.5, [], {}]},
        {"$ref": "#/definitions/A"},
        {"$ref": "#/definitions/B"},
        {"$ref": "#/definitions/missing"},
        {"title": "Thing"},
        {},
    ]
    odd = st.sampled_from([None, True, 1, "x", [], [1], {}, {"a": 1}, 1e300])
    keywords = "anyOf enum type properties required additionalProperties items prefixItems minimum maxItems $ref format"
    return st.recursive(
        st.sampled_from(plain) | st.dictionaries(st.sampled_from(keywords.split()), odd, max_size=4),
        lambda inner: st.one_of(
            st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
            st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"type": st.just("array"), "prefixItems": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries(
                {
                    "type": st.just("object"),
                    "properties": st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
                    "required": st.lists(st.sampled_from("xyz"), max_size=2),
                }
            ),
            st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner | st.booleans()}),
        ),
        max_leaves=8,
    )


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    kinds: list[Kind] = ["", "positional", "keyword", "list", "map"]
    parameter = st.builds(
        Parameter, st.sampled_from("abc"), schemas(), st.sampled_from(kinds), st.booleans(), st.just(1)
    )
    method = st.builds(
        MethodDescription,
        st.just(""),
        st.lists(parameter, max_size=3, unique_by=lambda one: one.name).map(tuple),
        schemas(),
        st.booleans(),
    )
    methods = draw(st.dictionaries(st.sampled_from("mn"), method, max_size=2))
    definitions = draw(st.dictionaries(st.sampled_from("AB"), schemas(), max_size=2))
    return Interface(methods=methods, definitions=definitions)


def kinds_once(interface: Interface) -> Interface:
    """At most one `*args` and one `**kwargs`, as in Python."""
    for method in interface.methods.values():
        kinds = [one.kind for one in method.parameters if one.kind in ("list", "map")]
        if len(kinds) != len(set(kinds)):
            return Interface(definitions=interface.definitions)
    return interface


@given(interfaces().map(kinds_once))
def test_nothing_has_changed_between_an_interface_and_itself(interface: Interface) -> None:
    assert changes(interface, interface) == []
    assert changes(interface, json.decode(json.encode(interface), type=Interface)) == []


@given(interfaces(), interfaces())
def test_any_two_can_be_compared(one: Interface, other: Interface) -> None:
    for change in changes(one, other):
        assert change.text
        assert len(change.text) < 3 * MOST_SAID + 100


def test_nothing_has_changed_in_a_real_one() -> None:
    interface = interface_of(Catalogue(), methods_of(Catalogue()))
    assert len(interface.methods) > 10
    assert changes(interface, json.decode(json.encode(interface), type=Interface)) == []


# Types in words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        ({"title": "Thing"}, "anything"),
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "uuid"}, "uuid"),
        ({"$ref": "#/definitions/Point"}, "Point"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer | null"),
        ({"enum": ["a", 1]}, "one of 'a', 1"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "null"}}}, "array of array of null"),
        ({"type": "array"}, "array"),
        ({"anyOf": 1}, "anything"),
        ({"type": ["string", "null"]}, "['string', 'null']"),
    ],
)
def test_types_in_a_few_words(schema: Schema, words: str) -> None:
    assert brief(schema) == words


def test_types_in_words_are_short() -> None:
    deep: Schema = {}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    assert brief(deep) == "array of array of array of array"
    assert len(brief({"enum": list(range(10_000))})) == MOST_SAID
    assert len(brief({"type": "x" * 10_000})) == MOST_SAID
    assert len(brief({"anyOf": [{"type": "string"}] * 10_000})) == MOST_SAID
