"""What those of one principal may do, as the policy says, remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..security.policy import Action, Policy
from ..security.principal import Principal
from .turns import OF_A_RULE

if TYPE_CHECKING:
    from .taps import Handler
    from .turns import Turns

MOST_REMEMBERED = 1024
"""Of what was denied, and of each of the sets of what is allowed; beyond, all of it is forgotten: who asks for so many
different things is no usual peer. With the longest names they take 8 MiB."""

Pairs = set[tuple[str, str]]
"""An object, and a method or topic."""


class Access:
    """Asks the policy once for each thing, so that each further call of a method costs one look-up.

    A policy is never changed, but replaced, and this with it. All connections of a principal share one.
    """

    __slots__ = ("__weakref__", "_denied", "_policy", "_principal", "_turns", "handlers", "may_call", "may_publish")

    def __init__(self, policy: Policy, principal: Principal, turns: Turns) -> None:
        self._policy = policy.concerning(principal)
        self._principal = principal
        self._turns = turns
        self._denied: dict[tuple[Action, str, str | None], str] = {}
        self.may_call: Pairs = set()
        self.may_publish: Pairs = set()
        self.handlers: dict[type, Handler] = {}
        """Of its peers (guard.py)."""

    def refusal(self, action: Action, object_name: str = "", member: str | None = None) -> str:
        """What the peer is told when it may not do that; "" when it may. As `Policy.refusal`."""
        key = action, object_name, member
        known = self._denied.get(key)
        if known is None:
            known = self._policy.refusal(self._principal, action, object_name, member)
            self._turns.work += len(self._policy.rules) * OF_A_RULE
            if known:
                if len(self._denied) >= MOST_REMEMBERED:
                    self._denied.clear()
                self._denied[key] = known
        return known

    def remember(self, pairs: Pairs, object_name: str, member: str) -> None:
        """That it was not refused."""
        if len(pairs) >= MOST_REMEMBERED:
            pairs.clear()
        pairs.add((object_name, member))
