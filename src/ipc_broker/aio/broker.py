"""The broker's shell: listens, moves bytes between sockets and the router, and writes each peer once a batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import cast

from ..activation.definition import unit_of
from ..activation.folders import read_services
from ..address import Address, parse_address
from ..config import BrokerConfig
from ..errors import IPCError
from ..protocol.connection import State
from ..routing.peer import Peer
from ..routing.router import Identity, Router
from ..shared_memory import open_memory
from ..tls import ServerContext
from ..version import VERSION
from .gate import Gate
from .inherited import InheritedSocket, is_at
from .large import ReadsLarge
from .launching import ProcessLauncher
from .listening import Listener, ListenFor, listen, raise_descriptor_limit
from .permissions import LOOK_EVERY, Permissions
from .transport import WRITE_CHUNK, write_at_once

logger = logging.getLogger("ipc_broker")


_CLOSING = State.CLOSING

LINGER = 2.0
"""Seconds that a peer has to take what was queued for it when its connection is closed."""

MOST_UNHEARD = 100
"""Connections at once that were turned away and are left open until their peer has said something, or for `LINGER`: a client
whose hello finds a closed connection fails before it reads why. Beyond, that is given up: these take descriptors."""


class Broker:
    """A broker inside this program, on the running event loop.

        async with Broker(BrokerConfig(listen=["unix:///tmp/x.sock"])) as broker:
            print(broker.addresses)

    `start` and `close` do the same by hand; `serve` runs until it is cancelled or `stop` is called.
    """

    def __init__(
        self,
        config: BrokerConfig | None = None,
        *,
        sockets: Sequence[InheritedSocket] = (),
        optional_services: Sequence[str] = (),
    ) -> None:
        """`sockets` listen already, at addresses of `config.listen`. `optional_services` are folders of services that need
        not be there. Raises ConfigError where its files, policy, tokens or services, make no sense.
        """
        self.config = config if config is not None else BrokerConfig()
        self._sockets = sockets
        self._optional_services = optional_services
        self._definitions = read_services(self.config.services, optional_services)
        self._launcher: ProcessLauncher | None = None
        self._listeners: list[Listener] = []
        self._connections: set[_PeerProtocol] = set()
        self._unheard: set[_PeerProtocol] = set()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.closing = False
        self._at_once = False
        self._router: Router | None = None
        self.time = time.monotonic  # until it is known which loop it is
        self._gate = Gate(self.config)
        self._permissions = Permissions(self.config)
        self._access = ListenFor(others=self._gate.others, other_machines=self.config.insecure)
        uses_tls = any(text.startswith("tls:") for text in self.config.listen)
        self._tls = ServerContext(self.config.tls).current if uses_tls else None
        self._look: asyncio.TimerHandle | None = None

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
        self._router = Router(
            identity, self.config.limits, self.time(), lambda: os.urandom(12).hex(), self.config.quotas
        )
        self._router.directs.allowed = not self.config.through_broker
        self._router.memories.open = open_memory
        self._permissions.tell(self._router, self.time())
        try:
            for text in self.config.listen:
                self._listeners.append(await self._listen(parse_address(text)))
        except BaseException:
            await self._stop_listening()
            raise
        self._look_at_tokens()
        self._open_services(self._router)
        logger.info("ipc-broker %s listens on %s", VERSION, ", ".join(self.addresses))

    async def _listen(self, address: Address) -> Listener:
        inherited = next((one.listening for one in self._sockets if is_at(one.address, address)), None)
        return await listen(address, lambda: _PeerProtocol(self), self._tls, self._access, inherited)

    def _open_services(self, router: Router) -> None:
        where = _address_for_services([listener.address for listener in self._listeners])
        router.services.launcher = self._launcher = ProcessLauncher(router.services, where, self.time, self.flush)
        self._tell_services(router, self.config)
        if self._definitions:
            logger.info("%d services can be started", len(self._definitions))

    def _tell_services(self, router: Router, config: BrokerConfig) -> None:
        router.services.allow_units = frozenset(map(unit_of, config.allow_units))
        router.services.replace(self._definitions, self.time())

    def reload(self, config: BrokerConfig | None = None) -> None:
        """Policy, tokens and services anew, those of another configuration where one is given; all else stays as it is.

        Raises ConfigError; then all are as they were.
        """
        config = self.config if config is None else config
        now = self.time()
        definitions = read_services(config.services, self._optional_services)
        self._permissions.reload(self.router, config, now)
        self._definitions = definitions
        self._tell_services(self.router, config)
        logger.info("%d services can be started", len(definitions))
        self.flush(now)
        if self._look is None:
            self._look_at_tokens()

    def _look_at_tokens(self) -> None:
        self._look = None
        if self._permissions.has_tokens:
            self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look_at_tokens)
            now = self.time()
            self._permissions.look(self.router, now)
            self.flush(now)

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

        Its clients are told first (`Goodbye`). The processes of services that it has started end last.
        """
        self.closing = True
        await self._stop_listening()
        if self._router is not None:
            await self._end_calls(self._router)
        await self._wait_until(lambda: self._at_once or not self._connections, max(self.config.grace, 0.1))
        for connection in list(self._connections):
            connection.abort()
        await self._wait_until(lambda: not self._connections, None)
        if self._launcher is not None:
            await self._launcher.close()
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()

    def close_at_once(self) -> None:
        """Makes `close` wait for nobody, also one that waits already."""
        self._at_once = True
        self._idle.set()
        if self._launcher is not None:
            self._launcher.kill()

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
        if router.is_busy:
            if router.calls.in_flight:
                logger.info("waits up to %g s for %d calls in flight", self.config.grace, router.calls.in_flight)
            await self._wait_until(lambda: self._at_once or not router.is_busy, self.config.grace)
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
        entry = self._gate.entry(transport)
        peer = self.router.connect(entry.credentials, self.time(), entry.principal, entry.refusal)
        peer.shell = protocol
        self._connections.add(protocol)
        return peer

    def left(self, protocol: _PeerProtocol, peer: Peer, now: float) -> None:
        self.router.disconnect(peer, now)
        self._connections.discard(protocol)
        self._unheard.discard(protocol)
        self.flush(now)
        self._idle.set()

    def may_wait_for_words(self, protocol: _PeerProtocol) -> bool:
        """Whether a connection that was turned away may stay open until something has come over it."""
        if len(self._unheard) < MOST_UNHEARD and not self.closing:
            self._unheard.add(protocol)
        return protocol in self._unheard and not self.closing

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
        if self.closing and not router.is_busy:
            self._idle.set()

    def _arm_timer(self) -> None:
        deadline = self.router.next_deadline()
        if deadline is not None and deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_later(max(deadline - self.time(), 0.0), self._on_timer)

    def _on_timer(self) -> None:
        # A loop may be early by its clock's resolution; where time stands still, it would be early for ever.
        now = max(self.time(), self._timer_at)
        self._timer = None
        self._timer_at = math.inf
        try:
            self.router.handle_timer(now)
        finally:  # a fault of ours, which the loop logs, does not stop the clock for all
            self.flush(now)
            self._arm_timer()


class _PeerProtocol(ReadsLarge):
    """One accepted connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._router = broker.router
        self._time = broker.time
        self._writable = True
        self._reading = True
        self._heard = False
        self._lingering: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._is_tls = write_at_once(self.transport)
        self._peer = self._broker.joined(self, self.transport)
        self.read_large_directly(self._peer.connection)
        if self._broker.closing:  # it was accepted in the last moment
            self.transport.close()
        elif self._router.woken:  # it is one too many, or may not come in, or not be read from yet
            self._broker.flush(self._time())

    def data_received(self, data: bytes) -> None:
        now = self._time()
        if not self._heard:
            self._heard = True
            if self._peer.closing:
                self.update(now)
        self._router.receive(self._peer, bytes(data), now)  # Windows' Proactor loop gives a bytearray
        self._broker.flush(now)

    def eof_received(self) -> bool:
        """Keeps the connection open for what is still to be written; `update` closes it."""
        now = self._time()
        self._heard = True
        self._router.end_of_input(self._peer, now)
        self._broker.flush(now)
        return not self._is_tls

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
            self.transport.write(connection.data_to_send(WRITE_CHUNK))
            if peer.feed is not None:
                self._router.written(peer, now)
        if peer.reads is not self._reading:
            self._reading = peer.reads
            if self._reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()
        if connection.state is _CLOSING:
            if self._lingering is None:  # what waits with the transport may not be taken either
                self._lingering = asyncio.get_running_loop().call_later(LINGER, self.abort)
            was_let_in = peer.principal is not None
            if not connection.queued and (was_let_in or self._heard or not self._broker.may_wait_for_words(self)):
                self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def _precise_time(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's time, which a test may move; but not uvloop's, which counts milliseconds: what calls took is told from it."""
    return loop.time if isinstance(loop, asyncio.BaseEventLoop) else time.monotonic


def _address_for_services(addresses: Sequence[Address]) -> str:
    """Where those connect whom this broker starts: on this machine, in private if that can be."""
    order = ("unix", "pipe", "tcp", "tls", "memory")
    nearest = min(addresses, key=lambda address: order.index(address.scheme))
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return str(Address(nearest.scheme, everywhere.get(nearest.location, nearest.location), nearest.port))
