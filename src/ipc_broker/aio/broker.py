"""The broker's shell: listens, moves bytes between sockets and the router, and writes each peer once a batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from typing import cast

from ..address import parse_address
from ..config import BrokerConfig
from ..credentials import Credentials
from ..errors import IPCError
from ..protocol.connection import State
from ..routing.peer import Peer
from ..routing.router import Identity, Router
from ..version import VERSION
from .listening import Listener, listen, raise_descriptor_limit
from .signals import on_stop_signal
from .transport import WRITE_CHUNK
from .unix import peer_credentials

logger = logging.getLogger("ipc_broker")


_CLOSING = State.CLOSING

LINGER = 2.0
"""Seconds that a peer has to take what was queued for it when its connection is closed."""


class Broker:
    """A broker inside this program, on the running event loop.

        async with Broker(BrokerConfig(listen=["unix:///tmp/x.sock"])) as broker:
            print(broker.addresses)

    `start` and `close` do the same by hand; `serve` runs until it is cancelled or `stop` is called.
    """

    def __init__(self, config: BrokerConfig | None = None) -> None:
        self.config = config if config is not None else BrokerConfig()
        self._listeners: list[Listener] = []
        self._connections: set[_PeerProtocol] = set()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.closing = False
        self._at_once = False
        self._router: Router | None = None
        self.time = time.monotonic  # until it is known which loop it is

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with the real port where 0 was asked for."""
        return [str(listener.address) for listener in self._listeners]

    @property
    def router(self) -> Router:
        if self._router is None:
            raise IPCError("the broker has not started; use it as `async with Broker(...)` or await start() first")
        return self._router

    def __repr__(self) -> str:
        where = " ".join(self.addresses) or "closed"
        if self._router is None:
            return f"<Broker {where}>"
        router = self._router
        return f"<Broker {where} peers={len(router.peers)} objects={len(router.names)} calls={router.calls.in_flight}>"

    async def start(self) -> None:
        """Listens at all addresses or raises ListenFailed and listens at none."""
        raise_descriptor_limit()
        self.closing = self._at_once = False
        identity = Identity(version=VERSION, epoch=os.urandom(8).hex(), pid=os.getpid())
        self.time = _precise_time(asyncio.get_running_loop())
        self._router = Router(identity, self.config.limits, self.time(), lambda: os.urandom(12).hex())
        try:
            for text in self.config.listen:
                self._listeners.append(await listen(parse_address(text), lambda: _PeerProtocol(self)))
        except BaseException:
            await self._stop_listening()
            raise
        logger.info("ipc-broker %s listens on %s", VERSION, ", ".join(self.addresses))

    def stop(self) -> None:
        """Makes `serve` return, after which the broker has to be closed."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    async def serve(self) -> None:
        await self._stopping.wait()

    async def close(self) -> None:
        """Listens no more, lets the calls in flight end for up to `grace` seconds, writes what is queued, and closes all.

        Its clients are told first (`Goodbye`).
        """
        self.closing = True
        await self._stop_listening()
        if self._router is not None:
            await self._end_calls(self._router)
        await self._wait_until(lambda: self._at_once or not self._connections, max(self.config.grace, 0.1))
        for connection in list(self._connections):
            connection.abort()
        await self._wait_until(lambda: not self._connections, None)
        if self._timer is not None:
            self._timer.cancel()

    def close_at_once(self) -> None:
        """Makes `close` wait for nobody, also one that waits already."""
        self._at_once = True
        self._idle.set()

    async def __aenter__(self) -> Broker:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _stop_listening(self) -> None:
        """Returns when all that was accepted until now is among the connections."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        for listener in listeners:
            await listener.wait_closed()

    async def _end_calls(self, router: Router) -> None:
        """Also queues the last that the connections will be sent, and lets them be closed."""
        router.say_goodbye("the broker stops")
        self.flush(self.time())
        if router.calls.in_flight:
            logger.info("waits up to %g s for %d calls in flight", self.config.grace, router.calls.in_flight)
            await self._wait_until(lambda: self._at_once or not router.calls.in_flight, self.config.grace)
            if router.calls.in_flight:
                logger.warning("%d calls in flight are given up", router.calls.in_flight)
        router.close(self.time())
        self.flush(self.time())

    async def _wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """At most so long; it is asked whenever a call has ended or a connection is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not condition():
                    self._idle.clear()
                    await self._idle.wait()

    # What the connections tell

    def joined(self, protocol: _PeerProtocol, transport: asyncio.Transport) -> Peer:
        peer = self.router.connect(_who_is_at(transport), self.time())
        peer.shell = protocol
        self._connections.add(protocol)
        return peer

    def left(self, protocol: _PeerProtocol, peer: Peer, now: float) -> None:
        self.router.disconnect(peer, now)
        self._connections.discard(protocol)
        self.flush(now)
        self._idle.set()

    def flush(self, now: float) -> None:
        """After every batch: each peer that something was queued for is written once."""
        router = self._router
        assert router is not None
        woken = router.woken
        for peer in woken:  # more may be appended on the way
            peer.shell.update(now)
        woken.clear()
        if router.calls.deadlines.earliest < self._timer_at or router.events.has_deadlines or router.timers_began:
            router.timers_began = False
            self._arm_timer()
        if self.closing and not router.calls.in_flight:
            self._idle.set()

    def _arm_timer(self) -> None:
        deadline = self.router.next_deadline()
        if deadline is not None and deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_later(max(deadline - self.time(), 0.0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        now = self.time()
        self.router.handle_timer(now)
        self.flush(now)
        self._arm_timer()


class _PeerProtocol(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._router = broker.router
        self._time = broker.time
        self._writable = True
        self._reading = True
        self._lingering: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # None: uvloop then writes at once instead of at the end of the loop's turn.
        self._transport.set_write_buffer_limits(high=0)
        self._peer = self._broker.joined(self, self._transport)
        if self._broker.closing:  # it was accepted in the last moment
            self._transport.close()
        elif self._peer.closing:  # there are too many
            self._broker.flush(self._time())

    def data_received(self, data: bytes) -> None:
        now = self._time()
        self._router.receive(self._peer, bytes(data), now)  # Windows' Proactor loop gives a bytearray
        self._broker.flush(now)

    def eof_received(self) -> bool:
        """Keeps the connection open for what is still to be written; `update` closes it."""
        now = self._time()
        self._router.end_of_input(self._peer, now)
        self._broker.flush(now)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        self._broker.left(self, self._peer, self._time())

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        now = self._time()
        self.update(now)
        self._broker.flush(now)

    def update(self, now: float) -> None:
        """Does what the router wants done for this peer."""
        peer = self._peer
        connection = peer.connection
        while connection.queued and self._writable:
            self._transport.write(connection.data_to_send(WRITE_CHUNK))
            if peer.feed is not None:
                self._router.written(peer, now)
        if peer.reads is not self._reading:
            self._reading = peer.reads
            if self._reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        if connection.state is _CLOSING:
            if self._lingering is None:  # what waits with the transport may not be taken either
                self._lingering = asyncio.get_running_loop().call_later(LINGER, self.abort)
            if not connection.queued:
                self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def _who_is_at(transport: asyncio.Transport) -> Credentials:
    credentials: Credentials | None = transport.get_extra_info("credentials")
    if credentials is not None:  # in memory
        return credentials
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):  # no TCP connection; or one that is over
        return peer_credentials(transport)
    host, port = name[:2]
    return Credentials(address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _precise_time(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's time, which a test may move; but not uvloop's, which counts milliseconds: what calls took is told from it."""
    return loop.time if isinstance(loop, asyncio.BaseEventLoop) else time.monotonic


async def run_broker(config: BrokerConfig, ready: asyncio.Future[Broker] | None = None) -> None:
    """A broker until SIGINT or SIGTERM; then it closes, at once when a second one comes. Raises ListenFailed."""
    broker = Broker(config)

    def on_signal() -> None:
        if broker.stopping:
            logger.info("stopping at once")
            broker.close_at_once()
        broker.stop()

    with on_stop_signal(on_signal):
        async with broker:
            if ready is not None:
                ready.set_result(broker)
            await broker.serve()
            logger.info("stopping")
