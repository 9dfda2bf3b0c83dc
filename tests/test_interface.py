"""What of an object others can call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from ipc_broker.interface import Method, SharedObject, inline, method_of, methods_of
from ipc_broker.protocol.encodings import JSON


def add(a: int, b: int = 10) -> int:
    return a + b


# Which methods an object has


class Everything:
    attribute = 1

    def __init__(self) -> None:
        self.own = add
        self._hidden = add

    def plain(self) -> None: ...
    async def coroutine(self) -> None: ...
    @inline
    def quick(self) -> None: ...
    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    def of_class(cls, a: int) -> str:
        return f"{cls.__name__} {a}"

    def _private(self) -> None: ...
    def __call__(self) -> None: ...
    @property
    def dangerous(self) -> int:
        raise AssertionError("a property is no method, and nobody asked for its value")

    class Inner: ...


class Derived(Everything):
    def plain(self) -> None: ...
    def further(self) -> None: ...


def test_public_functions_are_methods_and_nothing_else() -> None:
    assert set(methods_of(Everything())) == {"plain", "coroutine", "quick", "static", "of_class", "own"}
    assert set(methods_of(Derived())) == {"plain", "coroutine", "quick", "static", "of_class", "own", "further"}


def test_where_each_runs() -> None:
    methods = methods_of(Everything())
    assert {name for name, method in methods.items() if method.is_async} == {"coroutine"}
    assert {name for name, method in methods.items() if method.inline} == {"quick"}


def test_which_are_streams() -> None:
    class Streams:
        async def plain(self) -> int:
            return 1

        def quick(self) -> list[int]:
            return [1]

        async def ticks(self, n: int) -> AsyncIterator[int]:
            yield n

        def lines(self, n: int = 1) -> Iterator[int]:
            yield n

        @staticmethod
        def static() -> Iterator[int]:
            yield 1

    methods = methods_of(Streams())
    assert {name for name, method in methods.items() if method.is_stream} == {"ticks", "lines", "static"}
    assert {name for name, method in methods.items() if method.is_async_stream} == {"ticks"}
    assert {name for name, method in methods.items() if method.is_async} == {"plain"}
    assert methods["ticks"].arguments(JSON.encode_payload({"n": 3}), JSON) == ((3,), {})
    with pytest.raises(msgspec.ValidationError, match=r"^Expected `int`, got `str` - at `\$\.n`$"):
        methods["lines"].arguments(JSON.encode_payload({"n": "x"}), JSON)


def test_static_and_class_methods_are_bound() -> None:
    methods = methods_of(Derived())
    assert methods["static"].function(1) == 1
    assert methods["of_class"].function(1) == "Derived 1"
    assert methods["of_class"].arguments(JSON.encode_payload({"a": 1}), JSON) == ((1,), {})


def test_an_object_without_public_methods_has_none() -> None:
    assert methods_of(object()) == {}


def test_a_class_in_place_of_an_instance_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"^Alone is a class, and Alone\.own needs an instance; serve one, as Alone\(\)$"
    ):
        methods_of(Alone)
    assert set(methods_of(Functions)) == {"static", "of_class"}


class Alone:
    def own(self) -> None: ...


class Functions:
    """Of which nobody needs an instance."""

    @staticmethod
    def static() -> None: ...

    @classmethod
    def of_class(cls) -> None: ...


def test_inline_gives_the_function_back() -> None:
    assert inline(add) is add
    assert Method("add", add).inline
    del add.__dict__["__ipc_broker_inline__"]


def test_a_method_shows_its_signature() -> None:
    assert repr(Method("add", add)) == "<Method add(a: 'int', b: 'int' = 10) -> 'int'>"


def test_a_single_function_is_a_method_too() -> None:
    assert method_of("add", add, add).arguments(JSON.encode_payload([1, 2]), JSON) == ((1, 2), {})


def test_a_shared_object_needs_its_one_method() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SharedObject()  # type: ignore[abstract]  # that is what is tried

    class Dynamic(SharedObject):
        async def call(self, method: str, args: Any) -> Any:
            return [method, args]

    assert asyncio.run(Dynamic().call("add", [1, 2])) == ["add", [1, 2]]
