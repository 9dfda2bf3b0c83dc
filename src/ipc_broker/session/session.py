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

from msgspec import Raw

from ..errors import ConnectionLost, InvalidArgs
from ..events import Batch, Event
from ..messages import Batch as UndecodableBatch
from ..messages import (
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    Goodbye,
    HasObjectResult,
    Invalid,
    Item,
    Memory,
    Missed,
    Pause,
    Ping,
    Pong,
    Publish,
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
from .calls import Calls
from .names import BROKER_OBJECT, Names
from .publisher import Publisher
from .replies import Questions, name_taken, refusal
from .serving import Serving
from .settings import DEFAULT_SETTINGS, Agreement, Settings
from .sharing import MakeMemory, Sharing
from .shell import Reply, Sink
from .subscriptions import ClientSubscription, ClientSubscriptions
from .watchdog import Watchdog

NO_ENTRY = frozenset({"permission_denied", "overloaded"})
"""What a broker says of whom it does not let in; anything else is from one that knows no hello."""

WRITE_EARLY = 4096
"""Bytes after which the shell is woken again, to write what it collects: the next process begins while this one goes on."""


class Session:
    """See the module. `nonce` makes this client's call ids differ from everybody else's where a broker gives no prefix.

    Raises InvalidArgs for a name that cannot be sent: the broker would not understand the hello.
    """

    def __init__(self, *, nonce: str, settings: Settings = DEFAULT_SETTINGS) -> None:
        checked_name(settings.name)
        self.opened = False
        """Hello was answered."""
        self.ready = False
        """It is open, and the broker has not said goodbye: something can be asked."""
        self.welcome: Welcome | None = None
        self.paused = False
        """The broker asks to publish nothing for now."""
        self.on_pause: Callable[[], None] | None = None  # also when the pause is over
        self.on_notice: Callable[[Error | Invalid], None] | None = None
        self.on_goodbye: Callable[[str], None] | None = None
        """The broker stops, for the reason that it is called with: answers may still come, and then the end."""
        self.on_silence: Callable[[str], None] | None = None
        """The broker seems to be gone, for the reason that it is called with: the connection is to be ended."""
        self.losses = 0
        """Connections that were lost."""
        self.connection: Connection | None = None
        self._settings = settings
        self._nonce = nonce
        self._calls = calls = Calls(self, prefix=nonce)
        self.directs = calls.directs
        self.call, self.cancel, self.give_credit = calls.call, calls.cancel, calls.give_credit
        self.begin_alone, self.end_alone = calls.begin_alone, calls.end_alone
        self.call_with_reply = calls.with_reply
        self._questions = Questions()
        self.serving = Serving(self._questions, lambda: self.welcome is not None)
        self.subscriptions = ClientSubscriptions(self._questions)
        self.publisher = Publisher(self, calls)
        self.names = Names(self, self._questions)
        self._watchdog = Watchdog()
        self._opened_at = 0.0
        self._opened: Reply | None = None
        self._hello_id = ""
        self.make_memory: MakeMemory | None = None
        """For what is large; the shell's, where it has any, and the broker is on this machine."""
        self.sharing = Sharing()
        """Of that with the broker."""
        self._turned_away_for = ""  # which is told once, and not at each attempt
        serving, subscriptions = self.serving, self.subscriptions
        self._handlers: dict[type, Callable[[Any, int], None]] = {
            Result: calls.result,
            Error: self._error,
            Item: calls.item,
            Event: subscriptions.event,
            Batch: subscriptions.batch,
            Missed: subscriptions.missed,
            UndecodableEvent: subscriptions.undecodable,
            UndecodableBatch: subscriptions.undecodable_batch,
            Subscribed: subscriptions.subscribed,
            Call: serving.call,
            Cancel: serving.cancel,
            Credit: serving.credit,
            Caller: serving.caller,
            CallerGone: serving.caller_gone,
            Direct: serving.direct,
            DirectEnded: self._direct_ended,
            Registered: self._registered,
            HasObjectResult: self.names.has_object_result,
            Pause: self._pause,
            Resume: self._resume,
            Ping: self._ping,
            Memory: lambda message, size: self.sharing.answered(message),
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
    def late_answers(self) -> int:
        """Those that nobody waited for any more."""
        return self._calls.late_answers

    @property
    def calls_in_flight(self) -> int:
        return len(self._calls.pending.waiting)

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
        self._opened_at = now
        self._calls.prefix = self._nonce
        self._hello_id = self._calls.next_id()
        token = self.welcome.session if self.welcome is not None else ""
        hello = self._settings.hello(token, self.serving.direct_address)
        self.connection.send(Call(self._hello_id, BROKER_OBJECT, "hello", JSON.encode_payload(hello)))

    def receive_data(self, data: bytes) -> None:
        connection = self.connection
        if connection is not None:
            handlers = self._handlers
            receive = connection.receive_data if self.opened else connection.receive_one_by_one
            for message, frame in receive(data):
                handlers[type(message)](message, len(frame))
            if connection.had_large:
                self.sharing.begin()

    def data_to_send(self) -> bytes:
        return self.connection.data_to_send() if self.connection is not None else b""

    def connection_lost(self, reason: str) -> None:
        """Ends all that waits for an answer, with `ConnectionLost`. Subscriptions and exposed objects stay for the next one.

        What is queued was surely not sent: events among it go out over the next connection, and of a call that error says so.
        """
        unsent: list[Any] = []
        if self.connection is not None:
            unsent = self.connection.unsent()
            self.publisher.connection_lost([one for one in unsent if type(one) is Publish], self.codec)
        self.connection = None
        self.sharing.end()
        self.sharing = Sharing()
        self._watchdog.stop()
        self.opened = self.ready = False
        self.losses += 1
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionLost(reason))
        self._calls.connection_lost(reason, {one.call_id for one in unsent if type(one) in (Call, Publish)})
        self.names.connection_lost(reason)
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

    def hello_answered(self, call_id: str, answer: Raw) -> bool:
        """Whether that is the answer to hello; then the connection is open."""
        if call_id != self._hello_id or self.opened:
            return False
        self._open(self._settings.welcome(answer))
        return True

    def hello_failed(self, call_id: str, error: Error) -> bool:
        """Whether that is the answer to hello. A broker that does not let us in has the last word; others know no hello."""
        if call_id != self._hello_id or self.opened:
            return False
        if error.code in NO_ENTRY:
            self._turned_away(error)
        else:
            self._open(None)
        return True

    def _turned_away(self, error: Error) -> None:
        """`opened` gets CallError: PermissionDenied or Overloaded. What is left to do is to close the connection."""
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_exception(refusal(error))
        if self.losses and error.message != self._turned_away_for:  # nobody may be waiting for this connection
            self.notice(error)
        self._turned_away_for = error.message

    def _open(self, welcome: Welcome | None) -> None:
        connection = self.connection
        assert connection is not None
        known = self.welcome.epoch if self.welcome is not None else ""
        self.welcome = welcome
        self._calls.prefix = welcome.prefix if welcome is not None else f"{self._nonce}."
        if welcome is not None:
            connection.extend(welcome.encoding, welcome.max_frame, self._settings.max_frame)
            self._watchdog.watch(connection, welcome, self._opened_at)
            if "memory" in welcome.features:
                self.sharing = Sharing(connection, self.make_memory)
        self.opened = self.ready = True
        self._turned_away_for = ""
        self.directs.connection_made()
        self.serving.connection_made(connection)
        self.subscriptions.reopen_all(connection, None if welcome is None else welcome.epoch)
        self.publisher.reopen(connection, new_broker=welcome is None or welcome.epoch != known)
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_result(welcome)

    # Time

    def next_deadline(self) -> float | None:
        deadline, look = self._calls.pending.next_deadline(), self._watchdog.next_look
        if deadline is None or look is None:
            return look if deadline is None else deadline
        return min(deadline, look)

    def handle_timer(self, now: float) -> None:
        self._calls.pending.expire(now)
        silence = self._watchdog.look(now)
        if silence and self.on_silence is not None:
            self.on_silence(silence)

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

    # Objects

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

    def _error(self, error: Error, size: int) -> None:
        if error.call_id is not None:
            self._calls.error(error.call_id, error)
        else:
            self._error_without_call(error)

    def _error_without_call(self, error: Error) -> None:
        if not self.opened and error.code in NO_ENTRY:
            self._turned_away(error)
            return
        if error.type == "Subscribe" and error.subscription:
            self.subscriptions.refused(error.subscription)
            self._questions.fail(("Subscribed", str(error.subscription)), refusal(error))
            return
        registration = ("Registered", error.object_name)
        if error.type == "RegisterObject" and registration in self._questions:
            taken = error.code == "name_taken"
            self._questions.fail(registration, name_taken(error, self.codec) if taken else refusal(error))
        else:
            self.notice(error)

    def _registered(self, message: Registered, size: int) -> None:
        self._questions.settle(("Registered", message.object_name))

    def _direct_ended(self, message: DirectEnded, size: int) -> None:
        self.directs.ended(message, size)
        self.serving.direct_ended(message, size)

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
        """It closes the connection when the calls in flight have ended; what is asked from now on waits for the next one."""
        self.ready = False
        if self.on_goodbye is not None:
            self.on_goodbye(message.reason)

    def _invalid(self, message: Invalid, size: int) -> None:
        """Whoever waits for what cannot be read is told at once."""
        if message.about == "Call" and message.call_id is not None and self.connection is not None:
            unread = Call(message.call_id, "", "", self.codec.null)
            self.serving.fail(unread, self.connection, "invalid_args", message.reason)
        elif message.call_id is not None:
            self._calls.unreadable(message.call_id, message)
        self.notice(message)

    def notice(self, notice: Error | Invalid) -> None:
        """Tells something that nobody asked for."""
        if self.on_notice is not None:
            self.on_notice(notice)

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
