"""Quotas: what all connections of one user may take together, so that one cannot starve another.

Nothing is counted where a call ends or an event is taken: what a user's connections hold is added up when it may have become
too much. Only messages are counted one by one: of those each costs the broker time, whatever it says.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from ..config import Quotas
from ..security.principal import Principal
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")

LOOK_EVERY = 1.0
"""Seconds between two looks at what waits for a user's connections."""

PAUSE = 0.05
"""Seconds for which somebody over the rate is not read from, at least: it then has earned a good batch of messages."""


class Account:
    """The connections of one user, or of one token."""

    __slots__ = ("_earned_until", "_quotas", "_rate", "calls_left", "left", "name", "peers", "resumes_at", "who")

    def __init__(self, name: str, who: str, quotas: Quotas, now: float) -> None:
        """`who` is for people."""
        self.name = name
        self.who = who
        self.peers: set[Peer] = set()
        self.resumes_at: float | None = None
        """When its connections are read from again; None while they are."""
        self._quotas = quotas
        self._rate = float(quotas.rate) or math.inf
        self.left = self._rate
        """Messages that it may send at once: those of a second at most."""
        self._earned_until = now
        self.calls_left = quotas.calls
        """That may begin until those in flight have to be added up: those that end meanwhile are not counted."""

    def refusal_of_connection(self) -> str:
        if len(self.peers) >= self._quotas.connections:
            return self._over("connections", self._quotas.connections)
        return ""

    def refusal_of_call(self) -> str:
        """Of one that is over `calls_left`."""
        self.calls_left = self._quotas.calls - sum([len(peer.calls) for peer in self.peers]) - 1
        return self._over("calls", self._quotas.calls, " in flight") if self.calls_left < 0 else ""

    def refusal_of_name(self) -> str:
        if sum([len(peer.registrations) for peer in self.peers]) >= self._quotas.names:
            return self._over("names", self._quotas.names)
        return ""

    def refusal_of_subscription(self) -> str:
        if sum([len(peer.subscriptions) for peer in self.peers]) >= self._quotas.subscriptions:
            return self._over("subscriptions", self._quotas.subscriptions)
        return ""

    def heaviest_over_quota(self) -> Peer | None:
        """The connection with the most that waits for it, when all together have too much."""
        waiting = {peer: _waiting_bytes(peer) for peer in self.peers}
        if sum(waiting.values()) <= self._quotas.queued:
            return None
        return max(waiting, key=lambda peer: (waiting[peer], peer.id))

    def _over(self, what: str, limit: int, state: str = "") -> str:
        return f"all connections of {self.who} together have {limit} {what}{state}, the quota (quotas.{what})"

    # Its rate

    def earn(self, now: float) -> bool:
        """Adds what it may send for the time since the last time. False when it still has sent too much."""
        self.left = min(self.left + (now - self._earned_until) * self._rate, self._rate)
        self._earned_until = now
        return self.left >= 0

    def pays_off_at(self, now: float) -> float:
        """When it has earned again what it has sent too much; that may be long, where its rate is low."""
        return now + max(-self.left / self._rate, PAUSE)

    def is_rested(self, now: float) -> bool:
        """Whether another account in its place could send no more than it."""
        has_all = self._rate == math.inf or self.left + (now - self._earned_until) * self._rate >= self._rate
        return not self.peers and has_all


class Accounts:
    """Of all users but the broker's own and root, of whose programs nothing is counted."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._quotas = router.quotas
        self._accounts: dict[str, Account] = {}
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._accounts)

    def refusal_of_connection(self, principal: Principal) -> str:
        account = self._accounts.get(principal.account)
        return "" if account is None else account.refusal_of_connection()

    def join(self, peer: Peer, principal: Principal, now: float) -> None:
        """The peer is counted there, and nowhere else. May be called again."""
        account = self._accounts.get(principal.account)
        if account is None:
            account = Account(principal.account, principal.describe(), self._quotas, now)
            if not self._accounts:
                self._look_at = now + LOOK_EVERY
                self._router.timers_began = True
            self._accounts[account.name] = account
        if peer.account is not account:
            self.leave(peer)
            account.peers.add(peer)
            peer.account = account
            if account.resumes_at is not None:
                self._throttle(peer)

    def leave(self, peer: Peer) -> None:
        """May be called again, and of a peer without account. Who goes leaves its debts to who comes."""
        account, peer.account = peer.account, None
        self._router.turns.forget(peer)
        if account is not None:
            account.peers.discard(peer)
            if peer.throttled:
                self._resume(peer)

    # Its rate

    def spend(self, account: Account, messages: int, now: float) -> None:
        """Whatever somebody says costs the broker time, also answers that nobody waits for. It has been handled.

        When it was too much nothing is lost, but nothing more is read, from none of the user's connections: they may have
        as much each on its way.
        """
        account.left -= messages
        if account.left < 0 and account.resumes_at is None and not account.earn(now):
            account.resumes_at = account.pays_off_at(now)
            self._router.timers_began = True
            for peer in account.peers:
                self._throttle(peer)

    def hold(self, peer: Peer) -> None:
        """Reads nothing from it until `release`."""
        self._throttle(peer)
        self._router.timers_began = True

    def release(self, peer: Peer) -> None:
        """May be called when others have to be waited for: then it is not read from yet."""
        if peer.account is not None and peer.account.resumes_at is None:
            self._resume(peer)

    def _throttle(self, peer: Peer) -> None:
        peer.throttled = True
        if peer.reads:
            peer.reads = False
            self._router.woken.append(peer)

    def _resume(self, peer: Peer) -> None:
        if peer in self._router.turns:
            return
        peer.throttled = False
        if not peer.reads and not self._router.events.backpressure.holds(peer):
            peer.reads = True
            self._router.woken.append(peer)

    # Time

    def next_deadline(self) -> float | None:
        if not self._accounts:
            return None
        resumes = [account.resumes_at for account in self._accounts.values() if account.resumes_at is not None]
        return min([self._look_at, *resumes])

    def handle_timer(self, now: float) -> None:
        for account in self._accounts.values():
            if account.resumes_at is not None and now >= account.resumes_at:
                # What came in the same piece as the first that was too much has been handled since.
                account.resumes_at = None if account.earn(now) else account.pays_off_at(now)
                if account.resumes_at is None:
                    for peer in account.peers:
                        self._resume(peer)
        if self._accounts and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            for account in list(self._accounts.values()):
                self._end_heaviest(account, now)
                if account.is_rested(now):
                    del self._accounts[account.name]

    def _end_heaviest(self, account: Account, now: float) -> None:
        while (peer := account.heaviest_over_quota()) is not None:
            self._router.end(
                peer, f"over {self._quotas.queued} bytes of all connections of {account.who} wait (quotas.queued)", now
            )
            self.leave(peer)


def _waiting_bytes(peer: Peer) -> int:
    """For it, and of what it has said."""
    connection, feed = peer.connection, peer.feed
    backlogs = sum([one.backlog_bytes for one in peer.subscriptions.values()])
    in_lines = sum([len(one.name.waiting[one][1]) for one in peer.calls.values() if one.registration is None])
    return connection.queued + connection.held + backlogs + in_lines + (0 if feed is None else feed.backlog_bytes)
