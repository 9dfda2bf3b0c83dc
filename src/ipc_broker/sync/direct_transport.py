"""The socket of a direct connection: the thread whose call goes over it is alone with it."""

from __future__ import annotations

import socket

from .transport import CHUNK, NothingSent, SocketTransport

PATIENCE = 20
"""Milliseconds in which most answers come, and no deadline has to be looked at."""


class DirectTransport(SocketTransport):
    """Ctrl-C in `exchange` may lose what comes then; whoever is interrupted gives the connection up."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._send_some, self._recv_some = connected.send, connected.recv

    def exchange(self, data: bytes) -> bytes | None:
        """Sends it, and gives what comes soon; b"" at the end of the stream, None when nothing has come.

        What cannot be sent at once goes out with the next `send`, as after a TimeoutError of that. Raises OSError as that.
        """
        # To wait in a blocking `recv` would save a system call, and after each signal Python would wait as long again.
        try:
            sent = self._send_some(data)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError) as error:
            raise NothingSent(*error.args) from error
        if sent < len(data):
            self._unsent = data[sent:]
            return None
        if not self._readable(PATIENCE):
            return None
        try:
            return self._recv_some(CHUNK)
        except BlockingIOError:  # woken for nothing, as select(2) warns
            return None
        except ConnectionResetError:
            return b""
