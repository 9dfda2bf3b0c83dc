"""The object "shop" as its worker describes it. `rob stubs` has written this.

client.object("shop", Shop, check=True) is typed by it.
"""

from __future__ import annotations

from builtins import list as list_
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, Protocol
from uuid import UUID

from msgspec import Meta, Struct, field


class Color(Enum):
    """What a lamp may shine in."""

    RED = "red"
    WARM_WHITE = "warm white"


class Level(Enum):
    VALUE_1 = 1
    VALUE_2 = 2


class Price(NamedTuple):
    field_0: str
    field_1: str


class Lamp(Struct, frozen=True, kw_only=True, tag_field="type", tag="Lamp"):
    color: Color
    level: Level = Level.VALUE_1
    place: Point | None = None


class Cable(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    tag="Cable",
    forbid_unknown_fields=True,
    rename={"length_in_m": "length in m"},
):
    length_in_m: Annotated[float, Meta(gt=0)]


class Box(Struct, frozen=True, kw_only=True):
    """May hold other boxes."""

    id: UUID
    content: list_[Lamp | Cable] = field(default_factory=list_)
    boxes: list_[Box] = field(default_factory=list_)
    labels: dict[str, str] = field(default_factory=dict)
    drawers: dict[int, str] = field(default_factory=dict)
    packed: datetime | None = None
    count: int = 1


class Point(Struct, frozen=True, kw_only=True):
    """A place in the shop."""

    x: float
    y: float = 0.0


class Shop(Protocol):
    """Sells lamps.

    Its docstring has a "quote", a backslash \\ and three of \"\"\".
    """

    async def any(self, value: Any) -> Any: ...

    async def as_price(self, amount: Decimal) -> Price: ...

    async def close(self) -> None: ...

    async def find(self, name: str | None = None, tags: set[str] = ...) -> list_[Lamp | Cable]: ...

    async def label(self, id: int, /, **labels: str) -> dict[str, str]: ...

    async def list(self) -> list_[int]: ...

    async def open_for(self, since: datetime) -> timedelta: ...

    async def opened(self, day: date) -> datetime | None: ...

    async def order(
        self,
        lamp: Lamp,
        count: Annotated[int, Meta(ge=1)] = 1,
        *,
        express: bool = False,
    ) -> UUID:
        """Gives the number of the order.

        It has to be kept.
        """
        ...

    async def pack(self, box: Box) -> Box: ...

    async def price(self, color: Color, level: Level = Level.VALUE_2) -> Decimal: ...

    def sales(self, count: int) -> AsyncIterator[Lamp]:
        """Each as it happens."""
        ...

    async def store(self, content: bytes, kind: Literal["raw", "zip"] = "raw") -> int: ...

    def ticks(self, count: int = 2) -> AsyncIterator[datetime]: ...

    async def total(self, *prices: float, discount: float = 0.0) -> float: ...
