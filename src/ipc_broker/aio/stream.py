"""A stream of items that a method yields elsewhere."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Generic, Self, TypeVar, cast

from ..context import inherit
from ..errors import ConnectionLost, NoSuchObject
from ..session import Session
from ..session.streams import Incoming
from ..session.values import payload_of, value_of
from .link import Link
from .retrying import wait_to_retry

T = TypeVar("T")


class _Incoming(Incoming):
    def __init__(self, session: Session, object_name: str, method: str) -> None:
        super().__init__(session, object_name, method)
        self.arrived = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def changed(self) -> None:
        self.arrived.set()


class Stream(Generic[T]):
    """What `client.stream` gives: iterate over it, in `async with` or plainly.

    The method runs from the first item that is asked for, or from entering the block, and no further ahead than a window of
    256 KiB. Leaving the loop or the block cancels it. What the method raises is raised behind its last item. `await` starts
    it as well.
    """

    def __init__(
        self,
        link: Link,
        object_name: str,
        method: str,
        args: Any,
        returns: Any,
        *,
        timeout: float | None,
        headers: Mapping[str, str] | None,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`check` is awaited before the method is called."""
        self.object = object_name
        self.method = method
        self._link = link
        self._args = args
        self._returns = returns
        self._timeout = timeout
        self._headers = headers
        self._check = check
        self._deadline: float | None = None
        self._begun = False  # an item has come, or the end
        self._incoming: _Incoming | None = None

    def __repr__(self) -> str:
        incoming = self._incoming
        if incoming is None:
            return f"<Stream {self.object!r} {self.method!r} not started>"
        state = "ended" if incoming.ended else "open"
        return f"<Stream {self.object!r} {self.method!r} {state} pending={incoming.pending}>"

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        incoming = self._incoming or await self._started()
        while (value := incoming.take()) is None:
            if incoming.ended:
                error, incoming.error = incoming.error, None
                if self._begun or not isinstance(error, ConnectionLost | NoSuchObject):
                    raise error if error is not None else StopAsyncIteration
                await wait_to_retry(self._link, error, self._deadline)
                incoming = await self._started()
            else:
                incoming.arrived.clear()
                await incoming.arrived.wait()
        self._begun = True
        return cast(T, value_of(value, incoming.codec, self._returns, self.object, self.method))

    async def aclose(self) -> None:
        """Cancels the method, if it still runs. May be called again."""
        if self._incoming is not None:
            self._incoming.cancel()
            self._incoming.changed()  # another task may wait for an item

    async def _started(self) -> _Incoming:
        if self._check is not None:
            await self._check()
        link = self._link
        link.require_own_loop()
        now = link.loop.time
        given = self._timeout if self._deadline is None else max(self._deadline - now(), 0.0)
        left, headers = inherit(given, self._headers, now, self.object, self.method)
        if left == math.inf:
            left = None
        if not link.session.ready:
            left = await link.wait_ready(left)
        incoming = _Incoming(link.session, self.object, self.method)
        payload = payload_of(self._args, incoming.codec, self.object, self.method)
        started = now()
        incoming.open(payload, started, left, headers)
        if left is not None:
            self._deadline = started + left
            if self._deadline < link.next_timer:
                link.arm_timer(self._deadline)
        self._incoming = incoming
        return incoming

    def __del__(self) -> None:
        # A plain `async for` that is left by `break` drops its iterator and says nothing. It may be collected in any thread.
        incoming = self._incoming
        if incoming is not None and not incoming.ended and not incoming.loop.is_closed():
            incoming.loop.call_soon_threadsafe(incoming.cancel)
