"""One connection of a link, as the event loop calls it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from ..errors import UntrustedBroker
from ..identity.trust import require_trusted
from ..messages import Welcome
from .large import ReadsLarge
from .transport import connect_failed, write_at_once

if TYPE_CHECKING:
    from .link import Link


class LinkProtocol(ReadsLarge):
    """One connection of a link."""

    transport: asyncio.Transport

    def __init__(self, link: Link, opened: asyncio.Future[Welcome | None]) -> None:
        self._link = link
        self._opened = opened
        self.ended = asyncio.Event()
        self.peer_name = link.name  # for tests in memory
        self._writer = link.writer
        self._receive = link.session.receive_data

    @property
    def parting(self) -> bool:
        return self._link.parting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        write_at_once(self.transport)  # else it keeps the broker waiting
        connected: socket.socket | None = transport.get_extra_info("socket")
        try:
            if connected is not None:
                require_trusted(connected, self._link.address, self._link.destination.trusted)
        except OSError as error:  # it may have ended already
            if not self._opened.done():
                distrusted = isinstance(error, UntrustedBroker)
                self._opened.set_exception(error if distrusted else connect_failed(self._link.address, error))
            self.transport.abort()
        else:
            connection = self._link.made(self, self._opened)
            if connection is not None:
                self.read_large_directly(connection)

    def data_received(self, data: bytes) -> None:
        writer = self._writer
        scheduled, writer.flush_scheduled = writer.flush_scheduled, True  # what is sent on the way goes out at the end
        self._receive(bytes(data))  # Windows' Proactor loop gives a bytearray
        writer.flush_scheduled = scheduled
        writer.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._link.lost(self, exc)

    def pause_writing(self) -> None:
        self._writer.writable(False)

    def resume_writing(self) -> None:
        self._writer.writable(True)
