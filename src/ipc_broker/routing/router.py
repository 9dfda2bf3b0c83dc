"""The broker's brain: takes what each peer says, changes who owns what, and queues frames for the peers concerned.

The shell calls `connect`, then `receive` for the bytes that arrive, `end_of_input` and `disconnect`; after a batch it
goes through `woken` and, for each, writes what its connection has to send, stops or goes on reading
(`Peer.reads`), or closes it (`Peer.closing`). It calls `handle_timer` at `next_deadline`. Time is an argument, in
seconds of any steady clock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from ..config import Limits, Quotas
from ..credentials import Credentials
from ..messages import (
    Batch,
    Call,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    EventCredit,
    Goodbye,
    HasObject,
    Invalid,
    Item,
    Memory,
    Message,
    Pong,
    Publish,
    RegisterObject,
    RegisterService,
    Result,
    Served,
    Subscribe,
)
from ..observation import MOST_LISTED
from ..security.principal import OWNER, Principal
from .accounts import Accounts
from .admission import Admission
from .batches import Batches
from .calls import Calls
from .direct import Directs
from .driver import Driver
from .events import Events
from .gatekeeper import Gatekeeper
from .guard import Guard
from .heartbeats import Heartbeats
from .memories import Memories
from .names import BROKER_OBJECT, Names
from .nonsense import Nonsense
from .peer import Peer
from .registrar import Registrar
from .services import Services
from .status import Departed, Totals
from .status import Identity as Identity
from .streams import Streams
from .taps import Taps
from .turns import Turns

logger = logging.getLogger("ipc_broker")

_LONGEST_TEXT = 2048  # of an error's message, which may quote what was sent: the frame must stay under the limit


class Router:
    """See the module. What concerns calls is in `calls` and `streams`, events in `events`, the object `rob` in `driver`."""

    def __init__(
        self,
        identity: Identity,
        limits: Limits,
        now: float,
        new_token: Callable[[], str] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """`new_token` makes the token of a session, that nobody can guess; without it tokens are counted."""
        self.identity = identity
        self.new_token = new_token if new_token is not None else self._count_token
        self.limits = limits
        self.quotas = quotas if quotas is not None else Quotas()
        self.started = now
        self.totals = Totals()
        self.woken: list[Peer] = []
        """Peers that the shell has something to do for; it clears the list. One may stand there twice."""
        self.peers: set[Peer] = set()
        self.names = Names()
        self.calls = Calls(self)
        self.streams = Streams(self, self.calls)
        self.directs = Directs(self)
        self.memories = Memories()
        self.turns = Turns(self)
        self.events = Events(self)
        self.batches = Batches(self)
        self.driver = Driver(self)
        self.heartbeats = Heartbeats(self)
        self.services = Services(self)
        self.registrar = Registrar(self)
        self.departures: deque[Departed] = deque(maxlen=MOST_LISTED)
        self.timers_began = False
        """`next_deadline` may be earlier than it was; the shell clears it."""
        self.stopping = ""
        """Why, from `say_goodbye` on."""
        self.closed = False
        self._admission = Admission(self)
        self._last_id = 0
        self._last_token = 0
        self.handlers: dict[type, Callable[[Peer, Any, bytes, float], None]] = {
            Call: self.calls.call,
            Result: self.calls.answer,
            Error: self.calls.error,
            Item: self.streams.item,
            Cancel: self.calls.cancel,
            Credit: self.streams.credit,
            Publish: self.events.publish,
            Batch: self.batches.publish,
            Subscribe: self.events.subscribe,
            EventCredit: self.events.credit,
            HasObject: self.registrar.has_object,
            RegisterObject: self.registrar.register_object,
            RegisterService: self.registrar.register_service,
            Direct: self.directs.begin,
            DirectEnded: self.directs.ended,
            Served: self.directs.served,
            Memory: self.memories.begin,
            Pong: self.heartbeats.pong,
            Goodbye: self._goodbye,
            Invalid: Nonsense(self).heard,
        }
        """Of peers that may do everything; others have tables of their own."""
        self.taps = Taps(self.handlers, self._handlers_changed)
        self.observers = self.taps.observers
        """Those that look at what happens: nearly always none."""
        self.accounts = Accounts(self)
        self.gatekeeper = Gatekeeper(self, Guard(self, self.handlers))

    # What the shell calls

    def connect(
        self,
        credentials: Credentials = Credentials(),
        now: float | None = None,
        principal: Principal | None = OWNER,
        refusal: str = "",
    ) -> Peer:
        """The new peer, or one that is `closing` and owns nothing.

        `principal` is None for one that has to show a token. Over `limits.connections`, and with a `refusal`, which it is
        told, it has to go.
        """
        self._last_id += 1
        now = self.started if now is None else now
        peer = Peer(self._last_id, credentials, self.woken.append, now)
        if not self._admission.admits():
            self._admission.refuse(peer)
            return peer
        code, why = ("permission_denied", refusal) if refusal else self.gatekeeper.refusal_of(principal)
        if why:
            self.gatekeeper.turn_away(peer, code, why, now)
            return peer
        self.peers.add(peer)
        self.totals.connections += 1
        self.gatekeeper.admit(peer, principal, now)
        return peer

    def _count_token(self) -> str:
        self._last_token += 1
        return f"{self.identity.epoch}-{self._last_token}"

    def handle(self, peer: Peer, message: Message | Invalid, frame: bytes, now: float) -> None:
        """`message` and `frame` as `Peer.connection.receive_data` gave them."""
        peer.handlers[type(message)](peer, message, frame, now)

    def receive(self, peer: Peer, data: bytes, now: float) -> None:
        """`handle` for every message in the bytes that arrived."""
        handlers = peer.handlers
        received = peer.connection.receive_data(data)
        if peer.account is not None:
            self.turns.take(peer, peer.account, received, now)
        else:
            for message, frame in received:
                handlers[type(message)](peer, message, frame, now)
            if peer.account is not None:  # it was hello, with a token
                self.accounts.spend(peer.account, len(received), now)
        self.heard(peer, now)

    def heard(self, peer: Peer, now: float) -> None:
        """After several of its messages."""
        if peer not in self.peers:  # one of its own answers ended it: what came behind that goes too
            self._drop_all_of(peer, now)
        elif peer.connection.queued > self.limits.outbox:
            self._close_overfull(peer, now)

    def end_of_input(self, peer: Peer, now: float) -> None:
        """The peer will send no more. A seed caller still gets the answers it waits for; anybody else is gone."""
        if self.turns.end_input(peer):
            return
        peer.input_ended = True
        if peer.is_seed and peer.calls:
            self._drop_services_of(peer, now)
        else:
            self.retire(peer, now)

    def retire(self, peer: Peer, now: float, why: str = "") -> None:
        """The peer is gone but for what is queued for it: the shell writes that, for a while, and closes the connection."""
        peer.parting = peer.parting or why
        peer.connection.close()
        self._leave(peer, now)
        self.woken.append(peer)

    def end(self, peer: Peer, reason: str, now: float, *, about: str = "", subscription: int = 0) -> None:
        """The peer cannot stay; it is told why."""
        if peer in self.peers:
            logger.warning("%s is disconnected: %s", peer.describe(), reason)
            self.refuse(peer, None, BROKER_OBJECT, "overloaded", reason, about=about, subscription=subscription)
            self.retire(peer, now, reason)

    def give_up(self, peer: Peer, reason: str, now: float) -> None:
        """The peer seems to be gone; should it not be, it learns why it is disconnected."""
        logger.warning("%s is disconnected: %s", peer.describe(), reason)
        peer.connection.send(Goodbye(reason))
        self.retire(peer, now, reason)

    def say_goodbye(self, reason: str) -> None:
        """The broker stops: its clients should begin nothing new. From here on nobody's last will is published."""
        self.stopping = reason
        for peer in self.peers:
            if not peer.is_seed:
                peer.connection.send(Goodbye(reason))
        self.directs.end_all()

    @property
    def is_busy(self) -> bool:
        """Whether calls are in flight, also those of which only their workers know."""
        return bool(self.calls.in_flight or self.directs.leaving)

    def close(self, now: float) -> None:
        """The broker ends: each call that is still in flight ends with an error, then all connections, without events."""
        self.closed = True
        for peer in sorted(self.peers, key=lambda peer: not peer.serving):  # first those whose callers will be told
            self.retire(peer, now)

    def disconnect(self, peer: Peer, now: float) -> None:
        """The connection has ended, and what is queued for it goes. May be called again."""
        self._leave(peer, now)
        peer.connection.discard()
        self.memories.peer_gone(peer)

    def _leave(self, peer: Peer, now: float) -> None:
        if peer in self.peers:
            self.peers.remove(peer)
            self.heartbeats.forget(peer)
            self.gatekeeper.leave(peer)
            departed = Departed(peer.describe(), now, peer.parting or "its connection ended", peer.said_goodbye)
            if peer.principal is not None:  # else it never was here, and others' departures are of more interest
                self.departures.append(departed)
            for observer in self.observers:
                observer.noted("disconnected", peer, now, message=departed.reason)
            self._drop_all_of(peer, now)

    def written(self, peer: Peer, now: float) -> None:
        """The transport took bytes of the peer."""
        self.events.written(peer, now)

    def next_deadline(self) -> float | None:
        """When `handle_timer` should be called; to be asked after every batch."""
        deadlines = (
            self.calls.deadlines.next_deadline(),
            self.events.backpressure.next_deadline(),
            self.events.sessions.next_deadline(),
            self.heartbeats.next_deadline(),
            self.taps.next_deadline(),
            self.accounts.next_deadline(),
            self.turns.next_deadline(),
            self.gatekeeper.next_deadline(),
            self.services.next_deadline(),
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.calls.handle_timer(now)
        self.events.handle_timer(now)
        self.heartbeats.handle_timer(now)
        self.taps.handle_timer(now)
        self.accounts.handle_timer(now)
        self.turns.handle_timer(now)
        self.gatekeeper.handle_timer(now)
        self.services.handle_timer(now)

    # Those who leave

    def _goodbye(self, peer: Peer, goodbye: Goodbye, frame: bytes, now: float) -> None:
        """Closed from here: what a client has not read when it closes would take its goodbye away on some systems."""
        peer.will = None
        peer.features -= {"resume"}
        peer.said_goodbye = True
        self.retire(peer, now, "it said goodbye")

    def after_answer(self, caller: Peer, now: float) -> None:
        """To be called when a caller was sent something, where it may have been the last that it waited for."""
        if caller.feed is not None:
            self.events.answered(caller, now)
        if caller.connection.queued > self.limits.outbox:
            self._close_overfull(caller, now)
        elif caller.input_ended and not caller.calls and caller in self.peers:
            self.retire(caller, now)

    def refuse(
        self,
        peer: Peer,
        call_id: str | None,
        object_name: str,
        code: str,
        message: str,
        *,
        about: str = "",
        delivered: str = "no",
        data: Raw | UnsetType = UNSET,
        subscription: int = 0,
    ) -> None:
        """Sends an `Error`; to a seed peer only the fields that its own broker sends.

        Without a call, `about` is the type of the message that is refused.
        """
        self.totals.errors += 1
        message = message[:_LONGEST_TEXT]
        if peer.is_seed:
            peer.connection.send(Error(call_id, object_name, message))
        else:
            peer.connection.send(
                Error(
                    call_id,
                    object_name,
                    message,
                    code=code,
                    type=about,
                    data=data,
                    delivered=delivered,
                    subscription=subscription,
                )
            )

    def _close_overfull(self, peer: Peer, now: float) -> None:
        self.end(peer, f"over {self.limits.outbox} bytes of answers were left unread (outbox)", now)

    def _handlers_changed(self) -> None:
        self.gatekeeper.handlers_changed()
        if self.observers:  # who are to see all
            self.directs.end_all()

    def _drop_all_of(self, peer: Peer, now: float) -> None:
        self.taps.peer_gone(peer)
        self.directs.peer_gone(peer)
        self._drop_services_of(peer, now)
        self.calls.abandon_all(peer, now)
        self.calls.worker_gone(peer)
        will, peer.will = peer.will, None
        if will is not None and not self.stopping:
            self.events.publish_will(peer, will, now)

    def _drop_services_of(self, peer: Peer, now: float) -> None:
        self.events.peer_gone(peer, now)
        self.calls.lose(peer, "its worker was lost", now)
        for name in sorted(peer.registrations):
            # Another one's answer, on the way, may have made this happen again.
            if (registration := peer.registrations.get(name)) is not None:
                self.registrar.give_up(registration, now)
        self.calls.lose(peer, "its worker was lost", now)  # what it was given on the way, for a name it still had
