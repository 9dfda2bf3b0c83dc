"""Where a worker is called directly by clients that its broker has named. See session/direct.py."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from typing import TYPE_CHECKING, Any, Protocol

from ..address import Address
from ..context import outside_of_calls
from ..forking import disown_in_children
from ..identity.direct import listen_for_callers, pid_of, take_no_more
from ..messages import Call, Cancel, Direct, DirectEnded, Invalid, Memory, Served
from ..protocol.codec import Received
from ..protocol.connection import Connection, Role
from ..protocol.framing import SEED_MAX_FRAME
from ..protocol.lending import SIZE, Lending
from ..protocol.pieces import Payload
from ..session import Server
from ..session.serving import release
from ..shared_memory import AVAILABLE, open_memory
from .accepting import Acceptor
from .direct import WRITE_AT_ONCE, DirectEnd

if TYPE_CHECKING:
    from .executor import Executor
    from .link import Link

logger = logging.getLogger("ipc_broker")

MOST_CALLERS = 256
"""Direct connections at once: others call through the broker. Programs have 1,024 descriptors unless they ask for more."""

NAMED_WITHIN = 10.0
"""Seconds in which the broker has to name whoever has connected."""

REPORT_EVERY = 0.5
"""Seconds after which the broker is told what it did not see, and calls are looked at whose time is over."""

MOST_UNREAD = 1024 * 1024
"""Bytes of answers that wait for a caller to read them, over which no more calls are read from it."""


SMALL = SEED_MAX_FRAME // 2
"""Bytes of a result for which no limit has to be looked at."""


class LoneServer(Server, Protocol):
    def call_alone(self, call: Call, connection: Connection) -> Payload | None:
        """As `call`; gives the result instead of answering with it, where it is there at once."""


class DirectServer:
    """Belongs to one worker: `server` is that, and `executor` runs its methods."""

    def __init__(self, link: Link, server: LoneServer, executor: Executor) -> None:
        self.address = f"ipc-broker-{os.urandom(12).hex()}"
        self.server = server
        self.executor = executor
        self.link = link
        self.calls = 0
        """Since the last report."""
        self._errors = 0  # of the session, at the last report
        self._waiting: dict[tuple[str, str], DirectCaller] = {}  # those that the broker has yet to name
        self._callers: set[DirectCaller] = set()
        self._acceptor: Acceptor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Raises OSError."""
        if self._acceptor is None:
            listening = listen_for_callers(self.address)
            self._acceptor = Acceptor(listening, Address("unix", f"@{self.address}"), lambda: DirectCaller(self))
            disown_in_children(self._acceptor)

    async def let_go(self, timeout: float) -> None:
        """Those who call have learnt that they should not any more, and leave when they have had their answers.

        Others may be busy elsewhere: what they send from then on is known to be unsent.
        """
        await self._wait_until_left(timeout)
        for caller in list(self._callers):
            caller.take_no_more()
        await self._wait_until_left(timeout)
        self._tell()

    async def _wait_until_left(self, timeout: float) -> None:
        if self._callers:
            await asyncio.wait([caller.gone for caller in self._callers], timeout=timeout)

    def close(self) -> None:
        """May be called again."""
        if self._acceptor is not None:
            self._acceptor.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ending is not None:
            self._ending.cancel()
        self.drop_all()

    async def wait_closed(self) -> None:
        """After `close`: until those who were accepted last have been turned away."""
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    # What the broker says

    def admit(self, direct: Direct) -> None:
        """Whoever is not there has left again."""
        waiting = self._waiting.pop((direct.prefix, direct.object_name), None)
        if waiting is not None:
            waiting.admit(direct.pid)

    def send_back(self) -> None:
        for caller in list(self._callers):
            caller.end()
        if self._ending is None:
            self._ending = outside_of_calls(lambda: self.link.loop.create_task(self._tell_when_ended()))

    async def _tell_when_ended(self) -> None:
        """A broker that stops waits for that, as for the calls that go through it."""
        await self.executor.wait_for_direct()
        self._ending = None
        session = self.link.session
        if session.connection is not None and session.welcome is not None:
            session.connection.send(DirectEnded())

    def caller_gone(self, prefix: str) -> None:
        """Its connection to the broker has ended; over the others nothing that matters can come."""
        for caller in [caller for caller in self._callers if caller.prefix == prefix]:
            caller.transport.abort()

    def drop_all(self) -> None:
        """The connection to the broker is lost: the next one may give the same prefixes to others."""
        for caller in list(self._callers):
            caller.transport.abort()

    def remove(self, object_name: str) -> None:
        """It is served no more, and its calls end. What was answered before is still sent."""
        for caller in [caller for caller in self._callers if caller.object_name == object_name]:
            caller.flush()
            caller.transport.close()

    # What the callers say

    def came(self, caller: DirectCaller) -> bool:
        """False: there are too many."""
        if len(self._callers) >= MOST_CALLERS:
            return False
        self._callers.add(caller)
        if self._timer is None:
            self._timer = self.link.loop.call_later(REPORT_EVERY, self._report)
        return True

    def told(self, caller: DirectCaller) -> bool:
        """It has said who it is: what comes then waits until the broker has said so too. False: it is there already."""
        return self._waiting.setdefault((caller.prefix, caller.object_name), caller) is caller

    def left(self, caller: DirectCaller) -> None:
        self._callers.discard(caller)
        self.forget(caller)

    def forget(self, caller: DirectCaller) -> None:
        """The broker need not name it any more."""
        key = caller.prefix, caller.object_name
        if self._waiting.get(key) is caller:
            del self._waiting[key]

    def _report(self) -> None:
        self._timer = self.link.loop.call_later(REPORT_EVERY, self._report) if self._callers else None
        now = self.link.loop.time()
        self.executor.end_overdue(now)
        for caller in [caller for caller in self._callers if caller.named_by <= now]:
            caller.give_up_waiting(now)
        self._tell()

    def _tell(self) -> None:
        session = self.link.session
        if self.calls and session.connection is not None and session.welcome is not None:
            calls, self.calls = self.calls, 0
            errors, self._errors = session.serving.direct_errors - self._errors, session.serving.direct_errors
            session.connection.send(Served(calls, errors))


class DirectCaller(DirectEnd):
    """One client's connection, for the calls of one object."""

    def __init__(self, server: DirectServer) -> None:
        super().__init__(server.link)
        self.prefix = ""
        self.object_name = ""
        self.named_by = math.inf
        """When it has to be named."""
        self._server = server
        self._pid: int | None = None
        self._admitted = False
        self._ended = False
        self._held: list[Received] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        session = self.link.session
        broker = session.connection if session.ready else None
        self._pid = pid_of(transport.get_extra_info("socket"))
        self.connection = Connection(Role.DIRECT, self.wake, wake_every=WRITE_AT_ONCE)
        self.read_large_directly(self.connection)
        if broker is None or self._pid is None or not self._server.came(self):
            self.transport.abort()
        else:
            self.named_by = self.link.loop.time() + NAMED_WITHIN
            self.connection.extend(broker.codec.name, broker.send_limit, broker.max_frame)

    def receive(self, data: bytes) -> None:
        is_usual = self._admitted and not self._ended and not self.connection.queued
        call = self.connection.receive_call(data) if is_usual else None
        if call is not None:
            if call.object_name == self.object_name and call.call_id.startswith(self.prefix):
                self._answer_alone(call)
            else:
                self._handle([(call, data)])
            return
        received = self.connection.receive_data(data)
        if not self.prefix and received:
            first, _ = received.pop(0)
            if not isinstance(first, Direct) or not first.prefix:
                self._drop("it did not say who it is")
                return
            self.prefix, self.object_name = first.prefix, first.object_name
            if not self._server.told(self):
                self._drop("another one is about to be let in for it")
                return
            self.connection.send(Direct(first.object_name, first.address, memory=AVAILABLE))  # there is room for it
        if self._admitted or self._ended:
            self._handle(received)
        elif received:
            self._held += received
            self.transport.pause_reading()

    def _answer_alone(self, call: Call) -> None:
        """What came with no other, and nearly always ends at once: its result needs no turn in the queue."""
        connection, server = self.connection, self._server
        server.calls += 1
        result = server.server.call_alone(call, connection)
        if result is None:
            return
        if connection.queued or not self._takes or len(result) > SMALL or self.transport.is_closing():
            self.link.session.serving.answer(call, connection, result)
        else:
            small: Any = result  # which stands together
            self.transport.write(connection.codec.result_frame(call, small))

    def admit(self, pid: int) -> None:
        if pid != self._pid:
            self._drop(f"it is process {self._pid}, and the broker named {pid}")
            return
        self._admitted = True
        self.named_by = math.inf
        self._go_on()

    def end(self) -> None:
        """It should call no more this way: what it has called is answered, and what it calls is sent back."""
        if not self._ended:
            self._ended = True
            self._server.forget(self)
            self.connection.send(DirectEnded(self._server.address))
            self._go_on()

    def give_up_waiting(self, now: float) -> None:
        """The broker has not named it in time: its calls go back first, and after as long again it has to go."""
        if self._ended:
            self.named_by = math.inf
            self.take_no_more()
        else:
            self.named_by = now + NAMED_WITHIN
            self.end()

    def take_no_more(self) -> None:
        """The end of what it has sent comes next."""
        self.flush()
        connected = self.transport.get_extra_info("socket")
        if not self.transport.is_closing() and connected.fileno() >= 0:
            take_no_more(connected.fileno())
            self.resume_reading()

    def _go_on(self) -> None:
        held, self._held = self._held, []
        self._handle(held)
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self.transport.is_closing() and self.connection.queued <= MOST_UNREAD and not self._held:
            self.transport.resume_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading()

    def _handle(self, received: list[Received]) -> None:
        server = self._server
        for message, _ in received:
            if isinstance(message, Call) and message.call_id.startswith(self.prefix):
                if self._ended or message.object_name != self.object_name:
                    self._send_back(message)
                else:
                    server.calls += 1
                    server.server.call(message, self.connection)
                    release(message, self.connection)
            elif isinstance(message, Memory):
                self._open_memory(message)
            elif isinstance(message, Cancel) and message.call_id.startswith(self.prefix):
                server.server.cancel(message.call_id)
            elif isinstance(message, Invalid) and message.about == "Call" and message.call_id and not message.fatal:
                unread = Call(message.call_id, self.object_name, "", self.connection.codec.null)
                self.link.session.serving.fail(unread, self.connection, "invalid_args", message.reason)
            else:
                self._drop(f"it sent what has no place there: {message!r:.200}")
                return
        if self.connection.queued > MOST_UNREAD:
            self.flush()
            if self.connection.queued > MOST_UNREAD and not self.transport.is_closing():
                self.transport.pause_reading()

    def _open_memory(self, message: Memory) -> None:
        try:
            memory = open_memory(self._pid or 0, message.descriptor, message.token, SIZE)
        except OSError as error:
            logger.debug("large messages of process %s come over the connection: %s", self._pid, error)
            self.connection.send(Memory())
        else:
            self.connection.share(Lending(memory, is_maker=False))
            self.connection.send(Memory(token=message.token))

    def _send_back(self, call: Call) -> None:
        why = "the broker wants calls to come by it again"
        self.link.session.serving.fail(call, self.connection, "indirect", why)

    def _drop(self, why: str) -> None:
        logger.warning("a direct connection is closed: %s", why)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.connection.close()  # the answers of what still runs are dropped
        self.connection.share(None)
        self._server.left(self)
        self._server.executor.cancel_of(self.connection)
