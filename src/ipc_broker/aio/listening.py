"""Listening at an address: Unix sockets, TCP, Windows named pipes and memory, with a protocol for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from ..address import Address
from ..errors import ConfigError, ListenFailed
from ..identity.sock_diag import is_loopback
from .accepting import BACKLOG, Acceptor, listen_failed
from .memory import MemoryListener
from .pipes import listen_pipe
from .unix import listen_unix


class Listener(Protocol):
    """Something that accepts connections. `address` has the real port where 0 was asked for."""

    address: Address

    def close(self) -> None:
        """Accepts no more. Connections that are open stay open."""

    async def wait_closed(self) -> None:
        """Returns when all that was accepted before `close` has its protocol."""


class ListenFor(NamedTuple):
    """Who is to be able to connect at all: other users of this machine, and over bare TCP other machines.

    `others` are users and groups, on Windows their SIDs: a named pipe is opened to just these, a Unix socket to all or none.
    """

    others: tuple[str, ...] = ()
    other_machines: bool = False


_OWN_USER = ListenFor()


async def listen(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    tls: Callable[[], ssl.SSLContext] | None = None,
    whom: ListenFor = _OWN_USER,
    inherited: socket.socket | None = None,
) -> Listener:
    """`tls` gives the context for the next connection of a tls:// address. An `inherited` socket listens there already; its
    file is not the broker's.

    Raises ListenFailed, which says who is in the way; ConfigError where the platform lacks the transport, or where it would
    let in whoever can reach it.
    """
    if inherited is not None:
        if address.scheme == "tcp" and not whom.other_machines:
            _require_loopback(address, address.location)
        return _SocketListener([inherited], address, factory, tls if address.scheme == "tls" else None)
    try:
        match address.scheme:
            case "unix":
                return await listen_unix(address, factory, 0o666 if whom.others else 0o600)
            case "tcp":
                return await _SocketListener.start(address, factory, None, loopback_only=not whom.other_machines)
            case "pipe":
                return listen_pipe(address, factory, whom.others)
            case "memory":
                return MemoryListener(address, factory)
            case "tls":
                return await _SocketListener.start(address, factory, tls)
    except ListenFailed:
        raise
    except OSError as error:
        raise listen_failed(address, error) from error


class _SocketListener:
    def __init__(
        self,
        sockets: list[socket.socket],
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self.address = address
        self._acceptors = [Acceptor(listening, address, factory, tls) for listening in sockets]

    @classmethod
    async def start(
        cls,
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
        *,
        loopback_only: bool = False,
    ) -> _SocketListener:
        sockets = await _bind_all(address, loopback_only)
        port = sockets[0].getsockname()[1]
        return cls(sockets, Address(address.scheme, address.location, port), factory, tls)

    def close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()

    async def wait_closed(self) -> None:
        for acceptor in self._acceptors:
            await acceptor.wait_closed()


def _require_loopback(address: Address, host: str) -> None:
    """Raises ConfigError."""
    if not is_loopback(host):
        raise ConfigError(
            f"{address}: other machines could connect there ({host}), and nobody knows who they are: listen on"
            " tls:// instead and give a token to each (ipc-broker token create NAME), or let everybody in who can"
            " reach it (--insecure)"
        )


async def _bind_all(address: Address, loopback_only: bool) -> list[socket.socket]:
    """A socket for each address of the host, all of them with one port. Raises OSError, ConfigError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        address.location, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    with contextlib.ExitStack() as undo:
        for family, where in dict.fromkeys((info[0], info[4]) for info in found):
            host, port, *rest = cast(tuple[Any, ...], where)
            if loopback_only:
                _require_loopback(address, host)
            if sockets and not port:
                port = sockets[0].getsockname()[1]
            try:
                sockets.append(undo.enter_context(_bind(family, (host, port, *rest))))
            except OSError as error:
                # "localhost" has an IPv6 address on machines without IPv6 too.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                failure = error
        if not sockets:
            raise failure
        undo.pop_all()
    return sockets


def _bind(family: int, where: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows this would take the port away from another
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def raise_descriptor_limit() -> None:
    """Lets this process hold as many connections as the system's hard limit allows."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # macOS reports no hard limit and refuses to have none.
        wanted = min(hard, 1_048_576) if hard != resource.RLIM_INFINITY else 10_240
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
