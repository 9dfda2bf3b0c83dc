"""What a program wants to be called for: when a client is connected, and when it is not any more."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from ..context import outside_of_calls

logger = logging.getLogger("ipc_broker")

Notified = Callable[[], Any]
"""A function or coroutine function without arguments."""


class ConnectionCallbacks:
    """Calls them one at a time, in the order of what happened; each connection is told of, and its end."""

    def __init__(self, on_connect: Notified | None, on_disconnect: Notified | None) -> None:
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._connected = False
        self._due: deque[Notified] = deque()
        self._running: asyncio.Task[None] | None = None

    def connected(self) -> None:
        self._connected = True
        self._call(self._on_connect)

    def disconnected(self) -> None:
        if self._connected:
            self._connected = False
            self._call(self._on_disconnect)

    async def drain(self, timeout: float) -> None:
        """Until all were called; what has not ended by then is cancelled."""
        running = self._running
        if running is None or running is asyncio.current_task():  # which closes the client
            return
        _, late = await asyncio.wait([running], timeout=timeout)
        if late:
            logger.warning("a callback of a connection did not end within %g s and is cancelled", timeout)
            running.cancel()

    def _call(self, callback: Notified | None) -> None:
        if callback is None:
            return
        self._due.append(callback)
        if self._running is None:
            loop = asyncio.get_running_loop()
            self._running = outside_of_calls(lambda: loop.create_task(self._call_all()))

    async def _call_all(self) -> None:
        try:
            while self._due:
                callback = self._due.popleft()
                try:
                    result = callback()
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    logger.exception("%r, which is called for connections, failed", callback)
        finally:
            self._running = None
