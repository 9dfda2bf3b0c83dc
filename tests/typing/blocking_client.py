"""What type checkers take calls of the blocking client for. Only checked, never run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_type

from ipc_broker.description import Interface, ObjectDescription
from ipc_broker.session.proxies import ObjectProxy
from ipc_broker.sync import Client, connect
from ipc_broker.sync.stream import Stream
from tests.typing.services import Asynchronous, Blocking, BlockingCalculator, Calculator, Point, Service


def proxies() -> None:
    with connect() as client:
        assert_type(client, Client)
        untyped = client.object("math")
        assert_type(untyped, ObjectProxy)
        assert_type(untyped.add(a=1, b=2), Any)
        assert_type(client.object("math", timeout=2.0, headers={"tenant": "a"}), ObjectProxy)

        api = client.object("math", Blocking)
        assert_type(api, Blocking)
        assert_type(api.add(1, 2), int)
        assert_type(api.origin().x, int)
        assert_type(api.names(prefix="a"), list[str])
        assert_type(api.tail(3), Iterator[str])
        for line in api.tail(lines=3):
            assert_type(line, str)

        calculator = client.object("math", BlockingCalculator, check=True, timeout=None)
        assert_type(calculator, BlockingCalculator)
        assert_type(calculator.add(a=1, b=2), int)


def bound_methods(client: Client) -> None:
    assert_type(client.bind("math", Service.add)(1, 2), int)
    assert_type(client.bind("math", Service.add)(a=1), int)
    assert_type(client.bind("math", Service.divide)(1.0, by=2.0), float)
    assert_type(client.bind("math", Service.points)(), list[Point])
    assert_type(client.bind("math", Asynchronous.origin)(), Point)
    assert_type(client.bind("math", Calculator.add)(1, 2), int)

    assert_type(client.bind("math", Service.count)(3), Stream[int])
    assert_type(client.bind("math", Service.count_down)(start=3), Stream[int])
    assert_type(client.bind("math", Service.tail)(3), Stream[str])
    assert_type(client.bind("math", Service.ticks)(), Stream[datetime])
    with client.bind("math", Service.tail)(3) as lines:
        assert_type(lines, Stream[str])
        for line in lines:
            assert_type(line, str)


def calls(client: Client) -> None:
    assert_type(client.call("math", "add", [1, 2]), Any)
    assert_type(client.call("math", "add", [1, 2], returns=int), int)
    assert_type(client.stream("math", "tail", [3], returns=str), Stream[str])
    assert_type(client.describe("math"), ObjectDescription)
    assert_type(client.describe("math").interface, Interface | None)
