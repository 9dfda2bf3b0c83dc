"""The policy as people write it, in TOML: read whole, or refused with the place of what is wrong.

default = "deny"                # for whom and what no rule is about; "allow" is the other one

[[rule]]
name = "operators format disks" # what those are told whom it concerns
effect = "allow"                # or "deny"; the first rule that is about somebody and something decides
groups = ["operators"]          # and users, tokens, roles: any of them; without any, everybody
call = ["disk.format"]          # object and method; publish, subscribe: object and topic; register: object
monitor = true                  # and administer: look at the bus, control it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ..errors import ConfigError
from ..toml import parse_toml
from .policy import WITH_TARGETS, Action, Policy, Rule, Who
from .targets import ONE, REST, Segments, segments_of

Texts = tuple[str, ...] | str
Names = tuple[str | int, ...] | str | int

_OWN_OBJECT = "rob"


class WrittenRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One table `[[rule]]`, as it stands in the file."""

    name: str
    effect: Literal["allow", "deny"] = "allow"
    users: Names = ()
    groups: Names = ()
    tokens: Texts = ()
    roles: Texts = ()
    call: Texts = ()
    register: Texts = ()
    publish: Texts = ()
    subscribe: Texts = ()
    monitor: bool = False
    administer: bool = False


class WrittenPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    default: Literal["allow", "deny"] = "deny"
    rule: tuple[dict[str, Any], ...] = ()


def parse_policy(text: str, source: str, as_known: Callable[[str], str | None] = str) -> Policy:
    """`source` is the file's path. `as_known` says how the system calls a user or group that the file names; None for one that
    it does not know, who may come later.

    Raises ConfigError, which names the place of what is wrong.
    """
    table = parse_toml(text, source)
    try:
        _require_known(table, WrittenPolicy, "a policy")
        if isinstance(table.get("rule"), dict):
            raise ValueError("each rule begins with [[rule]], in two brackets")
        written = msgspec.convert(table, WrittenPolicy)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    rules: dict[str, Rule] = {}
    for number, one in enumerate(written.rule, 1):
        name = one.get("name")
        place = f"{source}, rule {number}" + (f" ('{name}')" if name and isinstance(name, str) else "")
        try:
            rule = _rule(one, as_known)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from error
        if rule.name in rules:
            raise ConfigError(f"{place}: an earlier rule has the same name")
        rules[rule.name] = rule
    return Policy(tuple(rules.values()), written.default == "allow", PurePath(source).name)


def _rule(table: dict[str, Any], as_known: Callable[[str], str | None]) -> Rule:
    """Raises ValueError, with what is wrong."""
    _require_known(table, WrittenRule, "a rule")
    if not table.get("name"):
        raise ValueError("it needs a name, which those are told whom it concerns")
    written = msgspec.convert(table, WrittenRule)
    targets: dict[Action, tuple[Segments, ...]] = {}
    for action in WITH_TARGETS:
        if patterns := _texts(getattr(written, action)):
            try:
                targets[action] = tuple(_target(action, pattern) for pattern in patterns)
            except ValueError as error:
                raise ValueError(f"{action}: {error}") from error
    if written.monitor:
        targets["monitor"] = ()
    if written.administer:
        targets["administer"] = ()
    if not targets:
        raise ValueError("it is about nothing: give call, register, publish, subscribe, monitor or administer")
    who: dict[str, frozenset[str]] = {}
    for kind in Who.__struct_fields__:
        who[kind] = frozenset(_texts(getattr(written, kind)))
        if "" in who[kind]:
            raise ValueError(f"{kind}: an empty text names nobody")
        if kind in table and not who[kind]:
            raise ValueError(f"{kind}: an empty list names nobody; leave it out for everybody")
    for kind in ("users", "groups"):
        who[kind] = frozenset(as_known(name) or name for name in who[kind])
    return Rule(written.name, written.effect == "allow", Who(**who), targets)


def _target(action: Action, pattern: str) -> Segments:
    """Raises ValueError."""
    segments = segments_of(pattern)
    if segments[0] == _OWN_OBJECT:
        raise ValueError(f"'{pattern}': what may be asked of 'rob' is said by monitor and administer")
    if action != "register" and len(segments) == 1 and segments != (REST,):
        member = "method" if action == "call" else "topic"
        whole = f"write '{pattern}.*' for all of them" if segments != (ONE,) else "write '*.*', or '>' for everything"
        raise ValueError(f"'{pattern}' has no {member}: {whole}")
    return segments


def _require_known(table: dict[str, Any], kind: type[Struct], what: str) -> None:
    """Raises ValueError, which says what was meant."""
    known = kind.__struct_fields__
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, 1)
            meant = f"did you mean '{close[0]}'?" if close else f"{what} has {', '.join(known)}"
            raise ValueError(f"there is no '{key}': {meant}")


def _texts(given: Iterable[str | int] | str | int) -> tuple[str, ...]:
    return (str(given),) if isinstance(given, str | int) else tuple(map(str, given))
