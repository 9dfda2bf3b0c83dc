"""A class held against the interface that a worker has told of its object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

import pytest
from msgspec import Struct

from ipc_broker import InterfaceMismatch, IPCError
from ipc_broker.conformance import require_conformance
from ipc_broker.description import Interface, ObjectDescription
from ipc_broker.interface import methods_of
from ipc_broker.schemas import interface_of

T = TypeVar("T")


class Point(Struct):
    x: int


class Served:
    def add(self, a: int, b: int = 0) -> int:
        return a + b

    async def move(self, point: Point, *, by: float) -> Point:
        return point

    def count(self, stop: int) -> Iterator[int]:
        yield from range(stop)

    @staticmethod
    def version() -> str:
        return ""


def described(target: object) -> ObjectDescription:
    return ObjectDescription("math", interface=interface_of(target, methods_of(target)))


def problems(api: type) -> tuple[str, ...]:
    try:
        require_conformance(api, described(Served()))
    except InterfaceMismatch as error:
        return error.problems
    return ()


def test_the_very_class_fits() -> None:
    assert problems(Served) == ()


def test_a_class_that_says_less_fits_and_may_be_of_the_other_kind() -> None:
    class Api:
        async def add(self, a: int) -> int:
            return a

        def count(self, stop: int) -> AsyncIterator[int]:
            raise AssertionError

        def move(self, point: Any, by: int) -> Any: ...

    assert problems(Api) == ()


def test_arguments_go_by_name_in_whatever_order_the_class_says() -> None:
    class Api:
        def add(self, b: int, a: int) -> int:
            return a

    class ByPosition:
        def add(self, b: int, a: int, /) -> int:
            return a

    assert problems(Api) == ()
    assert any("by position" in problem for problem in problems(ByPosition))


class Lacks:
    def subtract(self, a: int) -> int:
        return a


class OtherParameter:
    def add(self, a: int, c: int) -> int:
        return a


class OtherType:
    def add(self, a: str, b: int = 0) -> int:
        return 0


class OtherResult:
    def add(self, a: int, b: int = 0) -> str:
        return ""


class NoStream:
    def count(self, stop: int) -> list[int]:
        return []


class OtherItems:
    def count(self, stop: int) -> Iterator[str]:
        yield ""


@pytest.mark.parametrize(
    ("api", "about"),
    [
        (Lacks, "'subtract'"),
        (OtherParameter, "'add' .*'c'"),
        (OtherType, "'add' .*'a'"),
        (OtherResult, "'add' returns"),
        (NoStream, "'count' .*stream"),
        (OtherItems, "'count' yields"),
    ],
)
def test_what_does_not_fit_is_told(api: type, about: str) -> None:
    with pytest.raises(
        InterfaceMismatch, match=f"compared with {api.__name__}, 'math' has changed: .*{about}"
    ) as caught:
        require_conformance(api, described(Served()))
    assert caught.value.object == "math"
    assert caught.value.problems
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    assert isinstance(caught.value, IPCError | TypeError)


def test_all_that_does_not_fit_is_told_at_once() -> None:
    class Api(OtherType, NoStream, Lacks):
        pass

    assert {problem.split()[0] for problem in problems(Api)} == {"'add'", "'count'", "'subtract'"}


def test_an_opaque_object_cannot_be_held_against_a_class() -> None:
    with pytest.raises(InterfaceMismatch, match="its worker has not told what it offers") as caught:
        require_conformance(Served, ObjectDescription("math"))
    assert caught.value.problems == ()


def test_an_object_without_methods_is_not_opaque() -> None:
    with pytest.raises(InterfaceMismatch, match="'subtract'"):
        require_conformance(Lacks, ObjectDescription("math", interface=Interface()))


def test_a_generic_class_with_its_types() -> None:
    class Store(Generic[T]):
        def get(self) -> T:
            raise AssertionError

    class Numbers:
        def get(self) -> int:
            return 1

    def held_against(api: Any) -> Callable[[], None]:
        return lambda: require_conformance(api, described(Numbers()))

    held_against(Store[int])()
    held_against(Store)()
    with pytest.raises(InterfaceMismatch, match="'get' returns"):
        held_against(Store[str])()
