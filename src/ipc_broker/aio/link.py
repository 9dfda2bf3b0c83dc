"""The connection under a client or worker: opened, kept open, and opened again when it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from typing import Protocol, cast

from ..deadlines import BUCKET_SECONDS
from ..destination import Destination
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    IPCError,
    Overloaded,
    PermissionDenied,
    UntrustedBroker,
)
from ..forking import disown_in_children, give_up
from ..identity.direct import AVAILABLE
from ..messages import DirectOffer, Error, Invalid, Welcome
from ..protocol.connection import Connection
from ..session import Session, Settings
from ..session.reconnecting import ANSWER_TIMEOUT, GOODBYE_PATIENCE, MOST_WAITING, SETTLING, STABLE, backoff
from ..session.values import DEFAULT_TIMEOUT
from ..shared_memory import make_memory
from .callbacks import ConnectionCallbacks
from .direct import DirectEnd, connect_directly
from .link_protocol import LinkProtocol
from .transport import open_connection
from .writer import Writer

logger = logging.getLogger("ipc_broker")


class Ends(Protocol):
    """Something that lives as long as its link."""

    def ended(self) -> None: ...


ENOUGH_TO_WRITE = 64 * 1024
"""Bytes after which a publisher lets the loop write them, and read what came."""

CLOSE_TIMEOUT = 1.0
"""Seconds that closing may take to write what is queued."""


class Link:
    """Carries bytes between a `Session` and the broker at `address`. Belongs to the loop it is opened on."""

    def __init__(self, destination: Destination, name: str, callbacks: ConnectionCallbacks) -> None:
        self.address = destination.address
        self.destination = destination
        self.name = name
        settings = Settings(name=name, pid=os.getpid(), token=destination.token)
        self.session = Session(nonce=os.urandom(8).hex(), settings=settings)
        self.writer = Writer(self.session)
        self.session.on_notice = self._log_notice
        self.session.on_pause = self._paused
        self.session.on_goodbye = self._goodbye
        self.session.on_silence = self._end
        if AVAILABLE and self.address.scheme == "unix":
            self.session.directs.on_offer = self._offered
            self.session.make_memory = make_memory
        self.closed = False
        self.parting = False
        """Its user has done with it, and it is about to be closed. For tests: they wait for nothing else then."""
        self.loop = cast(asyncio.AbstractEventLoop, None)  # until it is opened
        self.settled_at = -math.inf
        """When the others, too, have had the time to come back after a reconnect."""
        self.subscriptions: set[Ends] = set()
        self.direct_ends: set[DirectEnd] = set()
        """Its direct connections, also those that a worker has accepted."""
        self.background: set[asyncio.Task[None]] = set()
        """What goes on by itself, and nobody waits for."""
        self._was_forked = False
        self._callbacks = callbacks
        self._protocol: LinkProtocol | None = None
        self._stops = False  # the broker has said goodbye
        self._waiting = 0  # for a connection
        self._reconnecting: asyncio.Task[None] | None = None
        self._backoff = backoff()
        self._opened_at = 0.0
        self._let_in = False  # by a broker, once
        self._stranger = ""  # who listens there in the place of the broker that let us in
        self._ready = asyncio.Event()
        self._resumed = asyncio.Event()
        self._senseless = ""  # what came that ends the connection
        self.consumer_woken = False
        """Somebody who waited for an event will run next, and before the methods whose calls came behind that event."""
        self._timer: asyncio.TimerHandle | None = None
        self.next_timer = math.inf
        """When the session is asked next for deadlines that have passed."""
        disown_in_children(self)

    async def open(self, timeout: float | None) -> None:
        """One attempt. Raises ConnectFailed, UntrustedBroker, PermissionDenied."""
        self.loop = asyncio.get_running_loop()
        opened: asyncio.Future[Welcome | None] = self.loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await open_connection(self.destination, lambda: LinkProtocol(self, opened), None)
                await opened
        except BaseException as error:
            accepted = "accepts connections but did not answer" if self._protocol is not None else "did not answer"
            opened.cancel()  # a connection that is still being made is not wanted any more
            self._drop()
            if isinstance(error, TimeoutError):
                raise ConnectFailed(f"{self.address} {accepted} within {timeout:g} s") from error
            if isinstance(error, ConnectionLost):
                raise ConnectFailed(f"{self.address} closed the connection before it answered: {error}") from error
            if isinstance(error, Overloaded):
                raise ConnectFailed(f"{self.address} takes no more connections: {error}") from error
            raise

    async def open_patiently(self) -> None:
        """Tries until there is a broker, for ever. Where one has let us in before, also when it does not do so now.

        Raises PermissionDenied, UntrustedBroker.
        """
        told: set[type[IPCError]] = set()
        for delay in self._backoff:
            await asyncio.sleep(delay)
            try:
                await self.open(ANSWER_TIMEOUT)
            except (ConnectFailed, PermissionDenied, UntrustedBroker) as error:
                if not self._let_in and not isinstance(error, ConnectFailed):
                    raise
                self._stranger = str(error) if isinstance(error, UntrustedBroker) else ""
                if type(error) not in told:
                    logger.warning("%s; waiting for it", error)
                    told.add(type(error))
            else:
                self._stranger = ""
                if told:
                    logger.info("connected to %s", self.address)
                return

    def require_open(self) -> None:
        """Raises ClientClosed."""
        if self._was_forked:
            raise ClientClosed(f"the client of {self.address} belongs to the process that forked; connect in this one")
        if self.closed:
            raise ClientClosed(f"the client of {self.address} was closed; connect again")

    def require_own_loop(self) -> None:
        """Raises IPCError in another loop than its own, where nothing that it tells would ever arrive."""
        if asyncio.get_running_loop() is not self.loop:
            raise self.wrong_loop()

    def wrong_loop(self) -> IPCError:
        """Raises ClientClosed when it was closed, whatever the loop."""
        self.require_open()
        if self.loop is None:
            return IPCError(
                f"the client of {self.address} is not connected yet; use it in `async with`, or await it first"
            )
        return IPCError(f"the client of {self.address} belongs to another event loop; connect in this one")

    async def wait_ready(self, timeout: float | None) -> float | None:
        """Until there is a connection; gives what is left of `timeout`. Raises ClientClosed, DeadlineExceeded, Overloaded."""
        self.require_open()
        if self._waiting >= MOST_WAITING:
            message = f"{MOST_WAITING} calls and publishers wait already for a connection to {self.address}"
            raise Overloaded(message, delivered="no")
        started = self.loop.time()
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout):
                while not (self.session.ready or self.closed):
                    await self._ready.wait()
        except TimeoutError as error:
            why = f": {self._stranger}" if self._stranger else ""
            message = f"there was no connection to {self.address} within {timeout:g} s{why}"
            raise DeadlineExceeded(message, delivered="no") from error
        finally:
            self._waiting -= 1
        self.require_open()
        return None if timeout is None else max(timeout - (self.loop.time() - started), 0.0)

    async def wait_resumed(self) -> None:
        """While the broker asks publishers to pause. Raises ClientClosed, DeadlineExceeded."""
        while self.session.paused:
            self.writer.flush()
            await self._resumed.wait()
            if not self.session.ready:
                await self.wait_ready(DEFAULT_TIMEOUT)

    def _paused(self) -> None:
        if self.session.paused:
            self._resumed.clear()
        else:
            self._resumed.set()

    def wakes_consumer(self) -> None:
        """To be called right behind what wakes it."""
        if not self.consumer_woken:
            self.consumer_woken = True
            self.loop.call_soon(self._consumer_has_run)

    def _consumer_has_run(self) -> None:
        self.consumer_woken = False

    def arm_timer(self, deadline: float) -> None:
        """The session waits for something until `deadline`, which is earlier than `next_timer`."""
        if self._timer is not None:
            self._timer.cancel()
        self.next_timer = deadline
        self._timer = self.loop.call_at(deadline + BUCKET_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.next_timer = math.inf
        self.session.handle_timer(self.loop.time())
        deadline = self.session.next_deadline()
        if deadline is not None:
            self.arm_timer(deadline)

    async def close(self) -> None:
        """Writes what is queued, for up to `CLOSE_TIMEOUT`; ends all that waits. May be called again."""
        self.parting = True
        try:
            await self._close()
        finally:
            self.parting = False

    async def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for subscription in list(self.subscriptions):
            subscription.ended()
        self._ready.set()  # whoever waits for it learns that the client was closed
        self.writer.release()
        if self._timer is not None:
            self._timer.cancel()
        unwanted = [task for task in (self._reconnecting, *self.background) if task is not None]
        for task in unwanted:
            task.cancel()
        if unwanted:
            await asyncio.wait(unwanted)
        protocol = self._protocol
        if protocol is not None:
            goodbye = self.session.say_goodbye()
            protocol.transport.write(self.session.data_to_send())
            self._protocol = None
            self.writer.end()
            self.session.connection_lost("the client was closed")
            self._callbacks.disconnected()
            if goodbye:  # the broker closes the connection when it has read that
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        await protocol.ended.wait()
            protocol.transport.close()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await protocol.ended.wait()
            except TimeoutError:
                protocol.transport.abort()
                await protocol.ended.wait()
        if self.direct_ends:  # they are being closed, too
            await asyncio.wait([end.gone for end in self.direct_ends])
        await self._callbacks.drain(CLOSE_TIMEOUT)

    def forked(self) -> None:
        self._was_forked = self.closed = True
        ends = [self._protocol, *self.direct_ends]
        for connected in [one.transport.get_extra_info("socket") for one in ends if one is not None]:
            if connected is not None and connected.fileno() >= 0:
                give_up(connected.fileno())

    def _drop(self) -> None:
        """Ends the connection, as if it had never been made."""
        protocol, self._protocol = self._protocol, None
        self._ready.clear()
        self.writer.end()
        if protocol is not None:
            self.session.connection_lost("it was not wanted any more")
            self._callbacks.disconnected()
            protocol.transport.abort()

    # What the protocol tells

    def made(self, protocol: LinkProtocol, opened: asyncio.Future[Welcome | None]) -> Connection | None:
        if self.closed or opened.done():
            protocol.transport.abort()
            return None
        self._protocol = protocol
        self._senseless = ""
        self._stops = False
        self.writer.begin(protocol.transport, self.loop)
        opened.add_done_callback(self._opened)
        self.session.connection_made(self.writer.wake, opened, self.loop.time())
        return self.session.connection

    def _opened(self, opened: asyncio.Future[Welcome | None]) -> None:
        if not opened.cancelled() and opened.exception() is None and self.session.opened:
            self._opened_at = self.loop.time()
            self._let_in = True
            if self.session.ready:  # it may have said goodbye already
                self._ready.set()
            self._callbacks.connected()
            if self.session.losses:
                self.settled_at = self._opened_at + SETTLING
            deadline = self.session.next_deadline()
            if deadline is not None and deadline < self.next_timer:
                self.arm_timer(deadline)

    def lost(self, protocol: LinkProtocol, error: Exception | None) -> None:
        if protocol is not self._protocol:
            return
        was_open = self.session.opened
        self._protocol = None
        self._ready.clear()
        self.writer.end()
        reason = f"the connection to {self.address} was lost ({self._senseless or error or 'the broker closed it'})"
        self.session.connection_lost(reason)
        self._callbacks.disconnected()
        if was_open and not self.closed:
            logger.log(logging.INFO if self._stops else logging.WARNING, "%s; connecting again", reason)
            if self.loop.time() - self._opened_at >= STABLE:
                self._backoff = backoff()
            self._reconnecting = self.loop.create_task(self.open_patiently())

    def _end(self, reason: str) -> None:
        """The broker is not to be waited for, or not to be understood, any longer."""
        if self._protocol is not None:
            self._senseless = reason
            self._protocol.transport.abort()

    def _goodbye(self, reason: str) -> None:
        self._ready.clear()
        self._stops = True
        logger.info("the broker at %s says goodbye%s", self.address, f" ({reason})" if reason else "")
        self.loop.call_later(GOODBYE_PATIENCE, self._end_late, self._protocol)

    def _end_late(self, protocol: LinkProtocol | None) -> None:
        if protocol is self._protocol:
            self._end(f"it was not closed within {GOODBYE_PATIENCE:g} s after the broker's goodbye")

    def _offered(self, object_name: str, offer: DirectOffer) -> None:
        connect_directly(self, object_name, offer)

    def _log_notice(self, notice: Error | Invalid) -> None:
        if isinstance(notice, Invalid):
            logger.warning("%s sent what is no message: %s", self.address, notice.reason)
            if notice.fatal:
                self._end(f"what came is no message: {notice.reason}")
        else:
            logger.warning("the broker refused: %s", notice.message)
