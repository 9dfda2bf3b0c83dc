"""What the type tests call: one object as its worker has it, and as Protocols of both kinds say it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

T_co = TypeVar("T_co", covariant=True)


class Point(Struct):
    x: int
    y: int


class Service:
    """As a worker has it, with methods of all kinds."""

    def add(self, a: int, b: int = 0) -> int:
        return a + b

    async def divide(self, a: float, *, by: float) -> float:
        return a / by

    def count(self, stop: int) -> Iterator[int]:
        yield from range(stop)

    def count_down(self, start: int) -> Generator[int, None, None]:
        yield from range(start, 0, -1)

    async def tail(self, lines: int) -> AsyncIterator[str]:
        for line in range(lines):
            yield str(line)

    async def ticks(self) -> AsyncGenerator[datetime, None]:
        while True:
            yield datetime.now()

    def points(self) -> list[Point]:
        return []


class Asynchronous(Protocol):
    async def add(self, a: int, b: int = 0) -> int: ...
    async def origin(self) -> Point: ...
    async def names(self, *, prefix: str = "") -> list[str]: ...
    def tail(self, lines: int) -> AsyncIterator[str]: ...


class Blocking(Protocol):
    def add(self, a: int, b: int = 0) -> int: ...
    def origin(self) -> Point: ...
    def names(self, *, prefix: str = "") -> list[str]: ...
    def tail(self, lines: int) -> Iterator[str]: ...


class Calculator:
    """A plain class, no Protocol."""

    async def add(self, a: int, b: int) -> int:
        return a + b


class BlockingCalculator:
    def __init__(self, precision: int) -> None:
        """A class whose instances need arguments can be used as well."""

    def add(self, a: int, b: int) -> int:
        return a + b


class Store(Protocol, Generic[T_co]):
    async def get(self, key: str) -> T_co: ...
