"""Rules in order: who they are about, what they are about, and what holds where none is."""

from __future__ import annotations

import pytest

from ipc_broker.security.policy import ACTIONS, WITH_TARGETS, Action, Policy, Who
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import OWNER, Principal
from tests.security.people import ALICE, BOB, CI, ROOT

POLICY = parse_policy(
    """
    [[rule]]
    name = "nobody formats the system's disk"
    effect = "deny"
    call = "system.format"

    [[rule]]
    name = "operators"
    groups = "operators"
    call = ["disk.*", "system.*"]
    subscribe = "disk.>"
    monitor = true

    [[rule]]
    name = "bob reads"
    users = [1001]
    call = ["disk.read", "disk.list"]

    [[rule]]
    name = "what builds"
    roles = "builder"
    register = "builds.>"
    publish = "builds.>"

    [[rule]]
    name = "one of them"
    tokens = "ci"
    administer = true
    """,
    "/etc/policy.toml",
)


@pytest.mark.parametrize("action", ACTIONS)
def test_without_rules_the_owner_may_do_everything(action: Action) -> None:
    for owner in (OWNER, ROOT):
        assert Policy().decide(owner, action, "disk", "format").allowed
        assert Policy().refusal(owner, action, "disk", "format") == ""


@pytest.mark.parametrize("action", ACTIONS)
def test_without_rules_others_may_use_the_bus_and_not_look_at_it(action: Action) -> None:
    decision = Policy().decide(ALICE, action, "disk", "format")
    assert decision.allowed is (action in WITH_TARGETS)
    expected = (
        "whoever is admitted may do that" if decision.allowed else "only the broker's own user and root may do that"
    )
    assert decision.reason == f"the default: {expected}"


@pytest.mark.parametrize("action", ACTIONS)
def test_with_rules_what_none_allows_is_denied_to_others(action: Action) -> None:
    policy = Policy(default=False, source="policy.toml")
    assert not policy.decide(ALICE, action, "disk", "format").allowed
    assert policy.decide(ROOT, action, "disk", "format").allowed


@pytest.mark.parametrize(
    ("who", "action", "asked", "rule"),
    [
        (ALICE, "call", ("disk", "format"), "operators"),
        (ALICE, "call", ("system", "reboot"), "operators"),
        (ALICE, "subscribe", ("disk", "full"), "operators"),
        (ALICE, "subscribe", ("disk.*", ">"), "operators"),
        (ALICE, "monitor", (), "operators"),
        (BOB, "call", ("disk", "read"), "bob reads"),
        (CI, "register", ("builds.linux", None), "what builds"),
        (CI, "publish", ("builds", "done"), "what builds"),
        (CI, "administer", (), "one of them"),
    ],
)
def test_whom_a_rule_allows_what(who: Principal, action: Action, asked: tuple[str, ...], rule: str) -> None:
    decision = POLICY.decide(who, action, *asked)
    assert (decision.allowed, decision.reason) == (True, f"the rule '{rule}' of policy.toml")
    assert POLICY.concerning(who).decide(who, action, *asked) == decision


@pytest.mark.parametrize(
    ("who", "action", "asked"),
    [
        (ALICE, "call", ("system", "format")),  # an earlier rule denies it
        (ALICE, "call", ("disk.a", "format")),  # `disk.*` is about methods of the object `disk`
        (ALICE, "call", ("disks", "format")),
        (ALICE, "subscribe", (">", ">")),  # more than the rule covers
        (ALICE, "subscribe", ("*", "full")),
        (ALICE, "publish", ("disk", "full")),
        (ALICE, "register", ("disk", None)),
        (ALICE, "administer", ()),
        (BOB, "call", ("disk", "format")),
        (BOB, "call", ("disk", "*")),
        (BOB, "monitor", ()),
        (CI, "register", ("builds", None)),
        (CI, "publish", ("sensor", "heat")),
    ],
)
def test_what_is_denied(who: Principal, action: Action, asked: tuple[str, ...]) -> None:
    decision = POLICY.decide(who, action, *asked)
    assert not decision.allowed
    assert POLICY.concerning(who).decide(who, action, *asked) == decision


def test_a_pattern_is_denied_where_any_part_of_it_is() -> None:
    policy = parse_policy(
        """
        default = "allow"
        [[rule]]
        name = "secret"
        effect = "deny"
        subscribe = "keys.>"
        """,
        "policy.toml",
    )
    for asked in [("keys", "new"), ("keys", ">"), ("*", "new"), (">", ">"), ("*.a", "b")]:
        assert not policy.decide(ALICE, "subscribe", *asked).allowed
        assert not policy.decide(ROOT, "subscribe", *asked).allowed, "a rule for everybody is for its owner too"
    for asked in [("sensor", ">"), ("sensor.*", "*")]:
        assert policy.decide(ALICE, "subscribe", *asked).allowed


def test_what_those_are_told_who_may_not() -> None:
    assert [
        POLICY.refusal(ALICE, "call", "system", "format"),
        POLICY.refusal(BOB, "register", "disk"),
        POLICY.refusal(CI, "publish", "disk", "full"),
        POLICY.refusal(Principal(1002, "1002"), "subscribe", "disk", "*"),
        POLICY.refusal(Principal(1000, "alice", token="ci"), "monitor"),
        POLICY.refusal(BOB, "administer"),
    ] == [
        "user 'alice' may not call 'system.format': the rule 'nobody formats the system's disk' of policy.toml",
        "user 'bob' may not serve 'disk': the default of policy.toml: what no rule allows is denied",
        "token 'ci' may not publish 'disk.full': the default of policy.toml: what no rule allows is denied",
        "user '1002' may not subscribe to 'disk.*': the default of policy.toml: what no rule allows is denied",
        "user 'alice' with the token 'ci' may not look at what others do on this bus: the default: only the broker's own"
        " user and root may do that",
        "user 'bob' may not administer this broker: the default: only the broker's own user and root may do that",
    ]


def test_the_owner_need_not_be_asked_for_where_no_rule_denies_anything_to_them() -> None:
    assert Policy().is_open_to(ROOT)
    assert not Policy().is_open_to(ALICE)
    assert not POLICY.is_open_to(ROOT), "one rule denies something to everybody"
    others = 'default = "deny"\n[[rule]]\nname = "a"\neffect = "deny"\nusers = "alice"\ncall = ">"\n'
    assert parse_policy(others, "policy.toml").is_open_to(ROOT)


def test_what_nobody_has_proven_fits_no_rule() -> None:
    text = '[[rule]]\nname = "a"\nusers = ["0"]\ntokens = ["x"]\nroles = ["x"]\ngroups = ["x"]\ncall = ">"\n'
    policy = parse_policy(text, "policy.toml")
    assert not policy.decide(Principal(), "call", "a", "b").allowed
    assert policy.decide(Principal(0), "call", "a", "b").allowed


def test_accounts_are_those_of_users_and_else_of_tokens() -> None:
    assert ALICE.account == Principal(1000, "alice", token="ci").account == "uid:1000"
    assert CI.account == "token:ci"


def test_users_and_groups_that_have_no_numbers() -> None:
    """Windows' have SIDs, which a policy is told when it is read: names are spelled in several ways."""
    sids = {"alice": "S-1-5-21-1", r"PC\Alice": "S-1-5-21-1", "staff": "S-1-5-21-9"}
    policy = parse_policy(
        r"""
        default = "deny"
        [[rule]]
        name = "alice"
        users = ['PC\Alice', "nobody"]
        call = "disk.read"
        [[rule]]
        name = "staff"
        groups = "staff"
        call = "disk.list"
        """,
        "policy.toml",
        sids.get,
    )
    assert [rule.who for rule in policy.rules] == [
        Who(users=frozenset({"S-1-5-21-1", "nobody"})),
        Who(groups=frozenset({"S-1-5-21-9"})),
    ]
    alice = Principal(user=r"PC\alice", sid="S-1-5-21-1", groups=frozenset({"S-1-5-21-9"}))
    other = Principal(user=r"DOMAIN\alice", sid="S-1-5-21-2")
    for member in ("read", "list"):
        assert policy.decide(alice, "call", "disk", member).allowed
        assert not policy.decide(other, "call", "disk", member).allowed
    assert (alice.is_let_in({"S-1-5-21-1"}, ()), other.is_let_in({"S-1-5-21-1"}, ())) == (True, False)
    assert alice.is_let_in((), {"S-1-5-21-9"})
    assert not Principal().is_let_in({""}, ())
    assert (alice.account, other.account) == ("sid:S-1-5-21-1", "sid:S-1-5-21-2")
