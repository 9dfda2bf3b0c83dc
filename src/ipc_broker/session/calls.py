"""The calls that a client makes, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw

from ..errors import InvalidArgs, RemoteError, TooLarge
from ..messages import Call, Cancel, Credit, Error, Invalid, Item, Result
from ..protocol.codec import NOTHING, checked_name
from ..protocol.framing import HEADER_SIZE, LARGE, Frame
from ..protocol.pieces import Payload, together
from .direct import Directs, Path
from .replies import PendingCall, PendingCalls, exception_of
from .serving import over_frame_limit
from .shell import STREAM_ENDED, Reply, StreamReply

if TYPE_CHECKING:
    from .session import Session


class Calls:
    """Those of one session, over all its connections. `prefix` begins the ids that the broker takes from it."""

    __slots__ = ("_last_id", "_session", "directs", "late_answers", "pending", "prefix")

    def __init__(self, session: Session, prefix: str) -> None:
        self.prefix = prefix
        self.pending = PendingCalls()
        self.directs = Directs(session, self)
        self.late_answers = 0
        self._session = session
        self._last_id = 0

    def next_id(self) -> str:
        """Of a call, or of an event that is to be acknowledged."""
        self._last_id += 1
        return f"{self.prefix}{self._last_id}"

    def call(
        self,
        object_name: str,
        method: str,
        args: Payload,
        reply: Reply,
        now: float | None,
        timeout: float | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        credit: int = 0,
    ) -> str:
        """Gives the call's id. `reply` gets the undecoded value, or the CallError.

        With `credit` the reply must be a `StreamReply`, to which that many bytes of items may come. `timeout` is told to
        broker and worker; the session itself counts it from `now`, and ends the call in `handle_timer`. A shell that
        counts by itself gives None. Raises TooLarge, InvalidArgs, ConnectionLost.
        """
        session = self._session
        connection = session.connection
        if connection is None or not session.ready:
            connection = session.require_connection()
        directs = self.directs
        path = directs.path_of(object_name) if directs.agreed and not credit else None
        if path is not None:
            connection = path.connection
        self._last_id += 1
        call_id = f"{self.prefix}{self._last_id}"  # what `next_id` does
        timeout_ms = 0 if timeout is None or session.welcome is None else _milliseconds(timeout)
        frame: Frame
        if headers or credit:
            for name in (object_name, method):
                checked_name(name)
            message = Call(
                call_id, object_name, method, together(args), timeout_ms, credit, dict(headers) if headers else UNSET
            )
            try:
                frame = connection.codec.encode(message)
            except (UnicodeEncodeError, TypeError) as error:
                raise InvalidArgs(f"the headers cannot be sent: {error}", delivered="no") from error
        elif len(args) > LARGE:
            if path is not None:
                directs.share(path)
            else:
                session.sharing.begin()
            codec = connection.codec
            frame = codec.in_parts(codec.call_frame(call_id, object_name, method, timeout_ms, NOTHING), args)
        else:
            small: Any = args  # which stand together
            frame = connection.codec.call_frame(call_id, object_name, method, timeout_ms, small)
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise TooLarge(
                over_frame_limit(frame, connection, f"the call of '{object_name}.{method}'"),
                object=object_name,
                method=method,
            )
        if path is None:
            self.pending.add(call_id, reply, object_name, method, now, timeout, credit > 0)
            if directs.agreed:
                directs.through_broker(call_id, object_name)
        else:
            path.in_flight += 1
            self.pending.add(call_id, reply, object_name, method, now, timeout, False, path, frame)
        connection.send_frame(frame)
        return call_id

    def begin_alone(
        self, path: Path, object_name: str, method: str, args: bytes | Raw, reply: Reply, timeout: float | None
    ) -> tuple[str, bytes] | None:
        """As `call`, over a direct connection where it is alone: gives its id, and its frame, which the shell sends at once.

        None, and nothing has happened, when it is not to go there now. Raises InvalidArgs.
        """
        connection = path.connection
        if not path.is_open or path.in_flight or connection.queued or path.published != self.directs.published:
            return None
        self._last_id += 1
        call_id = f"{self.prefix}{self._last_id}"
        timeout_ms = 0 if timeout is None else _milliseconds(timeout)
        frame = connection.codec.call_frame(call_id, object_name, method, timeout_ms, args)
        if len(frame) - HEADER_SIZE > connection.send_limit:
            return None
        self.pending.waiting[call_id] = PendingCall(reply, object_name, method, timeout, None, False, path, frame)
        path.in_flight = 1
        return call_id, frame

    def end_alone(self, path: Path, call_id: str) -> bool:
        """It was answered there. False: it is not there any more, and the answer is one as any other."""
        waiting = self.pending.waiting
        call = waiting.get(call_id)
        if call is None or call.path is not path:
            return False
        del waiting[call_id]
        path.in_flight = 0
        return True

    def with_reply(self, reply: Reply) -> tuple[str, Path | None] | None:
        """The id of the call in flight that this is the reply to, and the direct connection that it took."""
        for call_id, call in list(self.pending.waiting.items()):
            if call.reply is reply:
                return call_id, call.path
        return None

    def cancel(self, call_id: str) -> None:
        """Nobody waits for the call any more: its worker is told, and a late answer is dropped and counted."""
        connection = self._session.connection
        call = self.pending.take(call_id)
        if call is not None and call.path is not None:
            call.path.connection.send(Cancel(call_id))
        elif call is not None and connection is not None and self._session.supports("cancel"):
            connection.send(Cancel(call_id))

    def give_credit(self, call_id: str, size: int) -> None:
        """The consumer of a stream has taken so many bytes of it."""
        connection = self._session.connection
        if call_id in self.pending.waiting and connection is not None:
            connection.send(Credit(call_id, size))

    def connection_lost(self, reason: str, unsent: set[str]) -> None:
        """`unsent` are the ids of those that were surely not sent."""
        unsent_directly = self.directs.connection_lost()
        self.pending.lose(reason, unsent_directly | unsent)

    # What arrives

    def result(self, result: Result, size: int) -> None:
        call = self.pending.take(result.call_id)
        if call is None:
            if not self._session.hello_answered(result.call_id, result.value):
                self.late_answers += 1
            return
        if self.directs.agreed:
            self.directs.answered(result.call_id, call.object_name)
        if not call.reply.done():
            call.reply.set_result(STREAM_ENDED if result.ended and call.streams else result.value)

    def item(self, item: Item, size: int) -> None:
        call = self.pending.waiting.get(item.call_id)
        if call is None or not call.streams:
            self.late_answers += 1
            return
        stream: StreamReply = call.reply  # type: ignore[assignment]  # what was given credit is one
        stream.item(item.value, size)

    def error(self, call_id: str, error: Error) -> None:
        call = self.pending.take(call_id)
        if call is None:
            if not self._session.hello_failed(call_id, error):
                self.late_answers += 1
        elif not call.reply.done():
            call.reply.set_exception(exception_of(error, call, self._session.codec))

    def unreadable(self, call_id: str, answer: Invalid) -> None:
        """Whoever waits for what cannot be read is told at once."""
        call = self.pending.waiting.get(call_id)
        if answer.about == "Item":
            self.cancel(call_id)  # its worker would go on
        else:
            self.pending.take(call_id)
        if call is not None and not call.reply.done():
            reason = f"what '{call.object_name}.{call.method}' answered cannot be read: {answer.reason}"
            call.reply.set_exception(RemoteError(reason, object=call.object_name, method=call.method))


def _milliseconds(timeout: float) -> int:
    """At least one, since zero says for ever; nor more than the message takes."""
    if 0.001 <= timeout < 1e9:  # what it is nearly always
        return int(timeout * 1000 + 0.5)
    return max(1, round(min(timeout * 1000, 2**53 - 1)))
