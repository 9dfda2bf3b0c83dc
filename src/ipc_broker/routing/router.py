"""The broker's brain: takes what each peer says, changes who owns what, and queues frames for the peers concerned.

The shell calls `connect`, then `handle` for every message that arrives, `end_of_input` and `disconnect`; after a batch it
goes through `woken` and, for each, writes what its connection has to send, stops or goes on reading
(`Peer.reads`), or closes it (`Peer.closing`). It calls `handle_timer` at `next_deadline`. Time is an argument, in
seconds of any steady clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from ..config import Limits
from ..credentials import Credentials
from ..messages import (
    Call,
    Error,
    Event,
    HasObject,
    HasObjectResult,
    Invalid,
    Message,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Subscribe,
    Subscribed,
)
from ..protocol.codec import encode, event_frame
from ..protocol.framing import HEADER_SIZE
from ..protocol.payload import encode_payload, unreadable_to_seed
from .backpressure import Backpressure
from .calls import Calls, PendingCall
from .driver import Driver
from .names import BROKER_OBJECT, Names
from .peer import Peer
from .status import Identity as Identity
from .status import Totals
from .subscriptions import Subscriptions

logger = logging.getLogger("ipc_broker")

MOST_INVALID = 1000
"""Bodies that are no messages after which a connection is closed: it would only keep the broker busy."""

MOST_LOGGED = 3
"""Of these, for each connection: a log that a peer can fill hides what others did."""

_LONGEST_TEXT = 2048  # of an error's message, which may quote what was sent: the frame must stay under the limit


class Router:
    """See the module."""

    def __init__(self, identity: Identity, limits: Limits, now: float) -> None:
        self.identity = identity
        self.limits = limits
        self.started = now
        self.peers: set[Peer] = set()
        self.names = Names()
        self.subscriptions = Subscriptions()
        self.calls = Calls()
        self.backpressure = Backpressure(limits)
        self.totals = Totals()
        self._driver = Driver(self)
        self._longest_frame = limits.max_frame + HEADER_SIZE
        self.woken: list[Peer] = []
        """Peers that the shell has something to do for; it clears the list. One may stand there twice."""
        self._last_id = 0
        self._handlers: dict[type, Callable[[Peer, Any, bytes, float], None]] = {
            Call: self._call,
            Result: self._answer,
            Error: self._error,
            Publish: self._publish,
            Subscribe: self._subscribe,
            HasObject: self._has_object,
            RegisterObject: self._register_object,
            RegisterService: self._register_service,
            Invalid: self._invalid,
        }

    # What the shell calls

    def connect(self, credentials: Credentials = Credentials()) -> Peer:
        self._last_id += 1
        peer = Peer(self._last_id, credentials, self.woken.append, self.limits.max_frame)
        self.peers.add(peer)
        self.totals.connections += 1
        return peer

    def handle(self, peer: Peer, message: Message | Invalid, frame: bytes, now: float) -> None:
        """`message` and `frame` as `Peer.connection.receive_data` gave them."""
        self._handlers[type(message)](peer, message, frame, now)

    def receive(self, peer: Peer, data: bytes, now: float) -> None:
        """`handle` for every message in the bytes that arrived."""
        handlers = self._handlers
        for message, frame in peer.connection.receive_data(data):
            handlers[type(message)](peer, message, frame, now)
        if peer not in self.peers:  # one of its own answers ended it: what came behind that goes too
            self._drop_services_of(peer, now)
            self.calls.abandon(peer)
        elif peer.connection.queued > self.limits.outbox:
            self._close_overfull(peer, now)

    def end_of_input(self, peer: Peer, now: float) -> None:
        """The peer will send no more. A seed caller still gets the answers it waits for; anybody else is gone."""
        peer.input_ended = True
        if peer.is_seed and peer.calls:
            self._drop_services_of(peer, now)
        else:
            self.retire(peer, now)

    def retire(self, peer: Peer, now: float) -> None:
        """The peer is gone but for what is queued for it: the shell writes that, for a while, and closes the connection."""
        peer.connection.close()
        self.disconnect(peer, now)
        self._wake(peer)

    def disconnect(self, peer: Peer, now: float) -> None:
        """The connection has ended. May be called again."""
        if peer in self.peers:
            self.peers.remove(peer)
            self._drop_services_of(peer, now)
            self.calls.abandon(peer)
            self._wake(*self.backpressure.forget(peer))

    def written(self, peer: Peer, now: float) -> None:
        """The transport took bytes of the peer."""
        self._wake(*self.backpressure.written(peer, now))

    def next_deadline(self) -> float | None:
        return self.backpressure.next_deadline()

    def handle_timer(self, now: float) -> None:
        self._wake(*self.backpressure.handle_timer(now))

    # Calls and their answers

    def _call(self, peer: Peer, call: Call, frame: bytes, now: float) -> None:
        self.totals.calls += 1
        if call.object_name == BROKER_OBJECT:
            self._driver.call(peer, call, now)
            return
        worker = self.names.owner(call.object_name)
        refusal: tuple[str, str] | None = None
        if worker is None:
            refusal = "no_such_object", f"No such object '{call.object_name}'"
        elif call.call_id in peer.calls:
            refusal = "invalid_args", f"the call id {call.call_id!r} is in flight; use a new one for each call"
        elif not call.call_id.startswith(peer.prefix):
            refusal = (
                "invalid_args",
                f"the call id {call.call_id!r} does not begin with {peer.prefix!r}, as agreed in hello",
            )
        elif len(peer.calls) >= self.limits.calls:
            refusal = "overloaded", f"{self.limits.calls} calls of this connection are in flight, the limit (calls)"
        elif worker.connection.queued > self.limits.outbox:
            refusal = (
                "overloaded",
                f"over {self.limits.outbox} bytes wait for the worker of '{call.object_name}' (outbox)",
            )
        elif not worker.prefix and (unreadable := unreadable_to_seed(call.args)):
            refusal = "invalid_args", f"the worker of '{call.object_name}' cannot read these arguments: {unreadable}"
        else:
            worker_id = self.calls.start(peer, worker, call)
            if not worker.prefix or worker_id is not call.call_id:
                frame = encode(Call(worker_id, call.object_name, call.method, call.args))
            if len(frame) <= self._longest_frame:
                worker.send_frame(frame)
                return
            self.calls.finish(worker, worker_id)  # another id made it too long
            refusal = "too_large", self.over_frame_limit(frame)
        self.refuse(peer, call.call_id, call.object_name, *refusal)

    def _answer(self, peer: Peer, answer: Result | Error, frame: bytes, now: float) -> None:
        call = self.calls.finish(peer, answer.call_id) if answer.call_id is not None else None
        if call is None:
            self.totals.late_answers += 1
            return
        self.totals.results += 1
        caller = call.caller
        if caller.prefix and call.worker_id is call.call_id:
            caller.send_frame(frame)
        else:
            if isinstance(answer, Result):
                if caller.is_seed and (unreadable := unreadable_to_seed(answer.value)):
                    self._fail(
                        call,
                        "invalid_args",
                        f"'{call.object_name}' answered what this program cannot read: {unreadable}",
                        now,
                    )
                    return
                frame = encode(Result(call.call_id, answer.object_name, answer.value))
            elif caller.is_seed:
                frame = encode(Error(call.call_id, answer.object_name, answer.message))
            else:
                frame = encode(structs.replace(answer, call_id=call.call_id))
            if len(frame) > self.limits.max_frame + HEADER_SIZE:  # the caller's own id made it longer
                self._fail(call, "too_large", self.over_frame_limit(frame), now)
                return
            caller.send_frame(frame)
        if caller.held_events or caller.input_ended or caller.connection.queued > self.limits.outbox:
            self._after_answer(caller, now)

    def _error(self, peer: Peer, error: Error, frame: bytes, now: float) -> None:
        self.totals.errors += 1
        self._answer(peer, error, frame, now)

    def _fail(self, call: PendingCall, code: str, message: str, now: float) -> None:
        self.refuse(call.caller, call.call_id, call.object_name, code, message)
        self._after_answer(call.caller, now)

    def _after_answer(self, caller: Peer, now: float) -> None:
        if caller.held_events and not caller.calls:
            for event in caller.held_events:
                caller.send_frame(event)
            caller.held_events.clear()
            caller.held_bytes = 0
        if caller.connection.queued > self.limits.outbox:
            self._close_overfull(caller, now)
        elif caller.input_ended and not caller.calls:
            self.retire(caller, now)

    # Events

    def _publish(self, peer: Peer, event: Publish, frame: bytes, now: float) -> None:
        if event.object_name == BROKER_OBJECT:
            message = "only the broker publishes as 'rob'"
            self.refuse(peer, None, BROKER_OBJECT, "permission_denied", message, about="Publish")
            return
        self.totals.published += 1
        subscribers = self.subscriptions.find((event.object_name, event.topic))
        if subscribers is not None:
            self._fan_out(subscribers, peer, event, event_frame(frame), now)

    def _fan_out(
        self, subscribers: Iterable[Peer], publisher: Peer | None, event: Publish, forwarded: bytes, now: float
    ) -> None:
        backlog = self.limits.backlog
        to_seed_peers: list[Peer] = []
        for subscriber in subscribers:
            if not subscriber.prefix:
                to_seed_peers.append(subscriber)
            elif subscriber.lagging:
                self.backpressure.drop(subscriber)
            else:
                subscriber.send_frame(forwarded)
                self.totals.delivered += 1
                if subscriber.connection.queued > backlog:
                    self._wake(*self.backpressure.filled(subscriber, publisher, now))
        if to_seed_peers:
            self._fan_out_to_seed_peers(to_seed_peers, publisher, event, now)

    def _fan_out_to_seed_peers(
        self, subscribers: list[Peer], publisher: Peer | None, event: Publish, now: float
    ) -> None:
        if publisher is not None and (unreadable := unreadable_to_seed(event.args)):
            message = f"subscribers of '{event.object_name}' cannot read this event: {unreadable}"
            self.refuse(publisher, None, event.object_name, "invalid_args", message, about="Publish")
            return
        forwarded = encode(Event(event.object_name, event.topic, event.args))  # without fields it does not know
        for subscriber in subscribers:
            if subscriber.lagging or subscriber.held_bytes > self.limits.backlog:
                self.backpressure.drop(subscriber)
                continue
            self.totals.delivered += 1
            if subscriber.calls:
                subscriber.held_events.append(forwarded)
                subscriber.held_bytes += len(forwarded)
                continue
            subscriber.send_frame(forwarded)
            if subscriber.connection.queued > self.limits.backlog:
                self._wake(*self.backpressure.filled(subscriber, publisher, now))

    def _announce(self, topic: str, name: str, now: float) -> None:
        """Publishes an event of the broker's own object."""
        subscribers = self.subscriptions.find((BROKER_OBJECT, topic))
        if subscribers is not None:
            event = Publish(BROKER_OBJECT, topic, encode_payload({"object": name}))
            self._fan_out(subscribers, None, event, event_frame(encode(event)), now)

    def _subscribe(self, peer: Peer, wish: Subscribe, frame: bytes, now: float) -> None:
        if len(peer.subscriptions) >= self.limits.subscriptions:
            message = (
                f"this connection has {self.limits.subscriptions} subscriptions, which is the limit (subscriptions)"
            )
            self.refuse(peer, None, wish.object_name, "overloaded", message, about="Subscribe")
            return
        self.subscriptions.add(wish.object_name, wish.topic, peer)
        peer.connection.send(Subscribed(wish.object_name, wish.topic))

    # Names

    def _register_object(self, peer: Peer, wish: RegisterObject, frame: bytes, now: float) -> None:
        name = wish.object_name
        refusal: tuple[str, str] | None = None
        if name == BROKER_OBJECT:
            refusal = "name_taken", "the name 'rob' is the broker's own; choose another"
        elif not name:
            refusal = "invalid_args", "an object needs a name that is not empty"
        elif len(peer.names) >= self.limits.names:
            refusal = "overloaded", f"this connection has {self.limits.names} objects, which is the limit (names)"
        elif (owner := self.names.register(name, peer)) is not peer:
            refusal = "name_taken", f"the name '{name}' is taken by {owner.describe()}"
        if refusal is not None:
            self.refuse(peer, None, name, *refusal, about="RegisterObject")
            return
        peer.connection.send(Registered(name))
        self._announce("object.registered", name, now)
        logger.info("%s serves %r", peer.describe(), name)

    def unregister(self, peer: Peer, name: str, now: float) -> bool:
        """False when the name was not the peer's. The calls it was given stay with it."""
        if not self.names.unregister(name, peer):
            return False
        self._announce("object.lost", name, now)
        logger.info("%s no longer serves %r", peer.describe(), name)
        return True

    def lose_calls(self, worker: Peer, why: str, now: float, object_name: str | None = None) -> None:
        """The calls that the worker was given, of one object or all, will not be answered any more."""
        for call in self.calls.held_by(worker, object_name):
            if self.calls.finish(worker, call.worker_id) is not None:
                self._fail(call, "worker_lost", f"'{call.object_name}' will not answer '{call.method}': {why}", now)

    def _register_service(self, peer: Peer, wish: RegisterService, frame: bytes, now: float) -> None:
        logger.warning(
            "%s wants %r to be started by the service %r: ignored, this broker starts no services",
            peer.describe(),
            wish.object_name,
            wish.service_name,
        )

    def _has_object(self, peer: Peer, question: HasObject, frame: bytes, now: float) -> None:
        exists = question.object_name in self.names or question.object_name == BROKER_OBJECT
        peer.connection.send(HasObjectResult(question.object_name, exists))

    # What goes wrong

    def _invalid(self, peer: Peer, message: Invalid, frame: bytes, now: float) -> None:
        self.totals.invalid_messages += 1
        if peer not in self.peers:
            return  # it was closed for those that came before
        peer.invalid_messages += 1
        if peer.invalid_messages <= MOST_LOGGED:
            logger.warning("%s sent what is no message: %s", peer.describe(), message.reason)
        self.refuse(peer, message.call_id, BROKER_OBJECT, message.code, message.reason)
        if message.call_id is None:  # it may have been an answer, and nobody can tell to which call
            self.lose_calls(peer, f"its worker sent what is no message ({message.reason})", now)
        if message.fatal:
            self.retire(peer, now)
        elif peer.invalid_messages >= MOST_INVALID:
            logger.warning("%s is disconnected: it sent %d bodies that are no messages", peer.describe(), MOST_INVALID)
            self.retire(peer, now)

    def refuse(
        self, peer: Peer, call_id: str | None, object_name: str, code: str, message: str, *, about: str = ""
    ) -> None:
        """Sends an `Error`; to a seed peer only the fields that its own broker sends.

        Without a call, `about` is the type of the message that is refused.
        """
        self.totals.errors += 1
        message = message[:_LONGEST_TEXT]
        if peer.is_seed:
            peer.connection.send(Error(call_id, object_name, message))
        else:
            delivered = "maybe" if code == "worker_lost" else "no"
            peer.connection.send(Error(call_id, object_name, message, code=code, type=about, delivered=delivered))

    def _close_overfull(self, peer: Peer, now: float) -> None:
        if peer in self.peers:
            reason = f"over {self.limits.outbox} bytes of answers were left unread (outbox)"
            logger.warning("%s is disconnected: %s", peer.describe(), reason)
            self.refuse(peer, None, BROKER_OBJECT, "overloaded", reason)
            self.retire(peer, now)

    def over_frame_limit(self, frame: bytes) -> str:
        return f"a frame of {len(frame) - HEADER_SIZE} bytes is over the limit of {self.limits.max_frame} bytes (max_frame)"

    def _drop_services_of(self, peer: Peer, now: float) -> None:
        self.subscriptions.remove_all(peer)
        self.lose_calls(peer, "its worker was lost", now)
        for name in sorted(peer.names):
            self.unregister(peer, name, now)

    def _wake(self, *peers: Peer) -> None:
        self.woken.extend(peers)
