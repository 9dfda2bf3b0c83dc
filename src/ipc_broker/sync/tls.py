"""The blocking client's bytes over TLS."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time

from ..destination import Destination
from ..errors import ConnectFailed, UntrustedBroker
from .transport import CHUNK, NothingSent, SocketTransport, milliseconds


def open_tls(connected: socket.socket, destination: Destination) -> TlsTransport:
    """The handshake may take as long as the socket's timeout. Raises ConnectFailed, UntrustedBroker, OSError."""
    address, context = destination.address, destination.ssl_context
    assert context is not None
    try:
        return TlsTransport(context.wrap_socket(connected, server_hostname=address.location))
    except ssl.SSLCertVerificationError as error:
        connected.close()
        raise UntrustedBroker(
            f"the certificate of {address} is not to be trusted ({error.verify_message}): nothing was sent. Name the CA that"
            " has signed it with tls=FILE, or BROKER_CA"
        ) from error
    except ssl.SSLError as error:
        connected.close()
        raise ConnectFailed(f"{address} speaks no TLS that we can use ({error.reason or error})") from error
    except BaseException:
        connected.close()
        raise


class TlsTransport(SocketTransport):
    """A connected TLS socket. OpenSSL lets one thread at a time use it: `_turn` is held for as long as that takes nothing."""

    def __init__(self, connected: ssl.SSLSocket) -> None:
        super().__init__(connected, tells_late=True)
        self._tls = connected
        self._turn = threading.Lock()

    def send(self, data: bytes, timeout: float | None) -> None:
        in_the_middle = len(self._unsent)
        data = self._unsent + data
        deadline = None if timeout is None else time.monotonic() + timeout
        sent = 0
        while sent < len(data):
            try:
                with self._turn:
                    sent += self._tls.send(memoryview(data)[sent:])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError) as error:
                wait = self._writable if isinstance(error, ssl.SSLWantWriteError) else self._readable
                if not wait(milliseconds(None if deadline is None else deadline - time.monotonic())):
                    self._unsent = data[sent:]
                    raise TimeoutError("the broker takes nothing") from None
            except (ssl.SSLError, BrokenPipeError, ConnectionResetError) as error:
                if sent <= in_the_middle:
                    raise NothingSent(errno.EPIPE, str(error)) from error
                raise
        self._unsent = b""

    def recv(self, timeout: float | None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.in_doubt = True
            try:
                with self._turn:
                    return self._tls.recv(CHUNK)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self.in_doubt = False
                wait = self._readable if isinstance(error, ssl.SSLWantReadError) else self._writable
                if not wait(milliseconds(None if deadline is None else deadline - time.monotonic())):
                    raise TimeoutError("nothing came") from None
            except (ssl.SSLError, ConnectionResetError):
                return b""
