from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ipc_broker.cli.typed_arguments import WrongArguments, split_words, typed_arguments
from ipc_broker.cli.words import UsageError
from ipc_broker.description import MethodDescription
from ipc_broker.interface import methods_of
from ipc_broker.protocol.encodings import JSON
from ipc_broker.schemas import interface_of


class Object:
    def add(self, a: int, b: int) -> int:
        return a + b

    def greet(self, name: str, greeting: str = "hello", *, loud: bool = False) -> str:
        return name

    def nothing(self) -> None: ...

    def place(self, a: int, b: int = 2, /, c: int = 3) -> None: ...

    def total(self, first: int, second: int = 0, *rest: int) -> int:
        return first

    def tag(self, name: str, **tags: str) -> None: ...

    def anything(self, value: Any = None) -> Any: ...

    def by_name(self, *, key: str) -> None: ...


METHODS = methods_of(Object())
DESCRIBED = interface_of(Object(), METHODS)


def arguments(method: str, *words: str) -> Any:
    return typed_arguments(DESCRIBED.methods[method], DESCRIBED.definitions, words)


def wrong(method: str, *words: str) -> str:
    with pytest.raises(UsageError) as caught:
        arguments(method, *words)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("add 10 32", {"a": 10, "b": 32}),
        ("add a=10 b=32", {"a": 10, "b": 32}),
        ("add b=32 a=10", {"a": 10, "b": 32}),
        ("add 10 b=32", {"a": 10, "b": 32}),
        ("add -10 -32", {"a": -10, "b": -32}),
        ("greet 007", {"name": "007"}),
        ("greet name=007 loud=true", {"name": "007", "loud": True}),
        ("greet x!=y", {"name": "x!=y"}),
        ("greet http://host/?q=1", {"name": "http://host/?q=1"}),
        ("greet name=a=b", {"name": "a=b"}),
        ("nothing", None),
        ("place 1", [1]),
        ("place 1 5 6", [1, 5, 6]),
        ("place 1 5 c=6", [1, 5, 6]),
        ("total 1", {"first": 1}),
        ("total 1 second=5", {"first": 1, "second": 5}),
        ("total 1 2 3 4", [1, 2, 3, 4]),
        ("tag lamp room=4 on-off=x", {"name": "lamp", "room": "4", "on-off": "x"}),
        ("anything", None),
        ("anything 007", {"value": "007"}),
        ("anything 7", {"value": 7}),
        ("by_name key=1", {"key": "1"}),
    ],
)
def test_words_as_arguments(line: str, value: Any) -> None:
    method, *words = line.split()
    found = arguments(method, *words)
    assert found == value
    METHODS[method].arguments(JSON.encode_payload(found), JSON)  # which raises what the worker would


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("add", "a and b are missing"),
        ("add 10", "b is missing"),
        ("add b=1", "a is missing"),
        ("add ten 32", "a: an integer is expected, given 'ten'"),
        ("add 1 2 3", "'3' is too much: it takes 2 by place"),
        ("add 1 a=2", "a is given twice, by its place and by its name; b is missing"),
        ("add aa=1 b=x", "there is no 'aa' (did you mean a?); b: an integer is expected, given 'x'; a is missing"),
        ("add 1 2 zzz=1", "there is no 'zzz'"),
        ("greet", "name is missing"),
        ("greet a b c", "'c' is too much: it takes 2 by place"),
        ("greet a loud=maybe", "loud: true or false is expected, given 'maybe'"),
        ("nothing 1", "'1' is too much: it takes nothing"),
        ("by_name 1", "'1' is too much: it takes arguments by name only; key is missing"),
        ("place a=1", "a can be given by its place only"),
        ("place 1 c=3", "these arguments cannot be sent: give all by place, or all by name"),
        ("total 1 2 3 x", "rest[1]: an integer is expected, given 'x'"),
        ("tag a name=b", "name is given twice, by its place and by its name"),
        ("add a=1 2", "'2' is not KEY=VALUE, as the words before it are: every word behind them must be"),
        ("add a=1 a=2", "the key 'a' is given twice"),
    ],
)
def test_all_that_is_wrong_is_said(line: str, reason: str) -> None:
    method, *words = line.split()
    assert wrong(method, *words) == reason


def test_words_are_divided_before_the_types_are_known() -> None:
    assert split_words(["1", "x!=2", "a=1", "b="]) == (["1", "x!=2"], {"a": "1", "b": ""})
    assert split_words([]) == ([], {})
    for words in (["a=1", "b"], ["a=1", "a=2"], ["\udcff"]):
        with pytest.raises(UsageError):
            split_words(words)


def _functions() -> dict[str, Callable[..., Any]]:
    return {name: getattr(Object(), name) for name in METHODS}


@given(st.sampled_from(sorted(METHODS)), st.lists(st.sampled_from(["1", "2", "x", "true"]), max_size=4), st.data())
def test_what_python_would_bind_is_bound_and_nothing_else(method: str, placed: list[str], data: st.DataObject) -> None:
    names = [*inspect.signature(_functions()[method]).parameters, "other"]
    named = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(["1", "2", "true"]), max_size=3))
    described = _untyped(DESCRIBED.methods[method])
    words = [*placed, *(f"{name}={word}" for name, word in named.items())]
    try:
        inspect.signature(_functions()[method]).bind(*placed, **named)
    except TypeError:
        with pytest.raises(WrongArguments):
            typed_arguments(described, {}, words)
        return
    if named and any(one.kind in ("positional", "list") for one in described.parameters):
        return  # what Python takes cannot always be sent
    assert len(typed_arguments(described, {}, words) or ()) == len(words)


def _untyped(method: MethodDescription) -> MethodDescription:
    return replace(method, parameters=tuple(replace(one, schema={}) for one in method.parameters))
