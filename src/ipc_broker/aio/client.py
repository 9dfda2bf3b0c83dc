"""The asyncio client."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Generator
from typing import Any, TypeVar, overload

from msgspec import Raw

from ..address import resolve_address
from ..errors import ConnectionLost, TooLarge
from ..events import Event
from ..messages import Welcome
from ..protocol.codec import NULL
from ..session import BROKER_OBJECT
from ..session.values import DEFAULT_TIMEOUT, ObjectProxy, names_after, payload_of, value_of
from .link import ENOUGH_TO_WRITE, Link
from .subscription import Callback, Subscription

T = TypeVar("T")


def connect(address: str | None = None, *, timeout: float | None = 5.0, name: str = "") -> Connecting:
    """`async with connect() as client`, or `client = await connect()`.

    `address` defaults to `BROKER_ADDR` in the environment, then to the platform's default. Fails at once with
    ConnectFailed when nothing listens there, after `timeout` seconds when nothing answers. `name` is shown to people.
    """
    return Connecting(address, timeout, name)


class Connecting:
    """A client that is not connected yet: await it, or enter it."""

    def __init__(self, address: str | None, timeout: float | None, name: str) -> None:
        self._client = Client(address, name=name)
        self._timeout = timeout

    async def _open(self) -> Client:
        await self._client.link.open(self._timeout)
        return self._client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        return await self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        await self._client.leave(drain=kind is None)


class Client:
    """A connection to a broker; `connect` makes it. All methods belong to the event loop it was made on.

    When the connection is lost it connects again by itself: calls in flight end with ConnectionLost, calls made meanwhile
    wait up to their timeout, subscriptions go on after a `Gap`.
    """

    def __init__(self, address: str | None = None, *, name: str = "") -> None:
        self.link = Link(resolve_address(address, os.environ), name)
        self._undrained = False  # whether something was published since the last drain
        self._losses = 0  # connections that had been lost when the first of it was published

    @property
    def address(self) -> str:
        return str(self.link.address)

    @property
    def broker(self) -> Welcome | None:
        """What the broker said of itself; None for one that speaks the Rust crate's protocol only."""
        return self.link.session.welcome

    def __repr__(self) -> str:
        state = "closed" if self.link.closed else "connected" if self.link.session.ready else "connecting"
        return f"<Client {self.address} {state} calls={self.link.session.calls_in_flight}>"

    @overload
    async def call(
        self, object: str, method: str, args: object = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Any: ...
    @overload
    async def call(
        self,
        object: str,
        method: str,
        args: object = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        returns: type[T],
    ) -> T: ...
    async def call(
        self,
        object: str,
        method: str,
        args: object = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        returns: Any = Any,
    ) -> Any:
        """What the method returned, checked and converted to `returns`.

        `args`: a map holds named arguments, a list positional ones, None none; anything else is one argument. `timeout` is
        in seconds, None waits for ever. Raises CallError, of which there is one class for each reason (errors.py).
        """
        payload = payload_of(args, object, method)
        return value_of(await self._call(object, method, payload, timeout), returns, object, method)

    def object(self, name: str) -> ObjectProxy:
        """The object's methods as methods: `await client.object("math").add(a=10, b=32)`."""
        return ObjectProxy(self.call, name)

    async def publish(self, object: str, topic: str, value: Any = None) -> None:
        """Returns when the event is queued; waits only while the kernel takes no more. `drain` tells when it was routed."""
        link = self.link
        payload = payload_of(value, object, topic)
        if not link.session.ready:
            await link.wait_ready(DEFAULT_TIMEOUT)
        if not self._undrained:
            self._undrained = True
            self._losses = link.session.losses
        if link.session.publish(object, topic, payload) > ENOUGH_TO_WRITE:
            await link.wait_writable()

    def subscribe(self, object: str, topic: str, *, callback: Callback | None = None) -> Subscription:
        """To be awaited, or entered with `async with`.

        With a `callback`, a function or coroutine function, the events go there, in order and one at a time; otherwise
        iterate over the subscription.
        """
        return Subscription(self.link, object, topic, callback)

    async def has(self, object: str) -> bool:
        """Whether somebody serves the object."""
        link = self.link
        if not link.session.ready:
            await link.wait_ready(DEFAULT_TIMEOUT)
        answer: asyncio.Future[bool] = link.loop.create_future()
        link.session.has(object, answer)
        async with asyncio.timeout(DEFAULT_TIMEOUT):
            return await answer

    async def wait_for(self, object: str, timeout: float | None = None) -> None:
        """Until somebody serves the object. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self.subscribe(BROKER_OBJECT, "object.registered") as registered:
            while not await self.has(object):
                if self.broker is not None:
                    await _registration_of(object, registered)
                else:  # the Rust crate's broker has no such events; its own clients ask as often
                    await asyncio.sleep(0.1)

    async def objects(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> list[str]:
        """The names of all objects, `rob` among them."""
        names: list[str] = []
        try:
            return await self.call(BROKER_OBJECT, "listObjects", timeout=timeout, returns=list[str])
        except TooLarge:  # more than one answer holds: page by page
            while page := await self.call(
                BROKER_OBJECT, "listObjects", names_after(names), timeout=timeout, returns=list[str]
            ):
                names += page
            return names

    async def drain(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Returns when the broker has routed all that was published before. Raises ConnectionLost when it may have not."""
        undrained, losses = self._undrained, self._losses
        self._undrained = False  # what is published from now on is for the next one
        try:
            await self._call(BROKER_OBJECT, "ping", NULL, timeout)
        except BaseException:
            if undrained:
                self._undrained, self._losses = True, losses
            raise
        if undrained and losses != self.link.session.losses:
            raise ConnectionLost("the connection was lost after events were published: they may not have been routed")

    async def close(self) -> None:
        """At once: what was published may not have been routed. May be called again."""
        await self.link.close()

    async def leave(self, *, drain: bool) -> None:
        """What leaving the `async with` block does."""
        try:
            if drain and self._undrained and not self.link.closed:
                await self.drain()
        finally:
            await self.close()

    async def _call(self, object: str, method: str, args: Raw, timeout: float | None) -> Raw:
        link = self.link
        if timeout == math.inf:
            timeout = None
        if not link.session.ready:
            timeout = await link.wait_ready(timeout)
        loop = link.loop
        now = loop.time()
        answer: asyncio.Future[Raw] = loop.create_future()
        link.urgent = not link.session.calls_in_flight  # nobody else is calling whose call could be written with it
        call_id = link.session.call(object, method, args, answer, now, timeout)
        if timeout is not None and now + timeout < link.next_timer:
            link.arm_timer(now + timeout)
        try:
            return await answer
        except asyncio.CancelledError:
            link.session.forget(call_id)
            raise


async def _registration_of(object: str, registered: Subscription) -> None:
    async for event in registered:
        if not isinstance(event, Event) or event.value == {"object": object}:
            return  # after a Gap it may have been registered unseen
