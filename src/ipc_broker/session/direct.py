"""Calls that go to their worker without the broker on their way.

A client that calls an object often asks the broker, which may name the worker's own address (`rob.direct`). The shell connects
there; when the worker has let the connection in, the calls of that object go over it, and all else, and whatever the connection
does not take, through the broker as before. The broker can end it at any time: the worker then sends calls back undone (code
`indirect`), and they go through the broker, each with the id that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError, Raw

from ..errors import ConnectionLost, IPCError, TooLarge, WorkerLost
from ..messages import Call, Direct, DirectEnded, DirectOffer, Error, Memory, Result
from ..protocol.codec import Codec
from ..protocol.connection import Connection, Role
from ..protocol.payload import Unsendable
from .names import BROKER_OBJECT
from .replies import PendingCall
from .sharing import Sharing

if TYPE_CHECKING:
    from .calls import Calls
    from .session import Session

ASK_AFTER = 20
"""Calls of an object after which a direct connection is worth its making."""

ASK_AGAIN = 2000
"""Calls of it after which one that could not be had is asked for again."""

MOST_IN_FLIGHT = 1000
"""Calls over one direct connection; what is more goes through the broker, which has limits for it."""

MOST_QUEUED = 1024 * 1024
"""Bytes that wait for the worker to read them; likewise."""

MOST_OBJECTS = 256
"""Objects whose calls are counted."""

MOST_MEMORIES = 8
"""Of them with memory for large messages: each takes what was written to it at most, 32 MiB."""

MOST_PATHS = 64
"""Direct connections: each takes a descriptor here and one of its worker, and programs have 1,024 unless they ask for more."""

_ASKED = -(2**62)
"""Calls that were counted of an object while the answer is to come."""

SENT_BACK = frozenset({"indirect", "no_such_object"})
"""Errors of a worker that has not begun the call: the broker knows better where it goes."""


class Path:
    """One direct connection, for the calls of one object. `close` is the shell's: it ends the connection."""

    __slots__ = (
        "address", "barrier", "behind", "close", "connection", "in_flight", "is_new", "is_open", "object_name",
        "published", "sharing",
    )  # fmt: skip

    def __init__(self, object_name: str, address: str, connection: Connection, close: Callable[[], None]) -> None:
        self.object_name = object_name
        self.address = address
        self.connection = connection
        self.close = close
        self.in_flight = 0
        self.is_new = True
        """The worker has not let it in yet."""
        self.is_open = False
        """New calls may go this way."""
        self.published = 0
        """How many of our events have surely reached the worker, if they are for it, before what comes this way."""
        self.barrier = ""
        """The call that was sent through the broker, behind some more: the worker's answer tells that those are there."""
        self.behind = 0
        self.sharing = Sharing()

    @property
    def is_done(self) -> bool:
        """Whether the shell may close it."""
        return not (self.is_open or self.is_new or self.in_flight)


class Directs:
    """The paths of one session. The shell sets `on_offer`, and calls `open` and `begin`, `receive_data` and `lost`."""

    def __init__(self, session: Session, calls: Calls) -> None:
        self.on_offer: Callable[[str, DirectOffer], None] | None = None
        """The object's worker can be called at the address that is offered."""
        self._session = session
        self._calls = calls
        self._counts: dict[str, int] = {}
        self._paths: dict[str, Path] = {}  # those that are open, by their objects
        self.open_path = self._paths.get
        """Where calls of an object may go, whatever else goes there now."""
        self._connected: set[Path] = set()  # also those that are new, and those that have to answer something still
        self.most_in_flight = MOST_IN_FLIGHT
        """Over each path."""
        self.agreed = False
        """With the broker of this connection."""
        self.published = 0
        """Events; a direct call would come before those of which it is not known that they have reached its worker."""
        self._handlers: dict[type, Callable[[Path, Any], None]] = {
            Result: self._result,
            Error: self._error,
            Direct: self._let_in,
            DirectEnded: self._worker_ends,
            Memory: self._memory_opened,
        }

    # The way of a call

    def path_of(self, object_name: str) -> Path | None:
        """Where a call that is made now goes directly; None: through the broker."""
        path = self._paths.get(object_name)
        if path is not None:
            if (
                self.published != path.published
                or path.in_flight >= self.most_in_flight
                or path.connection.queued > MOST_QUEUED
            ):
                return None
            return path
        count = self._counts.get(object_name, 0) + 1
        self._counts[object_name] = count
        if count == ASK_AFTER and object_name != BROKER_OBJECT:
            self._ask(object_name)
        elif count == 1 and len(self._counts) > MOST_OBJECTS:
            self._counts.clear()
        return None

    def share(self, path: Path) -> None:
        """A large call is to go there, or a large result has come."""
        if path.sharing.is_to_come:
            shared = sum(one.connection.lending is not None for one in self._connected)
            if shared < MOST_MEMORIES:
                path.sharing.begin()

    def of_call(self, call_id: str) -> Path | None:
        """The path that a call in flight took."""
        return self._calls.pending.waiting[call_id].path if self._paths else None

    def has_taken(self, call_id: str, path: Path) -> bool:
        """Whether the call is in flight there."""
        call = self._calls.pending.waiting.get(call_id)
        return call is not None and call.path is path

    def through_broker(self, call_id: str, object_name: str) -> None:
        """A call goes out there, behind all events."""
        path = self._paths.get(object_name)
        if path is not None and path.published != self.published and path.barrier not in self._calls.pending.waiting:
            path.barrier, path.behind = call_id, self.published

    def answered(self, call_id: str, object_name: str) -> None:
        """Through the broker, and not by it."""
        path = self._paths.get(object_name)
        if path is not None and path.barrier == call_id:
            path.published = path.behind

    def _ask(self, object_name: str) -> None:
        session = self._session
        if len(self._connected) >= MOST_PATHS:
            self._counts[object_name] = ASK_AFTER - ASK_AGAIN
        else:
            with suppress(Unsendable, TooLarge):  # of a name that cannot be sent: its call, which is next, says so
                reply = _Offered(self, object_name, session.codec)
                session.ask_broker("direct", {"object_name": object_name}, reply, 0.0)
                self._counts[object_name] = _ASKED

    def offered(self, object_name: str, offer: DirectOffer | None) -> None:
        self._counts[object_name] = ASK_AFTER - ASK_AGAIN
        if offer is not None and self.on_offer is not None:
            self.on_offer(object_name, offer)

    # What the shell says

    def open(
        self, object_name: str, offer: DirectOffer, wake: Callable[[], None], wake_every: int, close: Callable[[], None]
    ) -> Path | None:
        """It is connected to the worker: `begin` is to be called next. None: it is of no use any more."""
        session = self._session
        welcome, broker = session.welcome, session.connection
        if welcome is None or broker is None or not session.ready:
            return None
        if any(path.object_name == object_name for path in self._connected if path.is_new or path.is_open):
            return None  # it was asked for again before the worker has let us in
        connection = Connection(Role.DIRECT, wake, wake_every=wake_every)
        connection.extend(welcome.encoding, welcome.max_frame, broker.max_frame)
        path = Path(object_name, offer.address, connection, close)
        self._connected.add(path)
        return path

    def begin(self, path: Path) -> None:
        """Asks the worker to let us in."""
        prefix = self._calls.prefix
        path.connection.send(Direct(path.object_name, path.address, prefix))

    def receive_data(self, path: Path, data: bytes) -> bool:
        """False: nothing more can be understood there, and it is to be closed."""
        handlers = self._handlers
        for message, _ in path.connection.receive_data(data):
            handle = handlers.get(type(message))
            if handle is None:
                return False
            handle(path, message)
        if path.connection.had_large:
            self.share(path)
        return True

    def lost(self, path: Path, why: str) -> None:
        """The connection has ended. May be called again."""
        self._leave(path)
        self._connected.discard(path)
        unsent = _unsent(path)
        path.connection.discard()
        path.sharing.end()
        for call_id, call in self._in_flight(path):
            if call_id in unsent:
                self._send_back(call_id, call)
            else:
                self._lose(call_id, call, why)

    # What arrives over it

    def _let_in(self, path: Path, message: Direct) -> None:
        """From now on calls go this way. The worker waits for what it is told through the broker, behind earlier ones."""
        session = self._session
        if not path.is_new:
            return
        path.is_new = False
        if message.memory:
            path.sharing = Sharing(path.connection, session.make_memory)
        if session.connection is not None and session.ready and path.object_name not in self._paths:
            path.is_open = True
            path.published = self.published
            self._paths[path.object_name] = path
            session.connection.send(Direct(path.object_name, path.address))

    def _result(self, path: Path, result: Result) -> None:
        pending = self._calls.pending
        call = pending.waiting.get(result.call_id)
        if call is None or call.path is not path:  # which it may not answer, or nobody waits for it any more
            self._calls.late_answers += 1
        else:
            pending.take(result.call_id)
            if not call.reply.done():
                call.reply.set_result(result.value)

    def _error(self, path: Path, error: Error) -> None:
        call_id = error.call_id or ""
        call = self._calls.pending.waiting.get(call_id)
        if call is None or call.path is not path:
            self._calls.late_answers += 1
        elif error.code in SENT_BACK:
            self._leave(path)
            self._send_back(call_id, call)
        else:
            self._calls.error(call_id, error)

    def _memory_opened(self, path: Path, message: Memory) -> None:
        path.sharing.answered(message)

    def _worker_ends(self, path: Path, message: DirectEnded) -> None:
        """It still answers what it has."""
        self._leave(path)

    # What the broker says

    def ended(self, message: DirectEnded, size: int) -> None:
        """The worker is gone or, when it was `refused`, was not told of us."""
        for path in [path for path in self._connected if path.address == message.address]:
            self._leave(path)
            for call_id, call in self._in_flight(path):
                if message.refused:
                    self._send_back(call_id, call)
                else:
                    self._lose(call_id, call, "its worker was lost")
            _close(path)

    def connection_made(self) -> None:
        """To a broker, which has answered hello."""
        self.agreed = self.on_offer is not None and self._session.supports("direct")

    def connection_lost(self) -> set[str]:
        """To the broker: whatever was in flight has ended. Gives the ids of those that were surely not sent."""
        connected, self._connected = self._connected, set()
        self._paths.clear()
        self._counts.clear()
        self.agreed = False
        unsent: set[str] = set()
        for path in connected:
            unsent |= _unsent(path)
            path.is_open = path.is_new = False
            _close(path)
        return unsent

    def end_all(self, reason: str) -> None:
        """We are about to leave the broker, which tells the workers: they must not seem to be lost."""
        self.agreed = False
        for path in list(self._connected):
            self._leave(path)
            for call_id, call in self._in_flight(path):
                lost = ConnectionLost(reason, object=call.object_name, method=call.method, delivered="maybe")
                self._end(call_id, call, lost)
            _close(path)

    def _leave(self, path: Path) -> None:
        path.is_open = path.is_new = False
        if self._paths.get(path.object_name) is path:
            del self._paths[path.object_name]
            self._counts[path.object_name] = 0

    def _in_flight(self, path: Path) -> list[tuple[str, PendingCall]]:
        return [(call_id, call) for call_id, call in self._calls.pending.waiting.items() if call.path is path]

    def _send_back(self, call_id: str, call: PendingCall) -> None:
        """The call has not begun: it goes through the broker, or is made anew where there is none."""
        broker = self._session.connection
        if broker is not None and self._session.ready:
            if call.path is not None:
                call.path.in_flight -= 1
            call.path = None
            broker.send_frame(call.frame)
        else:
            why = f"'{call.object_name}' was not called: there is no connection to a broker"
            self._end(call_id, call, ConnectionLost(why, object=call.object_name, method=call.method, delivered="no"))

    def _lose(self, call_id: str, call: PendingCall, why: str) -> None:
        message = f"'{call.object_name}' will not answer '{call.method}': {why}"
        lost = WorkerLost(message, object=call.object_name, method=call.method, delivered="maybe")
        self._end(call_id, call, lost)

    def _end(self, call_id: str, call: PendingCall, error: IPCError) -> None:
        self._calls.pending.take(call_id)
        if not call.reply.done():
            call.reply.set_exception(error)


def _close(path: Path) -> None:
    path.sharing.end()
    path.close()


def _unsent(path: Path) -> set[str]:
    """The calls that wait there to be sent."""
    return {one.call_id for one in path.connection.unsent() if isinstance(one, Call)}


class _Offered:
    """The reply to the question for a direct connection."""

    def __init__(self, directs: Directs, object_name: str, codec: Codec) -> None:
        self._directs = directs
        self._object_name = object_name
        self._codec = codec

    def done(self) -> bool:
        return False

    def set_result(self, value: Raw, /) -> None:
        try:
            offer: DirectOffer | None = self._codec.decode_payload(value, DirectOffer | None)
        except MsgspecError:  # from another broker
            offer = None
        self._directs.offered(self._object_name, offer)

    def set_exception(self, exception: IPCError, /) -> None:
        self._directs.offered(self._object_name, None)
