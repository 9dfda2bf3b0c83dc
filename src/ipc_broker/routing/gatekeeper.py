"""Who comes in, and what they may do there: principals, tokens, and the policy that is in force."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from msgspec import structs

from ..messages import Error
from ..security.policy import Policy
from ..security.principal import Principal
from ..security.tokens import TokenRecord, TokenRefused, Tokens
from .access import Access
from .guard import Guard
from .names import BROKER_OBJECT
from .peer import Peer
from .revoking import end_what_is_forbidden

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")

MOST_STRANGERS = 256
"""Connections that have yet to show a token: each takes one of `limits.connections`, and nobody knows whose it is."""

TOKEN_WITHIN = 10.0
"""Seconds in which they have to: our clients do it at once, over slow networks too."""

LOG_AGAIN = 60.0
"""Seconds until the same is logged again of those who are turned away: a log that they can fill hides what others did."""

MOST_LOGGED = 1000
"""Different reasons that are remembered for that."""


class NotAdmitted(Exception):
    """Whoever said hello has to go: an error code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Gatekeeper:
    """Gives each peer its standing: a table of handlers, the access that its principal has, and an account.

    `replace_policy` and `replace_tokens` change all at once, also for those who are connected.
    """

    def __init__(self, router: Router, guard: Guard) -> None:
        self._router = router
        self._guard = guard
        self._policy = Policy()
        self._tokens = Tokens()
        self._accesses: WeakValueDictionary[Principal, Access] = WeakValueDictionary()
        self._shown: dict[Peer, TokenRecord] = {}
        self._strangers: dict[Peer, float] = {}
        """Until when each has to show a token, in order."""
        self._logged: dict[str, float] = {}
        self._epoch = 0.0  # seconds since 1970 at which the router's time was 0

    def refusal_of(self, principal: Principal | None) -> tuple[str, str]:
        """Why one more connection of theirs cannot be: an error code and a message; both "" when it can."""
        if principal is None:
            if len(self._strangers) >= MOST_STRANGERS:
                limit = f"{MOST_STRANGERS} connections have yet to show their tokens, which is the limit"
                return "overloaded", f"{limit}; try again"
        elif not principal.is_owner and (refusal := self._router.accounts.refusal_of_connection(principal)):
            return "overloaded", refusal
        return "", ""

    def admit(self, peer: Peer, principal: Principal | None, now: float) -> None:
        """None: its peer has to show a token with its hello. To be called once, before anything comes from the peer."""
        if principal is not None:
            self._set_standing(peer, principal, now)
        else:
            peer.handlers = self._guard.strangers
            self._strangers[peer] = now + TOKEN_WITHIN
            self._router.timers_began = True

    def show_token(self, peer: Peer, token: str, now: float) -> None:
        """What hello has. Without a token whoever is known already stays who they are. Raises NotAdmitted."""
        known = peer.principal
        if not token:
            if known is None:
                raise NotAdmitted(
                    "permission_denied", "this address needs a token: connect with token=, or set BROKER_TOKEN"
                )
            return
        try:
            record = self._tokens.verify(token, now + self._epoch)
        except TokenRefused as refused:
            raise NotAdmitted("permission_denied", str(refused)) from refused
        principal = structs.replace(known or Principal(), token=record.name, role=record.role or "")
        if known is None and (refusal := self._router.accounts.refusal_of_connection(principal)):
            raise NotAdmitted("overloaded", refusal)
        self._shown[peer] = record
        self._strangers.pop(peer, None)
        self._set_standing(peer, principal, now)

    def turn_away(self, peer: Peer, code: str, message: str, now: float, call_id: str | None = None) -> None:
        """It is told why, as the answer to its hello or without being asked, and its connection ends."""
        self._log_once(f"{peer.describe()} is turned away: ", message, now)
        # With fields that seed peers are never sent otherwise, and ignore: nobody knows yet what this one speaks.
        delivered = "" if call_id is None else "no"
        peer.connection.send(Error(call_id, BROKER_OBJECT, message, code=code, delivered=delivered))
        self._router.totals.errors += 1
        self._router.totals.refused_connections += 1
        self._router.retire(peer, now, message)

    def leave(self, peer: Peer) -> None:
        """It is gone. May be called again."""
        self._shown.pop(peer, None)
        self._strangers.pop(peer, None)
        self._router.accounts.leave(peer)

    def _log_once(self, who: str, why: str, now: float) -> None:
        if now >= self._logged.get(why, now):
            if len(self._logged) >= MOST_LOGGED:
                self._logged.clear()
            self._logged[why] = now + LOG_AGAIN
            logger.warning("%s%s", who, why)

    # What is in force

    def replace_policy(self, policy: Policy, now: float) -> None:
        """What the new one does not allow ends, as `revoking` says; nobody is heard meanwhile."""
        self._policy = policy
        self._accesses.clear()
        for peer in self._router.peers:
            if peer.principal is not None:
                self._set_standing(peer, peer.principal, now)
        end_what_is_forbidden(self._router, now)
        self._router.directs.end_all()
        self._router.memories.standings_changed()

    def replace_tokens(self, tokens: Tokens, wall_clock: float, now: float) -> None:
        """Connections whose token is revoked or has expired end, as in `look`."""
        self._tokens = tokens
        self.look(wall_clock, now)

    def look(self, wall_clock: float, now: float) -> None:
        """Ends the connections whose token does not hold any more. To be called now and then.

        `wall_clock` is in seconds since 1970: it may be set anew, and goes on while the machine sleeps.
        """
        self._epoch = wall_clock - now
        for peer, record in list(self._shown.items()):
            if not self._tokens.still_holds(record, wall_clock):
                reason = f"the token '{record.name}' was revoked, changed or has expired"
                logger.warning("%s is disconnected: %s", peer.describe(), reason)
                self._router.refuse(peer, None, BROKER_OBJECT, "permission_denied", reason)
                self._router.retire(peer, now, reason)

    def lets_serve_by_rule(self, principal: Principal, object_name: str) -> bool:
        """Whether a rule lets them serve the object, and not only the default."""
        by_rules = structs.replace(self._policy, default=False)
        return by_rules.decide(principal, "register", object_name).allowed

    def _set_standing(self, peer: Peer, principal: Principal, now: float) -> None:
        router = self._router
        peer.principal = principal
        peer.access = None if self._policy.is_open_to(principal) else self._access_of(principal)
        if not principal.is_owner:
            router.accounts.join(peer, principal, now)
        peer.handlers = router.handlers if peer.access is None else peer.access.handlers

    def _access_of(self, principal: Principal) -> Access:
        access = self._accesses.get(principal)
        if access is None:
            access = self._accesses[principal] = Access(self._policy, principal, self._router.turns)
            access.handlers = self._guard.table_for(access)
        return access

    def handlers_changed(self) -> None:
        """The router's own: the tables of others, which stand before them, are made anew, and stay where they are."""
        for access in list(self._accesses.values()):
            access.handlers |= self._guard.table_for(access)

    # Time

    def next_deadline(self) -> float | None:
        return next(iter(self._strangers.values()), None)

    def handle_timer(self, now: float) -> None:
        for peer, deadline in list(self._strangers.items()):
            if now < deadline:
                break
            self.turn_away(peer, "permission_denied", f"no token was shown within {TOKEN_WITHIN:g} s", now)
