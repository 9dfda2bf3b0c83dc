"""What type checkers take calls of the asyncio client for. Only checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from typing import Any, assert_type

from ipc_broker import Client, connect
from ipc_broker.aio.stream import Stream
from ipc_broker.description import Interface, ObjectDescription
from ipc_broker.driver import Rob
from ipc_broker.observation import Inspection
from ipc_broker.session.proxies import ObjectProxy
from tests.typing.services import Asynchronous, Calculator, Point, Service, Store


async def proxies() -> None:
    async with connect() as client:
        assert_type(client, Client)
        untyped = client.object("math")
        assert_type(untyped, ObjectProxy)
        assert_type(await untyped.add(a=1, b=2), Any)
        assert_type(client.object("math", timeout=2.0, headers={"tenant": "a"}), ObjectProxy)

        api = client.object("math", Asynchronous)
        assert_type(api, Asynchronous)
        assert_type(await api.add(1, 2), int)
        assert_type(await api.add(1), int)
        assert_type((await api.origin()).x, int)
        assert_type(await api.names(prefix="a"), list[str])
        assert_type(api.tail(3), AsyncIterator[str])
        async for line in api.tail(lines=3):
            assert_type(line, str)

        calculator = client.object("math", Calculator, check=True, timeout=None)
        assert_type(calculator, Calculator)
        assert_type(await calculator.add(a=1, b=2), int)
        assert_type(await client.object("store", Store[Point]).get("a"), Point)


async def bound_methods(client: Client) -> None:
    assert_type(client.bind("math", Service.add)(1, 2), Awaitable[int])
    assert_type(await client.bind("math", Service.add)(a=1), int)
    assert_type(await client.bind("math", Service.divide)(1.0, by=2.0), float)
    assert_type(await client.bind("math", Service.points)(), list[Point])
    assert_type(await client.bind("math", Asynchronous.origin)(), Point)
    assert_type(await client.bind("math", Calculator.add)(1, 2), int)

    assert_type(client.bind("math", Service.count)(3), Stream[int])
    assert_type(client.bind("math", Service.count_down)(start=3), Stream[int])
    assert_type(client.bind("math", Service.tail)(3), Stream[str])
    assert_type(client.bind("math", Service.ticks)(), Stream[datetime])
    assert_type(client.bind("math", Asynchronous.tail)(3), Stream[str])
    async with client.bind("math", Service.tail)(3) as lines:
        assert_type(lines, Stream[str])
        async for line in lines:
            assert_type(line, str)


async def calls(client: Client) -> None:
    assert_type(await client.call("math", "add", [1, 2]), Any)
    assert_type(await client.call("math", "add", [1, 2], returns=int), int)
    assert_type(client.stream("math", "tail", [3], returns=str), Stream[str])
    assert_type(await client.describe("math"), ObjectDescription)
    assert_type((await client.describe("math")).interface, Interface | None)
    assert_type(await client.object("rob", Rob).inspect(), Inspection)
