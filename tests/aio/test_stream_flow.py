"""Streams: a producer runs no further ahead than its consumer allows, and never waits for one that is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ipc_broker import Worker, connect, inline
from ipc_broker.aio import worker as worker_module
from ipc_broker.errors import CallCancelled, ConnectionLost, WorkerLost
from ipc_broker.session.streams import WINDOW
from tests.aio.bus import broker_at, rest_of, serving, until
from tests.aio.objects import Echo, Gate, Streams, closed, entered, let_through

ENDLESS = ["endless", "endless_in_thread"]
SIZE = 1000


def waits_for_credit(worker: Worker) -> bool:
    """Whether it has a stream that has used its credit up."""
    return any(run.stream is not None and run.stream._credit <= 0 for run in worker._executor._running.values())


def stream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ipc-broker-worker")]


@pytest.mark.parametrize("method", ENDLESS)
async def test_a_consumer_that_stops_reading_stops_the_producer(method: str, any_address: str) -> None:
    streams = Streams()
    async with broker_at(any_address) as broker, serving(broker.addresses[0], it=streams, echo=Echo()) as worker:
        async with connect(broker.addresses[0]) as client, client.stream("it", method, [SIZE]) as items:
            taken = 0
            for _ in range(3):
                await until(lambda: waits_for_credit(worker))
                # What is made takes more than its size on its way; one more is made and held back.
                assert streams._made - taken <= WINDOW // SIZE + 1
                assert await client.call("echo", "back", 1) == 1
                while items._incoming is not None and items._incoming.pending:
                    assert await anext(items) == "x" * SIZE
                    taken += 1
                assert taken > WINDOW // (SIZE + 100)
            assert taken <= streams._made
        await closed(streams)


@pytest.mark.parametrize("method", ENDLESS)
async def test_items_larger_than_the_window_come_one_by_one(method: str, address: str) -> None:
    streams = Streams()
    size = 3 * WINDOW
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=streams) as worker,
        connect(broker.addresses[0]) as client,
        client.stream("it", method, [size]) as items,
    ):
        for number in range(5):
            await until(lambda: waits_for_credit(worker))
            assert streams._made <= number + 2
            assert len(await anext(items)) == size


@pytest.mark.parametrize("method", ENDLESS)
async def test_a_waiting_producer_is_closed_when_its_consumer_leaves(method: str, address: str) -> None:
    streams = Streams()
    async with broker_at(address) as broker, serving(broker.addresses[0], it=streams) as worker:
        async with connect(broker.addresses[0]) as client:
            async for _ in client.stream("it", method, [SIZE]):
                await until(lambda: waits_for_credit(worker))
                break
            await closed(streams)
        await until(lambda: not len(worker._executor))


@pytest.mark.parametrize("method", ENDLESS)
@pytest.mark.parametrize("lost", ["consumer", "broker"])
async def test_a_waiting_producer_is_closed_when_its_consumer_is_lost(lost: str, method: str, address: str) -> None:
    streams = Streams()
    async with broker_at(address, grace=0) as broker, serving(broker.addresses[0], it=streams) as worker:
        client = await connect(broker.addresses[0])
        stream = client.stream("it", method, [SIZE])
        await anext(stream)
        await until(lambda: waits_for_credit(worker))
        if lost == "broker":
            await broker.close()
        else:
            assert client.link._protocol is not None
            client.link._protocol.transport.abort()
        await closed(streams)
        await until(lambda: not len(worker._executor))
        with pytest.raises((ConnectionLost, WorkerLost)):
            await rest_of(stream)
        await client.close()


@pytest.mark.parametrize("method", [*ENDLESS, "once_and_wait"])
async def test_stopping_the_worker_closes_what_still_streams(
    method: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "DRAIN_TIMEOUT", 0.05)
    streams = Streams()
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with serving(broker.addresses[0], it=streams):
            stream = client.stream("it", method, None if method == "once_and_wait" else [SIZE])
            await anext(stream)
        with pytest.raises(CallCancelled, match=f"'it' cancelled '{method}'"):
            await rest_of(stream)
        await closed(streams)
        await until(lambda: not stream_threads())


async def test_stopping_the_worker_lets_a_stream_come_to_its_end(address: str) -> None:
    gate = Gate()

    class Waits:
        async def two(self) -> AsyncIterator[Any]:
            yield 1
            yield await gate.wait(2)

    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        serving(broker.addresses[0], it=Waits()) as worker,
    ):
        stream = client.stream("it", "two")
        assert await anext(stream) == 1
        await entered(gate)
        leaving = asyncio.ensure_future(worker._leave())
        await until(lambda: not broker.router.names.find("it"))
        let_through(gate)
        assert [item async for item in stream] == [2]
        await leaving


async def test_removing_the_object_closes_its_streams_and_no_others(address: str) -> None:
    gone, kept = Streams(), Streams()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], gone=gone, kept=kept) as worker,
        connect(broker.addresses[0]) as client,
    ):
        first, second = client.stream("gone", "endless_in_thread", [SIZE]), client.stream("kept", "endless", [SIZE])
        await asyncio.gather(anext(first), anext(second))
        worker.remove("gone")
        await closed(gone)
        with pytest.raises((WorkerLost, CallCancelled)):
            await rest_of(first)
        for _ in range(2 * WINDOW // SIZE):
            await anext(second)
        assert kept._closed == 0
        await second.aclose()
        await closed(kept)


@pytest.mark.parametrize("method", ["endless", "endless_in_thread"])
@pytest.mark.parametrize("credit", [True, False])
async def test_a_stream_that_is_cancelled_before_it_began_leaves_nothing_behind(
    credit: bool, method: str, address: str
) -> None:
    class Control:
        @inline
        def remove(self) -> None:
            worker.remove("it")

    streams = Streams()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=streams, control=Control()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        # Both leave in one write and arrive in one read: the second comes before the task of the first has run.
        stream = client.stream("it", method)
        opening = anext(stream) if credit else client.call("it", method)
        ended = await asyncio.gather(opening, client.call("control", "remove"), return_exceptions=True)
        assert isinstance(ended[0], WorkerLost | CallCancelled)
        assert ended[1] is None
        assert len(worker._executor) == 0
        assert streams._made == 0


@pytest.mark.parametrize("method", ENDLESS)
async def test_a_waiting_producer_is_closed_when_the_loop_cancels_all_tasks(method: str, address: str) -> None:
    """As `asyncio.run` does in the end; a thread that went on waiting would keep the process from ending."""
    streams = Streams()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=streams) as worker,
        connect(broker.addresses[0]) as client,
        client.stream("it", method, [SIZE]) as items,
    ):
        await anext(items)
        await until(lambda: waits_for_credit(worker))
        for run in worker._executor._running.values():
            run.task.cancel()
        await closed(streams)
        with pytest.raises(CallCancelled):
            await rest_of(items)


async def test_a_generator_that_breaks_while_it_is_closed_costs_only_itself(address: str) -> None:
    class Breaks:
        async def on_loop(self) -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
                await asyncio.Event().wait()
            finally:
                raise RuntimeError("in the end")

        def in_thread(self) -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                raise RuntimeError("in the end")

    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=Breaks(), echo=Echo()) as worker,
        connect(broker.addresses[0]) as client,
    ):
        for method in ("on_loop", "in_thread"):
            async with client.stream("it", method) as items:
                assert await anext(items) == 1
            await until(lambda: not len(worker._executor))
            assert await client.call("echo", "back", 1) == 1


async def test_a_stream_that_runs_dry_waits_for_its_producer_and_goes_on(address: str) -> None:
    class Paced:
        def __init__(self) -> None:
            self.may = threading.Semaphore(0)

        def count(self) -> Iterator[int]:
            for number in range(50):
                assert self.may.acquire(timeout=20)
                yield number

    paced = Paced()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=paced),
        connect(broker.addresses[0]) as client,
    ):
        paced.may.release()
        taken = []
        async for number in client.stream("it", "count"):
            taken.append(number)
            paced.may.release()
        assert taken == list(range(50))
