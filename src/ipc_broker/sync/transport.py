"""The blocking client's bytes: one shape for sockets and named pipes."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from ..address import Address
from ..destination import Destination
from ..errors import ConfigError, ConnectFailed, UntrustedBroker
from ..identity.trust import require_trusted
from ..protocol.connection import Connection
from ..protocol.framing import FrameReader

CHUNK = 64 * 1024
"""Bytes read at once. More would take memory from the system, and give it back, for every read."""


_PAUSE = 0.0002  # seconds without a send, after which one more look costs little

_LONGEST_POLL = 2**31 - 1  # milliseconds


class NothingSent(OSError):
    """The connection is gone, and nothing of what was to be sent has left."""


class Transport(Protocol):
    """`send` and `recv` may be called by two threads at once, each of them by one at a time."""

    def send(self, data: bytes, timeout: float | None) -> None:
        """All of it, or OSError: NothingSent when it is known that nothing was.

        TimeoutError after `timeout` seconds: the next `send`, also of b"", goes on with the rest.
        """

    in_doubt: bool
    """Set before bytes are taken from the system, and cleared by whoever has got them from `recv`.

    Ctrl-C may come in between, and then they are lost.
    """

    def recv(self, timeout: float | None) -> bytes:
        """At least one byte, b"" at the end of the stream; TimeoutError when nothing came, which loses nothing."""

    def close(self) -> None:
        """Whoever is in `recv` or `send` comes back. May be called again."""

    def disown(self) -> None:
        """In a child process: gives up what it has of the connection, which stays as it is for the parent."""


def open_transport(destination: Destination, timeout: float | None) -> Transport:
    """Raises ConnectFailed, which says how to start a broker; ConfigError where the platform lacks the transport.

    UntrustedBroker, where the broker is a stranger's.
    """
    address = destination.address
    try:
        match address.scheme:
            case "unix":
                return SocketTransport(_trusted(_connected_to(address, timeout), destination))
            case "tcp":
                return SocketTransport(_trusted(_connected_over_tcp(address, timeout), destination), tells_late=True)
            case "pipe":
                return _open_pipe(destination, timeout)
            case "memory":
                raise ConfigError(
                    f"{address}: memory:// leads from one part of an event loop to another, and the blocking client has"
                    " no loop; test it with the fixture `ipc_broker`, whose broker has a real socket"
                )
            case "tls":
                from .tls import open_tls  # `ssl` is long to import

                return open_tls(_connected_over_tcp(address, timeout), destination)
    except (ConnectFailed, UntrustedBroker):
        raise
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None and timeout is not None:
            raise ConnectFailed(f"no broker answered at {address} within {timeout:g} s") from error
        reason = error.strerror or str(error)
        raise ConnectFailed(
            f"no broker at {address} ({reason}); start one with: ipc-broker --listen {address}"
        ) from error


if sys.platform == "win32":
    from ..identity.trust import require_trusted_pipe

    def _connected_to(address: Address, timeout: float | None) -> socket.socket:
        raise ConfigError(f"{address}: Windows' Python has no Unix sockets; use pipe://NAME or tcp://...")

    def _open_pipe(destination: Destination, timeout: float | None) -> Transport:
        from .pipe import PipeTransport

        transport = PipeTransport.connect(destination.address.location, timeout)
        try:
            require_trusted_pipe(transport.handle, destination.address, destination.trusted)
        except BaseException:
            transport.close()
            raise
        return transport

else:

    def _connected_to(address: Address, timeout: float | None) -> socket.socket:
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.settimeout(timeout)
            connecting.connect(address.location)
        except BaseException:
            connecting.close()
            raise
        return connecting

    def _open_pipe(destination: Destination, timeout: float | None) -> Transport:
        raise ConfigError(f"{destination.address}: named pipes are Windows'; use unix:///path or tcp://127.0.0.1:5123")


def _connected_over_tcp(address: Address, timeout: float | None) -> socket.socket:
    connected = socket.create_connection((address.location, address.port), timeout)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _trusted(connected: socket.socket, destination: Destination) -> socket.socket:
    try:
        require_trusted(connected, destination.address, destination.trusted)
    except BaseException:
        connected.close()
        raise
    return connected


class SocketTransport:
    """A connected stream socket. It is non-blocking: two threads can wait for it, each with its own timeout."""

    def __init__(self, connected: socket.socket, *, tells_late: bool = False) -> None:
        """`tells_late`: the kernel takes data for a peer that is gone, until it has heard so from there, as with TCP."""
        connected.setblocking(False)
        self.in_doubt = False
        self._unsent = b""
        self._tells_late = tells_late
        self._sent_at = 0.0
        self._socket = connected
        self._readable = _waiter(connected, for_reading=True)
        self._writable = _waiter(connected, for_reading=False)
        self._has_ended = _end_finder(connected)
        self._large: FrameReader | None = None  # whose frame comes

    def send(self, data: bytes, timeout: float | None) -> None:
        if self._tells_late:
            self._look_for_end()
        in_the_middle = len(self._unsent)
        if in_the_middle:
            data = self._unsent + data
        elif not data:  # an end that is there already would hide what came before it
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        sent = 0
        while True:
            try:
                sent += self._socket.send(memoryview(data)[sent:] if sent else data)
            except (BrokenPipeError, ConnectionResetError) as error:
                if sent <= in_the_middle:
                    raise NothingSent(*error.args) from error
                raise
            except BlockingIOError:
                if not self._writable(milliseconds(None if deadline is None else deadline - time.monotonic())):
                    self._unsent = data[sent:]
                    raise TimeoutError("the broker takes nothing") from None
            if sent == len(data):
                self._unsent = b""
                return

    def _look_for_end(self) -> None:
        """After a pause, in which the broker may have gone; while data flows somebody reads, and learns it."""
        now = time.monotonic()
        if now - self._sent_at > _PAUSE and self._has_ended():
            raise NothingSent(errno.EPIPE, "the broker closed it")
        self._sent_at = now

    def read_large_directly(self, connection: Connection) -> None:
        """From now on, for whoever gives to `connection` what `recv` gives: of a large frame that is its last byte alone."""

        def begin(reader: FrameReader) -> None:
            self._large = reader

        connection.read_large_by(begin)

    def recv(self, timeout: float | None) -> bytes:
        if self._large is not None:
            timeout = self._recv_large(self._large, timeout)
        while True:
            if not self._readable(milliseconds(timeout)):
                raise TimeoutError("nothing came")
            self.in_doubt = True
            try:
                return self._socket.recv(CHUNK)
            except BlockingIOError:
                self.in_doubt = False
                continue  # woken for nothing, as select(2) warns
            except ConnectionResetError:
                return b""

    def _recv_large(self, reader: FrameReader, timeout: float | None) -> float | None:
        """Reads what belongs to the frame to where it stays, all but the last byte. Gives what is left of `timeout`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (room := reader.room()) is not None and reader.missing > 1:
            if len(room) == reader.missing:
                room = room[:-1]
            if not self._readable(milliseconds(timeout)):
                raise TimeoutError("nothing came")
            self.in_doubt = True
            try:
                count = self._socket.recv_into(room)
            except BlockingIOError:
                count = -1
            except ConnectionResetError:
                count = 0
            if count == 0:  # `recv` finds that, too
                break
            if count > 0:
                reader.filled(count)
            self.in_doubt = False
            timeout = None if deadline is None else deadline - time.monotonic()
        self._large = None
        return timeout

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the connection is gone, or the socket was closed before
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait for it
        self._socket.close()
        self._large = None

    def disown(self) -> None:
        self._socket.close()  # not shut down: that would be for both processes


if sys.platform != "win32":

    def _waiter(connected: socket.socket, *, for_reading: bool) -> Callable[[float | None], object]:
        """Waits up to so many milliseconds until the socket is ready; false when it is not."""
        poller = select.poll()
        poller.register(connected, select.POLLIN if for_reading else select.POLLOUT)
        return poller.poll

else:

    def _waiter(connected: socket.socket, *, for_reading: bool) -> Callable[[float | None], object]:
        """Waits up to so many milliseconds until the socket is ready; false when it is not."""

        def wait(milliseconds: float | None) -> bool:
            readers, writers = ([connected], []) if for_reading else ([], [connected])
            return any(select.select(readers, writers, [], None if milliseconds is None else milliseconds / 1000))

        return wait


if sys.platform == "linux":

    def _end_finder(connected: socket.socket) -> Callable[[], object]:
        """Tells whether the other end has closed, also while something that it said before is still to be read."""
        poller = select.poll()
        poller.register(connected, select.POLLRDHUP)
        return lambda: poller.poll(0)

else:

    def _end_finder(connected: socket.socket) -> Callable[[], object]:
        """Tells whether the other end has closed, unless something that it said before is still to be read."""

        def has_ended() -> bool:
            try:
                return not connected.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True

        return has_ended


def milliseconds(timeout: float | None) -> float | None:
    return None if timeout is None else min(max(timeout, 0.0) * 1000, _LONGEST_POLL)
