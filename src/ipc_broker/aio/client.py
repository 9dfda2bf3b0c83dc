"""The asyncio client."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from msgspec import Raw

from ..context import inherit
from ..destination import Destination
from ..errors import ConnectionLost, NoSuchObject, TooLarge
from ..messages import Welcome
from ..session import BROKER_OBJECT, Agreement
from ..session.proxies import ObjectProxy, with_headers, with_timeout
from ..session.values import (
    DEFAULT_TIMEOUT,
    MAY_BE_LOST,
    names_after,
    not_acknowledged,
    payload_of,
    value_of,
)
from .callbacks import ConnectionCallbacks, Notified
from .link import ENOUGH_TO_WRITE, Link
from .retrying import ask, wait_for, wait_to_retry
from .stream import Stream
from .subscription import Callback, Subscription

if TYPE_CHECKING:
    from ..description import ObjectDescription
    from .describing import CheckedObject

P = ParamSpec("P")
T = TypeVar("T")

Overflow = Literal["", "drop_oldest", "latest", "disconnect"]


class Client:
    """A connection to a broker; `connect` makes it. All methods belong to the event loop it was made on.

    When the connection is lost it connects again by itself: calls in flight end with ConnectionLost, calls made meanwhile
    wait up to their timeout, subscriptions go on after a `Gap`.
    """

    def __init__(
        self,
        address: str | Destination | None = None,
        *,
        name: str = "",
        on_connect: Notified | None = None,
        on_disconnect: Notified | None = None,
    ) -> None:
        callbacks = ConnectionCallbacks(on_connect, on_disconnect)
        destination = address if isinstance(address, Destination) else Destination(address, os.environ)
        self.link = Link(destination, name, callbacks)
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

    @property
    def protocol(self) -> Agreement:
        """What was agreed with the broker when the connection was made."""
        return self.link.session.agreement

    @overload
    async def call(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any: ...
    @overload
    async def call(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        returns: type[T],
        headers: Mapping[str, str] | None = None,
    ) -> T: ...
    async def call(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        returns: Any = Any,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """What the method returned, checked and converted to `returns`.

        `args`: a map holds named arguments, a list positional ones, None none; anything else is one argument. `timeout` is
        in seconds, None waits for ever. `headers` travel with the call. Within a method both are inherited from the call
        that it answers. Cancelling cancels the method. Raises CallError, of which there is one class for each reason.
        """
        link = self.link
        session = link.session
        loop = asyncio.get_running_loop()
        if loop is not link.loop:
            raise link.wrong_loop()
        timeout, headers = inherit(timeout, headers, loop.time, object, method)
        if timeout == math.inf:
            timeout = None
        if not session.ready:
            timeout = await link.wait_ready(timeout)
        codec = session.codec
        payload = payload_of(args, codec, object, method)
        now = loop.time()
        answer: asyncio.Future[Raw] = loop.create_future()
        link.writer.urgent = not session.calls_in_flight  # nobody else is calling whose call could be written with it
        call_id = session.call(object, method, payload, answer, now, timeout, headers=headers)
        if timeout is not None and now + timeout < link.next_timer:
            link.arm_timer(now + timeout)
        try:
            value = await answer
        except asyncio.CancelledError:
            session.cancel(call_id)
            raise
        except (ConnectionLost, NoSuchObject) as error:
            deadline = None if timeout is None else now + timeout
            await wait_to_retry(link, error, deadline)
            left = None if deadline is None else max(deadline - loop.time(), 0.0)
            return await self.call(object, method, args, timeout=left, returns=returns, headers=headers)
        return value_of(value, codec, returns, object, method)

    @overload
    def stream(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stream[Any]: ...
    @overload
    def stream(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        returns: type[T],
        headers: Mapping[str, str] | None = None,
    ) -> Stream[T]: ...
    def stream(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        returns: Any = Any,
        headers: Mapping[str, str] | None = None,
    ) -> Stream[Any]:
        """What a generator method yields, one by one: to be iterated over, in `async with` or plainly.

        `timeout` is for the whole stream, and `returns` the type of an item; the rest is as for `call`.
        """
        return Stream(self.link, object, method, args, returns, timeout=timeout, headers=headers)

    @overload
    def object(
        self, name: str, *, timeout: float | None = DEFAULT_TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> ObjectProxy: ...
    @overload
    def object(
        self,
        name: str,
        api: Callable[..., T],
        *,
        check: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> T: ...
    def object(
        self,
        name: str,
        api: Callable[..., Any] | None = None,
        *,
        check: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The object's methods as methods: `await client.object("math").add(a=10, b=32)`.

        With `api`, a class or a Protocol whose methods are `async def`, they are those of the class: arguments are
        checked against their signatures, and results against their hints, to which they are converted. Methods whose hint
        is an iterator give a `Stream`. `timeout` is for each call, though not for streams; `headers` are for all.

        With `check` the class is held against what the object's worker tells of it, before the first call: that
        raises InterfaceMismatch, NoSuchObject, or NoSuchMethod where the broker cannot tell.
        """
        if api is None:
            return ObjectProxy(with_headers(with_timeout(self.call, timeout), headers), name)
        from ..session.typed import TypedProxy  # only for those who use it: it looks into classes

        calls: Client | CheckedObject = self
        if check:
            from .describing import CheckedObject

            calls = CheckedObject(self, name, api)
        call = with_headers(with_timeout(calls.call, timeout), headers)
        return TypedProxy(call, with_headers(calls.stream, headers), name, api)

    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[P, Awaitable[T]]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], AsyncIterable[T]]) -> Callable[P, Stream[T]]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], Iterator[T]]) -> Callable[P, Stream[T]]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], T]) -> Callable[P, Awaitable[T]]: ...
    def bind(self, object: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """One method of a class, as a function that calls the object's: `await client.bind("math", Calculator.add)(1, 2)`.

        It may be `def` or `async def`, whatever the worker has. Generator functions, and those whose hint is an
        AsyncIterator, Iterator or the like, give a `Stream`. (To type checkers an `Iterable` may also be a list: say
        Iterator.) Raises TypeError for a function that is no method with `self`.
        """
        from ..session.typed import bound_function

        return bound_function(method, self.call, self.stream, object)

    async def publish(
        self, object: str, topic: str, value: Any = None, *, retain: bool = False, ack: bool = False
    ) -> None:
        """Returns when the event is queued, with `ack` when the broker has routed it.

        Waits while the kernel takes no more, and while the broker asks for a pause because a subscriber is slow. With
        `retain` the value is kept for those who subscribe later. `drain` tells when all was routed.
        """
        link = self.link
        session, writer = link.session, link.writer
        if not writer.flush_scheduled:  # then it was asked in this turn: the answer takes a system call
            link.require_own_loop()
        if not session.ready:
            await link.wait_ready(DEFAULT_TIMEOUT)
        if session.paused:
            await link.wait_resumed()
        payload = payload_of(value, session.codec, object, topic)
        if not self._undrained and not ack:
            self._undrained = True
            self._losses = session.losses
        routed: asyncio.Future[Any] | None = None
        if retain or ack:
            routed = link.loop.create_future() if ack else None
            queued = session.publisher.publish_with(object, topic, payload, routed, link.loop.time(), retain=retain)
        else:
            queued = session.publisher.publish(object, topic, payload)
        if routed is not None:
            try:
                async with asyncio.timeout(DEFAULT_TIMEOUT):
                    await routed
            except ConnectionLost as error:
                if error.delivered != "no":
                    raise
                await self.publish(object, topic, value, retain=retain, ack=ack)
            except TimeoutError as error:
                raise not_acknowledged(object, topic) from error
        elif queued + writer.written > ENOUGH_TO_WRITE:
            await writer.wait()

    async def clear(self, object: str, topic: str) -> None:
        """Removes the value that is retained there, if there is one."""
        await ask(self.link, lambda session, done, now: session.publisher.clear(object, topic, done, now))

    async def set_will(self, object: str, topic: str, value: Any = None, *, retain: bool = False) -> None:
        """The event that the broker publishes when this client is lost, not when it is closed; "" as topic: none."""
        await ask(
            self.link,
            lambda session, done, now: session.publisher.set_will(object, topic, value, done, now, retain=retain),
        )

    def subscribe(
        self,
        object: str,
        topic: str,
        *,
        callback: Callback | None = None,
        group: str = "",
        overflow: Overflow = "",
    ) -> Subscription:
        """To be awaited, or entered with `async with`.

        With a `callback`, a function or coroutine function, the events go there, in order and one at a time; otherwise
        iterate over the subscription. In `object` and `topic`, segments between dots, `*` stands for one and a last `>` for
        the rest. Of the members of a `group` one gets each event. `overflow` is what happens when too many events wait:
        publishers wait for a while (""), or "drop_oldest", "latest" (one for each topic), "disconnect".
        """
        return Subscription(self.link, object, topic, callback, group=group, overflow=overflow)

    async def has(self, object: str) -> bool:
        """Whether somebody serves the object."""
        return bool(await ask(self.link, lambda session, answer, _: session.names.has(object, answer)))

    async def wait_for(self, object: str, timeout: float | None = None) -> None:
        """Until somebody serves the object. Raises TimeoutError."""
        try:
            async with asyncio.timeout(timeout):
                await wait_for(self.link, object)
        except TimeoutError as error:
            raise TimeoutError(f"nobody serves '{object}' after {timeout:g} s") from error

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

    async def describe(self, object: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> ObjectDescription:
        """Who serves the object, and what it offers: its methods with their types, as JSON Schema.

        Raises NoSuchObject, and NoSuchMethod where the broker cannot tell.
        """
        from .describing import describe  # only for those who ask

        return await describe(self, object, timeout)

    async def drain(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Returns when the broker has routed all that was published before. Raises ConnectionLost when it may have not."""
        session = self.link.session
        undrained, losses = self._undrained, self._losses
        self._undrained = False  # what is published from now on is for the next one
        try:
            if not (undrained and losses != session.losses) or session.publisher.has_unsent:
                await self.call(BROKER_OBJECT, "ping", timeout=timeout)
        except ConnectionLost:
            raise  # once: they will not come back
        except BaseException:
            if undrained:
                self._undrained, self._losses = True, losses
            raise
        if undrained and losses != session.losses:
            raise ConnectionLost(MAY_BE_LOST)

    async def close(self) -> None:
        """At once: what was published may not have been routed. May be called again."""
        await self.link.close()

    async def leave(self, *, drain: bool) -> None:
        """What leaving the `async with` block does."""
        self.link.parting = True
        try:
            if drain and self._undrained and not self.link.closed:
                await self.drain()
        finally:
            await self.close()
