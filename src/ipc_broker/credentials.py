"""Who is at the other end of a connection, as the transport can tell."""

from __future__ import annotations

from msgspec import Struct


class Credentials(Struct, frozen=True):
    """None, or empty, where the transport cannot tell."""

    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    address: str = ""
    """Where a TCP connection comes from: `127.0.0.1:54321`."""
