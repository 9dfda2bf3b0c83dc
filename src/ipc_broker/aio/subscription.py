"""A subscription: an iterator over events, or a callback that gets them one by one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Self

from ..context import outside_of_calls
from ..errors import ClientClosed
from ..events import Event, Gap
from ..session import ClientSubscription, Session
from .link import Link
from .retrying import ask

logger = logging.getLogger("ipc_broker")

Callback = Callable[[Any], Any]


class Subscription:
    """What `client.subscribe` gives: await it, or use it in `async with`; then iterate over it, or `get` one event.

    Every event published from then on comes, in each publisher's order, and waits here until it is taken; a `Gap` stands
    where some were missed. Cancelling `get` or an iteration loses none. The iteration ends when the subscription or its
    client is closed.
    """

    def __init__(
        self,
        link: Link,
        object_name: str,
        topic: str,
        callback: Callback | None = None,
        *,
        group: str = "",
        overflow: str = "",
    ) -> None:
        self.object = object_name
        self.topic = topic
        self._link = link
        self._callback = callback
        self._group = group
        self._overflow = overflow
        self._subscribed: ClientSubscription | None = None
        self._waiting: deque[tuple[Event | Gap, int]] = deque()  # with the bytes that each took on its way
        self._arrived = asyncio.Event()
        self._idle = False  # whether somebody may be waiting for it
        self._open = False
        self._caller: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Events that have come and were not taken."""
        return len(self._waiting)

    def __repr__(self) -> str:
        state = "open" if self._open else "closed"
        return f"<Subscription {self.object!r} {self.topic!r} {state} pending={self.pending}>"

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Gap:
        while True:
            if self._waiting:
                event, size = self._waiting.popleft()
                if size and self._subscribed is not None and self._subscribed.taken(size):
                    self._link.writer.flush()
                return event
            if not self._open:
                raise StopAsyncIteration
            self._arrived.clear()
            self._idle = True
            await self._arrived.wait()

    async def get(self, timeout: float | None = None) -> Event | Gap:
        """The next event. Raises TimeoutError when none came within `timeout` seconds, ClientClosed when none can come."""
        async with asyncio.timeout(timeout):
            try:
                return await self.__anext__()
            except StopAsyncIteration:
                raise ClientClosed(f"the subscription of '{self.object}' '{self.topic}' was closed") from None

    async def close(self) -> None:
        """No more events come; those that wait can still be taken. May be called again."""
        if not self._open:
            return
        self._end()
        link = self._link
        if not link.closed and self._subscribed is not None:
            done = link.loop.create_future()
            link.session.unsubscribe(self._subscribed, done, link.loop.time())
            await asyncio.wait([done], timeout=1.0)
            if done.done() and not done.cancelled():
                done.exception()  # a connection that is lost has no subscriptions either
        if self._caller is not None and self._caller is not asyncio.current_task():
            self._caller.cancel()

    async def _start(self) -> Self:
        if not self._open:
            link, callback = self._link, self._callback
            try:
                await ask(link, self._subscribe)
            except BaseException:
                await self.close()
                raise
            link.subscriptions.add(self)
            if callback is not None:
                # It outlives the method that it may have been subscribed in, and inherits nothing from that.
                self._caller = outside_of_calls(lambda: link.loop.create_task(self._call_back(callback)))
        return self

    def _subscribe(self, session: Session, subscribed: asyncio.Future[Any], now: float) -> None:
        self._subscribed = session.subscribe(
            self.object, self.topic, self, subscribed, group=self._group, overflow=self._overflow
        )
        # What still waits came by an earlier subscription, which gives no credit any more.
        self._waiting = deque((event, 0) for event, _ in self._waiting)
        self._open = True

    async def _call_back(self, callback: Callback) -> None:
        async for event in self:
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                logger.exception(
                    "the callback for '%s' '%s' failed; it goes on with the next event", self.object, self.topic
                )

    def _end(self) -> None:
        self._open = False
        self._link.subscriptions.discard(self)
        self._arrived.set()

    # What the session tells

    def deliver(self, event: Event | Gap, size: int) -> None:
        self._waiting.append((event, size))
        if self._idle:
            self._idle = False
            self._arrived.set()
            self._link.wakes_consumer()

    def deliver_all(self, events: list[Event], size: int) -> None:
        self._waiting += [(event, 0) for event in events[:-1]]
        self.deliver(events[-1], size)

    def ended(self) -> None:
        """The client was closed, or the broker does not want the subscription."""
        if self._open:
            self._end()
            if self._caller is not None and self._caller is not asyncio.current_task():
                self._caller.cancel()
