"""What is sent of the arguments that a class's method is given, and what its hints say of the result."""

from __future__ import annotations

import collections.abc
import functools
import operator
import typing
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, TypeVar, cast

import msgspec
import pytest

from ipc_broker.remote import RemoteMethod, method_names, method_of_function, remote_method, remote_methods

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # it is not there when the hints are resolved

T = TypeVar("T")
Small = Annotated[int, msgspec.Meta(le=9)]


def logged(function: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    return wrapper


class Target:
    limit = 10

    def plain(self, a: int, b: int = 2, *, c: int = 3) -> int:
        return 0

    def nothing(self) -> None:
        return None

    def positional(self, a: int, /, b: int = 2, c: int = 3) -> int:
        return 0

    def positional_and_named(self, a: int, /, *, b: int) -> int:
        return 0

    def any_number(self, *values: int) -> int:
        return 0

    def first_and_more(self, first: int, *values: int, key: int = 0) -> int:
        return 0

    def any_names(self, **values: int) -> int:
        return 0

    def named_alike(self, a: int, /, **values: int) -> int:
        return 0

    @staticmethod
    def static(a: int) -> int:
        return 0

    @classmethod
    def of_class(cls, a: int) -> int:
        return 0

    @logged
    def wrapped(self, a: int) -> int:
        return 0

    def _private(self) -> None:
        return None

    @property
    def size(self) -> int:
        return 0

    shift = operator.lshift


def of(name: str, api: Any = Target) -> RemoteMethod:
    method = remote_method(api, name)
    assert method is not None
    return method


def sent(method: str, *positional: Any, **named: Any) -> Any:
    return of(method).arguments(positional, named)


# Arguments


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (sent("plain", 1), {"a": 1}),
        (sent("plain", 1, 5), {"a": 1, "b": 5}),
        (sent("plain", 1, b=5), {"a": 1, "b": 5}),
        (sent("plain", b=5, a=1, c=None), {"b": 5, "a": 1, "c": None}),
        (sent("nothing"), None),
        (sent("static", 1), {"a": 1}),
        (sent("of_class", 1), {"a": 1}),
        (sent("wrapped", 1), {"a": 1}),
        (sent("any_names", x=1, y=2), {"x": 1, "y": 2}),
        (sent("any_names"), None),
        (sent("first_and_more", 1, key=2), {"first": 1, "key": 2}),
        (sent("first_and_more", first=1), {"first": 1}),
        (sent("positional_and_named", 1, b=2), {"a": 1, "b": 2}),
        (sent("positional", 1, c=2), {"a": 1, "c": 2}),
        (sent("named_alike", 1, b=2), {"a": 1, "b": 2}),
    ],
)
def test_arguments_go_by_name(given: Any, expected: Any) -> None:
    assert given == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (sent("positional", 1), [1]),
        (sent("positional", 1, 2), [1, 2]),
        (sent("positional", 1, b=2), [1, 2]),
        (sent("any_number", 1, 2, 3), [1, 2, 3]),
        (sent("any_number"), None),
        (sent("first_and_more", 1, 2, 3), [1, 2, 3]),
        (sent("named_alike", 1), [1]),
        (sent("shift", 1, 2), [1, 2]),
    ],
)
def test_what_has_no_name_goes_by_position(given: Any, expected: Any) -> None:
    assert given == expected


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: sent("plain"), "missing a required argument: 'a'"),
        (lambda: sent("plain", 1, 2, 3), "too many positional arguments"),
        (lambda: sent("plain", 1, a=2), "multiple values for argument 'a'"),
        (lambda: sent("plain", 1, d=2), "got an unexpected keyword argument 'd'"),
        (lambda: sent("plain", b=2), "missing a required argument: 'a'"),
        (lambda: sent("nothing", 1), "too many positional arguments"),
        (lambda: sent("nothing", timeout=1), "got an unexpected keyword argument 'timeout'"),
        (lambda: sent("positional_and_named", 1), "missing a required argument: 'b'"),
        (lambda: sent("any_number", a=1), "got an unexpected keyword argument 'a'"),
    ],
)
def test_wrong_arguments_are_a_type_error_that_names_the_method(call: Callable[[], Any], reason: str) -> None:
    with pytest.raises(TypeError, match=rf"^Target\.\w+\(\): {reason}; it takes \("):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: sent("first_and_more", 1, 2, 3, key=4),
        lambda: sent("named_alike", 1, a=2),
    ],
)
def test_what_can_go_neither_by_position_nor_by_name(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"Target\.\w+\(\): these arguments cannot be sent"):
        call()


# Which methods there are


def test_the_methods_are_those_that_a_worker_exposes() -> None:
    names = set(method_names(Target))
    assert {"plain", "static", "of_class", "wrapped", "shift"} <= names
    assert not {"_private", "limit", "size", "__init__"} & names
    assert set(remote_methods(Target)) == names
    for name in ("_private", "limit", "size", "missing"):
        assert remote_method(Target, name) is None


def test_what_is_no_class() -> None:
    for api in (Target(), len, "Target", None):
        with pytest.raises(TypeError, match="an object is typed by a class or a Protocol, not by"):
            method_names(api)


def test_a_method_is_shown_as_its_callers_see_it() -> None:
    assert repr(of("static")) == "<RemoteMethod Target.static(a: int) -> int>"


def test_a_method_taken_from_its_class() -> None:
    method = method_of_function(Target.plain)
    assert (method.name, method.label) == ("plain", "Target.plain")
    assert method.arguments((1,), {}) == {"a": 1}


@pytest.mark.parametrize("function", [Target.static, Target.of_class, Target().plain, len, test_what_is_no_class, 1])
def test_what_is_no_method_taken_from_its_class(function: Any) -> None:
    with pytest.raises(TypeError, match="is no method taken from its class"):
        method_of_function(function)


# Results


class Results(Protocol):
    def untyped(self): ...  # type: ignore[no-untyped-def]  # what it returns is what comes

    def unknown(self, a: int) -> Unknown: ...

    def none(self) -> None: ...

    def plain(self) -> list[int]: ...

    async def coroutine(self) -> int: ...

    def awaitable(self) -> Awaitable[int]: ...

    def a_coroutine(self) -> Coroutine[Any, Any, int]: ...

    def never(self) -> NoReturn: ...

    def small(self) -> Small: ...


class Streams(Protocol):
    def asynchronous(self) -> AsyncIterator[int]: ...

    def iterable(self) -> AsyncIterable[int]: ...

    async def by_coroutine(self) -> AsyncIterator[int]: ...

    def plain(self) -> Iterator[int]: ...

    def plain_iterable(self) -> Iterable[int]: ...

    def generator(self) -> Generator[int, None, str]: ...

    async def async_generator_function(self) -> AsyncIterator[int]:
        yield 1

    def untyped(self) -> collections.abc.Iterator: ...  # type: ignore[type-arg]  # whatever comes

    def untyped_alias(self) -> typing.Iterator: ...  # type: ignore[type-arg]  # the same, as older programs say it

    def generator_function(self) -> Any:
        yield 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("untyped", Any),
        ("unknown", Any),
        ("none", type(None)),
        ("plain", list[int]),
        ("coroutine", int),
        ("awaitable", int),
        ("a_coroutine", int),
        ("never", Any),
        ("small", Small),
    ],
)
def test_what_a_method_returns(name: str, expected: Any) -> None:
    method = of(name, Results)
    assert method.returns == expected
    assert not method.is_stream


def test_a_hint_that_cannot_be_resolved_leaves_the_others() -> None:
    assert of("unknown", Results).hints == {"a": int}


@pytest.mark.parametrize("name", method_names(Streams))
def test_methods_that_stream(name: str) -> None:
    method = of(name, Streams)
    assert method.is_stream
    assert method.returns == (Any if name in ("untyped", "untyped_alias", "generator_function") else int)


def test_the_type_variables_of_a_class_stand_for_what_it_is_used_with() -> None:
    class Store(Protocol[T]):
        def get(self, key: str) -> T: ...

        def put(self, values: dict[str, list[T]]) -> None: ...

        def scan(self) -> Iterator[T]: ...

    generic = cast(Any, Store)
    assert of("get", generic[int]).returns is int
    assert of("put", generic[int]).hints == {"values": dict[str, list[int]]}
    assert of("scan", generic[bytes]).returns is bytes
    assert of("get", Store).returns is T
