"""The addresses the stand-ins are given: `unix:///path` and `tcp://host:port`."""

import socket
import sys


def split_tcp(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def connect(address: str, timeout: float) -> socket.socket:
    """A connected blocking socket; OSError when nothing listens there."""
    if address.startswith("tcp://"):
        return socket.create_connection(split_tcp(address), timeout)
    if sys.platform == "win32":
        raise ValueError(f"{address!r}: only tcp:// works on this platform")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(address.removeprefix("unix://"))
    except OSError:
        connection.close()
        raise
    return connection
