"""Who may do what: rules in order, of which the first that is about somebody and something decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from msgspec import Struct, structs

from .principal import Principal
from .targets import Segments, covers, overlaps, segments_asked

Action = Literal["call", "register", "publish", "subscribe", "monitor", "administer"]
ACTIONS: tuple[Action, ...] = get_args(Action)

WITH_TARGETS: tuple[Action, ...] = ("call", "register", "publish", "subscribe")
"""Those that are about objects; the others are about the bus."""

_DONE: dict[Action, Callable[[str, str | None], str]] = {
    "call": lambda object_name, method: f"call '{_joined(object_name, method)}'",
    "register": lambda object_name, _: f"serve '{object_name}'",
    "publish": lambda object_name, topic: f"publish '{_joined(object_name, topic)}'",
    "subscribe": lambda object_name, topic: f"subscribe to '{_joined(object_name, topic)}'",
    "monitor": lambda *_: "look at what others do on this bus",
    "administer": lambda *_: "administer this broker",
}


def _joined(object_name: str, member: str | None) -> str:
    return object_name if member is None else f"{object_name}.{member}"


class Who(Struct, frozen=True):
    """Whom a rule is about: any of these, or everybody where none is named."""

    users: frozenset[str] = frozenset()
    """Names, and numbers as text; on Windows SIDs, as groups are."""
    groups: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    def includes(self, principal: Principal) -> bool:
        if not (self.users or self.groups or self.tokens or self.roles):
            return True
        return (
            (bool(principal.user) and principal.user in self.users)
            or (principal.uid is not None and str(principal.uid) in self.users)
            or (bool(principal.sid) and principal.sid in self.users)
            or not self.groups.isdisjoint(principal.groups)
            or (bool(principal.token) and principal.token in self.tokens)
            or (bool(principal.role) and principal.role in self.roles)
        )


class Rule(Struct, frozen=True):
    """`targets` holds for each action what it is about: patterns of `targets`, none for an action that has no objects."""

    name: str
    allows: bool
    who: Who
    targets: dict[Action, tuple[Segments, ...]]

    def decides(self, principal: Principal, action: Action, asked: Segments) -> bool:
        """Of a pattern, a rule that allows must cover the whole; one that denies is about any part of it."""
        patterns = self.targets.get(action)
        if patterns is None or not self.who.includes(principal):
            return False
        if action not in WITH_TARGETS:
            return True
        fits = covers if self.allows else overlaps
        return any(fits(pattern, asked) for pattern in patterns)


class Decision(Struct, frozen=True):
    """`reason` says what decided, as people are told it: "the rule 'operators' of policy.toml", "the default: ..."."""

    allowed: bool
    reason: str


class Policy(Struct, frozen=True):
    """Without rules: the broker's own user and root may do everything; others all but look at the bus and administer it."""

    rules: tuple[Rule, ...] = ()
    default: bool = True
    """What holds for others than the owner where no rule decides. To look and to administer is never theirs by default."""
    source: str = ""
    """Where the rules are from, for people."""

    def decide(
        self, principal: Principal, action: Action, object_name: str = "", member: str | None = None
    ) -> Decision:
        """`member` is a method or topic. With "subscribe" both may be patterns; "register" has no member."""
        asked = segments_asked(object_name, member)
        for rule in self.rules:
            if rule.decides(principal, action, asked):
                return Decision(rule.allows, f"the rule '{rule.name}' of {self.source}")
        if principal.is_owner:
            return Decision(True, "the default: the broker's own user and root may do everything")
        if action not in WITH_TARGETS:
            return Decision(False, "the default: only the broker's own user and root may do that")
        if self.default:
            return Decision(True, "the default: whoever is admitted may do that")
        return Decision(False, f"the default of {self.source}: what no rule allows is denied")

    def explain(
        self, principal: Principal, action: Action, object_name: str = "", member: str | None = None
    ) -> Decision:
        """The same, with a whole sentence for a reason. Object and member may also be given joined, as in 'disk.format'."""
        decision = self.decide(principal, action, object_name, member)
        may = "may" if decision.allowed else "may not"
        what = _DONE[action](object_name, member)
        return Decision(decision.allowed, f"{principal.describe()} {may} {what}: {decision.reason}")

    def refusal(self, principal: Principal, action: Action, object_name: str = "", member: str | None = None) -> str:
        """What somebody is told who may not do that; "" for one who may."""
        explained = self.explain(principal, action, object_name, member)
        return "" if explained.allowed else explained.reason

    def concerning(self, principal: Principal) -> Policy:
        """The same, for this principal only: the rules that are not about it are left out."""
        rules = [structs.replace(rule, who=Who()) for rule in self.rules if rule.who.includes(principal)]
        return structs.replace(self, rules=tuple(rules))

    def is_open_to(self, principal: Principal) -> bool:
        """Whether nothing at all is denied, so that nobody need ask."""
        return principal.is_owner and not any(not rule.allows and rule.who.includes(principal) for rule in self.rules)
