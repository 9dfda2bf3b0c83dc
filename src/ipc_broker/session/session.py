"""The brain of a client and of a worker: what it waits for, what it is subscribed to, what it serves.

It outlives its connections. A shell calls `connection_made`, `receive_data` and `connection_lost`, writes what
`data_to_send` gives whenever `wake` was called, and calls `handle_timer` at `next_deadline`. Answers are put into
`Reply` objects that the shell brings along: an `asyncio.Future` is one. Time is an argument, in seconds of any steady clock.

Every connection opens with a call of `rob.hello`; until it is answered nothing else is sent (`ready`). A broker that
does not know it speaks the Rust crate's protocol only, and so does the session then (`welcome` is None).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import MsgspecError, Raw

from ..errors import ConnectionLost, InvalidArgs, IPCError, NameTaken, TooLarge, call_error
from ..events import Event, Gap
from ..messages import (
    Call,
    Error,
    HasObject,
    HasObjectResult,
    Hello,
    Invalid,
    Message,
    Registered,
    RegisterObject,
    Result,
    Subscribe,
    Subscribed,
    Welcome,
)
from ..protocol.codec import NULL, call_frame, encode_name, publish_frame, result_frame
from ..protocol.connection import Connection, Role
from ..protocol.framing import HEADER_SIZE, SEED_MAX_FRAME
from ..protocol.payload import decode_payload, encode_payload
from .replies import PendingCalls, Question, Questions, exception_of
from .shell import Reply, Server, Sink

BROKER_OBJECT = "rob"
_LONGEST_TEXT = 2048  # of an error's message: the frame must stay under the limit


WRITE_EARLY = 4096
"""Bytes after which the shell is woken again, to write what it collects: the next process begins while this one goes on."""


class Session:
    """See the module. `nonce` makes this client's call ids differ from everybody else's where a broker gives no prefix."""

    def __init__(self, *, nonce: str, name: str = "", pid: int = 0) -> None:
        self.ready = False
        self.welcome: Welcome | None = None
        self.server: Server | None = None
        self.on_notice: Callable[[Error | Invalid], None] | None = None
        self.late_answers = 0
        self.losses = 0
        """Connections that were lost."""
        self.connection: Connection | None = None
        self.exposed: set[str] = set()
        self._hello = Hello(features=("multiplex",), name=name, pid=pid)
        self._nonce = nonce
        self._prefix = nonce
        self._last_id = 0
        self._frame_limit = SEED_MAX_FRAME + HEADER_SIZE
        self._calls = PendingCalls()
        self._questions = Questions()
        self._sinks: dict[tuple[str, str], list[Sink]] = {}
        # The Rust crate's broker cannot unsubscribe, and sends an event once for each time we subscribed.
        self._kept_subscriptions: set[tuple[str, str]] = set()
        self._opened: Reply | None = None
        self._hello_id = ""
        self._handlers: dict[type, Callable[[Any], None]] = {
            Result: self._result,
            Error: self._error,
            Event: self._event,
            Gap: self._gap,
            Call: self._call,
            Registered: self._registered,
            Subscribed: self._subscribed,
            HasObjectResult: self._has_object_result,
            Invalid: self._invalid,
        }

    @property
    def queued(self) -> int:
        """Bytes that wait for the shell to write them."""
        return self.connection.queued if self.connection is not None else 0

    @property
    def calls_in_flight(self) -> int:
        return len(self._calls.waiting)

    # The connection

    def connection_made(self, wake: Callable[[], None], opened: Reply) -> None:
        """Opens a new connection; `opened` gets the `Welcome`, or None from a broker without our extensions."""
        self.connection = Connection(Role.CLIENT, wake, wake_every=WRITE_EARLY)
        self._opened = opened
        self._hello_id = self._next_id(self._nonce)
        self.connection.send(Call(self._hello_id, BROKER_OBJECT, "hello", encode_payload(self._hello)))

    def receive_data(self, data: bytes) -> None:
        if self.connection is not None:
            for message, _frame in self.connection.receive_data(data):
                self._handlers[type(message)](message)

    def data_to_send(self) -> bytes:
        return self.connection.data_to_send() if self.connection is not None else b""

    def connection_lost(self, reason: str) -> None:
        """Ends all that waits for an answer, with `ConnectionLost`. Subscriptions and exposed objects stay for the next one."""
        self.connection = None
        self.ready = False
        self.losses += 1
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionLost(reason))
        self._kept_subscriptions.clear()
        self._calls.lose(reason)
        self._questions.lose(reason)
        if self.server is not None:
            self.server.interrupted()

    def _open(self, welcome: Welcome | None) -> None:
        self.welcome = welcome
        self._prefix = welcome.prefix if welcome is not None else f"{self._nonce}."
        if self.connection is not None and welcome is not None:
            self.connection.extend()
        self._frame_limit = HEADER_SIZE + (welcome.max_frame if welcome is not None else SEED_MAX_FRAME)
        self.ready = True
        for name in self.exposed:
            self._register(name)
        for (object_name, topic), sinks in self._sinks.items():
            self._ask(("Subscribed", object_name, topic), Subscribe(object_name, topic))
            for sink in sinks:
                sink.interrupted()
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_result(welcome)

    # Calls that we make

    def call(
        self, object_name: str, method: str, args: Raw, reply: Reply, now: float, timeout: float | None = None
    ) -> str:
        """Gives the call's id. `reply` gets the undecoded value, or the CallError. Raises TooLarge, InvalidArgs."""
        connection = self.connection
        if connection is None or not self.ready:
            connection = self._require_connection()
        self._last_id += 1
        call_id = f"{self._prefix}{self._last_id}"
        frame = call_frame(call_id, object_name, method, args)
        if len(frame) > self._frame_limit:
            raise TooLarge(
                self._over_frame_limit(frame, f"the call of '{object_name}.{method}'"),
                object=object_name,
                method=method,
            )
        self._calls.add(call_id, reply, object_name, method, now, timeout)
        connection.send_frame(frame)
        return call_id

    def forget(self, call_id: str) -> None:
        """Nobody waits for the call any more; a late answer is dropped and counted."""
        self._calls.take(call_id)

    def next_deadline(self) -> float | None:
        return self._calls.next_deadline()

    def handle_timer(self, now: float) -> None:
        self._calls.expire(now)

    # Events

    def publish(self, object_name: str, topic: str, value: Raw) -> int:
        """Gives the bytes that wait for the shell to write them. Raises TooLarge, InvalidArgs."""
        frame = publish_frame(object_name, topic, value)
        if len(frame) > self._frame_limit:
            raise TooLarge(self._over_frame_limit(frame, f"the event '{topic}' of '{object_name}'"), object=object_name)
        connection = self.connection
        if connection is None or not self.ready:
            connection = self._require_connection()
        connection.send_frame(frame)
        return connection.queued

    def subscribe(self, object_name: str, topic: str, sink: Sink, reply: Reply) -> None:
        """`reply` gets None as soon as every event will come to `sink`. Raises InvalidArgs."""
        encode_name(object_name)
        encode_name(topic)
        self._require_connection()
        key = (object_name, topic)
        question = ("Subscribed", *key)
        sinks = self._sinks.setdefault(key, [])
        sinks.append(sink)
        if len(sinks) == 1 and key not in self._kept_subscriptions:
            self._ask(question, Subscribe(*key), reply)
        elif not self._questions.join(question, reply):
            reply.set_result(None)

    def unsubscribe(self, object_name: str, topic: str, sink: Sink, reply: Reply, now: float) -> None:
        """No event comes to `sink` from now on; `reply` is set when the broker knows it."""
        key = (object_name, topic)
        sinks = self._sinks.get(key, [])
        if sink in sinks:
            sinks.remove(sink)
            if not sinks:
                del self._sinks[key]
                if self.ready and self.welcome is not None:
                    args = encode_payload({"object_name": object_name, "topic": topic})
                    self.call(BROKER_OBJECT, "unsubscribe", args, reply, now)
                    return
                if self.ready:
                    self._kept_subscriptions.add(key)
        reply.set_result(None)

    # Names

    def has(self, object_name: str, reply: Reply) -> None:
        """`reply` gets whether somebody serves the object. Raises InvalidArgs."""
        encode_name(object_name)
        self._ask(("HasObjectResult", object_name), HasObject(object_name), reply)

    def expose(self, name: str) -> None:
        """`Server.registered` tells how it ended, now or when there is a connection. Raises InvalidArgs."""
        encode_name(name)
        if not name:
            raise InvalidArgs("an object needs a name that is not empty", delivered="no")
        self.exposed.add(name)
        if self.ready:
            self._register(name)

    def withdraw(self, name: str, reply: Reply, now: float, keep_calls: bool = False) -> None:
        """`reply` is set when the broker knows that the object is no longer served.

        Calls of it that run end with `WorkerLost`, unless `keep_calls` says that they will still be answered.
        """
        self.exposed.discard(name)
        if self.ready and self.welcome is not None:
            args = encode_payload({"object_name": name, "keep_calls": keep_calls})
            self.call(BROKER_OBJECT, "unregister", args, reply, now)
        else:
            reply.set_result(None)

    # Calls that we answer

    def answer(self, call: Call, connection: Connection, value: Raw) -> None:
        if connection is self.connection:
            frame = result_frame(call, value)
            if len(frame) > self._frame_limit:
                reason = self._over_frame_limit(frame, f"the result of '{call.object_name}.{call.method}'")
                self.fail(call, connection, "too_large", reason)
            else:
                connection.send_frame(frame)

    def fail(self, call: Call, connection: Connection, code: str, message: str, *, type: str = "") -> None:
        """An answer for a connection that is gone is dropped: so is whoever waited for it."""
        if connection is self.connection:
            message = message.encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
            connection.send(Error(call.call_id, call.object_name, message, code=code, type=type[:256], delivered="yes"))

    # What arrives

    def _result(self, result: Result) -> None:
        call = self._calls.take(result.call_id)
        if call is None:
            if result.call_id == self._hello_id and not self.ready:
                self._open(_welcome_of(result.value))
            else:
                self.late_answers += 1
            return
        if not call.reply.done():
            call.reply.set_result(result.value)

    def _error(self, error: Error) -> None:
        if error.call_id is None:
            self._error_without_call(error)
            return
        call = self._calls.take(error.call_id)
        if call is None:
            if error.call_id == self._hello_id and not self.ready:
                self._open(None)
            else:
                self.late_answers += 1
            return
        if not call.reply.done():
            call.reply.set_exception(exception_of(error, call))

    def _error_without_call(self, error: Error) -> None:
        answer = {"RegisterObject": "Registered", "Subscribe": "Subscribed"}.get(error.type)
        question = self._questions.first_about(answer, error.object_name) if answer is not None else None
        if question is not None:
            taken = error.code == "name_taken"
            self._questions.fail(question, NameTaken(error.message) if taken else call_error(error.code, error.message))
            if answer == "Subscribed" and question not in self._questions:
                for sink in self._sinks.pop((question[1], question[2]), ()):
                    sink.ended()
            return
        if self.on_notice is not None:
            self.on_notice(error)

    def _event(self, event: Event) -> None:
        sinks = self._sinks.get((event.object, event.topic))
        if sinks is not None:
            if len(sinks) == 1:
                sinks[0].deliver(event)
                return
            for sink in tuple(sinks):  # one of them may unsubscribe
                sink.deliver(
                    Event(event.object, event.topic, decode_payload(encode_payload(event.value)), event.retained)
                )

    def _gap(self, gap: Gap) -> None:
        for sink in tuple(self._sinks.get((gap.object, gap.topic), ())):
            sink.deliver(gap)

    def _call(self, call: Call) -> None:
        connection = self.connection
        assert connection is not None
        if self.server is not None:
            self.server.call(call, connection)
        else:
            self.fail(call, connection, "no_such_object", f"No such object '{call.object_name}'")

    def _registered(self, message: Registered) -> None:
        self._questions.settle(("Registered", message.object_name))

    def _subscribed(self, message: Subscribed) -> None:
        self._questions.settle(("Subscribed", message.object_name, message.topic))

    def _has_object_result(self, message: HasObjectResult) -> None:
        self._questions.settle(("HasObjectResult", message.object_name), message.exists)

    def _invalid(self, message: Invalid) -> None:
        if self.on_notice is not None:
            self.on_notice(message)

    # What is sent

    def _ask(self, question: Question, message: Message, *replies: Reply) -> None:
        connection = self._require_connection()
        self._questions.ask(question, *replies)
        connection.send(message)

    def _register(self, name: str) -> None:
        self._ask(("Registered", name), RegisterObject(name), _Registration(self, name))

    def _require_connection(self) -> Connection:
        if self.connection is None or not self.ready:
            raise ConnectionLost("there is no connection to a broker", delivered="no")
        return self.connection

    def _next_id(self, prefix: str) -> str:
        self._last_id += 1
        return f"{prefix}{self._last_id}"

    def _over_frame_limit(self, frame: bytes, what: str) -> str:
        return (
            f"{what} takes {len(frame) - HEADER_SIZE} bytes, over the limit of {self._frame_limit - HEADER_SIZE} bytes"
        )


class _Registration:
    """The reply to one `RegisterObject`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def done(self) -> bool:
        return self._session.server is None or self._name not in self._session.exposed

    def set_result(self, result: None, /) -> None:
        self._tell(None)

    def set_exception(self, exception: IPCError, /) -> None:
        if not isinstance(exception, ConnectionLost):  # then the next connection registers again
            self._tell(exception)

    def _tell(self, error: IPCError | None) -> None:
        if self._session.server is not None:
            self._session.server.registered(self._name, error)


def _welcome_of(value: Raw) -> Welcome | None:
    if value == NULL:
        return None
    try:
        welcome: Welcome = decode_payload(value, Welcome)
    except MsgspecError:
        return None
    return welcome
