"""Large frames are read straight to where they stay, past the pieces in which a loop hands out all else."""

from __future__ import annotations

import asyncio

from ..protocol.connection import Connection
from ..protocol.framing import FrameReader

BETWEEN = 2048
"""Bytes read at once between two large frames, to be copied: enough for a message or two, and a small part of the next frame."""


class ReadsLarge(asyncio.Protocol):
    """A protocol that gives what it gets to a connection, and has its `transport`."""

    transport: asyncio.Transport

    def read_large_directly(self, connection: Connection) -> None:
        """From now on, where what comes comes from a socket: over TLS it is copied anyway, pipes and memory have no such way."""
        transport = self.transport
        if transport.get_extra_info("socket") is not None and transport.get_extra_info("sslcontext") is None:
            connection.read_large_by(self._begin)

    def _begin(self, reader: FrameReader) -> None:
        if self.transport.get_protocol() is self:
            self.transport.set_protocol(_LargeReads(self.transport, self, reader))


class _LargeReads(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol from the beginning of a large frame until something else comes."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol, reader: FrameReader) -> None:
        self._transport = transport
        self._protocol = protocol
        self._reader = reader
        self._between = bytearray(BETWEEN)
        self._is_large = False  # what is being read

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        room = self._reader.room()
        self._is_large = room is not None
        return self._between if room is None else room

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_large:
            if self._reader.filled(nbytes):
                self._protocol.data_received(b"")
        else:
            self._protocol.data_received(bytes(self._between[:nbytes]))
            if not self._reader.in_large:
                self._transport.set_protocol(self._protocol)

    # All else is the protocol's as before.

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
