"""Streams: what a generator method yields, as its consumer sees it."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import Struct

from ipc_broker import Limits, SharedObject, Worker, connect
from ipc_broker.aio.client import Client
from ipc_broker.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgs,
    IPCError,
    NoSuchMethod,
    NoSuchObject,
    RemoteError,
    TooLarge,
    WorkerLost,
)
from ipc_broker.session.settings import Settings
from tests.aio.bus import broker_at, bus, rest_of, serving, until
from tests.aio.objects import Echo, Gate, Streams, closed, entered, let_through

COUNTING = ["count", "count_in_thread"]
ENDLESS = ["endless", "endless_in_thread", "once_and_wait"]


class Line(Struct):
    text: str


# To the end


@pytest.mark.parametrize("method", COUNTING)
async def test_every_item_comes_in_order_however_it_is_read(method: str, any_address: str) -> None:
    async with bus(any_address, it=Streams()) as client:
        assert [item async for item in client.stream("it", method, [1000])] == list(range(1000))
        async with client.stream("it", method, {"stop": 3}) as items:
            assert repr(items).startswith(f"<Stream 'it' '{method}' open")
            assert [item async for item in items] == [0, 1, 2]
            assert [item async for item in items] == []
        assert [item async for item in client.stream("it", method, 0)] == []
        assert client.link.session.calls_in_flight == 0
        assert repr(items) == f"<Stream 'it' '{method}' ended pending=0>"


async def test_nothing_is_called_before_the_first_item_is_asked_for(address: str) -> None:
    streams = Streams()
    async with bus(address, it=streams) as client:
        items = client.stream("it", "endless")
        assert repr(items) == "<Stream 'it' 'endless' not started>"
        assert client.link.session.calls_in_flight == 0
        await items.aclose()
        assert await client.call("it", "plain") == "no stream"
        assert streams._made == 0


async def test_items_are_converted_to_their_type(address: str) -> None:
    class Lines:
        async def tail(self, n: int) -> AsyncIterator[Line]:
            for number in range(n):
                yield Line(str(number))

    async with bus(address, logs=Lines(), it=Streams()) as client:
        expected = [Line("0"), Line("1")]
        assert [line async for line in client.stream("logs", "tail", {"n": 2}, returns=Line)] == expected
        async with client.stream("it", "endless", returns=int) as items:
            with pytest.raises(RemoteError, match="Expected `int`, got `str`") as caught:
                await anext(items)
            assert (caught.value.object, caught.value.method) == ("it", "endless")


async def test_many_streams_and_calls_at_once(address: str) -> None:
    async with bus(address, it=Streams(), echo=Echo()) as client:

        async def read(number: int) -> list[int]:
            return [item async for item in client.stream("it", COUNTING[number % 2], [number * 10])]

        reading = asyncio.gather(*map(read, range(30)))
        assert await asyncio.gather(*(client.call("echo", "back", n) for n in range(30))) == list(range(30))
        assert await reading == [list(range(number * 10)) for number in range(30)]


@pytest.mark.parametrize(("of_worker", "of_caller"), [("json", "msgpack"), ("msgpack", "json")])
@pytest.mark.parametrize("method", COUNTING)
async def test_a_stream_passes_between_encodings_for_many_windows(
    method: str, of_worker: str, of_caller: str, address: str
) -> None:
    """Its frames have other lengths on either side, and credit is counted in them."""
    async with broker_at(address) as broker:
        worker, caller = Worker(broker.addresses[0]), Client(broker.addresses[0])
        worker.client.link.session._settings = Settings(encodings=(of_worker,))
        caller.link.session._settings = Settings(encodings=(of_caller,))
        worker.add("it", Streams())
        await caller.link.open(5)
        async with worker:
            count = 0
            async for item in caller.stream("it", method, [40_000]):
                assert item == count
                count += 1
            assert count == 40_000
        await caller.close()


# To an early end


@pytest.mark.parametrize("method", ENDLESS)
async def test_leaving_the_loop_closes_the_generator(method: str, any_address: str) -> None:
    streams = Streams()
    async with bus(any_address, it=streams) as client:
        async for _ in client.stream("it", method):
            break
        await closed(streams)
        assert client.link.session.calls_in_flight == 0


@pytest.mark.parametrize("method", ENDLESS)
async def test_leaving_the_block_closes_the_generator(method: str, address: str) -> None:
    streams = Streams()
    async with bus(address, it=streams) as client:
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - leaving the block is what is tried
            async with client.stream("it", method) as items:
                await anext(items)
                raise KeyError("mine")
        await closed(streams)
        with pytest.raises(StopAsyncIteration):
            await anext(items)
        await items.aclose()
        assert streams._closed == 1


@pytest.mark.parametrize("method", ENDLESS)
async def test_a_consumer_that_is_gone_closes_the_generator(method: str, address: str) -> None:
    streams = Streams()
    async with broker_at(address) as broker, serving(broker.addresses[0], it=streams) as worker:
        client = await connect(broker.addresses[0])
        await anext(stream := client.stream("it", method))
        assert client.link._protocol is not None
        client.link._protocol.transport.abort()
        await closed(streams)
        await until(lambda: not len(worker._executor))
        with pytest.raises(ConnectionLost):
            await rest_of(stream)
        await client.close()


@pytest.mark.parametrize("method", ENDLESS)
async def test_a_stream_ends_with_its_timeout(method: str, address: str) -> None:
    streams = Streams()
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], it=streams) as worker,
        connect(broker.addresses[0]) as client,
    ):
        with pytest.raises(DeadlineExceeded, match=f"'it' did not answer '{method}' within 0.1 s"):
            await rest_of(client.stream("it", method, timeout=0.1))
        await until(lambda: not len(worker._executor))
        await closed(streams)
        assert await client.call("it", "plain") == "no stream"


@pytest.mark.parametrize("timeout", [None, math.inf])
async def test_a_stream_without_a_timeout_waits(timeout: float | None, address: str) -> None:
    gate = Gate()

    class Waits:
        async def one(self) -> AsyncIterator[Any]:
            yield await gate.wait(5)

    async with bus(address, it=Waits()) as client:
        reading = asyncio.ensure_future(rest_of(client.stream("it", "one", timeout=timeout)))
        await entered(gate)
        let_through(gate)
        assert await reading == [5]


async def test_a_waiting_consumer_may_be_cancelled_and_loses_nothing(address: str) -> None:
    class Paced:
        def __init__(self) -> None:
            self._may = asyncio.Semaphore(0)

        async def count(self) -> AsyncIterator[int]:
            for number in range(200):
                await self._may.acquire()
                yield number

    paced = Paced()
    async with bus(address, it=paced) as client, client.stream("it", "count") as items:
        taken: list[int] = []

        async def read() -> None:
            while True:
                taken.append(await anext(items))

        for number in range(200):
            reading = asyncio.ensure_future(read())
            await asyncio.sleep(0)
            paced._may.release()
            for _ in range(number % 7):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        taken += [item async for item in items]
        assert taken == list(range(200))


@pytest.mark.parametrize("how", ["aclose", "client", "broker"])
async def test_a_waiting_consumer_is_told_when_the_stream_ends(how: str, address: str) -> None:
    streams = Streams()
    async with broker_at(address, grace=0) as broker, serving(broker.addresses[0], it=streams):
        client = await connect(broker.addresses[0])
        stream = client.stream("it", "once_and_wait")
        assert await anext(stream) == "first"
        waiting = asyncio.ensure_future(anext(stream, "end"))
        await asyncio.sleep(0)
        if how == "aclose":
            await stream.aclose()
            assert await waiting == "end"
        else:
            await (client if how == "client" else broker).close()
            with pytest.raises((ConnectionLost, WorkerLost)):
                await waiting
        await closed(streams)
        await client.close()


async def test_a_stream_that_nobody_keeps_may_outlive_its_loop_or_die_in_another_thread(address: str) -> None:
    streams = Streams()
    async with bus(address, it=streams) as client:
        kept = [client.stream("it", "endless")]
        await anext(kept[0])
        loop_thread = threading.get_ident()
        cancel, threads = client.link.session.cancel, []

        def cancelled(call_id: str) -> None:
            threads.append(threading.get_ident())
            cancel(call_id)

        client.link.session.cancel = cancelled
        await asyncio.to_thread(kept.clear)
        await closed(streams)
        assert threads == [loop_thread]


def test_a_stream_that_is_dropped_after_its_loop_complains_of_nothing(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []

    async def use() -> None:
        async with broker_at(address) as broker, serving(broker.addresses[0], it=Streams()):
            client = await connect(broker.addresses[0])
            kept.append(client.stream("it", "endless"))
            await anext(kept[0])
            await client.close()
            kept[0]._incoming.ended = False  # as if it had never been told

    asyncio.run(use())
    kept.clear()
    gc.collect()
    assert "Exception ignored" not in capsys.readouterr().err


# Failures


@pytest.mark.parametrize("method", ["breaks", "breaks_in_thread"])
@pytest.mark.parametrize("after", [0, 3])
async def test_what_the_generator_raises_comes_behind_its_last_item(after: int, method: str, address: str) -> None:
    async with bus(address, it=Streams()) as client:
        taken: list[int] = []
        with pytest.raises(RemoteError, match=r"^it broke$") as caught:  # noqa: PT012 - it is to raise in the end
            async for item in client.stream("it", method, [after]):
                taken.append(item)
        assert taken == list(range(after))
        error = caught.value
        assert (error.data, error.type, error.object, error.method) == ({"after": after}, "RemoteError", "it", method)


async def test_a_worker_that_is_lost_in_the_middle(any_address: str) -> None:
    streams = Streams()
    async with (
        broker_at(any_address) as broker,
        connect(broker.addresses[0]) as client,
        serving(broker.addresses[0], it=streams) as worker,
    ):
        stream = client.stream("it", "once_and_wait", timeout=None)
        assert await anext(stream) == "first"
        assert worker.client.link._protocol is not None
        worker.client.link._protocol.transport.abort()
        with pytest.raises(WorkerLost) as caught:
            await anext(stream)
        assert caught.value.delivered == "maybe"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await closed(streams)


async def test_what_cannot_be_streamed(address: str) -> None:
    class Dynamic(SharedObject):
        async def call(self, method: str, args: Any) -> Any:
            return [method, args]

    async with bus(address, it=Streams(), echo=Echo(), dynamic=Dynamic()) as client:
        for name, method in (("it", "plain"), ("echo", "back"), ("dynamic", "any")):
            with pytest.raises(InvalidArgs, match=f"'{name}.{method}' is no stream, .* use call"):
                await rest_of(client.stream(name, method))
        with pytest.raises(NoSuchMethod):
            await rest_of(client.stream("it", "none"))
        with pytest.raises(NoSuchObject):
            await rest_of(client.stream("none", "count"))
        with pytest.raises(InvalidArgs, match="Expected `int`, got `str`"):
            await rest_of(client.stream("it", "count", ["x"]))
        with pytest.raises(InvalidArgs, match="cannot be sent"):
            await rest_of(client.stream("it", "count", object()))
        assert client.link.session.calls_in_flight == 0


@pytest.mark.parametrize("in_thread", [False, True])
async def test_an_item_that_cannot_be_sent_ends_the_stream(in_thread: bool, address: str) -> None:
    class Mixed:
        async def on_loop(self, what: str) -> Any:
            yield 1
            yield large if what == "large" else object()

        def in_thread(self, what: str) -> Any:
            yield 1
            yield large if what == "large" else object()

    large = "x" * 70_000
    method = "in_thread" if in_thread else "on_loop"
    async with bus(address, limits=Limits(max_frame=65_536), it=Mixed()) as client:
        for what, kind, words in (
            ("large", TooLarge, rf"an item of 'it\.{method}' takes \d+ bytes, over the limit of 65536 bytes"),
            ("object", RemoteError, f"'{method}' returned what cannot be sent"),
        ):
            async with client.stream("it", method, [what]) as items:
                assert await anext(items) == 1
                with pytest.raises(CallError, match=words) as caught:
                    await anext(items)
            assert type(caught.value) is kind


@pytest.mark.parametrize("method", COUNTING)
async def test_a_plain_call_of_a_generator_gives_a_list(method: str, address: str) -> None:
    async with bus(address, it=Streams()) as client:
        assert await client.call("it", method, [3]) == [0, 1, 2]
        with pytest.raises(RemoteError, match=r"^it broke$"):
            await client.call("it", "breaks", [3])


async def test_a_plain_call_of_an_endless_generator_ends_with_its_deadline(address: str) -> None:
    """In a thread nothing can cancel it: it must look by itself."""
    streams = Streams()
    async with bus(address, it=streams) as client:
        with pytest.raises(DeadlineExceeded):
            await client.call("it", "endless_in_thread", timeout=0.1)
        await closed(streams)


async def test_another_loop_is_refused(address: str) -> None:
    async with bus(address, it=Streams()) as client:

        def elsewhere() -> None:
            asyncio.run(rest_of(client.stream("it", "count", [3])))

        with pytest.raises(IPCError, match="belongs to another event loop"):
            await asyncio.to_thread(elsewhere)
