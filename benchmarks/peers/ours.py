"""ipc-broker itself: the broker is its own program, the worker `benchmarks.calls.Calculator`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import uvloop

from ipc_broker import Client, Event, Worker, connect, sync

from ..calls import Calculator
from ..processes import start_broker
from .peer import Ends, Peer, Ready, Take
from .place import Place, Served
from .roles import main

OBJECT = "sensor"


def start(place: Place) -> Served:
    address = f"unix://{place.socket_path()}"
    return Served(address, [start_broker(place.processes, address)])


def serve(address: str, ready: Ready) -> None:
    async def run() -> None:
        worker = Worker(address, name="benchmark")
        worker.add("math", Calculator())
        async with worker:
            ready()
            await worker.serve()

    uvloop.run(run())


class Blocking:
    def __init__(self, address: str) -> None:
        self._client = sync.connect(address)

    def add(self, a: int, b: int) -> int:
        result: int = self._client.call("math", "add", {"a": a, "b": b})["sum"]
        return result

    def echo(self, data: bytes) -> bytes:
        return self._client.call("math", "echo", [data], returns=bytes)

    def close(self) -> None:
        self._client.close()


class Asyncio:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def add(self, a: int, b: int) -> int:
        result: int = (await self._client.call("math", "add", {"a": a, "b": b}))["sum"]
        return result

    async def echo(self, data: bytes) -> bytes:
        return await self._client.call("math", "echo", [data], returns=bytes)

    async def close(self) -> None:
        await self._client.close()


async def open_asyncio(address: str) -> Asyncio:
    return Asyncio(await connect(address))


class Publisher:
    publish: Callable[[str, bytes], Awaitable[None]]

    def __init__(self, client: Client) -> None:
        self._client = client
        self.publish = functools.partial(client.publish, OBJECT)

    async def flush(self) -> None:
        await self._client.drain(timeout=None)

    async def close(self) -> None:
        await self._client.close()


async def open_publisher(address: str) -> Publisher:
    return Publisher(await connect(address))


async def subscribe(address: str, topic: str, take: Take) -> None:
    async with connect(address) as client, client.subscribe(OBJECT, topic) as events:
        async for event in events:
            if isinstance(event, Event) and take(event.value):
                return


PEER = Peer(
    name="ours",
    title="ipc-broker",
    start=start,
    missing=lambda: "",
    ends=Ends(
        serve=serve,
        blocking=Blocking,
        asyncio=open_asyncio,
        asyncio_publisher=open_publisher,
        asyncio_subscriber=subscribe,
    ),
    distributions=("uvloop", "msgspec"),
    settings=(
        "as it comes: a Unix socket, MessagePack, uvloop; the worker's methods are `async def` with type hints",
        "so calls leave the broker out after the first twenty, events of one topic travel together, and payloads of 1 MiB stand "
        "in memory that two processes share",
    ),
    promise=(
        "Every call ends with a result or one error; every event arrives once and in order, or the subscriber is told how "
        "many it missed; a publisher waits for slow subscribers up to the stall limit."
    ),
)


if __name__ == "__main__":
    main(PEER)
