"""Has something become slower? `python -m benchmarks.guard`: in seconds, on any machine, for CI.

What a call and an event take in this code, without sockets and on one processor, in terms of a floor that is measured in
turn with it: the same messages, encoded and decoded by msgspec, with one dictionary. Such ratios are the same on machines of
different speed, and nearly so while others use them. The best of many rounds counts; what is too slow is measured again
before it is told. The exit status is then 1.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ipc_broker import Broker, BrokerConfig, Event, Gap, IPCError, Worker, connect
from ipc_broker.config import Limits
from ipc_broker.messages import Call
from ipc_broker.protocol.connection import Connection
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router
from ipc_broker.session import ClientSubscription, Session

from .calls import ARGS, RESULT, Calculator

AT_ONCE = 100
"""Calls, or events, of one round: as many as often come together."""

ROUNDS = 200
TRIES = 3

MARGIN = 1.3
"""By how much more than usual a ratio may be."""

USUAL = {"call": 9.2, "event": 3.1, "batch": 1.0, "stack": 25.0}
"""Ratios to the floor, as they were when something here was last made faster."""

TITLES = {
    "call": "a call in the brains of client, broker and worker",
    "event": "an event of its own, in those of publisher, broker and subscriber",
    "batch": "an event among others of its topic, there",
    "stack": "a call with everything but sockets: client, broker and worker in one loop",
}


class Message(Struct, frozen=True, gc=False):
    call_id: str
    object_name: str
    method: str
    args: Raw


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Message).decode
_decode_args = msgspec.msgpack.Decoder().decode


def floor_round() -> float:
    """Seconds for one message there and back."""
    waiting: dict[str, Message] = {}
    began = time.perf_counter()
    for number in range(AT_ONCE):
        message = Message(str(number), "math", "add", Raw(_encode(ARGS)))
        waiting[message.call_id] = message
        answered = _decode(_encode(message))
        _decode_args(answered.args)
        del waiting[answered.call_id]
    return (time.perf_counter() - began) / AT_ONCE


class Reply:
    """What a shell waits with, at its least."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def done(self) -> bool:
        return self.value is not None

    def set_result(self, result: Any, /) -> None:
        self.value = True if result is None else result

    def set_exception(self, exception: Any, /) -> None:
        raise exception


class Sums:
    """What a worker's shell does with a call, and a subscriber's with events, at their least."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.subscription: ClientSubscription | None = None
        self.events = 0

    def call(self, call: Call, connection: Connection) -> None:
        _decode_args(call.args)
        self._session.serving.answer(call, connection, connection.codec.encode_payload(RESULT))

    def cancel(self, call_id: str) -> None: ...

    def credit(self, call_id: str, size: int) -> None: ...

    def interrupted(self) -> None: ...

    def registered(self, name: str, error: IPCError | None) -> None:
        assert error is None

    def deliver(self, event: Event | Gap, size: int) -> None:
        assert isinstance(event, Event)
        self.deliver_all([event], size)

    def deliver_all(self, events: list[Event], size: int) -> None:
        self.events += len(events)
        if self.subscription is not None:
            self.subscription.taken(size)

    def ended(self) -> None: ...


class Brains:
    """A client, a worker that is also a subscriber, and the router between them."""

    def __init__(self) -> None:
        self._router = Router(Identity("0", "epoch", 1), Limits(), 0.0)
        self._client, self._caller = self._connected()
        self._server, self._worker = self._connected()
        self._sums = Sums(self._server)
        self._server.serving.server = self._sums
        self._server.serving.expose("math", "exclusive", 0)
        self._sums.subscription = self._server.subscribe("sensor", "heat", self._sums, Reply())
        for _ in range(2):  # what they ask, and its answers
            self._carry(self._server, self._worker)

    def _connected(self) -> tuple[Session, Peer]:
        session, opened, peer = Session(nonce="guard"), Reply(), self._router.connect()
        session.connection_made(lambda: None, opened)
        self._carry(session, peer)
        assert opened.done()
        return session, peer

    def _carry(self, session: Session, peer: Peer) -> None:
        """What either has to say."""
        self._router.receive(peer, session.data_to_send(), 0.0)
        session.receive_data(peer.connection.data_to_send())
        self._router.woken.clear()

    def calls(self) -> float:
        began = time.perf_counter()
        client, codec = self._client, self._client.codec
        replies = [Reply() for _ in range(AT_ONCE)]
        for reply in replies:
            client.call("math", "add", codec.encode_payload(ARGS), reply, 0.0, 30.0)
        self._carry(client, self._caller)
        self._carry(self._server, self._worker)
        self._carry(self._server, self._worker)
        self._carry(client, self._caller)
        for reply in replies:
            codec.decode_any(reply.value)
        return (time.perf_counter() - began) / AT_ONCE

    def events(self, topics: Sequence[str]) -> float:
        """Of these topics in turn."""
        began, before = time.perf_counter(), self._sums.events
        publish, codec = self._client.publisher.publish, self._client.codec
        for number in range(AT_ONCE):
            publish("sensor", topics[number % len(topics)], codec.encode_payload(number))
        self._carry(self._client, self._caller)
        self._carry(self._server, self._worker)
        took = (time.perf_counter() - began) / AT_ONCE
        assert self._sums.events == before + AT_ONCE // len(topics)
        return took


async def stack(rounds: int) -> float:
    """Seconds a call, the best of so many rounds."""
    async with Broker(BrokerConfig(listen=("memory://guard",), log_level="error")), Worker("memory://guard") as worker:
        worker.add("math", Calculator())
        async with connect("memory://guard") as client:
            await client.wait_for("math")
            best = math.inf
            for _ in range(rounds):
                began = time.perf_counter()
                await asyncio.gather(*(client.call("math", "add", ARGS) for _ in range(AT_ONCE)))
                best = min(best, (time.perf_counter() - began) / AT_ONCE)
            return best


def measure() -> dict[str, float]:
    """Each in terms of the floor."""
    gc.disable()
    brains = Brains()
    works: dict[str, Callable[[], float]] = {
        "floor": floor_round,
        "call": brains.calls,
        "event": lambda: brains.events(("heat", "cold")),
        "batch": lambda: brains.events(("heat",)),
    }
    best = dict.fromkeys(works, math.inf)
    for _ in range(ROUNDS):
        for name, work in works.items():
            best[name] = min(best[name], work())
    best["stack"] = asyncio.run(stack(ROUNDS // 4))
    gc.enable()
    floor = best.pop("floor")
    return {name: seconds / floor for name, seconds in best.items()}


def main() -> int:
    found = measure()
    for _ in range(TRIES - 1):
        if not too_slow(found):
            break
        again = measure()
        found = {name: min(found[name], again[name]) for name in found}
    slow = too_slow(found)
    for name, ratio in found.items():
        verdict = f"more than {MARGIN:g} times as much" if name in slow else "ok"
        print(f"{ratio:6.2f} x the floor, usually {USUAL[name]:5.2f}: {TITLES[name]}: {verdict}")
    return 1 if slow else 0


def too_slow(found: dict[str, float]) -> list[str]:
    return [name for name, ratio in found.items() if ratio > USUAL[name] * MARGIN]


if __name__ == "__main__":
    sys.exit(main())
