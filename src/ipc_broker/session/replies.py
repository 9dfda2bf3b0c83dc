"""Who waits for an answer: calls by their id, everything else by the names that come back in the answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError, Raw, Struct, UnsetType

from ..deadlines import Deadlines
from ..errors import CallError, ConnectionLost, DeadlineExceeded, IPCError, NameTaken, NoSuchObject, call_error
from ..messages import Cancel, Error
from ..protocol.codec import Codec
from ..protocol.framing import Frame
from .shell import Reply

if TYPE_CHECKING:
    from .direct import Path


class PendingCall(Struct, gc=False):
    reply: Reply
    object_name: str
    method: str
    timeout: float | None
    bucket: dict[str, None] | None
    streams: bool
    """Whether `reply` is a `StreamReply`."""
    path: Path | None = None
    """The direct connection that it went over (direct.py), and its frame, should it come back undone."""
    frame: Frame = b""


class PendingCalls:
    """The calls in flight of one connection, and their deadlines."""

    __slots__ = ("_deadlines", "next_deadline", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, PendingCall] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self.next_deadline = self._deadlines.next_deadline

    def add(
        self,
        call_id: str,
        reply: Reply,
        object_name: str,
        method: str,
        now: float | None,
        timeout: float | None,
        streams: bool = False,
        path: Path | None = None,
        frame: Frame = b"",
    ) -> None:
        bucket = None if timeout is None or now is None else self._deadlines.add(call_id, now + timeout)
        self.waiting[call_id] = PendingCall(reply, object_name, method, timeout, bucket, streams, path, frame)

    def take(self, call_id: str) -> PendingCall | None:
        call = self.waiting.pop(call_id, None)
        if call is not None:
            if call.bucket is not None:
                del call.bucket[call_id]
            if call.path is not None:
                call.path.in_flight -= 1
        return call

    def expire(self, now: float) -> None:
        for call_id in self._deadlines.expired(now):
            call = self.waiting.pop(call_id)
            if call.path is not None:  # else the broker does both
                call.path.in_flight -= 1
                call.path.connection.send(Cancel(call_id))
            _refuse(call.reply, deadline_exceeded(call.object_name, call.method, call.timeout))

    def lose(self, reason: str, unsent: Container[str]) -> None:
        """The connection is gone, with calls of which some were surely not sent."""
        waiting, self.waiting = self.waiting, {}
        for call_id, call in waiting.items():
            if call.bucket is not None:
                call.bucket.clear()
            delivered = "no" if call_id in unsent else "maybe"
            error = ConnectionLost(reason, object=call.object_name, method=call.method, delivered=delivered)
            _refuse(call.reply, error)


Question = tuple[str, ...]
"""The type of the answer, and the names that come back in it."""


class Questions:
    """Messages that are answered by name: the broker answers them in the order they were asked."""

    __slots__ = ("_asked", "_count")

    def __init__(self) -> None:
        # For each question, in the order they were sent, those who wait for that answer.
        self._asked: dict[Question, deque[list[Reply]]] = {}

    def ask(self, question: Question, *replies: Reply) -> None:
        """The question is sent now."""
        self._asked.setdefault(question, deque()).append(list(replies))

    def join(self, question: Question, reply: Reply) -> bool:
        """Waits for the answer to the same question that was sent last. False when none is on its way."""
        asked = self._asked.get(question)
        if asked:
            asked[-1].append(reply)
        return bool(asked)

    def settle(self, question: Question, result: object = None) -> None:
        for reply in self._take(question):
            if not reply.done():
                reply.set_result(result)

    def fail(self, question: Question, error: IPCError) -> None:
        for reply in self._take(question):
            _refuse(reply, error)

    def __contains__(self, question: Question) -> bool:
        """Whether its answer is still to come."""
        return question in self._asked

    def lose(self, reason: str) -> None:
        """The connection is gone."""
        asked, self._asked = self._asked, {}
        for questions in asked.values():
            for replies in questions:
                for reply in replies:
                    _refuse(reply, ConnectionLost(reason))

    def _take(self, question: Question) -> list[Reply]:
        asked = self._asked.get(question)
        if asked is None:
            return []
        replies = asked.popleft()
        if not asked:
            del self._asked[question]
        return replies


def deadline_exceeded(object_name: str, method: str, timeout: float | None) -> DeadlineExceeded:
    message = f"'{object_name}' did not answer '{method}' within {timeout:g} s"
    return DeadlineExceeded(message, object=object_name, method=method)


def not_there_yet(error: NoSuchObject) -> DeadlineExceeded:
    """In the place of `error`, which is not final shortly after a reconnect, when the time of the call is over."""
    message = (
        f"'{error.object}' was not served yet, shortly after a reconnect, when the time of '{error.method}' was over"
    )
    return DeadlineExceeded(message, object=error.object, method=error.method, delivered="no")


def exception_of(error: Error, call: PendingCall, codec: Codec) -> CallError:
    """What the caller gets for an `Error`."""
    code = error.code
    if not code:  # from a program of the Rust crate, or its broker
        code = "no_such_object" if error.message == f"No such object '{call.object_name}'" else "remote_error"
    return call_error(
        code,
        error.message,
        object=call.object_name,
        method=call.method,
        data=None if isinstance(error.data, UnsetType) else _data_of(error.data, codec),
        delivered=error.delivered or None,
        type=error.type,
    )


def refusal(error: Error) -> CallError:
    """What those get who asked for something that is no call."""
    return call_error(error.code, error.message, object=error.object_name, delivered=error.delivered or "no")


def name_taken(error: Error, codec: Codec) -> NameTaken:
    data = None if isinstance(error.data, UnsetType) else _data_of(error.data, codec)
    if not isinstance(data, dict):  # from an older broker
        return NameTaken(error.message)
    return NameTaken(error.message, owner=data.get("owner", ""), pid=data.get("pid"))


def _data_of(data: Raw, codec: Codec) -> Any:
    try:
        return codec.decode_any(data)
    except (MsgspecError, ValueError, RecursionError) as error:
        return f"<unreadable: {error}>"


def _refuse(reply: Reply, error: IPCError) -> None:
    if not reply.done():
        reply.set_exception(error)
