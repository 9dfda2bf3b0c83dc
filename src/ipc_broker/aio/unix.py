"""Unix sockets: private from their first moment, never taken from a broker that lives, replaced when stale."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..address import Address
from ..credentials import Credentials
from ..errors import ConfigError, ListenFailed

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

if sys.platform == "win32":

    async def open_unix(address: Address, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        raise _no_unix(address)

    async def listen_unix(address: Address, factory: Callable[[], asyncio.Protocol]) -> UnixListener:
        raise _no_unix(address)

    def peer_credentials(transport: asyncio.BaseTransport) -> Credentials:
        return Credentials()

    def _no_unix(address: Address) -> ConfigError:
        return ConfigError(f"{address}: Windows' Python has no Unix sockets; use pipe://NAME or tcp://127.0.0.1:5123")

    class UnixListener:
        address: Address

        def close(self) -> None: ...

else:
    import fcntl

    async def open_unix(address: Address, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        """Raises OSError."""
        _, protocol = await asyncio.get_running_loop().create_unix_connection(factory, address.location)
        return protocol

    async def listen_unix(address: Address, factory: Callable[[], asyncio.Protocol]) -> UnixListener:
        """Raises ListenFailed, which names the process that listens there already; OSError."""
        return await UnixListener.start(address, factory)

    class UnixListener:
        def __init__(self, server: asyncio.AbstractServer, address: Address) -> None:
            self._server = server
            self.address = address
            self._inode = os.stat(address.location).st_ino

        @classmethod
        async def start(cls, address: Address, factory: Callable[[], asyncio.Protocol]) -> UnixListener:
            with _starting_in(os.path.dirname(address.location) or "."):
                _remove_stale_socket(address)
                listening = _bind_private(address.location)
            try:
                server = await asyncio.get_running_loop().create_unix_server(factory, sock=listening, backlog=1024)
            except BaseException:
                listening.close()
                raise
            return cls(server, address)

        def close(self) -> None:
            self._server.close()
            # Somebody may have put another socket there since.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.address.location).st_ino == self._inode:
                    os.unlink(self.address.location)

    def peer_credentials(transport: asyncio.BaseTransport) -> Credentials:
        """Who is at the other end of a Unix socket, as the kernel says; empty for other transports."""
        connected: socket.socket | None = transport.get_extra_info("socket")
        if sys.platform == "linux" and connected is not None and connected.family == socket.AF_UNIX:
            pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return Credentials(pid=pid, uid=uid)
        return Credentials()

    def _remove_stale_socket(address: Address) -> None:
        path = address.location
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ListenFailed(
                f"cannot listen on {address}: there is a file there that is no socket; remove it or choose another"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except BlockingIOError:
                owner = "a process that accepts no connections"
            else:
                owner = _owner_of(probe)
        raise ListenFailed(
            f"cannot listen on {address}: {owner} listens there already; stop it or choose another address"
        )

    def _owner_of(connected: socket.socket) -> str:
        if sys.platform != "linux":
            return "another broker"
        pid, _, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                return f"process {pid} ({file.read().strip()})"
        except OSError:
            return f"process {pid}"

    @contextlib.contextmanager
    def _starting_in(directory: str) -> Iterator[None]:
        """Between finding a stale socket and taking its place no other broker may do the same."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ListenFailed(f"another broker is just starting in {directory}; try again") from error
            yield
        finally:
            os.close(descriptor)

    def _bind_private(path: str) -> socket.socket:
        """A listening socket's file that only its owner can connect to, from its first moment."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listening.bind(path)
        except BaseException:
            listening.close()
            raise
        finally:
            os.umask(mask)
        return listening
