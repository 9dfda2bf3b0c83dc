"""Unix sockets: private from their first moment, never taken from a broker that lives, replaced when stale."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..address import Address
from ..errors import ConfigError, ListenFailed
from ..identity.peer import credentials_of
from .accepting import BACKLOG, Acceptor, listen_failed

logger = logging.getLogger("ipc_broker")

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

LOOK_EVERY = 0.5
"""Seconds between two looks at a socket's file: a system call each, so that one that was removed is missed briefly."""

ASK_EVERY = 5.0
"""Seconds until it is asked again whether the socket in the way is still alive: its owner sees each time a connection."""

if sys.platform == "win32":

    async def open_unix(address: Address, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        raise _no_unix(address)

    async def listen_unix(address: Address, factory: Callable[[], asyncio.Protocol], mode: int = 0o600) -> UnixListener:
        raise _no_unix(address)

    def _no_unix(address: Address) -> ConfigError:
        return ConfigError(f"{address}: Windows' Python has no Unix sockets; use pipe://NAME or tcp://127.0.0.1:5123")

    class UnixListener:
        address: Address

        def close(self) -> None: ...

        async def wait_closed(self) -> None: ...

else:
    import fcntl

    async def open_unix(address: Address, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        """Raises OSError."""
        _, protocol = await asyncio.get_running_loop().create_unix_connection(factory, address.location)
        return protocol

    async def listen_unix(address: Address, factory: Callable[[], asyncio.Protocol], mode: int = 0o600) -> UnixListener:
        """Who has no right to write to a file of this `mode` cannot connect.

        Raises ListenFailed, which names the process that listens there already; OSError.
        """
        return await UnixListener.start(address, factory, mode)

    class UnixListener:
        """Watches the socket's file too: when that is lost, nobody can connect any more, and nothing else would tell."""

        def __init__(
            self, listening: socket.socket, address: Address, factory: Callable[[], asyncio.Protocol], mode: int
        ) -> None:
            self.address = address
            self._mode = mode
            self._loop = asyncio.get_running_loop()
            self._file = _file_at(address.location)
            self._acceptor = Acceptor(listening, address, factory)
            self._in_the_way: tuple[int, int] | None = None
            self._try_at = 0.0
            self._trouble = ""
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

        @classmethod
        async def start(cls, address: Address, factory: Callable[[], asyncio.Protocol], mode: int) -> UnixListener:
            return cls(_listen_at(address, mode), address, factory, mode)

        def close(self) -> None:
            """Its file goes with it; another's, which may have come in its place, stays."""
            self._timer.cancel()
            try:
                if _file_at(self.address.location) == self._file:
                    os.unlink(self.address.location)
            except OSError as error:
                logger.warning("the socket of %s cannot be removed: %s", self.address, error.strerror)
            # Not earlier: while it listens, no other broker can take the file for a stale one and replace it.
            self._acceptor.close()

        async def wait_closed(self) -> None:
            await self._acceptor.wait_closed()

        def _look(self) -> None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)
            try:
                found = _file_at(self.address.location)
                if found == self._file:
                    self._tell_recovery()
                elif found is None or found != self._in_the_way or self._loop.time() >= self._try_at:
                    self._listen_again(found)
            except OSError as error:
                self._tell_trouble(str(listen_failed(self.address, error)))

        def _listen_again(self, found: tuple[int, int] | None) -> None:
            """Raises OSError."""
            self._in_the_way = found
            self._try_at = self._loop.time() + ASK_EVERY
            self._acceptor.move_to(_listen_at(self.address, self._mode))
            self._file = _file_at(self.address.location)
            if not self._trouble:
                logger.warning("somebody removed the socket of %s: there is a new one now", self.address)
            self._tell_recovery()

        def _tell_recovery(self) -> None:
            if self._trouble:
                self._trouble = ""
                logger.warning("listens on %s again", self.address)

        def _tell_trouble(self, trouble: str) -> None:
            if trouble != self._trouble:
                self._trouble = trouble
                logger.error(
                    "the socket of %s is gone, and nobody can connect there for now: %s", self.address, trouble
                )

    def _file_at(path: str) -> tuple[int, int] | None:
        """Which file it is, None when there is none. While a socket listens, no other file gets the numbers of its own.

        Raises OSError.
        """
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_dev, found.st_ino

    def _listen_at(address: Address, mode: int) -> socket.socket:
        """Raises OSError; ListenFailed, which names the process that listens there already."""
        with _starting_in(os.path.dirname(address.location) or "."):
            _remove_stale_socket(address)
            listening = _bind(address.location, mode)
            try:
                # Within the lock: one that is bound and does not listen yet looks stale.
                listening.listen(BACKLOG)
            except BaseException:
                listening.close()
                raise
        return listening

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
        pid = credentials_of(connected).pid
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

    def _bind(path: str, mode: int) -> socket.socket:
        """The socket's file has this mode from its first moment."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o777 & ~mode)
        try:
            listening.bind(path)
        except BaseException:
            listening.close()
            raise
        finally:
            os.umask(mask)
        return listening
