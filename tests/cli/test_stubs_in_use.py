"""What `rob stubs` writes: two such files stand beside this one, so that `make check` looks at their types and at these uses.

`python -m tests.cli.test_stubs_in_use` writes them again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import assert_type
from uuid import UUID

import pytest

from ipc_broker import connect, sync
from ipc_broker.cli.stubs import stubs_of
from ipc_broker.interface import methods_of
from ipc_broker.schemas import interface_of
from tests.cli import blocking_shop_api
from tests.cli.programs import Ended, rob
from tests.cli.shop import Shop as Served
from tests.cli.shop_api import Box, Cable, Color, Lamp, Level, Point, Price, Shop

FILES = {"shop_api.py": (), "blocking_shop_api.py": ("--blocking",)}
HERE = Path(__file__).parent


@pytest.mark.parametrize(("file", "options"), FILES.items(), ids=FILES)
def test_the_files_are_what_rob_writes(shop: str, file: str, options: tuple[str, ...]) -> None:
    assert rob("stubs", "shop", *options, address=shop) == Ended(0, (HERE / file).read_text(encoding="utf-8"), "")


def test_the_class_for_asyncio(shop: str) -> None:
    asyncio.run(_use(shop))


async def _use(address: str) -> None:
    async with connect(address) as client:
        api = client.object("shop", Shop, check=True)
        assert_type(api, Shop)
        assert assert_type(await api.order(Lamp(color=Color.RED, place=Point(x=1.0)), 7), UUID) == UUID(int=7)
        assert assert_type(await api.price(Color.WARM_WHITE), Decimal) == Decimal("19.80")
        assert await api.price(Color.RED, level=Level.VALUE_1) == Decimal("9.90")
        assert assert_type(await api.as_price(Decimal("1.5")), Price) == Price("1.5", "EUR")
        assert assert_type(await api.store(b"\x00\xff", kind="zip"), int) == 2
        opened = assert_type(await api.opened(date(2026, 1, 31)), datetime | None)
        assert opened == datetime(2026, 1, 31, 8, tzinfo=UTC)
        assert assert_type(await api.open_for(datetime(2026, 1, 31, tzinfo=UTC)), timedelta) == timedelta(hours=1)
        found = assert_type(await api.find(tags={"a"}), list[Lamp | Cable])
        assert found == [Lamp(color=Color.RED, place=Point(x=1.0)), Cable(length_in_m=2.5)]
        packed = assert_type(await api.pack(Box(id=UUID(int=1), content=[Cable(length_in_m=1.0)])), Box)
        assert packed.boxes == [
            Box(id=UUID(int=7), labels={"a": "b"}, drawers={3: "screws"}, packed=datetime(2026, 1, 31))
        ]
        assert packed.content == [Cable(length_in_m=1.0)]
        assert assert_type(await api.total(1.0, 2.5), float) == 3.5
        assert assert_type(await api.label(1), dict[str, str]) == {"id": "1"}
        assert assert_type(await api.list(), list[int]) == [1, 2]
        assert [assert_type(lamp, Lamp).level async for lamp in api.sales(2)] == [Level.VALUE_1, Level.VALUE_1]
        assert [tick async for tick in api.ticks(1)] == [datetime.fromtimestamp(0)]
        await api.close()


def test_the_class_for_the_blocking_client(shop: str) -> None:
    with sync.connect(shop) as client:
        api = client.object("shop", blocking_shop_api.Shop, check=True)
        assert_type(api, blocking_shop_api.Shop)
        assert assert_type(api.price(blocking_shop_api.Color.WARM_WHITE), Decimal) == Decimal("19.80")
        lamps = [assert_type(lamp, blocking_shop_api.Lamp).color for lamp in api.sales(2)]
        assert lamps == [blocking_shop_api.Color.RED, blocking_shop_api.Color.RED]


if __name__ == "__main__":
    interface = interface_of(Served(), methods_of(Served()))
    for file, options in FILES.items():
        (HERE / file).write_text(stubs_of("shop", interface, blocking=bool(options))[0], encoding="utf-8")
