"""Whether the other end of a connection is still there.

The broker looks at each connection every quarter of `Limits.heartbeat`. One over which nothing has come since the last
look is sent a `Ping`, which its peer answers at once; at the third look in a row it is given up. One over which something
comes is sent a `Ping` at every second look all the same: its peer may be told nothing else, and looks in the same way.
What counts are looks, not seconds: a process that was itself frozen meanwhile looks once when it goes on, and not for all
the time that it has missed.
"""

from __future__ import annotations

from .connection import Connection

LOOKS = 4
"""In the time after which a silent peer is taken for gone."""

MOST_SILENT = 3
"""Looks in a row at which nothing had come."""


class Silence:
    """How long nothing has come over a connection, in looks."""

    __slots__ = ("_connection", "_looks", "_progress", "pinged")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._progress = connection.progress
        self._looks = 0
        self.pinged = False
        """Whether the other end was sent a `Ping` at the last look; for the broker."""

    def look(self) -> int:
        """The looks in a row, this one included, at which nothing had come."""
        progress = self._connection.progress
        self._looks = self._looks + 1 if progress == self._progress else 0
        self._progress = progress
        return self._looks
