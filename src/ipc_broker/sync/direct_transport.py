"""The socket of a direct connection: the thread whose call goes over it is alone with it."""

from __future__ import annotations

import socket
import struct
import sys

from .transport import CHUNK, NothingSent, SocketTransport

PATIENCE = 0.004
"""Seconds in which most answers come. Beyond, one system call more for waiting makes no difference."""


class DirectTransport(SocketTransport):
    """Its socket blocks, for `PATIENCE`: an answer that comes soon is received by one system call, not two.

    After a signal Python goes on receiving, as if the time began again: therefore it is short. In a program that gets signals
    more often than that, all the time, a caller does not see by itself that its deadline has passed; its worker still tells it.
    Ctrl-C may lose what comes then; whoever is interrupted gives the connection up.
    """

    if sys.platform != "win32":
        _FLAGS = socket.MSG_DONTWAIT

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        if sys.platform != "win32":
            connected.setblocking(True)
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(PATIENCE), int(PATIENCE % 1 * 1e6))
            )
        self._send_some, self._recv_soon = connected.send, connected.recv

    def exchange(self, data: bytes) -> bytes | None:
        """Sends it, and gives what comes soon; b"" at the end of the stream, None when nothing has come.

        What cannot be sent at once goes out with the next `send`, as after a TimeoutError of that. Raises OSError as that.
        """
        try:
            sent = self._send_some(data, self._FLAGS)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError) as error:
            raise NothingSent(*error.args) from error
        if sent < len(data):
            self._unsent = data[sent:]
            return None
        try:
            return self._recv_soon(CHUNK)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""
