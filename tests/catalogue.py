"""An object whose methods return values of all kinds, and the classes that describe it to clients of both kinds."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from ipc_broker import current_call


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(Struct):
    name: str
    colour: Colour
    price: Decimal


class Crate(Struct, tag="crate"):
    items: list[Item]


class Bag(Struct, tag="bag"):
    weight: float


@dataclasses.dataclass
class Place:
    shelf: int
    since: datetime.datetime


SINCE = datetime.datetime(2026, 1, 5, 10, 30, tzinfo=datetime.UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
LAMP = Item("lamp", Colour.RED, Decimal("12.50"))

RESULTS: dict[str, Any] = {
    "lamp": LAMP,
    "place": Place(3, SINCE),
    "since": SINCE,
    "colours": {Colour.RED, Colour.BLUE},
    "key": ID,
    "picture": b"\x00\xff",
    "price": Decimal("0.10"),
    "box": Crate([LAMP]),
    "by_key": {ID: [Place(1, SINCE)]},
    "pair": (1, "a"),
    "maybe": None,
    "nothing": None,
}


class Catalogue:
    """As its worker has it."""

    def lamp(self) -> Item:
        return LAMP

    async def place(self) -> Place:
        return Place(3, SINCE)

    def since(self) -> datetime.datetime:
        return SINCE

    def colours(self) -> set[Colour]:
        return {Colour.RED, Colour.BLUE}

    def key(self) -> uuid.UUID:
        return ID

    def picture(self) -> bytes:
        return b"\x00\xff"

    def price(self) -> Decimal:
        return Decimal("0.10")

    async def box(self) -> Crate | Bag:
        return Crate([LAMP])

    def by_key(self) -> dict[uuid.UUID, list[Place]]:
        return {ID: [Place(1, SINCE)]}

    def pair(self) -> tuple[int, str]:
        return 1, "a"

    def maybe(self) -> Item | None:
        return None

    def nothing(self) -> None:
        return None

    def dearer(self, item: Item, by: Decimal = Decimal(1)) -> Item:
        return Item(item.name, item.colour, item.price + by)

    def wrong(self) -> Any:
        return "text"

    def told(self) -> dict[str, Any]:
        call = current_call()
        return {"headers": dict(call.headers), "has_deadline": call.deadline is not None}

    async def places(self, count: int) -> AsyncIterator[Place]:
        for shelf in range(count):
            yield Place(shelf, SINCE)

    def numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def headers(self) -> AsyncIterator[dict[str, str]]:
        yield dict(current_call().headers)


class AsyncCatalogue(Protocol):
    """What clients of asyncio say of it where the worker's own class will not do."""

    async def lamp(self) -> Item: ...
    async def wrong(self) -> int: ...
    async def dearer(self, item: Item, by: Decimal = Decimal(1)) -> Item: ...
    async def told(self) -> dict[str, Any]: ...
    async def lacking(self) -> int: ...
    def places(self, count: int) -> AsyncIterator[Place]: ...
    async def numbers(self, count: int) -> AsyncIterator[int]: ...
    def headers(self) -> AsyncIterator[dict[str, str]]: ...


class BlockingCatalogue(Protocol):
    def lamp(self) -> Item: ...
    def wrong(self) -> int: ...
    def dearer(self, item: Item, by: Decimal = Decimal(1)) -> Item: ...
    def told(self) -> dict[str, Any]: ...
    def lacking(self) -> int: ...
    def places(self, count: int) -> Iterator[Place]: ...
    def headers(self) -> Iterator[dict[str, str]]: ...
