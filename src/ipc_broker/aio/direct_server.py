"""Where a worker is called directly by clients that its broker has named. See session/direct.py."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from ..address import Address
from ..identity.direct import listen_for_callers, pid_of
from ..messages import Call, Cancel, Direct, DirectEnded, Served
from ..protocol.codec import Received
from ..protocol.connection import Connection, Role
from ..session import Server
from .accepting import Acceptor
from .direct import WRITE_AT_ONCE, DirectEnd

if TYPE_CHECKING:
    from .executor import Executor
    from .link import Link

logger = logging.getLogger("ipc_broker")

MOST_CALLERS = 1024
"""Direct connections at once, and callers that were named and have not come."""

REPORT_EVERY = 0.5
"""Seconds after which the broker is told what it did not see, and calls are looked at whose time is over."""


class DirectServer:
    """Belongs to one worker: `server` is that, and `executor` runs its methods."""

    def __init__(self, link: Link, server: Server, executor: Executor) -> None:
        self.address = f"ipc-broker-{os.urandom(12).hex()}"
        self.server = server
        self.executor = executor
        self.link = link
        self.calls = 0
        """Since the last report."""
        self._errors = 0  # of the session, at the last report
        self._named: dict[tuple[str, str], int] = {}  # who may come: prefix and object, and the process
        self._waiting: dict[tuple[str, str], DirectCaller] = {}  # who has come, and was not named yet
        self._callers: set[DirectCaller] = set()
        self._acceptor: Acceptor | None = None
        self._timer: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        """Raises OSError."""
        if self._acceptor is None:
            listening = listen_for_callers(self.address)
            self._acceptor = Acceptor(listening, Address("unix", f"@{self.address}"), lambda: DirectCaller(self))

    async def let_go(self, timeout: float) -> None:
        """Those who call learn that they should not any more, and leave when they have had their answers."""
        self.send_back()
        if self._callers:
            await asyncio.wait([caller.gone for caller in self._callers], timeout=timeout)

    def close(self) -> None:
        """May be called again."""
        if self._acceptor is not None:
            self._acceptor.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.drop_all()

    # What the broker says

    def admit(self, direct: Direct) -> None:
        key = direct.prefix, direct.object_name
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.admit(direct.pid)
        elif len(self._named) < MOST_CALLERS:
            self._named[key] = direct.pid

    def send_back(self) -> None:
        self._named.clear()
        for caller in self._callers:
            caller.end()

    def caller_gone(self, prefix: str) -> None:
        """Its connection to the broker has ended; over the others nothing that matters can come."""
        for key in [key for key in self._named if key[0] == prefix]:
            del self._named[key]
        for caller in [caller for caller in self._callers if caller.prefix == prefix]:
            caller.transport.abort()

    def drop_all(self) -> None:
        """The connection to the broker is lost: the next one may give the same prefixes to others."""
        self._named.clear()
        for caller in list(self._callers):
            caller.transport.abort()

    def remove(self, object_name: str) -> None:
        """It is served no more, and its calls end."""
        for caller in [caller for caller in self._callers if caller.object_name == object_name]:
            caller.transport.abort()

    # What the callers say

    def came(self, caller: DirectCaller) -> bool:
        """False: there are too many."""
        if len(self._callers) >= MOST_CALLERS:
            return False
        self._callers.add(caller)
        if self._timer is None:
            self._timer = self.link.loop.call_later(REPORT_EVERY, self._report)
        return True

    def told(self, caller: DirectCaller) -> None:
        """It has said who it is: what comes then waits until the broker has said so too."""
        key = caller.prefix, caller.object_name
        if key in self._named:
            caller.admit(self._named.pop(key))
        elif key in self._waiting:
            caller.transport.abort()
        else:
            self._waiting[key] = caller

    def left(self, caller: DirectCaller) -> None:
        self._callers.discard(caller)
        if self._waiting.get((caller.prefix, caller.object_name)) is caller:
            del self._waiting[caller.prefix, caller.object_name]

    def _report(self) -> None:
        session = self.link.session
        now = self.link.loop.time()
        self._timer = self.link.loop.call_later(REPORT_EVERY, self._report) if self._callers else None
        self.executor.end_overdue(now)
        if self.calls and session.connection is not None and session.ready:
            calls, self.calls = self.calls, 0
            errors, self._errors = session.serving.direct_errors - self._errors, session.serving.direct_errors
            session.connection.send(Served(calls, errors))


class DirectCaller(DirectEnd):
    """One client's connection, for the calls of one object."""

    def __init__(self, server: DirectServer) -> None:
        super().__init__(server.link)
        self.prefix = ""
        self.object_name = ""
        self.gone: asyncio.Future[None] = server.link.loop.create_future()
        self._server = server
        self._pid: int | None = None
        self._admitted = False
        self._ended = False
        self._held: list[Received] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        broker = self.link.session.connection
        self._pid = pid_of(transport.get_extra_info("socket"))
        self.connection = Connection(Role.CLIENT, self.wake, wake_every=WRITE_AT_ONCE)
        if broker is None or self._pid is None or not self._server.came(self):
            self.transport.abort()
        else:
            self.connection.extend(broker.codec.name, broker.send_limit, broker.max_frame)

    def receive(self, data: bytes) -> None:
        received = self.connection.receive_data(data)
        if not self.prefix and received:
            first, _ = received.pop(0)
            if not isinstance(first, Direct) or not first.prefix:
                self._drop("it did not say who it is")
                return
            self.prefix, self.object_name = first.prefix, first.object_name
            self._server.told(self)
        if self._admitted:
            self._handle(received)
        else:
            self._held += received
            self.transport.pause_reading()

    def admit(self, pid: int) -> None:
        if pid != self._pid:
            self._drop(f"it is process {self._pid}, and the broker named {pid}")
            return
        self._admitted = True
        held, self._held = self._held, []
        self._handle(held)
        self.transport.resume_reading()

    def _handle(self, received: list[Received]) -> None:
        server = self._server
        for message, _ in received:
            if isinstance(message, Call) and message.call_id.startswith(self.prefix):
                if self._ended or message.object_name != self.object_name:
                    self._send_back(message)
                else:
                    server.calls += 1
                    server.server.call(message, self.connection)
            elif isinstance(message, Cancel) and message.call_id.startswith(self.prefix):
                server.server.cancel(message.call_id)
            else:
                self._drop(f"it sent what has no place there: {message!r:.200}")
                return

    def _send_back(self, call: Call) -> None:
        why = "the broker wants calls to come by it again"
        self.link.session.serving.fail(call, self.connection, "indirect", why)

    def end(self) -> None:
        """It should call no more this way."""
        if not self._ended:
            self._ended = True
            self.connection.send(DirectEnded(self._server.address))

    def _drop(self, why: str) -> None:
        logger.warning("a direct connection is closed: %s", why)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.close()  # the answers of what still runs are dropped
        self._server.left(self)
        self._server.executor.cancel_of(self.connection)
        if not self.gone.done():
            self.gone.set_result(None)
