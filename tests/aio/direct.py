"""Clients that call directly, and raw ends of direct connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import pytest

from ipc_broker import Broker, Worker
from ipc_broker.aio.client import Client
from ipc_broker.aio.direct_server import DirectServer
from ipc_broker.identity.direct import AVAILABLE, connect_to_worker
from ipc_broker.messages import Direct, DirectOffer, Message
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.framing import SEED_MAX_FRAME
from ipc_broker.session.direct import ASK_AFTER, Path
from tests.aio.bus import until

needs_direct = pytest.mark.skipif(not AVAILABLE, reason="only Linux has sockets without a file")


def path_of(client: Client, object_name: str) -> Path | None:
    """The direct connection that the client has for the object, if its calls go there."""
    return client.link.session.directs._paths.get(object_name)


async def go_direct(client: Client, object_name: str, method: str, args: Any = None) -> Path:
    """Calls until the calls of this object go directly."""
    for _ in range(ASK_AFTER):
        await client.call(object_name, method, args)
    await until(lambda: path_of(client, object_name) is not None)
    path = path_of(client, object_name)
    assert path is not None
    await client.call(object_name, method, args)
    return path


def server_of(worker: Worker) -> DirectServer:
    assert worker._direct is not None
    return worker._direct


def callers_of(worker: Worker) -> int:
    """Direct connections that it holds."""
    return len(server_of(worker)._callers)


def through_broker(broker: Broker) -> int:
    """Calls that the broker has seen, of all but itself."""
    return broker.router.totals.calls - broker.router.driver.calls


class RawCaller:
    """A direct connection on which the test says every message itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.end = Connection(Role.DIRECT, lambda: None)
        self.end.extend("msgpack", SEED_MAX_FRAME, SEED_MAX_FRAME)
        self.received: list[Any] = []

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.end.send(message)
        self.writer.write(self.end.data_to_send())

    def greet(self, prefix: str, object_name: str = "it") -> None:
        self.send(Direct(object_name, "", prefix))

    async def read(self, count: int = 1) -> list[Any]:
        """The next messages."""
        while len(self.received) < count:
            data = await self.reader.read(65_536)
            assert data, "the connection ended"
            self.received += [message for message, _ in self.end.receive_data(data)]
        messages, self.received = self.received[:count], self.received[count:]
        return messages

    async def ended(self) -> list[Any]:
        """All that still comes, until the worker closes the connection."""
        try:
            while data := await self.reader.read(65_536):
                self.received += [message for message, _ in self.end.receive_data(data)]
        except ConnectionError:
            return self.received
        return self.received

    @classmethod
    @asynccontextmanager
    async def of(cls, worker: Worker) -> AsyncIterator[Self]:
        connected = connect_to_worker(DirectOffer(server_of(worker).address, os.getpid()))
        reader, writer = await asyncio.open_connection(sock=connected)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):  # the worker may have closed it before
                await writer.wait_closed()
