"""Who is at the other end of a connection, as the transport can tell."""

from __future__ import annotations

from msgspec import Struct


class Credentials(Struct, frozen=True):
    """None where the transport cannot tell."""

    pid: int | None = None
    uid: int | None = None
