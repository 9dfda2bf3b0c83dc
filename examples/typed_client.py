"""One class for both ends: the worker serves it, and type checkers know what its callers get.

    $ python examples/typed_client.py serve &
    open for orders
    $ python examples/typed_client.py order
    a lamp: due on Thursday, 8 January
    a chair, a desk: due on Tuesday, 6 January
    not sent: ShopApi.order(): missing a required argument: 'items'

Try `mypy --strict examples/typed_client.py`: `order` is an Order, and `shop.order(items=3)` would be an error.
"""

import asyncio
import sys
from datetime import date, timedelta
from typing import Any, Protocol

from msgspec import Struct

from ipc_broker import Worker, connect


class Order(Struct):
    items: list[str]
    due: date


class Shop:
    """What is served: a plain class, which knows nothing of the bus."""

    def order(self, items: list[str], days: int = 1) -> Order:
        return Order(items, date(2026, 1, 5) + timedelta(days))


class ShopApi(Protocol):
    """What a caller uses of it, as it looks from asyncio. (From blocking code it would be `def`.)"""

    async def order(self, items: list[str], days: int = 1) -> Order: ...


def serve() -> None:
    worker = Worker(on_connect=lambda: print("open for orders", flush=True))
    worker.add("shop", Shop())
    worker.run()


async def order() -> None:
    async with connect() as client:
        shop = client.object("shop", ShopApi, check=True)  # InterfaceMismatch, if the shop has another interface
        show(await shop.order(["a lamp"], days=3))
        order = client.bind("shop", Shop.order)  # typed by the class itself, method by method
        show(await order(["a chair", "a desk"]))
        try:
            untyped: Any = shop
            await untyped.order()
        except TypeError as error:
            print(f"not sent: {str(error).partition(';')[0]}")


def show(order: Order) -> None:
    print(f"{', '.join(order.items)}: due on {order.due:%A}, {order.due.day} {order.due:%B}")


if sys.argv[1] == "serve":
    serve()
else:
    asyncio.run(order())
