"""Turns: what one message sets going may be much, and nobody else waits for a crowd of such messages.

An event goes to each of its subscribers, an answer of `rob` lists thousands of names. A peer that has a quota is heard until
what it has said has made that much work; the rest is heard when all others had their turn, and nothing more is read before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.codec import Received
from .accounts import Account
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

TURN = 10_000
"""Deliveries of one turn: seven milliseconds, as long as a thousand calls take."""

OF_A_MESSAGE = 10
"""Deliveries that take as long as the handling of one message; the rate counts them so."""

OF_A_RULE = 5
"""Deliveries that take as long as one rule of a policy, where it is not remembered what they say."""

LARGE_ANSWER = 256
"""Bytes: those that `rob` tells take as long as a message each time."""

NEXT_TURN = 0.001
"""Seconds for all others."""


class Turns:
    """`work` counts deliveries, and what costs as much, of whomever they are."""

    def __init__(self, router: Router) -> None:
        self.work = 0
        self._router = router
        self._rests: dict[Peer, list[Received]] = {}
        """What was read from a peer, and is not handled yet."""
        self._goes_on_at = 0.0

    def __contains__(self, peer: Peer) -> bool:
        """Whether something of it is not handled yet."""
        return peer in self._rests

    def take(self, peer: Peer, account: Account, received: list[Received], now: float) -> None:
        """Handles what has come, or as much as is its turn."""
        rest = self._rests.get(peer)
        if rest is None:
            self._hear(peer, account, received, now)
        else:
            rest += received

    def end_input(self, peer: Peer) -> bool:
        """Nothing more will come. Whether that has to wait: then the router is told again."""
        if peer in self._rests:
            peer.input_ended = True
        return peer in self._rests

    def forget(self, peer: Peer) -> None:
        """It is gone. May be called again."""
        self._rests.pop(peer, None)

    def _hear(self, peer: Peer, account: Account, received: list[Received], now: float) -> None:
        handlers, begun = peer.handlers, self.work
        last = begun + TURN
        coming = iter(received)
        for message, frame in coming:
            handlers[type(message)](peer, message, frame, now)
            if self.work > last:
                break
        rest = list(coming)
        accounts = self._router.accounts
        accounts.spend(account, len(received) - len(rest) + (self.work - begun) // OF_A_MESSAGE, now)
        if rest and peer.account is not None:
            self._rests[peer] = rest
            self._goes_on_at = now + NEXT_TURN
            accounts.hold(peer)

    # Time

    def next_deadline(self) -> float | None:
        return self._goes_on_at if any(self._is_due(peer) for peer in self._rests) else None

    def handle_timer(self, now: float) -> None:
        for peer in [peer for peer in self._rests if self._is_due(peer)]:
            if peer.account is None or not self._is_due(peer):  # because of what another one has said
                continue
            try:
                self._hear(peer, peer.account, self._rests.pop(peer), now)
            except BaseException:  # a fault of ours costs that connection, as it does where the loop has called
                self._router.retire(peer, now, "what it said could not be handled")
                raise
            self._router.heard(peer, now)
            if peer not in self._rests:
                self._router.accounts.release(peer)
                if peer.input_ended and peer.account is not None:
                    self._router.end_of_input(peer, now)

    def _is_due(self, peer: Peer) -> bool:
        return peer.account is not None and peer.account.resumes_at is None
