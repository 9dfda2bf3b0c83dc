"""The streams that a worker sends: what generator methods yield, no faster than their callers take it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from ..messages import Call
from ..protocol.connection import Connection
from ..session import Serving


class Outgoing:
    """One stream. Items go out while there is credit: bytes, which its caller gives as it consumes them."""

    def __init__(self, serving: Serving, call: Call, connection: Connection) -> None:
        self._serving = serving
        self._call = call
        self._connection = connection
        self._credit = call.credit
        self._loop = asyncio.get_running_loop()
        self._has_credit = asyncio.Event()
        # The same for a generator in a thread.
        self._condition = threading.Condition()
        self._given_up = False

    def add_credit(self, size: int) -> None:
        with self._condition:
            self._credit += size
            self._condition.notify()
        self._has_credit.set()

    async def send_all(self, items: AsyncGenerator[Any, None]) -> None:
        """Raises what the generator raises, Unsendable, and ItemTooLarge."""
        try:
            async for value in items:
                while self._credit <= 0:
                    self._has_credit.clear()
                    await self._has_credit.wait()
                frame = self._frame(value)
                self._credit -= len(frame)
                self._serving.send_item(self._connection, frame)
        finally:
            await items.aclose()

    def send_all_from_thread(self, make_items: Callable[[], Generator[Any, None, None]]) -> None:
        """To be run in a thread. Raises as `send_all` does; ends early after `give_up`."""
        items = make_items()
        try:
            for value in items:
                frame = self._frame(value)
                with self._condition:
                    while self._credit <= 0 and not self._given_up:
                        self._condition.wait()
                    if self._given_up:
                        return
                    self._credit -= len(frame)
                self._loop.call_soon_threadsafe(self._serving.send_item, self._connection, frame)
        finally:
            items.close()

    def list_in_thread(self, make_items: Callable[[], Generator[Any, None, None]]) -> list[Any]:
        """For a caller that takes no stream. Ends early after `give_up`: there may be items without end."""
        items = make_items()
        listed: list[Any] = []
        try:
            for value in items:
                if self._given_up:
                    break
                listed.append(value)
        finally:
            items.close()
        return listed

    def give_up(self) -> None:
        """Nobody takes the items any more: a thread that makes them ends with the next."""
        with self._condition:
            self._given_up = True
            self._condition.notify()

    def _frame(self, value: Any) -> bytes:
        connection = self._connection
        return self._serving.item_frame(self._call, connection, connection.codec.encode_payload(value))
