"""The connection under a blocking client, shared by all threads that use it, and opened again when it was lost.

No thread of its own reads it, or connects again: whoever waits does (turns.py). All times are deadlines of
`time.monotonic`, None for ever.
"""

from __future__ import annotations

import os
import threading
import time

from ..destination import Destination
from ..errors import ClientClosed, ConnectFailed, ConnectionLost, DeadlineExceeded, Overloaded, UntrustedBroker
from ..forking import disown_in_children
from ..messages import Error, Invalid
from ..protocol.connection import Connection, State
from ..session import Session, Settings
from ..session.reconnecting import ANSWER_TIMEOUT, GOODBYE_PATIENCE, MOST_WAITING, SETTLING, STABLE, backoff
from ..session.settings import FEATURES
from .direct import DirectCalls
from .sender import Sender
from .tidings import Notified, Tidings
from .transport import SocketTransport, Transport, open_transport
from .turns import Turns
from .waiting import Answer, deadline_in

_CLOSING = State.CLOSING

CLOSE_TIMEOUT = 1.0
"""Seconds that the broker has to close a connection to which goodbye was said."""


class Link:
    """Opens the first connection, or raises ConnectFailed.

    `lock` is the session's, and of who leads. `sender` writes what the session has queued, `tidings` are to be told.
    """

    def __init__(
        self,
        destination: Destination,
        name: str,
        timeout: float | None,
        on_connect: Notified | None = None,
        on_disconnect: Notified | None = None,
    ) -> None:
        self.address = destination.address
        self._destination = destination
        # It does not read while its threads are busy elsewhere: nothing would answer.
        features = tuple(feature for feature in FEATURES if feature != "heartbeat")
        settings = Settings(name=name, pid=os.getpid(), features=features, token=destination.token)
        self.session = Session(nonce=os.urandom(8).hex(), settings=settings)
        self.session.on_notice = self._notice
        self.session.on_goodbye = self._goodbye
        self.transport: Transport | None = None
        self.lock = threading.Lock()
        self.tidings = Tidings(on_connect, on_disconnect)
        self.sender = Sender(self)
        self.turns = Turns(self)
        self.wait_until = self.turns.wait_until
        self.direct = DirectCalls(self)
        self.closed = False
        self.was_forked = False
        """This process is a child of the one that it belongs to, and its locks may be held for ever."""
        self.torn: Connection | None = None
        """The last connection of which something may have been sent in part."""
        self.settled_at = 0.0
        """When the others, too, have had the time to come back after a reconnect."""
        # Held until it is closed: no Event, whose own lock Ctrl-C may leave held for ever.
        self._open_for = threading.Lock()
        self._open_for.acquire()
        self._ended = False
        self._reason = ""
        self._waiting = 0  # for a connection
        self._stranger = ""  # who listens there in the place of the broker
        self._opening: Answer | None = None
        self._patient_until: float | None = None  # the broker has to answer hello, or to close, by then
        self._opened_at = 0.0
        self._backoff = backoff()
        self._attempt_at = 0.0
        self._open(timeout)
        disown_in_children(self)

    def _open(self, timeout: float | None) -> None:
        deadline = deadline_in(timeout)
        opened = self._connect(timeout, deadline)
        try:
            try:
                self.sender.flush(deadline)
                answered = self.wait_until(opened.done, deadline)
            except TimeoutError:
                answered = False
            if not answered:
                raise ConnectFailed(f"{self.address} accepts connections but did not answer within {timeout:g} s")
            opened.result()
        except ConnectionLost as error:
            self.close()
            raise ConnectFailed(f"{self.address} closed the connection before it answered: {error}") from error
        except Overloaded as error:
            self.close()
            raise ConnectFailed(f"{self.address} takes no more connections: {error}") from error
        except BaseException:
            self.close()
            raise

    def _connect(self, timeout: float | None, answer_by: float | None) -> Answer:
        """A new connection, over which hello is to be sent. Raises ConnectFailed."""
        transport = open_transport(self._destination, timeout)
        opened = Answer()
        with self.lock:
            self.transport = transport
            self._opening = opened
            self._patient_until = answer_by
            self.session.connection_made(_nothing, opened)
            if isinstance(transport, SocketTransport) and self.session.connection is not None:
                transport.read_large_directly(self.session.connection)
            if self.closed:
                self._end("the client was closed")
        return opened

    def require_open(self) -> None:
        """Raises ClientClosed."""
        if self.was_forked:
            raise ClientClosed(f"the client of {self.address} belongs to the process that forked; connect in this one")
        if self.closed:
            raise ClientClosed(f"the client of {self.address} was closed; connect again")

    def wait_ready(self, deadline: float | None) -> None:
        """Until there is a connection. Raises ClientClosed, DeadlineExceeded, Overloaded."""
        self.require_open()
        if self.session.ready:
            return
        started = time.monotonic()
        with self.lock:
            if self._waiting >= MOST_WAITING:
                message = f"{MOST_WAITING} calls and publishers wait already for a connection to {self.address}"
                raise Overloaded(message, delivered="no")
            self._waiting += 1
        try:
            ready = self.wait_until(lambda: self.session.ready or self.closed, deadline)
        except ConnectionLost:
            ready = False
        finally:
            with self.lock:
                self._waiting -= 1
        self.require_open()
        if not ready:
            why = f": {self._stranger}" if self._stranger else ""
            message = f"there was no connection to {self.address} within {time.monotonic() - started:.3g} s{why}"
            raise DeadlineExceeded(message, delivered="no")

    # What the leader does

    def read(self, deadline: float | None) -> bool:
        """One piece of what comes, or one step to the next connection. False when nothing came in time.

        Raises ConnectionLost when the client was closed.
        """
        session = self.session
        connection, transport = session.connection, self.transport
        if connection is None or transport is None:
            return self._reconnect(deadline)
        if self.sender.left_behind:
            self.sender.flush_now()
        until = deadline
        if self._patient_until is not None and (deadline is None or self._patient_until < deadline):
            until = self._patient_until
        try:
            data = transport.recv(None if until is None else until - time.monotonic())
            if data:
                with self.lock:
                    session.receive_data(data)
                    if self._opening is not None:
                        self._look_whether_open()
                    if self.turns.followers:
                        self.turns.call_done()
            transport.in_doubt = False
        except TimeoutError:
            if until is deadline:
                return False
            what = "hello was not answered" if self._opening is not None else "it was not closed after the goodbye"
            self.lose(f"{what} in time", connection)
            return True
        except OSError as error:
            self.lose(error.strerror or str(error), connection)
            return True
        except BaseException:
            if transport.in_doubt:  # messages may be missing now: answers, which others wait for, and events
                self.lose("reading was interrupted", connection)
            raise
        if not data:
            self.lose("the broker closed it", connection)
        elif connection.state is _CLOSING:
            self.lose("what came from there is no message", connection)
        elif connection.queued:
            self.sender.flush_now()
        return True

    def _reconnect(self, deadline: float | None) -> bool:
        if self.closed:
            raise ConnectionLost(self._reason, delivered="no")
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            return False
        if now < self._attempt_at:
            until = self._attempt_at if deadline is None else min(self._attempt_at, deadline)
            if self._open_for.acquire(timeout=until - now):
                self._open_for.release()  # for others who wait
            return until is not deadline
        try:
            self._connect(
                ANSWER_TIMEOUT if deadline is None else min(ANSWER_TIMEOUT, deadline - now), now + ANSWER_TIMEOUT
            )
        except (ConnectFailed, UntrustedBroker) as error:
            self._stranger = str(error) if isinstance(error, UntrustedBroker) else ""
            self._attempt_at = time.monotonic() + next(self._backoff)
            return True
        self._stranger = ""
        self.sender.flush_now()
        return True

    def _look_whether_open(self) -> None:
        if self.session.opened:
            self._opening = self._patient_until = None
            self._opened_at = time.monotonic()
            if self.session.losses:
                self.settled_at = self._opened_at + SETTLING
                self.tidings.info(f"connected to {self.address} again")
            self.tidings.connected()

    # Losing and closing

    def lose(self, why: str, connection: Connection, *, unsent: bytes = b"", torn: bool = False) -> None:
        """The connection is gone. Of what was taken from it to be sent, `unsent` did not leave, not even in part.

        When it is `torn` nobody knows how much did.
        """
        with self.lock:
            if connection is self.session.connection:
                connection.take_back(unsent)
                if torn:
                    self.torn = connection
                self._end(f"the connection to {self.address} was lost ({why})")
            elif torn or unsent:  # another thread has found it before, and taken what is missing for sent
                self.torn = connection

    def _end(self, reason: str) -> None:
        """With the lock held, of the connection that there is."""
        was_open, was_ready = self.session.opened, self.session.ready
        self._reason = reason
        self._opening = self._patient_until = None
        self.session.connection_lost(reason)
        if self.transport is not None:
            self.transport.close()
        now = time.monotonic()
        if was_open:
            if now - self._opened_at >= STABLE:
                self._backoff = backoff()
            if not self.closed:
                tell = self.tidings.warning if was_ready else self.tidings.info  # after a goodbye it was to be expected
                tell(f"{reason}; {'connecting again' if self.turns.led else 'the next use connects again'}")
            self.tidings.disconnected()
        self._attempt_at = now + next(self._backoff)
        self.turns.call_done()

    def leave(self) -> None:
        """Says goodbye, after which the broker closes the connection; or we, after a while. `close` is to follow."""
        if self.closed:
            return
        self.closed = True
        leads = False
        try:
            with self.lock:
                connection = self.session.connection
                self.session.directs.end_all("the client was closed")
                said = self.session.say_goodbye()
            if said:
                with self.lock:
                    if not self.turns.led:
                        leads = self.turns.led = True
                self.sender.flush_now()
                deadline = time.monotonic() + CLOSE_TIMEOUT
                while leads and self.session.connection is connection and time.monotonic() < deadline:
                    self.read(deadline)
        finally:
            if leads:
                self.turns.led = False
                self.turns.hand_over()

    def close(self) -> None:
        """May be called again, and from any thread; those that wait learn it."""
        self.closed = True
        if self.was_forked:
            return
        with self.lock:
            if not self._ended:
                self._ended = True
                self._open_for.release()
            if self.session.connection is not None:
                self._end("the client was closed")
            self.turns.call_done()
        self.tidings.tell()

    def forked(self) -> None:
        self.was_forked = self.closed = True
        if self.transport is not None:
            self.transport.disown()
        self.direct.disown()

    # What the session tells, with the lock held

    def _notice(self, notice: Error | Invalid) -> None:
        what = notice.message if isinstance(notice, Error) else f"what came is no message: {notice.reason}"
        self.tidings.warning(f"{self.address} {what}")

    def _goodbye(self, reason: str) -> None:
        self._patient_until = time.monotonic() + GOODBYE_PATIENCE
        self.tidings.info(f"the broker at {self.address} says goodbye{f' ({reason})' if reason else ''}")


def _nothing() -> None:
    """The session is flushed by whoever used it."""
