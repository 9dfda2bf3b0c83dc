"""Peers that are gone or frozen without a word: found by their silence, and given up (protocol/heartbeat.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Ping, Pong
from ..protocol.heartbeat import LOOKS, MOST_SILENT, Silence
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router


class Heartbeats:
    """Looks at the peers that have the feature; never at seed peers, which would take a `Ping` for an answer."""

    __slots__ = ("_every", "_limit", "_next", "_router", "_silences")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._limit = router.limits.heartbeat
        self._every = self._limit / LOOKS
        self._next = 0.0
        self._silences: dict[Peer, Silence] = {}
        """Somebody is there to be looked at, and nobody was before: the shell has a deadline to ask for, and clears this."""

    @property
    def milliseconds(self) -> int:
        """What a client is told; 0: there are none."""
        return round(self._limit * 1000)

    def watch(self, peer: Peer, now: float) -> None:
        if self._limit:
            if not self._silences:
                self._next = now + self._every
                self._router.timers_began = True
            self._silences[peer] = Silence(peer.connection)

    def forget(self, peer: Peer) -> None:
        """It is gone. May be called again."""
        self._silences.pop(peer, None)

    def pong(self, peer: Peer, pong: Pong, frame: bytes, now: float) -> None:
        """The router's handler. That it came is all that it says."""

    def next_deadline(self) -> float | None:
        return self._next if self._silences else None

    def handle_timer(self, now: float) -> None:
        if not self._silences or now < self._next:
            return
        self._next = now + self._every
        for peer, silence in list(self._silences.items()):
            if not peer.reads:
                continue  # it is us who do not listen
            looks = silence.look()
            if looks >= MOST_SILENT:
                self._router.give_up(peer, f"nothing has come from it for {self._limit:g} s (heartbeat)", now)
                continue
            silence.pinged = looks > 0 or not silence.pinged
            if silence.pinged:
                peer.connection.send(Ping())
