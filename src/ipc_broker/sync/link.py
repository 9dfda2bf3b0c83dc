"""The connection under a blocking client, shared by all threads that use it.

No thread of its own reads it. Of the threads that wait, one is the leader and reads for all; when it has what it waits
for, it hands the lead to one of the followers. All times are deadlines of `time.monotonic`, None for ever.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from ..address import Address
from ..errors import ClientClosed, ConnectFailed, ConnectionLost
from ..messages import Error, Invalid
from ..protocol.connection import State
from ..session import ClientSubscription, Session, Settings, deadline_exceeded
from ..session.settings import FEATURES
from ..session.streams import Incoming
from .transport import Transport, open_transport
from .waiting import Answer, deadline_in, lock_timeout

_CLOSING = State.CLOSING

CLOSE_TIMEOUT = 1.0
"""Seconds that the broker has to close a connection to which goodbye was said."""

LOOK_EVERY = 64 * 1024
"""Bytes published after which it is looked whether the broker asks for a pause."""

_LONGEST_LOOK = 64  # reads; others may wait for what comes then, and ask for more without end

_RETRY = 0.05  # seconds, while the kernel does not take what is to be sent


class Link:
    """Opens the connection, or raises ConnectFailed."""

    def __init__(self, address: Address, name: str, timeout: float | None) -> None:
        self.address = address
        # It does not connect again: there is no session to be resumed. Nor does it read while its threads are busy elsewhere.
        features = tuple(feature for feature in FEATURES if feature not in ("resume", "heartbeat"))
        settings = Settings(name=name, pid=os.getpid(), features=features)
        self.session = Session(nonce=os.urandom(8).hex(), settings=settings)
        self._notices: deque[Error | Invalid] = deque()  # logged when no lock is held: a handler may use this client
        self.session.on_notice = self._notices.append
        self.closed = False
        self._lost = ""
        self._unread = 0  # bytes published since it was looked for a pause
        self._lock = threading.Lock()  # of the session, and of who leads
        self._sending = threading.Lock()
        self._left_behind = False  # something is to be sent by whoever sends now, or waits next
        self._abandoned: deque[Incoming] = deque()  # streams that are to be cancelled then
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

    def call(
        self, object_name: str, method: str, args: Raw, timeout: float | None, headers: Mapping[str, str] | None = None
    ) -> Raw:
        """The undecoded result. Raises CallError."""
        if self.closed:
            self._require_open()
        deadline = deadline_in(timeout)
        answer = Answer()
        with self._lock:
            call_id = self.session.call(object_name, method, args, answer, None, timeout, headers=headers)
        try:
            self._flush(deadline)
            if not self.wait_until(answer.done, deadline):
                raise TimeoutError
        except BaseException as error:  # Ctrl-C too: nobody waits for the answer any more
            self._cancel(call_id)
            if type(error) is TimeoutError:
                raise deadline_exceeded(object_name, method, timeout) from None
            raise
        if answer.exception is not None:
            raise answer.exception
        value: Raw = answer.value
        return value

    def _cancel(self, call_id: str) -> None:
        """Tells the worker; the broker knows the deadline by itself."""
        with self._lock:
            self.session.cancel(call_id)
        self._flush_now()

    def open_stream(
        self, incoming: Incoming, args: Raw, timeout: float | None, headers: Mapping[str, str] | None
    ) -> None:
        """Raises CallError."""
        self._require_open()
        with self._lock:
            incoming.open(args, None, timeout, headers)
        try:
            self._flush(deadline_in(timeout))
        except BaseException as error:
            self.cancel_stream(incoming)
            if type(error) is TimeoutError:
                raise deadline_exceeded(incoming.object_name, incoming.method, timeout) from None
            raise

    def take(self, incoming: Incoming, deadline: float | None) -> Raw | None:
        """The next item; None at the end. Raises TimeoutError when the deadline has passed."""
        while True:
            with self._lock:
                value = incoming.take()
                ended = incoming.ended  # looked at together: another thread may read the last item and the end
            if value is not None:
                if self.session.queued or self._left_behind:
                    self._flush_now()
                return value
            if ended:
                return None
            if not self.wait_until(lambda: incoming.ready, deadline):
                raise TimeoutError

    def cancel_stream(self, incoming: Incoming) -> None:
        with self._lock:
            incoming.cancel()
        self._flush_now()

    def abandon_stream(self, incoming: Incoming) -> None:
        """As `cancel_stream`, for a finalizer: it may run in the middle of anything, and while its thread holds our locks."""
        self._abandoned.append(incoming)
        self._left_behind = True
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self._flush_now()

    def taken(self, subscription: ClientSubscription, size: int) -> None:
        """An event was consumed: the broker may send more."""
        with self._lock:
            has_to_write = subscription.taken(size)
        if has_to_write or self._left_behind:
            self._flush_now()

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

    def publish(self, publish: Callable[[], int], timeout: float) -> None:
        """Returns when the event is with the kernel. Raises TimeoutError when the broker takes nothing; it is sent later then.

        Waits before while the broker asks for a pause. Nobody may be reading, so it looks for that itself now and then.
        """
        self._require_open()
        if self._unread > LOOK_EVERY:
            self._unread = 0
            self._look_for_pause()
        if self.session.paused:
            # After that time it is sent all the same: a broker that still wants less does not read it.
            self.wait_until(lambda: not self.session.paused, deadline_in(timeout))
        with self._lock:
            self._unread += publish()
        try:
            self._flush(deadline_in(timeout))
        except TimeoutError:
            if self.session.connection is not None:
                raise
        if self.session.connection is None:
            raise ConnectionLost(self._lost)

    def _look_for_pause(self) -> None:
        """Reads what has come, unless another thread does: events that nobody takes now may stand before a `Pause`."""
        leads = False
        try:
            with self._lock:
                if not self._leading:
                    leads = self._leading = True
            reads = _LONGEST_LOOK if leads else 0
            while reads and not self.session.paused and self._read(0.0):
                reads -= 1
        finally:
            if leads:
                self._hand_over()

    @property
    def awaited(self) -> bool:
        """Whether a thread waits for something to arrive."""
        return self._leading

    def say_goodbye(self) -> None:
        """For a connection to be closed in good order: the broker closes it when it has read that, or we after a while."""
        if self.closed or not self.session.ready:
            return
        leads = False
        try:
            with self._lock:
                if self.session.say_goodbye() and not self._leading:
                    leads = self._leading = True
            self._flush_now()
            deadline = time.monotonic() + CLOSE_TIMEOUT
            while leads and self.session.connection is not None and time.monotonic() < deadline:
                self._read(deadline)
        finally:
            if leads:
                self._hand_over()

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
            until = self._flush_rest(deadline) if self._left_behind else deadline
            leads = was_called = False
            called: threading.Lock | None = None
            try:
                with self._lock:
                    if done():
                        self._pass_lead()  # it may have been offered to us
                        return True
                    if not self._leading:
                        leads = self._leading = True
                    else:
                        called = threading.Lock()
                        called.acquire()
                        self._followers.append((done, called))
                if called is not None:
                    was_called = called.acquire(timeout=lock_timeout(until))
                elif self._lead(done, until):
                    return True
            finally:  # Ctrl-C may come anywhere
                if leads:
                    self._hand_over()
                elif called is not None and not was_called:
                    self._leave(done, called)
                elif self._left_behind:
                    self._flush_now()
            if not was_called and until is deadline:
                return done()

    def _flush_rest(self, deadline: float | None) -> float | None:
        """Sends what was left behind. When that is not all, it is tried again at the time that it gives."""
        self._flush_now()
        if not self._left_behind:
            return deadline
        retry = time.monotonic() + _RETRY
        return retry if deadline is None or retry < deadline else deadline

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> bool:
        while not done():
            if not self._read(deadline):
                return done()
            if deadline is not None and time.monotonic() >= deadline and self.session.connection is not None:
                return done()
        return True

    def _read(self, deadline: float | None) -> bool:
        """For the leader: one piece of what comes. False when nothing came in time. Raises ConnectionLost."""
        session = self.session
        connection = session.connection
        if connection is None:
            raise ConnectionLost(self._lost)
        if self._left_behind:
            self._flush_now()
        data: bytes | None = None
        try:
            data = self._transport.recv(None if deadline is None else deadline - time.monotonic())
            if data:
                with self._lock:
                    session.receive_data(data)
                    if self._followers:
                        self._call_done_followers()
        except TimeoutError:
            return False
        except OSError as error:
            self._lose(f"the connection to {self.address} was lost ({error.strerror or error})")
            return True
        except BaseException:
            if data is not None:  # messages may be missing now: answers, which others wait for, and events
                self._lose(f"the connection to {self.address} was lost (reading was interrupted)")
            raise
        if not data:
            self._lose(f"the connection to {self.address} was lost (the broker closed it)")
        elif connection.state is _CLOSING:
            self._lose(f"the connection to {self.address} was lost (what came from there is no message)")
        if self._notices:
            self._log_notices()
        return True

    def _hand_over(self) -> None:
        """The lead, to a thread that waits."""
        with self._lock:
            self._leading = False
            if self._followers:
                self._pass_lead()
        if self._left_behind:
            self._flush_now()

    def _leave(self, done: Callable[[], bool], called: threading.Lock) -> None:
        """A follower does not wait any longer."""
        with self._lock:
            if (done, called) in self._followers:
                self._followers.remove((done, called))
            else:
                self._pass_lead()  # it was offered to us in this very moment

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
        while True:
            if not (self._sending.acquire(blocking=False) or self._sending.acquire(timeout=lock_timeout(deadline))):
                raise TimeoutError(f"the broker at {self.address} takes nothing")
            try:
                rest, self._left_behind = self._left_behind, False
                with self._lock:
                    while self._abandoned:
                        self._abandoned.popleft().cancel()
                    connection = self.session.connection
                    data = connection.data_to_send() if connection is not None else b""
                if data or (rest and connection is not None):
                    self._transport.send(data, None if deadline is None else deadline - time.monotonic())
            except TimeoutError:
                self._left_behind = True
                raise
            except OSError as error:
                self._lose(f"the connection to {self.address} was lost ({error.strerror or error})")
            except BaseException:
                # Part of a frame may be out, and nobody knows how much of it.
                self._lose(f"the connection to {self.address} was lost (sending was interrupted)")
                raise
            finally:
                self._sending.release()
            if not self._left_behind:
                return

    def _flush_now(self) -> None:
        """What cannot be sent at once is left behind."""
        self._left_behind = True  # first: whoever sends now looks at it afterwards
        try:
            self._flush(time.monotonic())
        except TimeoutError:
            return

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

    def _log_notices(self) -> None:
        import logging  # not earlier: most programs never need it, and it takes time to import

        while self._notices:
            notice = self._notices.popleft()
            what = notice.message if isinstance(notice, Error) else f"what came is no message: {notice.reason}"
            logging.getLogger("ipc_broker").warning("%s %s", self.address, what)
