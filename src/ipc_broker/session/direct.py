"""Calls that go to their worker without the broker on their way.

A client that calls an object often asks the broker, which may name the worker's own address (`rob.direct`). The shell connects
there, and the calls of that object go over this connection from then on; all else, and whatever the connection does not take,
goes through the broker as before. The broker can end it at any time: the worker then sends calls back undone (code
`indirect`), and they go through the broker, each with the id that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError, Raw

from ..errors import IPCError, WorkerLost
from ..messages import Call, Direct, DirectEnded, DirectOffer, Error, Result
from ..protocol.codec import Codec
from ..protocol.connection import Connection, Role
from .names import BROKER_OBJECT
from .replies import PendingCall

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
"""Objects whose calls are counted, or go directly."""

SENT_BACK = frozenset({"indirect", "no_such_object"})
"""Errors of a worker that has not begun the call: the broker knows better where it goes."""


class Path:
    """One direct connection, for the calls of one object. `close` is the shell's: it ends the connection."""

    __slots__ = ("address", "close", "connection", "in_flight", "is_open", "object_name")

    def __init__(self, object_name: str, address: str, connection: Connection, close: Callable[[], None]) -> None:
        self.object_name = object_name
        self.address = address
        self.connection = connection
        self.close = close
        self.in_flight = 0
        self.is_open = True
        """New calls may go this way."""

    @property
    def is_done(self) -> bool:
        """Whether the shell may close it."""
        return not self.is_open and not self.in_flight


class Directs:
    """The paths of one session. The shell sets `on_offer`, and calls `open` and `begin`, `receive_data` and `lost`."""

    def __init__(self, session: Session, calls: Calls) -> None:
        self.on_offer: Callable[[str, DirectOffer], None] | None = None
        """The object's worker can be called at the address that is offered."""
        self._session = session
        self._calls = calls
        self._counts: dict[str, int] = {}
        self._paths: dict[str, Path] = {}
        self.most_in_flight = MOST_IN_FLIGHT
        """Over each path."""
        self.agreed = False
        """With the broker of this connection."""
        self.published = 0
        """Events; a direct call would come before those of which it is not known that they are routed."""
        self._routed = 0
        self._barrier = ""  # the call that was sent behind them, so that its answer tells it
        self._behind = 0  # how many events
        self._handlers: dict[type, Callable[[Path, Any], None]] = {
            Result: self._result,
            Error: self._error,
            DirectEnded: self._worker_ends,
        }

    # The way of a call

    def path_of(self, object_name: str) -> Path | None:
        """Where a call that is made now goes directly; None: through the broker."""
        path = self._paths.get(object_name)
        if path is not None:
            if (
                self.published != self._routed
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

    def of_call(self, call_id: str) -> Path | None:
        """The path that a call in flight took."""
        return self._calls.pending.waiting[call_id].path if self._paths else None

    def through_broker(self, call_id: str) -> None:
        """A call goes out there, behind all events."""
        if not self._barrier and self.published != self._routed:
            self._barrier, self._behind = call_id, self.published

    def answered(self, call_id: str) -> None:
        if call_id == self._barrier:
            self._barrier, self._routed = "", self._behind

    def _ask(self, object_name: str) -> None:
        session = self._session
        offered = _Offered(self, object_name, session.codec)
        session.ask_broker("direct", {"object_name": object_name}, offered, 0.0)

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
        if welcome is None or broker is None or not session.ready or object_name in self._paths:
            return None
        connection = Connection(Role.CLIENT, wake, wake_every=wake_every)
        connection.extend(welcome.encoding, welcome.max_frame, broker.max_frame)
        return Path(object_name, offer.address, connection, close)

    def begin(self, path: Path) -> None:
        """From now on calls go this way. The worker waits for what it is told through the broker, behind earlier calls."""
        session = self._session
        assert session.welcome is not None
        assert session.connection is not None
        self._paths[path.object_name] = path
        session.connection.send(Direct(path.object_name, path.address))
        path.connection.send(Direct(path.object_name, path.address, session.welcome.prefix))

    def receive_data(self, path: Path, data: bytes) -> bool:
        """False: nothing more can be understood there, and it is to be closed."""
        handlers = self._handlers
        for message, _ in path.connection.receive_data(data):
            handle = handlers.get(type(message))
            if handle is None:
                return False
            handle(path, message)
        return True

    def lost(self, path: Path, why: str) -> None:
        """The connection has ended. May be called again."""
        self._leave(path)
        unsent = {one.call_id for one in path.connection.unsent() if isinstance(one, Call)}
        path.connection.discard()
        for call_id, call in self._in_flight(path):
            if call_id in unsent:
                self._send_back(call_id, call)
            else:
                self._lose(call_id, call, why)

    # What arrives over it

    def _result(self, path: Path, result: Result) -> None:
        self._calls.result(result, 0)

    def _error(self, path: Path, error: Error) -> None:
        call = self._calls.pending.waiting.get(error.call_id or "")
        if error.call_id is not None and call is not None and error.code in SENT_BACK and call.path is path:
            self._leave(path)
            self._send_back(error.call_id, call)
        elif error.call_id is not None:
            self._calls.error(error.call_id, error)

    def _worker_ends(self, path: Path, message: DirectEnded) -> None:
        """It still answers what it has."""
        self._leave(path)

    # What the broker says

    def ended(self, message: DirectEnded, size: int) -> None:
        """The worker is gone or, when it was `refused`, never let us in."""
        paths = {path for path in self._paths.values() if path.address == message.address}
        for call_id, call in list(self._calls.pending.waiting.items()):
            path = call.path
            if path is None or path.address != message.address:
                continue
            paths.add(path)
            self._leave(path)
            if message.refused:
                self._send_back(call_id, call)
            else:
                self._lose(call_id, call, "its worker was lost")
        for path in paths:
            self._leave(path)
            path.close()

    def connection_made(self) -> None:
        """To a broker, which has answered hello."""
        self.agreed = self.on_offer is not None and self._session.supports("direct")
        self._routed = self.published

    def connection_lost(self) -> None:
        """To the broker: whatever was in flight has ended."""
        paths, self._paths = self._paths, {}
        self._counts.clear()
        self.agreed = False
        self._barrier = ""
        for path in paths.values():
            path.is_open = False
            path.close()

    def _leave(self, path: Path) -> None:
        path.is_open = False
        if self._paths.get(path.object_name) is path:
            del self._paths[path.object_name]
            self._counts[path.object_name] = 0

    def _in_flight(self, path: Path) -> list[tuple[str, PendingCall]]:
        return [(call_id, call) for call_id, call in self._calls.pending.waiting.items() if call.path is path]

    def _send_back(self, call_id: str, call: PendingCall) -> None:
        """The call has not begun: it goes through the broker."""
        broker = self._session.connection
        if call.path is not None:
            call.path.in_flight -= 1
        call.path = None
        if broker is not None and self._session.ready:
            broker.send_frame(call.frame)
        else:
            self._lose(call_id, call, "its worker was lost", delivered="no")

    def _lose(self, call_id: str, call: PendingCall, why: str, *, delivered: str = "maybe") -> None:
        self._calls.pending.take(call_id)
        if not call.reply.done():
            message = f"'{call.object_name}' will not answer '{call.method}': {why}"
            call.reply.set_exception(
                WorkerLost(message, object=call.object_name, method=call.method, delivered=delivered)
            )


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
