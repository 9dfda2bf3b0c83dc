"""Direct connections between a client and a worker, as the event loop calls them. See session/direct.py."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, cast

from ..context import outside_of_calls
from ..identity.direct import connect_to_worker
from ..messages import DirectOffer
from ..protocol.connection import Connection
from ..session.direct import Path
from .large import ReadsLarge
from .transport import WRITE_CHUNK, write_at_once

if TYPE_CHECKING:
    from .link import Link

logger = logging.getLogger("ipc_broker")


WRITE_AT_ONCE = 1024
"""Bytes that are written before the end of the turn: the other end begins with them while this one goes on."""


class DirectEnd(ReadsLarge):
    """Either end: writes what is sent in one turn of the loop at once."""

    connection: Connection

    def __init__(self, link: Link) -> None:
        self.link = link
        self.gone: asyncio.Future[None] = link.loop.create_future()
        self._flush_scheduled = False
        self._takes = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.link.direct_ends.add(self)
        write_at_once(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.direct_ends.discard(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def wake(self) -> None:
        """The connection has something to write."""
        if self.link.writer.urgent:
            self.link.writer.urgent = False
            self.flush()
        elif self._flush_scheduled:
            self.flush(at_least=WRITE_AT_ONCE)
        else:
            self._flush_scheduled = True
            self.link.loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def data_received(self, data: bytes) -> None:
        """What is sent on the way goes out at the end."""
        scheduled, self._flush_scheduled = self._flush_scheduled, True
        self.receive(data)
        self._flush_scheduled = scheduled
        self.flush()

    def receive(self, data: bytes) -> None:
        raise NotImplementedError

    def flush(self, at_least: int = 1) -> None:
        connection, transport = self.connection, self.transport
        while connection.queued >= at_least and self._takes and not transport.is_closing():
            transport.write(connection.data_to_send(WRITE_CHUNK))
            at_least = 1

    def pause_writing(self) -> None:
        self._takes = False

    def resume_writing(self) -> None:
        self._takes = True
        self.flush()


class DirectLink(DirectEnd):
    """The client's."""

    def __init__(self, link: Link, object_name: str, offer: DirectOffer) -> None:
        super().__init__(link)
        self._offer = offer
        self._directs = link.session.directs
        self._object_name = object_name
        self._path: Path | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        path = self._directs.open(self._object_name, self._offer, self.wake, WRITE_AT_ONCE, self.transport.abort)
        if path is None:
            self.link.loop.call_soon(self.transport.abort)  # at once uvloop would forget to whom the descriptor belongs
        else:
            self._path = path
            self.connection = path.connection
            self.read_large_directly(self.connection)
            self._directs.begin(path)

    def receive(self, data: bytes) -> None:
        path = self._path
        if path is not None and not self._directs.receive_data(path, data):
            self.transport.abort()
        elif path is not None and path.is_done:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._path is not None:
            self._directs.lost(self._path, f"the connection to its worker was lost ({exc or 'it was closed'})")


def connect_directly(link: Link, object_name: str, offer: DirectOffer) -> None:
    """Where that fails, calls go through the broker as before: nobody has to be told."""
    try:
        connected = connect_to_worker(offer)
    except OSError as error:
        logger.debug("'%s' cannot be called directly: %s", object_name, error)
    else:
        connecting = outside_of_calls(lambda: link.loop.create_task(_connect(link, object_name, offer, connected)))
        link.background.add(connecting)
        connecting.add_done_callback(link.background.discard)


async def _connect(link: Link, object_name: str, offer: DirectOffer, connected: socket.socket) -> None:
    try:
        await link.loop.create_unix_connection(lambda: DirectLink(link, object_name, offer), sock=connected)
    except OSError as error:
        connected.close()
        logger.debug("'%s' cannot be called directly: %s", object_name, error)
    except BaseException:  # the client is closed, say
        connected.close()
        raise
