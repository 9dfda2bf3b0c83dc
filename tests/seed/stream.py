"""A blocking connection that gives and takes frames, shared by the stand-ins for the seed's client and worker."""

import socket
import time

from tests.seed import address as addresses
from tests.seed.frames import body_length, frame_of


class ConnectionEnded(Exception):
    """The broker ended the connection."""


class FrameStream:
    """Time-outs are relative, in seconds; None waits for ever. A read that timed out can be tried again."""

    def __init__(self, address: str, timeout: float) -> None:
        self._socket = addresses.connect(address, timeout)
        self._received = bytearray()

    def send_bytes(self, data: bytes, timeout: float | None) -> None:
        """After a TimeoutError a part of the data may have been sent."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def read_frame(self, timeout: float | None) -> bytes:
        """The next frame, length prefix included. Raises TimeoutError, ConnectionEnded or OverlongFrame."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._receive(4, deadline)
        size = 4 + body_length(bytes(self._received[:4]))
        self._receive(size, deadline)
        body = bytes(self._received[4:size])
        del self._received[:size]
        return frame_of(body)

    def _receive(self, size: int, deadline: float | None) -> None:
        while len(self._received) < size:
            self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(65_536)
            except ConnectionError as error:
                raise ConnectionEnded(str(error)) from error
            if not data:
                raise ConnectionEnded(f"the connection ended; {len(self._received)} bytes of a frame had come")
            self._received += data

    def end_sending(self) -> None:
        """Half-closes: the broker sees the end of what this sends, and can still answer."""
        self._socket.shutdown(socket.SHUT_WR)

    def interrupt(self) -> None:
        """Ends the connection under a thread that reads from it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended already
            return

    def close(self) -> None:
        self._socket.close()
