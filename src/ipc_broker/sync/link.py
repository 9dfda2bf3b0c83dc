"""The connection under a blocking client, shared by all threads that use it.

No thread of its own reads it. Of the threads that wait, one is the leader and reads for all; when it has what it waits
for, it hands the lead to one of the followers. All times are deadlines of `time.monotonic`, None for ever.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from ..address import Address
from ..errors import ClientClosed, ConnectFailed, ConnectionLost
from ..messages import Error, Invalid
from ..protocol.connection import State
from ..session import Session, deadline_exceeded
from .transport import Transport, open_transport

_CLOSING = State.CLOSING


class Answer:
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


class Link:
    """Opens the connection, or raises ConnectFailed."""

    def __init__(self, address: Address, name: str, timeout: float | None) -> None:
        self.address = address
        self.session = Session(nonce=os.urandom(8).hex(), name=name, pid=os.getpid())
        self.session.on_notice = self._log_notice
        self.closed = False
        self._lost = ""
        self._lock = threading.Lock()  # of the session, and of who leads
        self._sending = threading.Lock()
        self._leading = False
        self._followers: list[tuple[Callable[[], bool], threading.Lock]] = []
        deadline = deadline_in(timeout)
        self._transport: Transport = open_transport(address, timeout)
        try:
            self._open(deadline, timeout)
        except BaseException:
            self.close()
            raise

    def _open(self, deadline: float | None, timeout: float | None) -> None:
        opened = Answer()
        self.session.connection_made(lambda: None, opened)
        try:
            self._flush(deadline)
            answered = self.wait_until(opened.done, deadline)
            if answered:
                opened.result()
        except TimeoutError:
            answered = False
        except ConnectionLost as error:
            raise ConnectFailed(f"{self.address} closed the connection before it answered: {error}") from error
        if not answered:
            raise ConnectFailed(f"{self.address} accepts connections but did not answer within {timeout:g} s")

    def call(self, object_name: str, method: str, args: Raw, timeout: float | None) -> Raw:
        """The undecoded result. Raises CallError."""
        if self.closed:
            self._require_open()
        deadline = deadline_in(timeout)
        answer = Answer()
        with self._lock:
            call_id = self.session.call(object_name, method, args, answer, 0.0, None)
        try:
            self._flush(deadline)
            if not self.wait_until(answer.done, deadline):
                raise TimeoutError
        except BaseException as error:  # Ctrl-C too: nobody waits for the answer any more
            with self._lock:
                self.session.forget(call_id)
            if type(error) is TimeoutError:
                raise deadline_exceeded(object_name, method, timeout) from None
            raise
        if answer.exception is not None:
            raise answer.exception
        value: Raw = answer.value
        return value

    def ask(self, question: Callable[[Answer], None], deadline: float | None) -> Any:
        """What the broker answers to what `question` has the session send. Raises TimeoutError, ConnectionLost."""
        self._require_open()
        answer = Answer()
        with self._lock:
            question(answer)
        self._flush(deadline)
        if not self.wait_until(answer.done, deadline):
            raise TimeoutError(f"the broker at {self.address} did not answer in time")
        return answer.result()

    def publish(self, object_name: str, topic: str, value: Raw, deadline: float | None) -> None:
        """Returns when the event is with the kernel. Raises TimeoutError when the broker takes nothing; it is sent later then."""
        self._require_open()
        with self._lock:
            self.session.publish(object_name, topic, value)
        try:
            self._flush(deadline)
        except TimeoutError:
            if self.session.connection is not None:
                raise
        if self.session.connection is None:
            raise ConnectionLost(self._lost)

    @property
    def awaited(self) -> bool:
        """Whether a thread waits for something to arrive."""
        return self._leading

    def close(self) -> None:
        """May be called again, and from any thread; those that wait learn it."""
        self.closed = True
        self._lose("the client was closed")

    # How threads wait

    def wait_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Reads the connection, or waits for the thread that reads it, until `done`. False when the deadline has passed.

        Raises ConnectionLost when it cannot come any more.
        """
        while True:
            with self._lock:
                if done():
                    self._pass_lead()  # it may have been offered to us
                    return True
                if leads := not self._leading:
                    self._leading = True
                else:
                    called = threading.Lock()
                    called.acquire()
                    self._followers.append((done, called))
            if leads:
                return self._lead(done, deadline)
            was_called = False
            try:
                was_called = called.acquire(timeout=_lock_timeout(deadline))
            finally:
                if not was_called:  # the deadline has passed, or Ctrl-C
                    with self._lock:
                        if (done, called) in self._followers:
                            self._followers.remove((done, called))
                        else:
                            self._pass_lead()  # it was offered to us in this very moment
            if not was_called:
                return done()

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> bool:
        session = self.session
        try:
            while not done():
                connection = session.connection
                if connection is None:
                    raise ConnectionLost(self._lost)
                try:
                    data = self._transport.recv(None if deadline is None else deadline - time.monotonic())
                except TimeoutError:
                    return done()
                except OSError as error:
                    self._lose(f"the connection to {self.address} was lost ({error.strerror or error})")
                    continue
                if not data:
                    self._lose(f"the connection to {self.address} was lost (the broker closed it)")
                    continue
                with self._lock:
                    session.receive_data(data)
                    if self._followers:
                        self._call_done_followers()
                if connection.state is _CLOSING:
                    self._lose(f"the connection to {self.address} was lost (what came from there is no message)")
                elif deadline is not None and time.monotonic() >= deadline:
                    return done()
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

    def _flush(self, deadline: float | None) -> None:
        """Raises TimeoutError when the kernel does not take all in time; the next flush goes on with the rest."""
        if not (self._sending.acquire(blocking=False) or self._sending.acquire(timeout=_lock_timeout(deadline))):
            raise TimeoutError(f"the broker at {self.address} takes nothing")
        try:
            with self._lock:
                connection = self.session.connection
                data = connection.data_to_send() if connection is not None else b""
            if data:
                self._transport.send(data, None if deadline is None else deadline - time.monotonic())
        except TimeoutError:
            if not self._transport.resumes:
                self._lose(f"the connection to {self.address} was lost (the broker takes nothing)")
            raise
        except OSError as error:
            self._lose(f"the connection to {self.address} was lost ({error.strerror or error})")
        except BaseException:
            # Part of a frame may be out, and nobody knows how much of it.
            self._lose(f"the connection to {self.address} was lost (sending was interrupted)")
            raise
        finally:
            self._sending.release()

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self.session.connection is not None:
                self._lost = reason
                self.session.connection_lost(reason)
            self._call_done_followers()
        self._transport.close()

    def _require_open(self) -> None:
        if self.closed:
            raise ClientClosed(f"the client of {self.address} was closed; connect again")

    def _log_notice(self, notice: Error | Invalid) -> None:
        import logging  # not earlier: most programs never need it, and it takes time to import

        what = notice.message if isinstance(notice, Error) else f"what came is no message: {notice.reason}"
        logging.getLogger("ipc_broker").warning("%s %s", self.address, what)


def deadline_in(timeout: float | None) -> float | None:
    return None if timeout is None or timeout == math.inf else time.monotonic() + timeout


def _lock_timeout(deadline: float | None) -> float:
    return -1 if deadline is None else min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
