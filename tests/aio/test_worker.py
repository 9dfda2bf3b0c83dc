"""The worker: what it serves, and under which names."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from msgspec import Struct

from ipc_broker import SharedObject, Worker, connect, current_call, inline
from ipc_broker.aio import link as link_module
from ipc_broker.aio import worker as worker_module
from ipc_broker.aio.transport import open_connection
from ipc_broker.errors import InvalidArgs, NameTaken, NoSuchMethod, NoSuchObject, WorkerLost
from tests.aio.bus import AnyBroker, RawPeer, broker_at, bus, serving, until, until_lost
from tests.aio.objects import Calculator, Echo
from tests.cli.programs import PATIENCE, start_broker
from tests.messages import call, register
from tests.seed.client import SeedClient


class Point(Struct):
    x: int
    y: int = 0


# What it serves


async def test_every_kind_of_object(any_broker: AnyBroker) -> None:
    class Mixed:
        def in_thread(self, a: int) -> int:
            return a + 1

        async def on_loop(self, a: int) -> int:
            return a + 2

        @inline
        def at_once(self, a: int) -> int:
            return a + 3

        @staticmethod
        def static(a: int) -> int:
            return a + 4

        @classmethod
        def of_class(cls, a: int) -> list[Any]:
            return [cls.__name__, a]

    class Dynamic(SharedObject):
        async def call(self, method: str, args: Any) -> Any:
            return {"method": method, "args": args}

    async with any_broker() as address:
        worker = Worker(address)
        worker.add("mixed", Mixed())
        worker.add("dynamic", Dynamic())

        @worker.method("single")
        def double(value: int) -> int:
            return value * 2

        @worker.method("single")
        async def half(value: int) -> float:
            return value / 2

        assert double(4) == 8  # it stays the function that it was
        async with worker, connect(address) as client:
            for method, answer in (("in_thread", 2), ("on_loop", 3), ("at_once", 4), ("static", 5)):
                assert await client.call("mixed", method, [1]) == answer
            assert await client.call("mixed", "of_class", 1) == ["Mixed", 1]
            assert await client.call("dynamic", "whatever", [1]) == {"method": "whatever", "args": [1]}
            assert await client.call("single", "double", 4) == 8
            assert await client.call("single", "half", {"value": 3}) == 1.5


async def test_an_object_without_public_methods_is_served(address: str) -> None:
    async with bus(address, bare=object()) as client:
        assert await client.has("bare")
        with pytest.raises(NoSuchMethod, match=r"^'bare' has no method 'any'; it has: none$"):
            await client.call("bare", "any")


@pytest.mark.parametrize("name", ["_private", "__init__", "__class__", "add.__call__", ""])
async def test_nothing_but_public_methods_can_be_called(name: str, address: str) -> None:
    class Secret:
        def add(self) -> None: ...
        def _private(self) -> None: ...

    async with bus(address, it=Secret()) as client:
        with pytest.raises(NoSuchMethod):
            await client.call("it", name)


async def test_arguments_are_converted_and_checked(address: str) -> None:
    class Canvas:
        def draw(self, points: list[Point], colour: str = "black", *, width: int = 1) -> list[Any]:
            assert all(isinstance(point, Point) for point in points)
            return [sum(point.x for point in points), colour, width]

    async with bus(address, canvas=Canvas()) as client:
        canvas = client.object("canvas")
        assert await canvas.draw([{"x": 1}, {"x": 2}]) == [3, "black", 1]
        assert await canvas.draw(points=[], colour="red", width=2) == [0, "red", 2]
        for args, message in (
            ({"points": [{"x": "1"}]}, "Expected `int`, got `str` - at `$.points[0].x`"),
            ([[{"x": 1}], 5], "Expected `str`, got `int` - at `$[1]`"),
            ({}, "Object missing required field `points` - at `$`"),
            ({"points": [], "hue": 1}, "Object contains unknown field `hue` - at `$`"),
        ):
            with pytest.raises(InvalidArgs) as caught:
                await client.call("canvas", "draw", args)
            assert str(caught.value) == message
            assert (caught.value.object, caught.value.method) == ("canvas", "draw")


async def test_a_seed_client_is_answered(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator(), echo=Echo()):

        def use() -> None:
            with SeedClient(address) as client:
                client.wait_for_object("math")
                assert client.call("math", "add", {"a": 1, "b": 2})["Result"]["value"] == {"sum": 3}
                assert client.call("math", "mul", [6, 7])["Result"]["value"] == {"product": 42}
                assert client.call("echo", "back")["Result"]["value"] is None
                wrong = client.call("math", "add", {"a": "x", "b": 1})["Error"]
                assert wrong["message"] == "Expected `int`, got `str` - at `$.a`"

        await asyncio.to_thread(use)


async def test_arguments_that_are_no_json_cost_only_that_call(address: str) -> None:
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], echo=Echo()),
        RawPeer.at(broker.addresses[0]) as peer,
        asyncio.timeout(5),
    ):
        for number, args in enumerate((b'"\xff"', b"[" * 30_000 + b"]" * 30_000)):
            body = b'{"Call":{"call_id":"%d","object_name":"echo","method":"sequence","args":%b}}' % (number, args)
            peer.writer.write(len(body).to_bytes(4, "big") + body)
            assert list(await peer.read()) == ["Error"]
        assert (await peer.ask(call("last", "echo", "back", 1)))["Result"]["value"] == 1


# current_call and worker.client


class Nested:
    def __init__(self) -> None:
        self._worker: Worker | None = None

    async def on_loop(self, depth: int) -> list[Any]:
        assert self._worker is not None
        before = current_call()
        inner = await self._worker.client.call("nested", "in_thread", [depth])
        assert current_call() == before
        return [before.object, before.method, inner]

    def in_thread(self, depth: int) -> list[str]:
        running = current_call()
        return [running.object, running.method, str(depth)]

    @inline
    def at_once(self) -> list[str]:
        running = current_call()
        return [running.object, running.method]

    async def tell(self, value: Any) -> None:
        assert self._worker is not None
        await self._worker.client.publish("nested", "told", value)


async def test_current_call_wherever_a_method_runs(any_broker: AnyBroker) -> None:
    nested = Nested()
    async with any_broker() as address, serving(address, nested=nested) as worker, connect(address) as client:
        nested._worker = worker
        answers = await asyncio.gather(*(client.call("nested", "on_loop", n) for n in range(20)))
        assert answers == [["nested", "on_loop", ["nested", "in_thread", str(n)]] for n in range(20)]
        assert await client.call("nested", "at_once") == ["nested", "at_once"]
        with pytest.raises(LookupError):
            current_call()


async def test_the_workers_client_publishes_and_calls(any_broker: AnyBroker) -> None:
    nested = Nested()
    async with any_broker() as address, serving(address, nested=nested) as worker, connect(address) as client:
        nested._worker = worker
        async with client.subscribe("nested", "told") as told, worker.client.subscribe("nested", "told") as own:
            await client.call("nested", "tell", "news")
            for events in (told, own):
                assert (await events.get(10)).value == "news"  # type: ignore[union-attr]  # a Gap has no value: it fails
        assert await worker.client.call("nested", "at_once") == ["nested", "at_once"]
        assert await worker.client.has("nested")


# Names


async def test_objects_come_and_go_while_it_serves(address: str) -> None:
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], math=Calculator()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        assert repr(worker) == f"<Worker {worker.address} serving objects=['math'] calls=0>"
        worker.add("echo", Echo())
        await client.wait_for("echo", timeout=10)
        assert await client.call("echo", "back", 1) == 1
        worker.remove("math")
        await until_lost(client, "math")
        with pytest.raises(NoSuchObject):
            await client.call("math", "add", [1, 2])
        worker.add("math", Calculator())
        await client.wait_for("math", timeout=10)
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}


async def test_wrong_use_of_names(address: str) -> None:
    worker = Worker(address)
    worker.add("math", Calculator())
    with pytest.raises(ValueError, match="this worker serves 'math' already; remove it first"):
        worker.add("math", Calculator())
    with pytest.raises(ValueError, match="a name that is not empty"):
        worker.add("", Calculator())
    with pytest.raises(ValueError, match="this worker does not serve 'echo'; it serves math"):
        worker.remove("echo")
    worker.remove("math")
    with pytest.raises(ValueError, match="it serves nothing"):
        worker.remove("math")


async def test_a_name_that_is_taken_raises_and_names_its_owner(address: str) -> None:
    async with broker_at(address) as broker:
        owner = Worker(broker.addresses[0], name="thermostat")
        owner.add("math", Calculator())
        async with owner:
            second = Worker(broker.addresses[0])
            second.add("other", Echo())
            second.add("math", Calculator())
            second.add("rob", Echo())
            expected = rf"the name 'math' is taken by 'thermostat' \(process {os.getpid()}\)"
            with pytest.raises(NameTaken, match=expected):
                async with second:
                    raise AssertionError("it was entered")
            third = Worker(broker.addresses[0])
            third.add("math", Calculator())
            with pytest.raises(NameTaken, match=expected):
                await third.serve()
            async with connect(broker.addresses[0]) as client:
                await until_lost(client, "other")
                assert await client.call("math", "add", [1, 2]) == {"sum": 3}


def test_run_raises_for_a_name_that_is_taken(address: str) -> None:
    with start_broker("--listen", address) as broker:
        where = broker.wait_for_line(" listens on ", PATIENCE).rsplit(" ", 1)[1]
        worker = Worker(where)
        worker.add("rob", Echo())
        with pytest.raises(NameTaken, match="the name 'rob' is the broker's own"):
            worker.run()


async def test_a_name_added_later_that_is_taken_is_logged(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], math=Calculator()),
        serving(broker.addresses[0], echo=Echo()) as second,
    ):
        second.add("math", Calculator())
        await until(lambda: "'math' is not served: the name 'math' is taken by" in caplog.text)


async def test_after_a_reconnect_a_taken_name_is_asked_for_again(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    may_connect = asyncio.Event()
    may_connect.set()

    async def connect_when_allowed(*arguments: Any) -> Any:
        await may_connect.wait()
        return await open_connection(*arguments)

    monkeypatch.setattr(worker_module, "RETRY_NAME", 0.02)
    monkeypatch.setattr(link_module, "open_connection", connect_when_allowed)
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        worker = Worker(where)
        worker.add("math", Calculator())
        await worker.__aenter__()
        may_connect.clear()
    await until(lambda: not worker.client.link.session.ready)
    async with broker_at(where) as broker:
        async with RawPeer.at(where) as thief:
            assert await thief.ask(register("math")) == {"Registered": {"object_name": "math"}}
            may_connect.set()
            await until(lambda: "'math' is not served: the name 'math' is taken by" in caplog.text)
        async with connect(where) as client:
            while True:
                try:
                    assert await client.call("math", "add", [1, 2]) == {"sum": 3}
                    break
                except (NoSuchObject, WorkerLost):
                    await asyncio.sleep(0.001)
        await worker.__aexit__(None, None, None)
