"""The brain of a client and of a worker: what it waits for, what it is subscribed to, what it serves.

It outlives its connections. A shell calls `connection_made`, `receive_data` and `connection_lost`, writes what
`data_to_send` gives whenever `wake` was called, and calls `handle_timer` at `next_deadline`. Answers are put into
`Reply` objects that the shell brings along: an `asyncio.Future` is one. Time is an argument, in seconds of any steady clock.

Every connection opens with a call of `rob.hello`; until it is answered nothing else is sent (`ready`). A broker that
does not know it speaks the Rust crate's protocol only, and so does the session then (`welcome` is None).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, Raw

from ..errors import ConnectionLost, InvalidArgs, RemoteError, TooLarge
from ..events import Event
from ..messages import (
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Error,
    Goodbye,
    HasObject,
    HasObjectResult,
    Invalid,
    Item,
    Missed,
    Pause,
    Ping,
    Pong,
    Registered,
    Result,
    Resume,
    Subscribed,
    Welcome,
)
from ..messages import Event as UndecodableEvent
from ..protocol.codec import Codec, checked_name
from ..protocol.connection import Connection, Role
from ..protocol.encodings import JSON
from ..protocol.framing import HEADER_SIZE
from ..protocol.heartbeat import LOOKS, MOST_SILENT, Silence
from .publisher import Publisher
from .replies import PendingCalls, Questions, exception_of, name_taken, refusal
from .serving import Serving, over_frame_limit
from .settings import DEFAULT_SETTINGS, Agreement, Settings
from .shell import STREAM_ENDED, Reply, Sink, StreamReply
from .subscriptions import ClientSubscription, ClientSubscriptions

BROKER_OBJECT = "rob"

WRITE_EARLY = 4096
"""Bytes after which the shell is woken again, to write what it collects: the next process begins while this one goes on."""


class Session:
    """See the module. `nonce` makes this client's call ids differ from everybody else's where a broker gives no prefix.

    Raises InvalidArgs for a name that cannot be sent: the broker would not understand the hello.
    """

    def __init__(self, *, nonce: str, settings: Settings = DEFAULT_SETTINGS) -> None:
        checked_name(settings.name)
        self.ready = False
        self.welcome: Welcome | None = None
        self.paused = False
        """The broker asks to publish nothing for now."""
        self.on_pause: Callable[[], None] | None = None  # also when the pause is over
        self.on_notice: Callable[[Error | Invalid], None] | None = None
        self.on_silence: Callable[[str], None] | None = None
        """The broker seems to be gone, for the reason that it is called with: the connection is to be ended."""
        self.late_answers = 0
        self.losses = 0
        """Connections that were lost."""
        self.connection: Connection | None = None
        self._settings = settings
        self._nonce = nonce
        self._prefix = nonce
        self._last_id = 0
        self._calls = PendingCalls()
        self._questions = Questions()
        self.serving = Serving(self._questions)
        self.subscriptions = ClientSubscriptions(self._questions)
        self.publisher = Publisher(self, self._calls)
        self._silence: Silence | None = None
        self._look_every = 0.0
        self._look_at = 0.0
        self._opened: Reply | None = None
        self._hello_id = ""
        serving, subscriptions = self.serving, self.subscriptions
        self._handlers: dict[type, Callable[[Any, int], None]] = {
            Result: self._result,
            Error: self._error,
            Item: self._item,
            Event: subscriptions.event,
            Missed: subscriptions.missed,
            UndecodableEvent: subscriptions.undecodable,
            Subscribed: subscriptions.subscribed,
            Call: serving.call,
            Cancel: serving.cancel,
            Credit: serving.credit,
            Caller: serving.caller,
            CallerGone: serving.caller_gone,
            Registered: self._registered,
            HasObjectResult: self._has_object_result,
            Pause: self._pause,
            Resume: self._resume,
            Ping: self._ping,
            Goodbye: self._goodbye,
            Invalid: self._invalid,
        }

    @property
    def codec(self) -> Codec:
        """The encoding of payloads: of all that is sent and received over this connection."""
        return self.connection.codec if self.connection is not None else JSON

    @property
    def queued(self) -> int:
        """Bytes that wait for the shell to write them."""
        return self.connection.queued if self.connection is not None else 0

    @property
    def calls_in_flight(self) -> int:
        return len(self._calls.waiting)

    @property
    def agreement(self) -> Agreement:
        return Agreement.of(self.welcome)

    def supports(self, feature: str) -> bool:
        """Whether the broker has agreed to it."""
        return self.welcome is not None and feature in self.welcome.features

    # The connection

    def connection_made(self, wake: Callable[[], None], opened: Reply, now: float = 0.0) -> None:
        """Opens a new connection; `opened` gets the `Welcome`, or None from a broker without our extensions."""
        self.connection = Connection(Role.CLIENT, wake, wake_every=WRITE_EARLY)
        self._opened = opened
        self._look_at = now
        self._prefix = self._nonce
        self._hello_id = self.next_id()
        hello = self._settings.hello(self.welcome.session if self.welcome is not None else "")
        self.connection.send(Call(self._hello_id, BROKER_OBJECT, "hello", JSON.encode_payload(hello)))

    def receive_data(self, data: bytes) -> None:
        if self.connection is not None:
            handlers = self._handlers
            receive = self.connection.receive_data if self.ready else self.connection.receive_one_by_one
            for message, frame in receive(data):
                handlers[type(message)](message, len(frame))

    def data_to_send(self) -> bytes:
        return self.connection.data_to_send() if self.connection is not None else b""

    def connection_lost(self, reason: str) -> None:
        """Ends all that waits for an answer, with `ConnectionLost`. Subscriptions and exposed objects stay for the next one."""
        self.connection = None
        self._silence = None
        self.ready = False
        self.losses += 1
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionLost(reason))
        self._calls.lose(reason)
        self._questions.lose(reason)
        self.subscriptions.connection_lost()
        self.serving.connection_lost()
        self._set_paused(False)

    def say_goodbye(self) -> bool:
        """The connection is to be closed in good order. True: the broker will do it; False: it knows no goodbye."""
        if self.connection is None or not self.ready or self.welcome is None:
            return False
        self.connection.send(Goodbye())
        return True

    def _open(self, welcome: Welcome | None) -> None:
        connection = self.connection
        assert connection is not None
        known = self.welcome.epoch if self.welcome is not None else ""
        self.welcome = welcome
        self._prefix = welcome.prefix if welcome is not None else f"{self._nonce}."
        if welcome is not None:
            connection.extend(welcome.encoding, welcome.max_frame, self._settings.max_frame)
            if welcome.heartbeat_ms and "heartbeat" in welcome.features:
                self._silence = Silence(connection)
                self._look_every = welcome.heartbeat_ms / 1000 / LOOKS
                self._look_at += self._look_every
        self.ready = True
        self.serving.connection_made(connection)
        self.subscriptions.reopen_all(connection, extended=welcome is not None)
        if welcome is not None:
            self.publisher.reopen(connection, new_broker=welcome.epoch != known)
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_result(welcome)

    # Calls that we make

    def call(
        self,
        object_name: str,
        method: str,
        args: Raw,
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
        connection = self.connection
        if connection is None or not self.ready:
            connection = self.require_connection()
        self._last_id += 1
        call_id = f"{self._prefix}{self._last_id}"  # what `next_id` does
        timeout_ms = 0 if timeout is None or self.welcome is None else _milliseconds(timeout)
        if headers or credit:
            for name in (object_name, method):
                checked_name(name)
            message = Call(call_id, object_name, method, args, timeout_ms, credit, dict(headers) if headers else UNSET)
            try:
                frame = connection.codec.encode(message)
            except (UnicodeEncodeError, TypeError) as error:
                raise InvalidArgs(f"the headers cannot be sent: {error}", delivered="no") from error
        else:
            frame = connection.codec.call_frame(call_id, object_name, method, timeout_ms, args)
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise TooLarge(
                over_frame_limit(frame, connection, f"the call of '{object_name}.{method}'"),
                object=object_name,
                method=method,
            )
        self._calls.add(call_id, reply, object_name, method, now, timeout, credit > 0)
        connection.send_frame(frame)
        return call_id

    def cancel(self, call_id: str) -> None:
        """Nobody waits for the call any more: its worker is told, and a late answer is dropped and counted."""
        if self._calls.take(call_id) is not None and self.connection is not None and self.supports("cancel"):
            self.connection.send(Cancel(call_id))

    def give_credit(self, call_id: str, size: int) -> None:
        """The consumer of a stream has taken so many bytes of it."""
        if call_id in self._calls.waiting and self.connection is not None:
            self.connection.send(Credit(call_id, size))

    def next_deadline(self) -> float | None:
        deadline = self._calls.next_deadline()
        if self._silence is None:
            return deadline
        return self._look_at if deadline is None else min(deadline, self._look_at)

    def handle_timer(self, now: float) -> None:
        self._calls.expire(now)
        if self._silence is not None and now >= self._look_at:
            self._look_at = now + self._look_every
            if self._silence.look() >= MOST_SILENT and self.on_silence is not None:
                self.on_silence(f"nothing has come from it for {self._look_every * LOOKS:g} s")

    # Events

    def subscribe(
        self, object_name: str, topic: str, sink: Sink, reply: Reply, *, group: str = "", overflow: str = ""
    ) -> ClientSubscription:
        """`reply` is set as soon as every event will come to `sink`. Raises InvalidArgs, ConnectionLost."""
        connection = self.require_connection()
        if group or overflow:
            self.require_extended("groups and no overflow")
        subscription = self.subscriptions.add(object_name, topic, sink, group, overflow)
        self.subscriptions.open(subscription, connection, reply)
        return subscription

    def unsubscribe(self, subscription: ClientSubscription, reply: Reply, now: float) -> None:
        """No event comes to its sink from now on; `reply` is set when the broker knows it."""
        if self.subscriptions.remove(subscription) and self.ready and self.welcome is not None:
            self.ask_broker("unsubscribe", {"id": subscription.id}, reply, now)
        else:
            reply.set_result(None)

    # Names

    def has(self, object_name: str, reply: Reply) -> None:
        """`reply` gets whether somebody serves the object. Raises InvalidArgs, ConnectionLost."""
        checked_name(object_name)
        connection = self.require_connection()
        self._questions.ask(("HasObjectResult", object_name), reply)
        connection.send(HasObject(object_name))

    def withdraw(self, name: str, reply: Reply, now: float, keep_calls: bool = False) -> None:
        """`reply` is set when the broker knows that the object is no longer served.

        Calls of it that run end with `WorkerLost`, unless `keep_calls` says that they will still be answered.
        """
        self.serving.exposed.pop(name, None)
        if self.ready and self.welcome is not None:
            self.ask_broker("unregister", {"object_name": name, "keep_calls": keep_calls}, reply, now)
        else:
            reply.set_result(None)

    # What arrives

    def _result(self, result: Result, size: int) -> None:
        call = self._calls.take(result.call_id)
        if call is None:
            if result.call_id == self._hello_id and not self.ready:
                self._open(self._settings.welcome(result.value))
            else:
                self.late_answers += 1
            return
        if not call.reply.done():
            call.reply.set_result(STREAM_ENDED if result.ended and call.streams else result.value)

    def _item(self, item: Item, size: int) -> None:
        call = self._calls.waiting.get(item.call_id)
        if call is None or not call.streams:
            self.late_answers += 1
            return
        stream: StreamReply = call.reply  # type: ignore[assignment]  # what was given credit is one
        stream.item(item.value, size)

    def _error(self, error: Error, size: int) -> None:
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
            call.reply.set_exception(exception_of(error, call, self.codec))

    def _error_without_call(self, error: Error) -> None:
        if error.type == "Subscribe" and error.subscription:
            self.subscriptions.refused(error.subscription)
            self._questions.fail(("Subscribed", str(error.subscription)), refusal(error))
            return
        registration = ("Registered", error.object_name)
        if error.type == "RegisterObject" and registration in self._questions:
            taken = error.code == "name_taken"
            self._questions.fail(registration, name_taken(error, self.codec) if taken else refusal(error))
        elif self.on_notice is not None:
            self.on_notice(error)

    def _registered(self, message: Registered, size: int) -> None:
        self._questions.settle(("Registered", message.object_name))

    def _has_object_result(self, message: HasObjectResult, size: int) -> None:
        self._questions.settle(("HasObjectResult", message.object_name), message.exists)

    def _pause(self, message: Pause, size: int) -> None:
        self._set_paused(True)

    def _resume(self, message: Resume, size: int) -> None:
        self._set_paused(False)

    def _ping(self, message: Ping, size: int) -> None:
        if self.connection is not None:
            self.connection.send(Pong())

    def _set_paused(self, paused: bool) -> None:
        if paused is not self.paused:
            self.paused = paused
            if self.on_pause is not None:
                self.on_pause()

    def _goodbye(self, message: Goodbye, size: int) -> None:
        """The broker will close the connection; the shell sees that as its end."""

    def _invalid(self, message: Invalid, size: int) -> None:
        """Whoever waits for what cannot be read is told at once."""
        if message.about == "Call" and message.call_id is not None and self.connection is not None:
            unread = Call(message.call_id, "", "", self.codec.null)
            self.serving.fail(unread, self.connection, "invalid_args", message.reason)
        elif message.call_id is not None:
            call = self._calls.waiting.get(message.call_id)
            if message.about == "Item":
                self.cancel(message.call_id)  # its worker would go on
            else:
                self._calls.take(message.call_id)
            if call is not None and not call.reply.done():
                reason = f"what '{call.object_name}.{call.method}' answered cannot be read: {message.reason}"
                call.reply.set_exception(RemoteError(reason, object=call.object_name, method=call.method))
        if self.on_notice is not None:
            self.on_notice(message)

    # What is sent

    def ask_broker(self, method: str, args: dict[str, Any], reply: Reply, now: float) -> None:
        """A call of `rob`. Raises Unsendable, and what `call` raises."""
        self.require_connection()
        self.call(BROKER_OBJECT, method, self.codec.encode_payload(args), reply, now)

    def require_connection(self) -> Connection:
        if self.connection is None or not self.ready:
            raise ConnectionLost("there is no connection to a broker", delivered="no")
        return self.connection

    def require_extended(self, what: str) -> None:
        """Raises InvalidArgs where the broker has none of it."""
        if self.welcome is None:
            raise InvalidArgs(f"this broker speaks the Rust crate's protocol: it has no {what}", delivered="no")

    def next_id(self) -> str:
        """Of a call, or of an event that is to be acknowledged."""
        self._last_id += 1
        return f"{self._prefix}{self._last_id}"


def _milliseconds(timeout: float) -> int:
    """At least one, since zero says for ever; nor more than the message takes."""
    return max(1, round(min(timeout * 1000, 2**53 - 1)))
