"""When a link writes what was sent: at once, at the end of the loop's turn, or when the kernel takes more."""

from __future__ import annotations

import asyncio

from ..session import WRITE_EARLY, Session
from .transport import WRITE_CHUNK


class Writer:
    """Takes bytes from a session's connection to its transport. What was not taken was surely not sent."""

    __slots__ = ("_loop", "_session", "_takes", "_transport", "_writable", "flush_scheduled", "urgent", "written")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._takes = True  # the same, quicker to ask
        self.flush_scheduled = False
        """Something was sent in this turn of the loop, and will be written at its end."""
        self.urgent = False
        """Set by whoever sends next when nobody is there to send more in the same turn: it is written at once."""
        self.written = 0
        """What left the queue since the loop had its last turn: a publisher that never waits would not learn to pause."""

    def begin(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """There is a new connection."""
        self._transport, self._loop = transport, loop
        self.writable(True)

    def end(self) -> None:
        """It is lost, and whoever waits to write waits no longer."""
        self._transport = None
        self.writable(True)

    def wake(self) -> None:
        """Collects what is sent in one turn of the loop, so that it is written at once."""
        if self.urgent:
            self.urgent = False
            self.flush()
        elif not self.flush_scheduled:
            assert self._loop is not None
            self.flush_scheduled = True
            self._loop.call_soon(self._flush_soon)
        else:
            self.flush(at_least=WRITE_EARLY)

    def _flush_soon(self) -> None:
        self.flush_scheduled = False
        self.flush()
        self.written = 0

    def flush(self, at_least: int = 1) -> None:
        """Writes what was collected, if it is so many bytes, as far as the kernel takes it.

        The rest stays where it is: should the connection be lost, it was surely not sent.
        """
        transport, connection = self._transport, self._session.connection
        if transport is not None and connection is not None:
            while connection.queued >= at_least and self._takes and not transport.is_closing():
                before = connection.queued
                data = connection.data_to_send(WRITE_CHUNK)
                self.written += before - connection.queued  # as they were counted: small events take less on their way
                transport.write(data)
                at_least = 1

    async def wait(self) -> None:
        """Hands what is queued to the kernel, and waits while it takes no more."""
        self.flush()
        self.written = 0
        if self._writable.is_set():
            await asyncio.sleep(0)
        else:
            await self._writable.wait()

    def release(self) -> None:
        """Whoever waits to write waits no longer."""
        self._writable.set()

    def writable(self, can_write: bool) -> None:
        """Whether the kernel takes more."""
        self._takes = can_write
        if can_write:
            self._writable.set()
            self.flush()
        else:
            self._writable.clear()
