"""Whether a call and an event cost the broker the same, whoever else is there: with 10 connections and with 10,000.

In the router alone. Each connection serves an object and subscribes to a topic of its own; some of them are called, and are
sent events.
"""

from __future__ import annotations

import math
import time

from ipc_broker.config import Limits
from ipc_broker.messages import Call, Publish, RegisterObject, Subscribe
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router

from .figures import Figure, Goal
from .processes import Bus

FEW, MANY = 10, 10_000
AT_ONCE = 100
ROUNDS = 100

HELLO = {"encodings": ["msgpack"], "features": ["multiplex", "cancel", "streams", "flow"], "max_frame": 65_536}
ARGS = MSGPACK.encode_payload({"a": 10, "b": 32})


class Scale:
    """The cost with many in terms of that with few."""

    name = "scale"
    figures = tuple(
        Figure(f"scale-{what}", f"a {what} of {MANY:,} in terms of one of {FEW}", goal=Goal("at most", 1.3))
        for what in ("call", "delivery")
    )

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        few, many = Crowded(FEW), Crowded(MANY)
        best = {(crowded, what): math.inf for crowded in (few, many) for what in (Crowded.calls, Crowded.events)}
        for _ in range(ROUNDS):
            for crowded, what in best:
                best[crowded, what] = min(best[crowded, what], what(crowded))
        return {
            "scale-call": [best[many, Crowded.calls] / best[few, Crowded.calls]],
            "scale-delivery": [best[many, Crowded.events] / best[few, Crowded.events]],
        }


class Crowded:
    """A router with so many peers."""

    def __init__(self, count: int) -> None:
        self._router = Router(Identity("0", "epoch", 1), Limits(), 0.0)
        self._peers = [self._peer(number) for number in range(count)]
        self._caller, self._prefix = self._extended()
        self._last = 0

    def _extended(self) -> tuple[Peer, str]:
        peer = self._router.connect()
        self._router.receive(peer, JSON.encode(Call("hello", "rob", "hello", JSON.encode_payload(HELLO))), 0.0)
        return peer, peer.prefix

    def _peer(self, number: int) -> Peer:
        peer, _ = self._extended()
        wishes = (RegisterObject(f"object.{number}"), Subscribe("sensor", f"topic.{number}", id=1, credit=2**50))
        self._router.receive(peer, b"".join(MSGPACK.encode(wish) for wish in wishes), 0.0)
        self._empty()
        return peer

    def _empty(self) -> None:
        for peer in {*self._router.woken}:
            peer.connection.discard()
        self._router.woken.clear()

    def calls(self) -> float:
        """Seconds for one: there, and its answer back."""
        frames = []
        for number in range(AT_ONCE):
            self._last += 1
            name = f"object.{number % FEW * (len(self._peers) // FEW)}"
            frames.append(MSGPACK.call_frame(f"{self._prefix}{self._last}", name, "add", 30_000, ARGS))
        began = time.perf_counter()
        self._router.receive(self._caller, b"".join(frames), 0.0)
        took = time.perf_counter() - began
        for number in range(0, len(self._peers), len(self._peers) // FEW):
            peer = self._peers[number]
            answers = b"".join(
                MSGPACK.result_frame(Call(call_id, f"object.{number}", "add", ARGS), ARGS) for call_id in peer.serving
            )
            began = time.perf_counter()
            self._router.receive(peer, answers, 0.0)
            took += time.perf_counter() - began
        self._empty()
        assert not self._caller.calls
        return took / AT_ONCE

    def events(self) -> float:
        topics = [f"topic.{number % FEW * (len(self._peers) // FEW)}" for number in range(AT_ONCE)]
        frames = b"".join(MSGPACK.encode(Publish("sensor", topic, ARGS)) for topic in topics)
        delivered = self._router.events.delivered
        began = time.perf_counter()
        self._router.receive(self._caller, frames, 0.0)
        took = time.perf_counter() - began
        assert self._router.events.delivered == delivered + AT_ONCE
        self._empty()
        return took / AT_ONCE
