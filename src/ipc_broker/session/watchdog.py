"""Finds a broker that is gone or frozen without a word, by its silence (protocol/heartbeat.py)."""

from __future__ import annotations

from ..messages import Welcome
from ..protocol.connection import Connection
from ..protocol.heartbeat import LOOKS, MOST_SILENT, Silence


class Watchdog:
    """Watches one connection at a time, where the broker has heartbeats."""

    __slots__ = ("_every", "_silence", "next_look")

    def __init__(self) -> None:
        self._silence: Silence | None = None
        self._every = 0.0
        self.next_look: float | None = None
        """When `look` is to be called; None while nothing is watched."""

    def watch(self, connection: Connection, welcome: Welcome, now: float) -> None:
        if welcome.heartbeat_ms and "heartbeat" in welcome.features:
            self._silence = Silence(connection)
            self._every = welcome.heartbeat_ms / 1000 / LOOKS
            self.next_look = now + self._every

    def stop(self) -> None:
        self._silence = self.next_look = None

    def look(self, now: float) -> str:
        """Why the broker seems to be gone; "" while it does not."""
        if self._silence is None or self.next_look is None or now < self.next_look:
            return ""
        self.next_look = now + self._every
        silent = self._silence.look() >= MOST_SILENT
        return f"nothing has come from it for {self._every * LOOKS:g} s" if silent else ""
