"""The blocking client, safe to share between threads.

No thread of its own reads the connection. Of the threads that wait, one is the leader and reads for all; when it has what
it waits for, it hands the lead to one of the others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from msgspec import Raw

from ..address import resolve_address
from ..errors import ClientClosed, ConnectFailed, ConnectionLost
from ..events import Event
from ..messages import Error, Invalid, Welcome
from ..protocol.codec import NULL
from ..session import BROKER_OBJECT, Session, deadline_exceeded
from ..session.values import DEFAULT_TIMEOUT, ObjectProxy, payload_of, value_of
from .subscription import Subscription
from .transport import Transport, open_transport

T = TypeVar("T")


def connect(address: str | None = None, *, timeout: float | None = 5.0, name: str = "") -> Client:
    """A connected client, also for `with`.

    `address` defaults to `BROKER_ADDR` in the environment, then to the platform's default. Fails at once with
    ConnectFailed when nothing listens there, after `timeout` seconds when nothing answers. `name` is shown to people.
    """
    return Client(address, timeout=timeout, name=name)


class _Answer:
    """The reply to one question (`session.Reply`)."""

    __slots__ = ("_done", "exception", "value")

    def __init__(self) -> None:
        self._done = False
        self.value: Any = None
        self.exception: BaseException | None = None

    def done(self) -> bool:
        return self._done

    def set_result(self, result: Any, /) -> None:
        self.value = result
        self._done = True

    def set_exception(self, exception: BaseException, /) -> None:
        self.exception = exception
        self._done = True

    def result(self) -> Any:
        if self.exception is not None:
            raise self.exception
        return self.value


class Client:
    """A connection to a broker; `connect` makes it."""

    def __init__(self, address: str | None = None, *, timeout: float | None = 5.0, name: str = "") -> None:
        self._address = resolve_address(address, os.environ)
        self._session = Session(nonce=os.urandom(8).hex(), name=name, pid=os.getpid())
        self._session.on_notice = self._log_notice
        self._lock = threading.Lock()  # of the session, and of who leads
        self._sending = threading.Lock()
        self._leading = False
        self._followers: list[tuple[Callable[[], bool], threading.Lock]] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False
        self._lost = ""
        self._transport: Transport = open_transport(self._address, timeout)
        opened = _Answer()
        self._session.connection_made(lambda: None, opened)
        try:
            self._flush()
            if not self.wait_until(opened.done, timeout):
                raise ConnectFailed(f"{self._address} accepts connections but did not answer within {timeout:g} s")
            opened.result()
        except ConnectionLost as error:
            self.close()
            raise ConnectFailed(f"{self._address} closed the connection before it answered: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        return str(self._address)

    @property
    def broker(self) -> Welcome | None:
        """What the broker said of itself; None for one that speaks the Rust crate's protocol only."""
        return self._session.welcome

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self._session.ready else "lost"
        return f"<Client {self._address} {state} calls={self._session.calls_in_flight}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        try:
            if kind is None and not self._closed:
                self.drain()
        finally:
            self.close()

    @overload
    def call(self, object: str, method: str, args: Any = None, *, timeout: float | None = DEFAULT_TIMEOUT) -> Any: ...
    @overload
    def call(
        self, object: str, method: str, args: Any = None, *, timeout: float | None = DEFAULT_TIMEOUT, returns: type[T]
    ) -> T: ...
    def call(
        self, object: str, method: str, args: Any = None, *, timeout: float | None = DEFAULT_TIMEOUT, returns: Any = Any
    ) -> Any:
        """What the method returned, checked and converted to `returns`.

        `args`: a map holds named arguments, a list positional ones, None none; anything else is one argument. `timeout` is
        in seconds, None waits for ever. Raises CallError, of which there is one class for each reason (errors.py).
        """
        value = self._call(object, method, payload_of(args, object, method), timeout)
        return value_of(value, returns, object, method)

    def object(self, name: str) -> ObjectProxy:
        """The object's methods as methods: `client.object("math").add(a=10, b=32)`."""
        return ObjectProxy(self.call, name)

    def publish(self, object: str, topic: str, value: Any = None) -> None:
        """Returns when the event is with the kernel. `drain` tells when it was routed."""
        payload = payload_of(value, object, topic)
        self._require_open()
        with self._lock:
            self._session.publish(object, topic, payload)
        self._flush()

    def subscribe(self, object: str, topic: str) -> Subscription:
        """Returns when every event published from then on will come."""
        subscription = Subscription(self, object, topic)
        self._ask(lambda answer: self._session.subscribe(object, topic, subscription, answer))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """What `Subscription.close` does."""
        self._subscriptions.discard(subscription)
        if not self._closed and self._session.ready:
            object_name, topic = subscription.object, subscription.topic
            self._ask(lambda answer: self._session.unsubscribe(object_name, topic, subscription, answer, now=0.0))

    def has(self, object: str) -> bool:
        """Whether somebody serves the object."""
        return bool(self._ask(lambda answer: self._session.has(object, answer)))

    def wait_for(self, object: str, timeout: float | None = None) -> None:
        """Until somebody serves the object. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.subscribe(BROKER_OBJECT, "object.registered") as registered:
            while not self.has(object):
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise TimeoutError(f"nobody serves '{object}' after {timeout:g} s")
                # The Rust crate's broker has no such events; its own clients ask as often.
                patience = remaining if self.broker is not None else min(0.1, remaining or 0.1)
                self._wait_for_registration(object, registered, patience)

    def objects(self) -> list[str]:
        """The names of all objects, `rob` among them."""
        return self.call(BROKER_OBJECT, "listObjects", returns=list[str])

    def drain(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Returns when the broker has routed all that was published before."""
        self._call(BROKER_OBJECT, "ping", NULL, timeout)

    def close(self) -> None:
        """At once: what was published may not have been routed. May be called again."""
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.open = False
        self._subscriptions.clear()
        self._lose("the client was closed")

    # How threads wait

    def wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Reads the connection, or waits for the thread that reads it, until `done`. False after `timeout` seconds.

        Raises ConnectionLost when it cannot come any more.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if done():
                    return True
                if leads := not self._leading:
                    self._leading = True
                else:
                    called = threading.Lock()
                    called.acquire()
                    self._followers.append((done, called))
            if leads:
                return self._lead(done, deadline)
            if not called.acquire(timeout=-1 if deadline is None else max(deadline - time.monotonic(), 0.0)):
                with self._lock:
                    if (done, called) in self._followers:
                        self._followers.remove((done, called))
                    else:
                        self._pass_lead()  # it was offered to us in this very moment
                    return done()

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> bool:
        session = self._session
        try:
            while not done():
                if session.connection is None:
                    raise ConnectionLost(self._lost)
                try:
                    data = self._transport.recv(None if deadline is None else deadline - time.monotonic())
                except TimeoutError:
                    return done()
                except OSError as error:
                    self._lose(f"the connection to {self._address} was lost ({error.strerror or error})")
                else:
                    if not data:
                        self._lose(f"the connection to {self._address} was lost (the broker closed it)")
                        continue
                    with self._lock:
                        session.receive_data(data)
                        if self._followers:
                            self._call_done_followers()
            return True
        finally:
            with self._lock:
                self._leading = False
                if self._followers:
                    self._pass_lead()

    def _call_done_followers(self) -> None:
        waiting = []
        for done, called in self._followers:
            if done():
                called.release()
            else:
                waiting.append((done, called))
        self._followers = waiting

    def _pass_lead(self) -> None:
        if self._followers and not self._leading:
            self._followers.pop(0)[1].release()

    # Sending and losing

    def _call(self, object: str, method: str, args: Raw, timeout: float | None) -> Raw:
        if self._closed:
            self._require_open()
        answer = _Answer()
        with self._lock:
            call_id = self._session.call(object, method, args, answer, 0.0, None)
        try:
            self._flush()
            if not self.wait_until(answer.done, timeout):
                raise deadline_exceeded(object, method, timeout)
        except BaseException:  # Ctrl-C too: nobody waits for the answer any more
            with self._lock:
                self._session.forget(call_id)
            raise
        if answer.exception is not None:
            raise answer.exception
        value: Raw = answer.value
        return value

    def _ask(self, question: Callable[[_Answer], None]) -> Any:
        self._require_open()
        answer = _Answer()
        with self._lock:
            question(answer)
        self._flush()
        if not self.wait_until(answer.done, DEFAULT_TIMEOUT):
            raise TimeoutError(f"the broker at {self._address} did not answer within {DEFAULT_TIMEOUT:g} s")
        return answer.result()

    def _flush(self) -> None:
        with self._sending:
            with self._lock:
                connection = self._session.connection
                data = connection.data_to_send() if connection is not None else b""
            if data:
                try:
                    self._transport.send(data, DEFAULT_TIMEOUT)
                except OSError as error:
                    # Part of a frame may be out: the stream cannot be used any more.
                    self._lose(f"the connection to {self._address} was lost ({error.strerror or error})")

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._session.connection is not None:
                self._lost = reason
                self._session.connection_lost(reason)
            self._call_done_followers()
        self._transport.close()

    def _log_notice(self, notice: Error | Invalid) -> None:
        import logging

        what = (
            f"sent what is no message: {notice.reason}" if isinstance(notice, Invalid) else f"refused: {notice.message}"
        )
        logging.getLogger("ipc_broker").warning("%s %s", self._address, what)

    def _require_open(self) -> None:
        if self._closed:
            raise ClientClosed(f"the client of {self._address} was closed; connect again")

    def _wait_for_registration(self, object: str, registered: Subscription, patience: float | None) -> None:
        try:
            while True:
                event = registered.get(patience)
                if not isinstance(event, Event) or event.value == {"object": object}:
                    return  # after a Gap it may have been registered unseen
        except TimeoutError:
            return
