"""Brokers, workers and raw peers on real sockets, for as long as a block runs."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast

from ipc_broker import Broker, BrokerConfig, Worker, connect
from ipc_broker.address import parse_address
from ipc_broker.aio.client import Client
from ipc_broker.config import Limits
from tests.insecure import INSECURE
from tests.seed.address import connect as connected_socket
from tests.seed.broker import SeedBroker
from tests.seed.frames import Message, frame, read_frame


class AnyBroker:
    """Starts a broker of one kind, each time at the same address, which it gives."""

    def __init__(self, kind: str, address: str) -> None:
        self._kind = kind
        self._address = address

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[str]:
        async with any_broker_at(self._kind, self._address) as self._address:
            yield self._address


@asynccontextmanager
async def broker_at(address: str, *, grace: float = 5.0, limits: Limits = Limits()) -> AsyncIterator[Broker]:
    async with Broker(BrokerConfig(listen=(address,), grace=grace, limits=limits, insecure=INSECURE)) as broker:
        yield broker


@asynccontextmanager
async def any_broker_at(kind: str, address: str, *, limits: Limits = Limits()) -> AsyncIterator[str]:
    if kind == "ours":
        async with broker_at(address, limits=limits) as ours:
            yield ours.addresses[0]
    else:
        async with SeedBroker(address, not_ready=kind != "seed") as seed:
            yield seed.address


@asynccontextmanager
async def serving(address: str, **objects: object) -> AsyncIterator[Worker]:
    """A worker whose objects are registered."""
    worker = Worker(address)
    for name, target in objects.items():
        worker.add(name, target)
    async with worker:
        yield worker


@asynccontextmanager
async def bus(address: str, *, limits: Limits = Limits(), **objects: object) -> AsyncIterator[Client]:
    """A broker of ours, a worker that serves the objects, and a client."""
    async with (
        broker_at(address, limits=limits) as broker,
        serving(broker.addresses[0], **objects),
        connect(broker.addresses[0]) as client,
    ):
        yield client


class RawPeer:
    """A connection on which the test says every byte itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, message: Message) -> None:
        self.writer.write(frame(message))

    async def read(self) -> Message:
        return cast(Message, json.loads(await read_frame(self.reader)))

    async def ask(self, message: Message) -> Message:
        """The next message that comes."""
        self.send(message)
        return await self.read()

    async def rest(self) -> bytes:
        """All that still comes, until the other side ends the connection."""
        data = b""
        try:
            while piece := await self.reader.read(65_536):
                data += piece
        except ConnectionError:
            return data
        return data

    @classmethod
    @asynccontextmanager
    async def at(cls, address: str) -> AsyncIterator[Self]:
        where = parse_address(address)
        if where.scheme == "tcp" or sys.platform == "win32":
            reader, writer = await asyncio.open_connection(where.location, where.port)
        else:
            reader, writer = await asyncio.open_unix_connection(where.location)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except ConnectionError:
        return


def plain_socket(address: str) -> socket.socket:
    """A connected socket that no loop knows."""
    return connected_socket(address, 10)


async def rest_of(items: AsyncIterable[Any]) -> list[Any]:
    """All that still comes."""
    return [item async for item in items]


async def until(condition: Callable[[], Any]) -> None:
    """Gives the loop its turns until the condition holds; the test's time limit bounds it."""
    while not condition():  # noqa: ASYNC110 - what it looks at tells nobody when it changes
        await asyncio.sleep(0.001)


async def until_lost(client: Client, name: str) -> None:
    """Until nobody serves the object any more."""
    while await client.has(name):  # noqa: ASYNC110 - the seed's broker does not tell
        await asyncio.sleep(0.001)


class Peer:
    """A server that answers as the test says; `accepted` counts the connections."""

    def __init__(self, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> None:
        self._answer = answer
        self.accepted = 0
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def at(self, address: str) -> AsyncIterator[str]:
        where = parse_address(address)
        if where.scheme == "tcp" or sys.platform == "win32":
            server = await asyncio.start_server(self._accept, where.location, where.port)
            address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        else:
            server = await asyncio.start_unix_server(self._accept, where.location)
        try:
            yield address
        finally:
            server.close()
            for _ in range(5):  # what was being accepted comes only now
                await asyncio.sleep(0)
            for writer in self._writers:
                writer.transport.abort()
            for writer in self._writers:
                await _closed(writer)
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the other side has gone
