"""What is no message: whoever sent it is told, the calls that it may have been an answer to end, and some have to go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..messages import Cancel, Invalid
from .names import BROKER_OBJECT, Name
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")

MOST_INVALID = 1000
"""Bodies that are no messages after which a connection is closed: it would only keep the broker busy."""

MOST_LOGGED = 3
"""Of these, for each connection: a log that a peer can fill hides what others did."""


class Nonsense:
    """Its `heard` is the router's handler."""

    __slots__ = ("_router",)

    def __init__(self, router: Router) -> None:
        self._router = router

    def heard(self, peer: Peer, message: Invalid, frame: bytes, now: float) -> None:
        router = self._router
        router.totals.invalid_messages += 1
        if peer not in router.peers:
            return  # it was closed for those that came before
        peer.invalid_messages += 1
        if peer.invalid_messages <= MOST_LOGGED:
            logger.warning("%s sent what is no message: %s", peer.describe(), message.reason)
        is_answer = message.call_id is not None and message.about != "Call"
        router.refuse(peer, None if is_answer else message.call_id, BROKER_OBJECT, message.code, message.reason)
        names = self._end_calls(peer, message, is_answer, now)
        if message.fatal:
            router.retire(peer, now, f"it sent what is no message: {message.reason}")
        elif peer.invalid_messages >= MOST_INVALID:
            logger.warning("%s is disconnected: it sent %d bodies that are no messages", peer.describe(), MOST_INVALID)
            router.retire(peer, now, f"it sent {MOST_INVALID} bodies that are no messages")
        else:
            for name in names:
                router.calls.give_waiting(name, now)

    def _end_calls(self, peer: Peer, message: Invalid, is_answer: bool, now: float) -> list[Name]:
        """Those that it may have been an answer to. Gives the names that have room for others now."""
        calls = self._router.calls
        why = f"its worker sent what is no message ({message.reason})"
        if message.call_id is None:  # it may have been an answer, and nobody can tell to which call
            return calls.lose(peer, why, now)
        name = calls.lose_one(peer, message.call_id, why, now) if is_answer else None
        if name is None:
            return []
        if message.about == "Item" and "cancel" in peer.features:
            peer.connection.send(Cancel(message.call_id))
        return [name]
