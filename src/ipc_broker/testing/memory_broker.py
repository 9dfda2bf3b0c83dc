"""A broker for tests of asyncio programs: no socket, no real time, and faults on demand."""

from __future__ import annotations

import asyncio
import itertools
from typing import Self

from ..aio.broker import Broker
from ..aio.memory import MemoryListener, MemoryTransport, listener_at
from ..config import BrokerConfig, Limits
from ..errors import IPCError
from .clock import Clock
from .faults import FaultyPeer, Loss, Predicate, predicate
from .stopping import end_at_once

_numbers = itertools.count(1)


class MemoryBroker:
    """A broker in the running event loop, for whoever connects to its `address` in the same loop.

        async with MemoryBroker() as broker, connect(broker.address, name="caller") as client:
            broker.stall("caller")
            await broker.clock.advance(15)

    Its time stands, and moves by `clock.advance` only. Peers are known by the `name` that they give to `connect` or
    `Worker`; what goes wrong with one goes wrong with its later connections too, until `resume`.
    """

    def __init__(self, *, limits: Limits = Limits(), clock: Clock | None = None) -> None:
        self.address = f"memory://memory_broker-{next(_numbers)}"
        self.clock = clock if clock is not None else Clock()
        self._config = BrokerConfig(listen=(self.address,), grace=0, limits=limits)
        self._broker: Broker | None = None
        self._peers: dict[str, FaultyPeer] = {}
        self._holds_clock = False

    def __repr__(self) -> str:
        if self._broker is None:
            return f"<MemoryBroker {self.address} stopped>"
        return f"<MemoryBroker {self.address} at {self.clock.now:g} s peers={sorted(self._peers)}{self._troubles()}>"

    @property
    def broker(self) -> Broker:
        """The broker itself. Raises IPCError while there is none."""
        if self._broker is None:
            raise IPCError("this broker does not run: enter it first, `async with memory_broker:`, or await start()")
        return self._broker

    async def __aenter__(self) -> Self:
        if not self.clock.held:  # otherwise another broker in this loop has brought it
            self.clock.hold(asyncio.get_running_loop())
            self._holds_clock = True
        self.clock.hurries.append(self._is_being_left)
        try:
            await self.start()
        except BaseException:
            self._let_clock_go()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        standing = self.clock.stood_still + self._troubles() if self.clock.stood_still else ""
        try:
            for peer in self._peers.values():
                peer.heal()
            await self.stop()
        finally:
            self._let_clock_go()
        self._peers.clear()
        if standing and error is not None:
            error.add_note(standing)
        elif standing:
            raise AssertionError(standing)

    def _is_being_left(self) -> bool:
        return any(peer.is_parting for peer in self._peers.values())

    def _let_clock_go(self) -> None:
        self.clock.hurries.remove(self._is_being_left)
        if self._holds_clock:
            self._holds_clock = False
            self.clock.release()

    # The broker comes and goes

    async def start(self) -> None:
        """Another broker at the same address, which knows nothing of the one before it. Entering does it."""
        if self._broker is not None:
            raise IPCError("this broker runs already; await stop() first, or restart()")
        broker = Broker(self._config)
        await broker.start()
        self._broker = broker
        self._listener().on_connection = self._connected

    async def stop(self) -> None:
        """The broker is gone without a word, as when its process is killed. Leaving does it."""
        broker, self._broker = self._broker, None
        if broker is not None:
            self._cut_all()
            await end_at_once(broker)

    async def restart(self) -> None:
        """Gone and back at once: all connections are lost, and clients and workers come back by themselves."""
        broker, self._broker = self.broker, None
        self._listener().close()
        await self.start()  # before anybody can notice: a client that finds no broker tries again after a while only
        self._cut_all()
        await end_at_once(broker)

    def _cut_all(self) -> None:
        for peer in self._peers.values():
            peer.cut()

    def _listener(self) -> MemoryListener:
        listener = listener_at(self.address.removeprefix("memory://"))
        assert listener is not None
        return listener

    # Faults

    def kill(self, name: str, *, comes_back: bool = True) -> None:
        """The peer's connection ends without a word, as when its process is killed, and what is on its way is lost.

        Clients and workers connect again at once; with `comes_back=False` not before `resume`.
        """
        peer = self._peer(name)
        peer.faults.is_away = not comes_back
        if not peer.cut():
            raise ValueError(f"{name!r} is not connected at the moment")

    def stall(self, name: str) -> None:
        """The peer is frozen: nothing that it is sent arrives, nothing that it sends is read, until `resume`.

        Nobody is told; heartbeats find out.
        """
        peer = self._peer(name)
        peer.faults.is_stalled = True
        peer.apply()

    def drop(self, name: str, what: str | Predicate, *, count: int | None = None) -> None:
        """Of what the peer is sent some messages are lost: the next `count`, or all until `resume`.

        `what` is the type of message, such as "Result", "Call" or "Event", or a function that is asked about each.
        """
        meant = predicate(what)
        self._peer(name).faults.losses.append(Loss(meant, count))

    def delay(self, name: str, seconds: float) -> None:
        """What the peer is sent arrives so many seconds later, in the same order, until `resume`."""
        peer = self._peer(name)
        peer.faults.latency = seconds
        peer.apply()

    def resume(self, name: str) -> None:
        """The peer is healthy again, and gets what has waited for it."""
        self._peer(name).heal()

    def _connected(self, name: str, near: MemoryTransport, far: MemoryTransport) -> None:
        self._peers.setdefault(name, FaultyPeer(name)).connect(near, far)

    def _peer(self, name: str) -> FaultyPeer:
        """Raises ValueError when nobody of that name has connected yet."""
        peer = self._peers.get(name) if name else None
        if peer is None:
            router = self.broker.router
            owners = [peer.name for peer in router.peers if name in peer.registrations]
            owner = repr(owners[0]) if owners and owners[0] else "a worker without a name"
            hint = f"; {name!r} is an object, which {owner} serves" if owners else ""
            known = ", ".join(repr(known) for known in self._peers if known) or "none with a name"
            raise ValueError(
                f"no peer called {name!r} has connected{hint}; there is {known}; give one a name by"
                " connect(name=...) or Worker(name=...)"
            )
        return peer

    def _troubles(self) -> str:
        troubles = [f"{peer.name!r} is {peer.faults}" for peer in self._peers.values() if str(peer.faults)]
        return f"; {', '.join(troubles)}" if troubles else ""
