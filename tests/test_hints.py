"""Type hints, as far as they can be resolved."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from ipc_broker.hints import item_hint, type_hints

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # for type checkers only, and not even for them


class Shape:
    def scale(self, by: float, *, name: Annotated[str, "kept"] = "") -> Shape:
        return self

    @staticmethod
    def make(count: int) -> list[Shape]:
        return []


def test_hints_with_their_annotations() -> None:
    expected = {"by": float, "name": Annotated[str, "kept"], "return": Shape}
    assert type_hints(Shape.scale) == expected
    assert type_hints(Shape().scale) == expected
    assert type_hints(Shape.make) == {"count": int, "return": list[Shape]}
    assert type_hints(lambda a: a) == {}


def test_what_exists_for_type_checkers_only_is_any_value() -> None:
    def method(a: Unknown, b: int, c: dict[str, Unknown], d: Shape.missing) -> Shape:  # type: ignore[name-defined]
        return Shape()

    assert type_hints(method) == {"a": Any, "b": int, "c": Any, "d": Any, "return": Shape}


def test_what_is_no_type_is_any_value() -> None:
    def method(a: int, b: int, c: int) -> None: ...

    method.__annotations__ = {"a": "how many, at most", "b": 3, "c": "int"}
    hints = type_hints(method)
    assert hints["a"] is Any
    assert hints["c"] is int
    assert type_hints(print) == {}
    assert type_hints(functools.partial(method, 1)) == {}


def test_a_wrapped_function_has_the_hints_of_what_it_wraps() -> None:
    @functools.wraps(Shape.scale)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return None

    assert type_hints(wrapper) == type_hints(Shape.scale)


@pytest.mark.parametrize(
    "stream",
    [
        AsyncIterator[int],
        AsyncIterable[int],
        AsyncGenerator[int, None],
        Iterator[int],
        Iterable[int],
        Generator[int, None, str],
    ],
)
def test_what_a_stream_holds(stream: Any) -> None:
    assert item_hint(stream) is int


@pytest.mark.parametrize("other", [Iterator, int, list[int], Any, None, "Iterator[int]"])
def test_what_says_nothing_of_its_items(other: Any) -> None:
    assert item_hint(other) is Any
