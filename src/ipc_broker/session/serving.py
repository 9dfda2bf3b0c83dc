"""What a worker's session keeps: the objects that it serves, and how calls of them are answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import force_setattr

from ..description import MOST_BYTES, Interface
from ..errors import ConnectionLost, InvalidArgs, IPCError
from ..messages import (
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    Item,
    RegisterObject,
    Result,
)
from ..protocol.codec import NOTHING, checked_name
from ..protocol.connection import Connection, State
from ..protocol.framing import HEADER_SIZE, LARGE, Frame
from ..protocol.payload import Unsendable
from ..protocol.pieces import Payload
from .replies import Questions
from .shell import DirectServer, Server

ROOM_BESIDES = 8192
"""Bytes of a `RegisterObject` besides its interface, at most."""

_CLOSING = State.CLOSING

_LONGEST_TEXT = 2048  # of an error's message: the frame must stay under the limit


class ItemTooLarge(Exception):
    """An item of a stream cannot be sent; the message has its size and the limit."""


class Exposed(Struct, frozen=True):
    """An object that is served; `interface` is None for one that tells nothing of itself."""

    name: str
    mode: str
    concurrency: int
    interface: Interface | None


class Serving:
    """The calls that come are the server's to answer, each with the connection that it came over."""

    def __init__(self, questions: Questions, tells_interfaces: Callable[[], bool] = lambda: True) -> None:
        """`tells_interfaces`: whether this connection's broker takes them; the Rust crate's does not."""
        self._tells_interfaces = tells_interfaces
        self.server: Server | None = None
        self.direct_server: DirectServer | None = None
        """Of a worker that takes calls directly."""
        self.direct_errors = 0
        self.exposed: dict[str, Exposed] = {}
        self._questions = questions
        self._connection: Connection | None = None
        self._callers: dict[str, Caller] = {}
        self.caller_of: Callable[[str], Caller | None] = partial(_caller_of, self._callers)
        """Tells who made a call of this connection, by its id, also later; None where the broker does not tell."""

    # Names

    def expose(self, name: str, mode: str, concurrency: int, interface: Interface | None = None) -> None:
        """`Server.registered` tells how it ended, now or when there is a connection. Raises InvalidArgs.

        May be called again for the same object: with another interface, say.
        """
        checked_name(name)
        if not name:
            raise InvalidArgs("an object needs a name that is not empty", delivered="no")
        wish = self.exposed[name] = Exposed(name, mode, concurrency, interface)
        if self._connection is not None:
            self._register(wish, self._connection)

    def _register(self, wish: Exposed, connection: Connection) -> None:
        self._questions.ask(("Registered", wish.name), _Registration(self, wish.name))
        connection.send(RegisterObject(wish.name, wish.mode, wish.concurrency, self._told_of(wish, connection)))

    def _told_of(self, wish: Exposed, connection: Connection) -> Raw | UnsetType:
        """The interface, as far as it can be told: without it the object is served all the same."""
        if wish.interface is None or not self._tells_interfaces():
            return UNSET
        most = min(MOST_BYTES, connection.send_limit - ROOM_BESIDES)
        try:
            interface = connection.codec.encode_payload(wish.interface)
            if len(bytes(interface)) <= most:
                return interface
            reason = f"its interface is over {most} bytes"
        except Unsendable as error:
            reason = f"its interface cannot be sent: {error}"
        from logging import getLogger  # here, since clients start without it

        getLogger("ipc_broker").warning("'%s' is not described: %s", wish.name, reason)
        return UNSET

    def connection_made(self, connection: Connection) -> None:
        """It is ready."""
        self._connection = connection
        for wish in self.exposed.values():
            self._register(wish, connection)

    def connection_lost(self) -> None:
        if self._connection is not None:
            self._connection.close()  # its calls still run, and their answers are dropped
        self._connection = None
        self._callers = {}  # calls that still run have the old ones: a new broker gives the same prefixes again
        self.caller_of = partial(_caller_of, self._callers)
        if self.server is not None:
            self.server.interrupted()

    # Answers. For a connection that is gone they are dropped: so is whoever waited for them.

    def answer(self, call: Call, connection: Connection, value: Payload) -> None:
        if connection.state is not _CLOSING:
            codec = connection.codec
            frame: Frame
            if len(value) > LARGE:
                frame = codec.in_parts(codec.result_frame(call, NOTHING), value)
            else:
                small: Any = value  # which stands together
                frame = codec.result_frame(call, small)
            if len(frame) - HEADER_SIZE > connection.send_limit:
                reason = over_frame_limit(frame, connection, f"the result of '{call.object_name}.{call.method}'")
                self.fail(call, connection, "too_large", reason)
            else:
                connection.send_frame(frame)

    def item_frame(self, call: Call, connection: Connection, value: Raw) -> bytes:
        """The next value of a stream, for `send_item`; its length is the credit that it takes. Raises ItemTooLarge.

        It touches nothing of the session, so that a thread may do it.
        """
        frame = connection.codec.encode(Item(call.call_id, value))
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise ItemTooLarge(over_frame_limit(frame, connection, f"an item of '{call.object_name}.{call.method}'"))
        return frame

    def send_item(self, connection: Connection, frame: bytes) -> None:
        if connection.state is not _CLOSING:
            connection.send_frame(frame)

    def end_stream(self, call: Call, connection: Connection) -> None:
        if connection.state is not _CLOSING:
            connection.send(Result(call.call_id, call.object_name, connection.codec.null, ended=True))

    def fail(
        self,
        call: Call,
        connection: Connection,
        code: str,
        message: str,
        *,
        type: str = "",
        data: Raw | UnsetType = UNSET,
    ) -> None:
        if connection.state is _CLOSING:
            return
        if connection is not self._connection and code != "indirect":
            self.direct_errors += 1
        message = message.encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
        error = Error(call.call_id, call.object_name, message, code=code, type=type[:256], data=data, delivered="yes")
        frame = connection.codec.encode(error)
        if len(frame) - HEADER_SIZE > connection.send_limit:  # its data is too much
            frame = connection.codec.encode(
                Error(call.call_id, call.object_name, message, code=code, type=type[:256], delivered="yes")
            )
        connection.send_frame(frame)

    # What arrives

    def call(self, call: Call, size: int) -> None:
        connection = self._connection
        if connection is None:
            return
        if self.server is not None:
            self.server.call(call, connection)
            release(call, connection)
        else:
            self.fail(call, connection, "no_such_object", f"No such object '{call.object_name}'")

    def cancel(self, cancel: Cancel, size: int) -> None:
        if self.server is not None:
            self.server.cancel(cancel.call_id)

    def credit(self, credit: Credit, size: int) -> None:
        if self.server is not None:
            self.server.credit(credit.call_id, credit.bytes)

    def caller(self, caller: Caller, size: int) -> None:
        self._callers[caller.prefix] = caller

    def caller_gone(self, gone: CallerGone, size: int) -> None:
        self._callers.pop(gone.prefix, None)
        if self.direct_server is not None:
            self.direct_server.caller_gone(gone.prefix)

    def direct(self, direct: Direct, size: int) -> None:
        if self.direct_server is not None:
            self.direct_server.admit(direct)

    def direct_ended(self, message: DirectEnded, size: int) -> None:
        if self.direct_server is not None and not message.address:
            self.direct_server.send_back()

    @property
    def direct_address(self) -> str:
        """For hello."""
        return self.direct_server.address if self.direct_server is not None else ""


def release(call: Call, connection: Connection) -> None:
    """After `Server.call`, which has decoded the arguments: what they stand in may be used again, while the method runs."""
    if connection.lending is not None and len(call.args) > LARGE:
        force_setattr(call, "args", connection.codec.null)


def _caller_of(callers: dict[str, Caller], call_id: str) -> Caller | None:
    prefix, dot, _ = call_id.partition(".")
    return callers.get(prefix + dot)


class _Registration:
    """The reply to one `RegisterObject`."""

    def __init__(self, serving: Serving, name: str) -> None:
        self._serving = serving
        self._name = name

    def done(self) -> bool:
        return self._serving.server is None or self._name not in self._serving.exposed

    def set_result(self, result: Any, /) -> None:
        self._tell(None)

    def set_exception(self, exception: IPCError, /) -> None:
        if not isinstance(exception, ConnectionLost):  # then the next connection registers again
            self._tell(exception)

    def _tell(self, error: IPCError | None) -> None:
        if self._serving.server is not None:
            self._serving.server.registered(self._name, error)


def over_frame_limit(frame: Frame, connection: Connection, what: str) -> str:
    return f"{what} takes {len(frame) - HEADER_SIZE} bytes, over the limit of {connection.send_limit} bytes"
