"""A worker with types of all kinds: `shop.py ADDRESS` serves `shop`, and `opaque`, which tells of none."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from msgspec import Meta, Struct

from ipc_broker import SharedObject, Worker


class Color(Enum):
    """What a lamp may shine in."""

    RED = "red"
    WARM_WHITE = "warm white"


class Level(Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    """A place in the shop."""

    x: float
    y: float = 0.0


class Price(NamedTuple):
    amount: str
    currency: str


class Lamp(Struct, tag=True):
    color: Color
    level: Level = Level.LOW
    place: Point | None = None


class Cable(Struct, tag=True, forbid_unknown_fields=True, rename={"length": "length in m"}):
    length: Annotated[float, Meta(gt=0)]


class Box(Struct):
    """May hold other boxes."""

    id: UUID
    content: list[Lamp | Cable] = []
    boxes: list[Box] = []
    labels: dict[str, str] = {}
    drawers: dict[int, str] = {}
    packed: datetime | None = None
    count: int = 1


class Shop:
    """Sells lamps.

    Its docstring has a "quote", a backslash \\ and three of \""".
    """

    def order(self, lamp: Lamp, count: Annotated[int, Meta(ge=1)] = 1, *, express: bool = False) -> UUID:
        """Gives the number of the order.

        It has to be kept.
        """
        return UUID(int=count)

    async def price(self, color: Color, level: Level = Level.HIGH) -> Decimal:
        return Decimal("9.90") * level.value

    def as_price(self, amount: Decimal) -> Price:
        return Price(str(amount), "EUR")

    def store(self, content: bytes, kind: Literal["raw", "zip"] = "raw") -> int:
        return len(content)

    def opened(self, day: date) -> datetime | None:
        return datetime.fromisoformat(f"{day.isoformat()}T08:00:00+00:00")

    def open_for(self, since: datetime) -> timedelta:
        return timedelta(hours=1)

    def find(self, name: str | None = None, tags: set[str] = set()) -> list[Lamp | Cable]:  # noqa: B006
        return [Lamp(Color.RED, place=Point(1.0)), Cable(2.5)]

    def pack(self, box: Box) -> Box:
        box.boxes.append(Box(UUID(int=7), labels={"a": "b"}, drawers={3: "screws"}, packed=datetime(2026, 1, 31)))
        return box

    def total(self, *prices: float, discount: float = 0.0) -> float:
        return sum(prices) - discount

    def label(self, id: int, /, **labels: str) -> dict[str, str]:
        return labels | {"id": str(id)}

    def sales(self, count: int) -> Iterator[Lamp]:
        """Each as it happens."""
        for _ in range(count):
            yield Lamp(Color.RED)

    async def ticks(self, count: int = 2) -> AsyncIterator[datetime]:
        for second in range(count):
            yield datetime.fromtimestamp(second)

    def list(self) -> list[int]:  # a name that hides a type
        return [1, 2]

    def any(self, value: Any) -> Any:
        return value

    def close(self) -> None: ...


class Opaque(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        return args


def main() -> None:
    worker = Worker(sys.argv[1], name="shop")
    worker.add("opaque", Opaque())
    worker.add("shop", Shop())  # last: the tests wait for it
    worker.run()


if __name__ == "__main__":
    main()
