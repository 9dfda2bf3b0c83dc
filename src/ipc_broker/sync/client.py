"""The blocking client, safe to share between threads."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from ..context import inherit, running_call
from ..destination import Destination
from ..errors import ClientClosed, ConnectionLost, NoSuchObject, TooLarge
from ..messages import Welcome
from ..session import BROKER_OBJECT, Agreement
from ..session.proxies import ObjectProxy, with_headers, with_timeout
from ..session.values import DEFAULT_TIMEOUT, names_after, payload_of, value_of
from .calls import Calls
from .link import Link
from .lone_calls import NOT_ALONE, LoneCalls
from .publishing import Publishing
from .retrying import wait_for, wait_to_retry
from .stream import Stream
from .subscription import Subscription
from .tidings import Notified
from .waiting import Answer, deadline_in

if TYPE_CHECKING:
    from ..description import ObjectDescription
    from ..tls import TlsOption

P = ParamSpec("P")
T = TypeVar("T")

Overflow = Literal["", "drop_oldest", "latest", "disconnect"]

ANSWER_TIMEOUT = 1.0
"""Seconds that the broker has, at least, to answer a question that stands behind something else."""


def connect(
    address: str | None = None,
    *,
    timeout: float | None = 5.0,
    name: str = "",
    token: str | None = None,
    tls: TlsOption | None = None,
    trust_users: Collection[str] | None = None,
    on_connect: Notified | None = None,
    on_disconnect: Notified | None = None,
) -> Client:
    """A connected client, also for `with`.

    `address` defaults to `BROKER_ADDR` in the environment, then to the platform's default. Fails at once with
    ConnectFailed when nothing listens there, after `timeout` seconds when nothing answers. `name` is shown to people.
    `on_connect` and `on_disconnect`, functions without arguments, are called for each connection, the first included, and
    for its end, whatever ends it; one at a time, in a thread that uses the client when that is noticed.

    `token` was made for whoever connects by `ipc-broker token` (default: `BROKER_TOKEN`); `tls` is the CA of a tls:// broker, a
    file or an SSLContext (default: `BROKER_CA`, then the system's). The broker must be run by this user, by root, or by one of
    `trust_users` (default: `BROKER_TRUST`): UntrustedBroker otherwise, before anything is sent.
    """
    destination = Destination(address, os.environ, token=token, tls=tls, trust_users=trust_users)
    return Client(destination, timeout=timeout, name=name, on_connect=on_connect, on_disconnect=on_disconnect)


class Client:
    """A connection to a broker; `connect` makes it.

    When the connection is lost, whoever uses the client next, or waits for something, connects again: calls in flight end
    with ConnectionLost, calls made meanwhile wait up to their timeout, subscriptions go on after a `Gap`.
    """

    def __init__(
        self,
        address: str | Destination | None = None,
        *,
        timeout: float | None = 5.0,
        name: str = "",
        on_connect: Notified | None = None,
        on_disconnect: Notified | None = None,
    ) -> None:
        destination = address if isinstance(address, Destination) else Destination(address, os.environ)
        self.link = Link(destination, name, timeout, on_connect, on_disconnect)
        self.calls = Calls(self.link)
        self._call_alone = LoneCalls(self.link, self.calls).call
        self.publishing = Publishing(self.link, self.calls)
        self._subscriptions: set[Subscription] = set()

    @property
    def address(self) -> str:
        return str(self.link.address)

    @property
    def broker(self) -> Welcome | None:
        """What the broker said of itself; None for one that speaks the Rust crate's protocol only."""
        return self.link.session.welcome

    def __repr__(self) -> str:
        state = "closed" if self.link.closed else "connected" if self.link.session.ready else "disconnected"
        return f"<Client {self.link.address} {state} calls={self.link.session.calls_in_flight}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        try:
            if kind is None and self.publishing.undrained and not self.link.closed:
                self.drain()
        finally:
            self.close()

    @property
    def protocol(self) -> Agreement:
        """What was agreed with the broker when the connection was made."""
        return self.link.session.agreement

    @overload
    def call(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any: ...
    @overload
    def call(
        self,
        object: str,
        method: str,
        args: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        returns: type[T],
        headers: Mapping[str, str] | None = None,
    ) -> T: ...
    def call(
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
        that it answers. Raises CallError, of which there is one class for each reason (errors.py).
        """
        if running_call() is not None:
            timeout, headers = inherit(timeout, headers, time.monotonic, object, method)
        deadline = None if timeout is None or timeout == math.inf else time.monotonic() + timeout
        try:
            if not headers:
                value = self._call_alone(object, method, args, returns, timeout, deadline)
                if value is not NOT_ALONE:
                    return value
            codec = self.link.session.codec
            payload = payload_of(args, codec, object, method)
            value = self.calls.call(object, method, payload, codec, timeout, deadline, headers)
        except (ConnectionLost, NoSuchObject) as error:
            wait_to_retry(self.link, self.calls, error, deadline)
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            return self.call(object, method, args, timeout=left, returns=returns, headers=headers)
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
        """What a generator method yields, one by one: to be iterated over, in `with` or plainly.

        `timeout` is for the whole stream, and `returns` the type of an item; the rest is as for `call`.
        """
        return Stream(self.link, self.calls, object, method, args, returns, timeout=timeout, headers=headers)

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
        """The object's methods as methods: `client.object("math").add(a=10, b=32)`.

        With `api`, a class or a Protocol whose methods are plain `def`s, they are those of the class: arguments are
        checked against their signatures, and results against their hints, to which they are converted. Methods whose hint
        is an iterator give a `Stream`. `timeout` is for each call, though not for streams; `headers` are for all.

        With `check` the class is held against what the object's worker tells of it, at once: that
        raises InterfaceMismatch, NoSuchObject, or NoSuchMethod where the broker cannot tell.
        """
        call = with_headers(with_timeout(self.call, timeout), headers)
        if api is None:
            return ObjectProxy(call, name)
        from ..session.typed import TypedProxy  # only for those who use it: it looks into classes

        proxy = TypedProxy(call, with_headers(self.stream, headers), name, api)
        if check:
            from ..conformance import require_conformance

            require_conformance(api, self.describe(name))
        return proxy

    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[P, T]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], AsyncIterable[T]]) -> Callable[P, Stream[T]]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], Iterator[T]]) -> Callable[P, Stream[T]]: ...
    @overload
    def bind(self, object: str, method: Callable[Concatenate[Any, P], T]) -> Callable[P, T]: ...
    def bind(self, object: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """One method of a class, as a function that calls the object's: `client.bind("math", Calculator.add)(1, 2)`.

        It may be `def` or `async def`, whatever the worker has. Generator functions, and those whose hint is an
        AsyncIterator, Iterator or the like, give a `Stream`. (To type checkers an `Iterable` may also be a list: say
        Iterator.) Raises TypeError for a function that is no method with `self`.
        """
        from ..session.typed import bound_function

        return bound_function(method, self.call, self.stream, object)

    def publish(self, object: str, topic: str, value: Any = None, *, retain: bool = False, ack: bool = False) -> None:
        """Returns when the event is with the kernel, with `ack` when the broker has routed it.

        Waits while the broker asks for a pause because a subscriber is slow. With `retain` the value is kept for those who
        subscribe later. `drain` tells when all was routed.
        """
        self.publishing.publish(object, topic, value, retain=retain, ack=ack)

    def clear(self, object: str, topic: str) -> None:
        """Removes the value that is retained there, if there is one."""
        publisher = self.link.session.publisher
        self.calls.ask(lambda answer: publisher.clear(object, topic, answer, 0.0), deadline_in(DEFAULT_TIMEOUT))

    def set_will(self, object: str, topic: str, value: Any = None, *, retain: bool = False) -> None:
        """The event that the broker publishes when this client is lost, not when it is closed; "" as topic: none."""
        publisher = self.link.session.publisher
        self.calls.ask(
            lambda answer: publisher.set_will(object, topic, value, answer, 0.0, retain=retain),
            deadline_in(DEFAULT_TIMEOUT),
        )

    def subscribe(self, object: str, topic: str, *, group: str = "", overflow: Overflow = "") -> Subscription:
        """Returns when every event published from then on will come.

        In `object` and `topic`, segments between dots, `*` stands for one and a last `>` for the rest. Of the members of a
        `group` one gets each event. `overflow` is what happens when too many events wait: publishers wait for a while (""),
        or "drop_oldest", "latest" (one for each topic), "disconnect".
        """
        return self._subscribe(object, topic, deadline_in(DEFAULT_TIMEOUT), group=group, overflow=overflow)

    def unsubscribe(self, subscription: Subscription) -> None:
        """What `Subscription.close` does."""
        self._subscriptions.discard(subscription)
        link, session = self.link, self.link.session
        subscribed = subscription.subscribed
        deadline = deadline_in(ANSWER_TIMEOUT)
        if subscribed is None or link.closed:
            return
        try:
            if session.ready:
                self.calls.ask_once(lambda answer: session.unsubscribe(subscribed, answer, now=0.0), deadline)
                if link.turns.led:  # by a thread that may wait for an event: any answer wakes it
                    self.calls.ask_once(lambda answer: session.names.has(BROKER_OBJECT, answer), deadline)
        except (ConnectionLost, ClientClosed, TimeoutError):
            return  # a connection that is lost has no subscriptions either
        finally:
            with link.lock:
                session.subscriptions.remove(subscribed)  # otherwise the next connection would have it again
                link.turns.call_done()

    def has(self, object: str) -> bool:
        """Whether somebody serves the object."""
        return self._has(object, deadline_in(DEFAULT_TIMEOUT))

    def wait_for(self, object: str, timeout: float | None = None) -> None:
        """Until somebody serves the object. Raises TimeoutError."""
        deadline = deadline_in(timeout)
        # The answer to the first question is not to be missed because little time is left.
        if self._has(object, None if deadline is None else max(deadline, time.monotonic() + ANSWER_TIMEOUT)):
            return
        try:
            served = wait_for(self.link, self.calls, object, deadline)
        except TimeoutError:
            served = False
        if not served:
            raise TimeoutError(f"nobody serves '{object}' after {timeout:g} s")

    def objects(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> list[str]:
        """The names of all objects, `rob` among them."""
        names: list[str] = []
        try:
            return self.call(BROKER_OBJECT, "listObjects", timeout=timeout, returns=list[str])
        except TooLarge:  # more than one answer holds: page by page
            while page := self.call(
                BROKER_OBJECT, "listObjects", names_after(names), timeout=timeout, returns=list[str]
            ):
                names += page
            return names

    def describe(self, object: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> ObjectDescription:
        """Who serves the object, and what it offers: its methods with their types, as JSON Schema.

        Raises NoSuchObject, and NoSuchMethod where the broker cannot tell.
        """
        from .describing import describe  # only for those who ask

        return describe(self, object, timeout)

    def drain(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Returns when the broker has routed all that was published before. Raises ConnectionLost when it may have not."""
        self.publishing.drain(timeout)

    def close(self) -> None:
        """At once: what was published may not have been routed. May be called again."""
        for subscription in list(self._subscriptions):
            subscription.open = False
        self._subscriptions.clear()
        try:
            self.link.leave()
        finally:
            self.link.close()

    def _has(self, object: str, deadline: float | None) -> bool:
        return bool(self.calls.ask(lambda answer: self.link.session.names.has(object, answer), deadline))

    def _subscribe(
        self, object: str, topic: str, deadline: float | None, *, group: str = "", overflow: str = ""
    ) -> Subscription:
        subscription = Subscription(self, object, topic)

        def subscribe(answer: Answer) -> None:
            subscription.subscribed = self.link.session.subscribe(
                object, topic, subscription, answer, group=group, overflow=overflow
            )

        try:
            self.calls.ask(subscribe, deadline)
        except BaseException:  # Ctrl-C too: nobody would take the events
            self.unsubscribe(subscription)
            raise
        self._subscriptions.add(subscription)
        return subscription
