"""What workers tell of their objects and what the broker tells of the bus, over real connections."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw, msgpack

from ipc_broker import Limits, SharedObject, Worker, connect
from ipc_broker.aio.client import Client
from ipc_broker.driver import Rob
from ipc_broker.observation import ObjectMeasures, Record, TopicState
from tests.aio.bus import broker_at, bus, serving, until
from tests.catalogue import Catalogue

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # for type checkers only, and not even for them


async def methods_of(client: Client, name: str) -> list[str] | None:
    """None of an opaque object."""
    interface = (await client.describe(name)).interface
    return None if interface is None else sorted(interface.methods)


# Workers


async def test_methods_that_are_added_while_it_serves_are_told(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ipc_broker")
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        worker = Worker(broker.addresses[0], name="worker")

        @worker.method("math")
        async def add(a: int, b: int) -> int:
            """Adds."""
            return a + b

        async with worker:
            described = await client.describe("math")
            assert described.interface is not None
            assert (described.interface.type, described.interface.doc) == ("", "")
            assert list(described.interface.methods) == ["add"]
            assert described.interface.methods["add"].doc == "Adds."

            @worker.method("math")
            def sub(a: int, b: int) -> int:
                return a - b

            @worker.method("text")
            def upper(text: str) -> str:
                return text.upper()

            await client.wait_for("text")
            assert await methods_of(client, "math") == ["add", "sub"]
            assert await methods_of(client, "text") == ["upper"]
            assert await client.call("math", "sub", [3, 2]) == 1
    [changed] = [one for one in caplog.messages if "changed interface" in one]
    assert changed.endswith("serves 'math' with a changed interface, compatible: 'sub' is new")


class Opaque(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        return method


@dataclass
class HalfKnown:
    value: int
    other: Unknown


class Returns:
    async def half(self) -> HalfKnown:
        return HalfKnown(1, 2)


class Odd:
    async def served(self) -> str:
        return "served"

    served.__doc__ = "No text: \ud800"


class Wordy:
    async def served(self) -> str:
        return "served"

    served.__doc__ = "word " * 20_000


async def test_what_cannot_be_told_is_served_all_the_same(address: str, caplog: pytest.LogCaptureFixture) -> None:
    objects = {"opaque": Opaque(), "odd": Odd(), "wordy": Wordy(), "half": Returns()}
    async with bus(address, limits=Limits(max_frame=65_536), **objects) as client:
        for name in ("opaque", "odd", "wordy"):
            assert await methods_of(client, name) is None
            assert await client.call(name, "served") == "served"
        assert await methods_of(client, "half") == ["half"]
        assert await client.call("half", "half") == {"value": 1, "other": 2}
    told = [one for one in caplog.messages if "is not described" in one]
    assert len(told) == 2
    assert "'odd' is not described: its interface cannot be sent" in told[0]
    assert "'wordy' is not described: its interface is over" in told[1]


async def test_an_interface_is_told_again_after_a_reconnect(address: str) -> None:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        worker = Worker(where)
        worker.add("catalogue", Catalogue())
        await worker.__aenter__()
        async with connect(where) as client:
            before = await client.describe("catalogue")
    async with broker_at(where), connect(where) as client:
        await client.wait_for("catalogue")
        again = await client.describe("catalogue")
        assert again.interface == before.interface
        await worker.__aexit__(None, None, None)


# Those who look


async def test_the_bus_is_watched_with_types(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0], name="looker") as client:
        where = broker.addresses[0]
        watching = client.stream("rob", "monitor", {"object": "catalogue"}, returns=Record)
        records = [await anext(watching)]
        async with serving(where, catalogue=Catalogue()), connect(where, name="caller") as caller:
            assert await caller.call("catalogue", "pair") == [1, "a"]
            await caller.publish("catalogue", "changed", {"a": 1}, ack=True)
            await caller.publish("other", "changed", ack=True)
        records += [await anext(watching) for _ in range(5)]
        await watching.aclose()
        assert [one.kind for one in records] == ["begin", "registered", "call", "result", "event", "lost"]
        _, _, asked, answered, event, _ = records
        assert (asked.object, asked.method, asked.call) == ("catalogue", "pair", answered.call)
        assert answered.seconds >= 0
        assert isinstance(answered.value, Raw)
        assert msgpack.decode(answered.value) == [1, "a"]
        assert event.peer.startswith("'caller'")
        await until(lambda: not broker.router.observers)


async def test_a_watcher_that_reads_slowly_loses_nothing_untold(address: str) -> None:
    count = 3000
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        stream = client.object("rob", Rob).monitor(object="sensor", rate=0)
        record = await anext(stream)
        assert record.kind == "begin"
        async with connect(broker.addresses[0]) as publisher:
            for number in range(count):
                await publisher.publish("sensor", "heat", [number, "x" * 500])
            await publisher.drain()
        told = missed = 0
        while told + missed < count:
            record = await anext(stream)
            told += record.kind == "event"
            missed += record.count if record.kind == "missed" else 0
        assert told + missed == count


async def test_the_broker_answers_whoever_asks_with_types(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        rob = client.object("rob", Rob)
        assert (await rob.measure()).objects == {"catalogue": ObjectMeasures()}
        async with client.subscribe("sensor", "heat"):
            await client.call("catalogue", "pair")
            measured = await rob.measure()
            assert measured.objects["catalogue"].calls == measured.objects["catalogue"].results == 1
            assert sum(measured.objects["catalogue"].latency.values()) == 1
            assert measured.connections_total == 2
            assert await rob.topics("sensor") == [TopicState("sensor", "heat", 1)]
        found = await rob.inspect()
        assert (found.calls, found.behind, found.departures) == ([], [], [])


async def test_a_function_that_cannot_be_served_leaves_no_object_behind(address: str) -> None:
    async with broker_at(address) as broker, serving(broker.addresses[0]) as worker:

        def wrong(a: dict[str, int] | dict[str, str]) -> None: ...

        with pytest.raises(TypeError, match="cannot expose"):
            worker.method("math")(wrong)
        assert "math" not in repr(worker)
        async with connect(broker.addresses[0]) as client:
            assert not await client.has("math")
