"""Accepting at a listening socket: several connections a turn, and a pause where the system has no room for more."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from ..address import Address
from ..errors import ListenFailed
from ..forking import give_up

logger = logging.getLogger("ipc_broker")

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted, as many as Linux allows: beyond, TCP clients wait a second."""

AT_ONCE = 64
"""Connections accepted in one turn of the loop: a crowd that comes must not keep those waiting who are there."""

RETRY = 0.1
"""Seconds until accepting is tried again after it has failed: soon for people, and next to nothing for the processor."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that somebody who connects over TLS has until that is agreed upon."""

MOST_HANDSHAKES = 256
"""Connections at once over which TLS has yet to be agreed upon: nobody knows whose they are, and each takes a descriptor that
those who are known may need."""

LOG_AGAIN = 60.0
"""Seconds until it is logged again that connections came to nothing: anybody can make some."""

CALM = 1.0
"""Seconds without a failure, since one was accepted, after which all counts as well again: at the limit every place that
gets free is taken at once."""

# A TCP peer whose machine is gone is noticed after two minutes; the systems' own default is two hours. No system has
# both names for the idle time.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
_TCP_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)
    ),
]


def listen_failed(address: Address, error: OSError) -> ListenFailed:
    """What a person reads who wanted to listen there."""
    if isinstance(error, ListenFailed):
        return error
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        reason += "; is another broker running there?"
    return ListenFailed(f"cannot listen on {address}: {reason}")


class Acceptor:
    """Gives each connection that comes at a listening socket a protocol of its own.

    Where the system refuses (no descriptors, no memory) it pauses and goes on by itself; both are logged once. The loops'
    own servers do less: asyncio's logs every attempt, uvloop's closes the connections without a word, Windows' stops to
    listen.
    """

    def __init__(
        self,
        listening: socket.socket,
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """The socket belongs to the acceptor from here. `tls` gives the context for the next connection."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._address = address
        self._factory = factory
        self._tls = tls
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._tells_at = self._loop.time()
        self._failing = False
        self._calm: asyncio.TimerHandle | None = None
        self._watch()

    def move_to(self, listening: socket.socket) -> None:
        """Accepts what has come at the old socket, closes it, and goes on with another."""
        self._unwatch()
        while self._accept():
            pass
        self._listening.close()
        self._listening = listening
        if self._retry is None:
            self._watch()

    def close(self) -> None:
        """Accepts no more. Connections that are open stay open. May be called again."""
        if self._listening.fileno() < 0:
            return
        self._unwatch()
        for timer in (self._retry, self._calm):
            if timer is not None:
                timer.cancel()
        self._listening.close()

    def forked(self) -> None:
        """This process is a child of the one that listens: nobody else must wait here when that is gone."""
        if self._listening.fileno() >= 0:
            give_up(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Returns when all that was accepted has its protocol."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    def _watch(self) -> None:
        self._listening.setblocking(False)
        try:
            self._loop.add_reader(self._listening, self._accept)
        except NotImplementedError:  # Windows' Proactor loop
            self._accepting = self._loop.create_task(self._wait_and_accept())

    def _unwatch(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
        elif self._retry is None:
            self._loop.remove_reader(self._listening)

    async def _wait_and_accept(self) -> None:
        """For a loop that does not tell when a socket is readable."""
        while True:
            try:
                accepted, _ = await self._loop.sock_accept(self._listening)
            except OSError as error:
                self._tell_failure(error)
                await asyncio.sleep(RETRY)
            else:
                self._take(accepted)

    def _accept(self) -> bool:
        """False when nobody waits any more, or nobody can be accepted."""
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:
                continue  # whoever came has gone already
            except OSError as error:
                self._pause(error)
                return False
            self._take(accepted)
        return True

    def _pause(self, error: OSError) -> None:
        """The socket stays readable: to go on watching it would be to try without end."""
        if self._retry is None:
            self._unwatch()
            self._retry = self._loop.call_later(RETRY, self._go_on)
        self._tell_failure(error)

    def _go_on(self) -> None:
        self._retry = None
        self._watch()

    def _take(self, accepted: socket.socket) -> None:
        if self._tls is not None and len(self._connecting) >= MOST_HANDSHAKES:
            accepted.close()
            self._tell_loss(f"{MOST_HANDSHAKES} others have yet to agree upon TLS, which is the limit")
            return
        try:
            if self._address.scheme in ("tcp", "tls"):
                for option in _TCP_OPTIONS:
                    accepted.setsockopt(*option)
        except OSError:  # some systems refuse these where the peer has gone already
            accepted.close()
            return
        task = self._loop.create_task(self._connect(accepted))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        if self._failing and self._calm is None:
            self._calm = self._loop.call_later(CALM, self._tell_recovery)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(self._factory, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    self._factory, accepted, ssl=self._tls(), ssl_handshake_timeout=HANDSHAKE_TIMEOUT
                )
        except OSError as error:
            accepted.close()
            self._tell_loss(error.strerror or str(error) or "it was closed")

    def _tell_loss(self, reason: str) -> None:
        if self._loop.time() >= self._tells_at:
            self._tells_at = self._loop.time() + LOG_AGAIN
            logger.warning("a connection at %s came to nothing: %s", self._address, reason)

    def _tell_failure(self, error: OSError) -> None:
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None
        if not self._failing:
            self._failing = True
            logger.error(
                "no more connections are accepted at %s until this is over: %s%s",
                self._address,
                error.strerror or error,
                "; raise the limit of open files (ulimit -n)" if error.errno == errno.EMFILE else "",
            )

    def _tell_recovery(self) -> None:
        self._calm = None
        self._failing = False
        logger.warning("connections are accepted at %s again", self._address)
