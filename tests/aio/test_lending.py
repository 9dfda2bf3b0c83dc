"""Large calls that go directly: they stand in memory of both ends, with the same calls and the same answers."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, Event, RemoteError, connect
from ipc_broker.aio import direct_server
from ipc_broker.aio.client import Client
from ipc_broker.errors import DeadlineExceeded, InvalidArgs, NoSuchMethod, WorkerLost
from ipc_broker.protocol.framing import LARGE
from ipc_broker.protocol.lending import SLOT_SIZE, SLOTS
from ipc_broker.session.direct import Path as DirectPath
from tests.aio.bus import broker_at, bus, serving, until
from tests.aio.direct import go_direct, needs_direct, path_of
from tests.aio.objects import Gate, entered, let_through
from tests.aio.test_worker_modes import kill

pytestmark = needs_direct

BLOB = bytes(range(256)) * (LARGE // 128)


class Store:
    def __init__(self) -> None:
        self._kept: list[memoryview] = []

    async def echo(self, data: bytes) -> bytes:
        return data

    async def keep(self, data: memoryview) -> int:
        """The view stays valid as long as it is kept."""
        self._kept.append(data)
        return len(data)

    async def kept(self, index: int) -> bytes:
        return bytes(self._kept[index])

    async def forget(self) -> None:
        self._kept.clear()

    async def fail(self, data: bytes) -> None:
        raise ValueError(f"of {len(data)} bytes")

    async def hold(self, data: memoryview) -> None:
        await asyncio.Event().wait()

    def fail_in_thread(self, data: memoryview) -> None:
        raise ValueError(f"of {len(data)} bytes")


def mappings() -> int:
    """Of memory that is shared, in this process, where both ends are."""
    gc.collect()
    return Path("/proc/self/maps").read_text(encoding="utf-8").count("memfd:ipc-broker")


@asynccontextmanager
async def lending(address: str, store: Store) -> AsyncIterator[tuple[Client, DirectPath]]:
    async with bus(address, it=store) as client:
        path = await go_direct(client, "it", "kept" if store._kept else "forget")
        assert mappings() == 0
        assert await client.call("it", "echo", [BLOB], returns=bytes) == BLOB
        assert path.connection.lending is not None
        assert path.connection.lending.may_lend
        yield client, path


async def test_large_calls_and_answers_are_lent_and_nothing_is_left(address: str) -> None:
    async with lending(address, Store()) as (client, path):
        assert mappings() == 2
        frames = path.connection.progress
        for size in (LARGE - 10, LARGE, len(BLOB), SLOT_SIZE - 100, SLOT_SIZE, 2 * SLOT_SIZE):
            data = BLOB * (size // len(BLOB)) + BLOB[: size % len(BLOB)]
            assert await client.call("it", "echo", [data], returns=bytes) == data
        assert path.connection.progress != frames
        assert path.connection.lending is not None
        assert path.connection.lending.borrowed == 0
    assert mappings() == 0


async def test_many_at_once_are_answered_whatever_way_they_take(address: str) -> None:
    async with lending(address, Store()) as (client, _):
        blobs = [bytes([number]) * (LARGE + number) for number in range(3 * SLOTS)]
        answers = await asyncio.gather(*(client.call("it", "echo", [one], returns=bytes) for one in blobs))
        assert answers == blobs


async def test_a_view_that_a_method_keeps_is_not_written_over(address: str) -> None:
    async with lending(address, Store()) as (client, _):
        blobs = [bytes([number]) * LARGE for number in range(2 * SLOTS)]
        for blob in blobs:
            assert await client.call("it", "keep", [blob]) == LARGE
        for index, blob in enumerate(blobs):
            assert await client.call("it", "kept", [index], returns=bytes) == blob
        await client.call("it", "forget")
        assert await client.call("it", "echo", [BLOB], returns=bytes) == BLOB


async def test_a_view_that_a_caller_keeps_is_not_written_over_and_outlives_the_connection(address: str) -> None:
    async with lending(address, Store()) as (client, path):
        blobs = [bytes([number]) * LARGE for number in range(2 * SLOTS)]
        views = [await client.call("it", "echo", [blob], returns=memoryview) for blob in blobs]
        assert path.connection.lending is not None
        assert path.connection.lending.borrowed == SLOTS
        assert views == blobs
        assert all(view.readonly for view in views[:SLOTS])
    assert views == blobs
    views.clear()
    del path, client
    await until(lambda: mappings() == 0)


async def test_a_large_call_that_fails_gives_its_slot_back(address: str) -> None:
    async with lending(address, Store()) as (client, path):
        for _ in range(2 * SLOTS):
            with pytest.raises(RemoteError, match=f"of {len(BLOB)} bytes"):
                await client.call("it", "fail", [BLOB])
            with pytest.raises(NoSuchMethod):
                await client.call("it", "nothing", [BLOB])
            with pytest.raises(InvalidArgs):
                await client.call("it", "kept", [BLOB])
        lending_here = path.connection.lending
        assert lending_here is not None
        await until(lambda: lending_here.lent_slots == 0)


async def test_calls_that_fail_need_no_garbage_collection_to_give_their_slots_back(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(
        logging.CRITICAL, "ipc_broker"
    )  # what is kept of a log keeps the exceptions, and they their frames
    async with lending(address, Store()) as (client, path):
        lending_here = path.connection.lending
        assert lending_here is not None
        gc.collect()
        gc.disable()
        try:
            for _ in range(2):
                with pytest.raises(RemoteError, match=f"of {len(BLOB)} bytes"):
                    await client.call("it", "fail_in_thread", [BLOB])
                with pytest.raises(RemoteError, match="something else than int"):
                    await client.call("it", "echo", [BLOB], returns=int)
                with pytest.raises(DeadlineExceeded):
                    await client.call("it", "hold", [BLOB], timeout=0.01)
                held = asyncio.ensure_future(client.call("it", "hold", [BLOB]))
                await until(lambda: lending_here.lent_slots > 0)
                held.cancel()
                await asyncio.wait([held])
            del held
            await until(lambda: not lending_here.lent_slots)
            await until(lambda: not lending_here.borrowed)
        finally:
            gc.enable()


async def test_a_worker_that_cannot_open_the_memory_is_sent_all(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, descriptor: int, token: str, size: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(direct_server, "open_memory", refuse)
    async with bus(address, it=Store()) as client:
        path = await go_direct(client, "it", "forget")
        for _ in range(3):
            assert await client.call("it", "echo", [BLOB], returns=bytes) == BLOB
        assert path.connection.lending is None
        assert path_of(client, "it") is path
        assert mappings() == 0


async def test_a_worker_that_is_killed_with_lent_calls_leaves_nothing(address: str) -> None:
    gate = Gate()
    let_through(gate)
    async with broker_at(address), connect(address) as client, serving(address, it=gate) as worker:
        await go_direct(client, "it", "wait")
        assert await client.call("it", "wait", [BLOB], returns=bytes) == BLOB
        assert mappings() == 2
        gate._open.clear()
        already = gate._entered
        calls = [asyncio.ensure_future(client.call("it", "wait", [BLOB], returns=bytes)) for _ in range(SLOTS + 2)]
        await entered(gate, already + len(calls))
        kill(worker)
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(ended, WorkerLost)
        await until(lambda: mappings() == 0)


# Through the broker


async def test_large_events_are_lent_to_the_broker_and_by_it(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(address) as publisher,
        connect(address) as subscriber,
        subscriber.subscribe("sensor", "t") as events,
    ):
        for number in range(20):
            await publisher.publish("sensor", "t", bytes([number]) * len(BLOB))
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.value == bytes([number]) * len(BLOB)
        for client in (publisher, subscriber):
            connection = client.link.session.connection
            assert connection is not None
            assert connection.lending is not None
            assert connection.lending.may_lend
        assert len(broker.router.memories) == 2
        assert mappings() == 4
    assert mappings() == 0


async def test_a_burst_of_large_events_arrives_whole_and_in_order(address: str) -> None:
    async with (
        broker_at(address),
        connect(address) as publisher,
        connect(address) as subscriber,
        subscriber.subscribe("sensor", "t") as events,
    ):

        async def publish() -> None:
            for number in range(100):
                await publisher.publish("sensor", "t", number.to_bytes(2) * len(BLOB))

        publishing = asyncio.ensure_future(publish())
        for number in range(100):
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.value == number.to_bytes(2) * len(BLOB)
        await publishing


async def test_large_calls_through_the_broker_are_lent_on_all_ways(address: str) -> None:
    config = BrokerConfig(listen=(address,), through_broker=True)
    async with Broker(config) as broker, serving(address, it=Store()) as worker, connect(address) as client:
        for _ in range(3):
            assert await client.call("it", "echo", [BLOB], returns=bytes) == BLOB
        assert len(broker.router.memories) == 2
        for one in (client, worker.client):
            connection = one.link.session.connection
            assert connection is not None
            assert connection.lending is not None
            assert connection.lending.may_lend
            assert connection.lending.lent_slots == 0
        blobs = [bytes([number]) * (LARGE + 1 + number) for number in range(3 * SLOTS)]
        answers = await asyncio.gather(*(client.call("it", "echo", [one], returns=bytes) for one in blobs))
        assert answers == blobs
    await until(lambda: mappings() == 0)


async def test_a_broker_that_is_started_again_shares_memory_anew(address: str) -> None:
    async with AsyncExitStack() as clients:
        async with broker_at(address):
            publisher = await clients.enter_async_context(connect(address))
            await publisher.publish("sensor", "t", BLOB)
            await publisher.drain()
            await until(lambda: mappings() == 2)
        await until(lambda: mappings() == 0)
        async with broker_at(address) as broker:
            subscriber = await clients.enter_async_context(connect(address))
            async with subscriber.subscribe("sensor", "t") as events:
                await until(lambda: publisher.link.session.ready)
                await publisher.publish("sensor", "t", BLOB)
                event = await anext(events)
                assert isinstance(event, Event)
                assert event.value == BLOB
                await until(lambda: len(broker.router.memories) == 2)
                await publisher.drain()
