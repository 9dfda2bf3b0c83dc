"""What can go wrong with a peer of a `MemoryBroker`: it is lost, frozen or slow, or misses what it is sent."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec import MsgspecError

from ..aio.memory import MemoryTransport
from ..events import Batch, Event
from ..messages import Invalid, Result, Welcome
from ..protocol.codec import Decoded, Received
from ..protocol.connection import Connection, Role, State
from ..protocol.encodings import JSON

KINDS = (
    "Call",
    "Caller",
    "CallerGone",
    "Cancel",
    "Credit",
    "Direct",
    "DirectEnded",
    "Error",
    "Event",
    "Goodbye",
    "HasObjectResult",
    "Item",
    "Memory",
    "Missed",
    "Pause",
    "Ping",
    "Registered",
    "Result",
    "Resume",
    "Subscribed",
)
"""The messages that a client or worker may be sent; each event of a `Batch` is an "Event"."""

Predicate = Callable[[Decoded], object]
"""Whether a message is meant: an `Event` as a subscription gives it, else a class of `ipc_broker.messages`."""

NO_BYTES_LIMIT = 2**31 - 1


@dataclass
class Loss:
    """Messages that do not arrive: `left` more of those that are `meant`, None for all."""

    meant: Predicate
    left: int | None

    def takes(self, message: Decoded) -> bool:
        if self.left == 0 or not self.meant(message):
            return False
        if self.left is not None:
            self.left -= 1
        return True


@dataclass
class Faults:
    """What is wrong with all connections of one name, also with those that are still to come."""

    is_away: bool = False
    is_stalled: bool = False
    latency: float = 0.0
    losses: list[Loss] = field(default_factory=list)

    def __str__(self) -> str:
        """For people; "" when nothing is wrong."""
        found = {
            "stalled": self.is_stalled,
            "away": self.is_away,
            f"delayed by {self.latency:g} s": self.latency,
            "losing messages": any(loss.left != 0 for loss in self.losses),
        }
        return " and ".join(what for what, holds in found.items() if holds)


class FaultyPeer:
    """Who connects under one name, with all its connections."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = Faults()
        self._ends: list[tuple[MemoryTransport, MemoryTransport]] = []
        self._programs: list[asyncio.BaseProtocol] = []

    def connect(self, near: MemoryTransport, far: MemoryTransport) -> None:
        """A connection is made: its end at the peer, and the one at the broker. Raises OSError while the peer is away."""
        if self.faults.is_away:
            reason = f"{self.name!r} was killed for good, until resume({self.name!r})"
            raise ConnectionRefusedError(errno.ECONNREFUSED, reason)
        self._ends = [ends for ends in self._ends if not ends[0].is_closing()]
        self._ends.append((near, far))
        self._programs.append(near.get_protocol())
        near.sieve = Sieve(self.faults.losses)
        self.apply()

    @property
    def is_parting(self) -> bool:
        """Whether a client or worker is about to close its connection."""
        return any(getattr(program, "parting", False) for program in self._programs)

    def apply(self) -> None:
        """After a change of `faults`."""
        for near, far in self._ends:
            near.latency = self.faults.latency
            near.held = far.held = self.faults.is_stalled

    def heal(self) -> None:
        self.faults.is_away = self.faults.is_stalled = False
        self.faults.latency = 0.0
        self.faults.losses.clear()
        self.apply()

    def cut(self) -> int:
        """Its connections end without a word; gives how many there were."""
        ends, self._ends = self._ends, []
        for near, _ in ends:
            near.cut(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        return len(ends)


class Sieve:
    """What one connection's client is sent, without the messages that are to be lost.

    It is given whole frames, as a broker writes them. The answer to hello is never lost: without it there is no peer.
    """

    def __init__(self, losses: list[Loss]) -> None:
        self._losses = losses
        self._connection = Connection(Role.CLIENT, lambda: None)

    def __call__(self, data: bytes) -> bytes:
        if self._connection.state is State.EXTENDED and not self._losses:
            return data
        return b"".join(frame for message, frame in self._one_by_one(data) if not self._is_lost(message))

    def _one_by_one(self, data: bytes) -> Iterator[Received]:
        for message, frame in self._read(data):
            if isinstance(message, Batch):
                codec = self._connection.codec
                names, id = (message.object, message.topic), message.subscription_id
                for value in message.values:
                    payload = codec.encode_payload(value)
                    yield Event(*names, value, False, id), codec.event_frame(*names, payload, id)
            else:
                yield message, frame

    def _read(self, data: bytes) -> Iterator[Received]:
        connection = self._connection
        for message, frame in connection.receive_one_by_one(data):
            welcome = _welcome_in(message) if connection.state is State.SEED else None
            yield message, frame
            if welcome is not None:
                connection.extend(welcome.encoding, NO_BYTES_LIMIT, NO_BYTES_LIMIT)

    def _is_lost(self, message: Decoded | Invalid) -> bool:
        if self._connection.state is State.SEED or isinstance(message, Invalid):
            return False
        return any(loss.takes(message) for loss in self._losses)


def _welcome_in(message: Decoded | Invalid) -> Welcome | None:
    if not isinstance(message, Result):
        return None
    try:
        welcome: Welcome = JSON.decode_payload(message.value, Welcome)
    except (MsgspecError, RecursionError):
        return None
    return welcome


def predicate(what: str | Predicate) -> Predicate:
    """Raises ValueError for a message that no client is ever sent."""
    if not isinstance(what, str):
        return what
    if what not in KINDS:
        raise ValueError(f"a client is sent no message {what!r}; there is {', '.join(KINDS)}")
    return lambda message: type(message).__name__ == what
