"""How many connections there may be, and what those hear that are too many."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..messages import Error
from .names import BROKER_OBJECT
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")


class Admission:
    """Refuses the connections over `limits.connections`.

    That is logged when it begins, and not again before an eighth of the places was free: at the limit each of them is
    taken, and the next one refused, at once.
    """

    __slots__ = ("_limit", "_refusing", "_router")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._limit = router.limits.connections
        self._refusing = False

    def admits(self) -> bool:
        count = len(self._router.peers)
        if self._refusing and count < self._limit - self._limit // 8:
            self._refusing = False
        return count < self._limit

    def refuse(self, peer: Peer) -> None:
        """Tells the peer, which is none of the router's; all that is left to do is the shell's."""
        message = f"this broker has {self._limit} connections, which is the limit (connections)"
        # With a field that seed peers are never sent otherwise, and ignore: nobody knows yet what this one speaks.
        peer.connection.send(Error(None, BROKER_OBJECT, message, code="overloaded"))
        peer.connection.close()
        self._router.totals.errors += 1
        self._router.totals.refused_connections += 1
        if not self._refusing:
            self._refusing = True
            logger.warning("%s: further ones are refused", message)
