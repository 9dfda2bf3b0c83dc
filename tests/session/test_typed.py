from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from msgspec import Struct

from ipc_broker.session.proxies import with_headers, with_timeout
from ipc_broker.session.typed import TypedProxy, bound_function


class Left(Struct):
    value: int


class Right(Struct):
    value: int


class Api(Protocol):
    def add(self, a: int, b: int = 2) -> int:
        """The sum."""
        ...

    def count(self, stop: int) -> Iterator[int]: ...

    def ambiguous(self) -> Left | Right: ...


def call(*positional: Any, **named: Any) -> Any:
    return "call", positional, named


def stream(*positional: Any, **named: Any) -> Any:
    return "stream", positional, named


def proxy(api: Any = Api) -> Any:
    return TypedProxy(call, stream, "math", api)


def test_methods_call_or_stream_with_the_type_of_what_comes() -> None:
    assert proxy().add(1, b=3) == ("call", ("math", "add", {"a": 1, "b": 3}), {"returns": int})
    assert proxy().count(5) == ("stream", ("math", "count", {"stop": 5}), {"returns": int})


def test_wrong_arguments_are_not_sent() -> None:
    with pytest.raises(TypeError, match=r"Api\.add\(\): missing a required argument: 'a'"):
        proxy().add()


def test_a_method_is_made_once_and_looks_like_that_of_the_class() -> None:
    math = proxy()
    assert math.add is math.add
    assert math.add.__name__ == "add"
    assert math.add.__qualname__ == "Api.add"
    assert math.add.__doc__ == "The sum."
    assert list(inspect.signature(math.add).parameters) == ["a", "b"]
    assert repr(math) == "<TypedProxy 'math' Api>"
    assert dir(math) == ["add", "ambiguous", "count"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ad", "Api has no method 'ad'; did you mean 'add'?"),
        ("zzz", "Api has no method 'zzz'; it has: add, ambiguous, count"),
    ],
)
def test_a_method_that_there_is_not(name: str, told: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(proxy(), name)
    assert str(caught.value) == told


def test_a_class_without_methods() -> None:
    with pytest.raises(AttributeError, match="Left has no method 'add'; it has: none"):
        proxy(Left).add()


def test_a_proxy_has_no_private_methods() -> None:
    assert not hasattr(proxy(), "_private")
    assert not hasattr(proxy(), "__len__")


def test_what_is_no_class_types_nothing() -> None:
    with pytest.raises(TypeError, match="an object is typed by a class or a Protocol, not by"):
        proxy(len)


def test_a_result_that_cannot_be_checked_is_told_before_the_call() -> None:
    math = proxy()
    assert math.add(1)
    with pytest.raises(TypeError, match=r"what Api\.ambiguous returns cannot be checked: .*must be tagged"):
        _ = math.ambiguous


def test_one_method_alone() -> None:
    assert bound_function(Api.add, call, stream, "math")(1) == ("call", ("math", "add", {"a": 1}), {"returns": int})
    assert bound_function(Api.count, call, stream, "math")(1)[0] == "stream"
    with pytest.raises(TypeError, match="is no method taken from its class"):
        bound_function(test_one_method_alone, call, stream, "math")


def test_what_a_proxy_asks_of_all_its_calls() -> None:
    assert with_timeout(call, 30.0) is call
    assert with_headers(call, None) is call
    assert with_headers(with_timeout(call, None), {"a": "b"})("x")[2] == {"timeout": None, "headers": {"a": "b"}}
