"""Who the fuzzed connection of a router is: mostly its owner, else somebody to whom a policy and quotas apply, or a stranger."""

from __future__ import annotations

from random import Random

from ipc_broker.messages import Call
from ipc_broker.routing.names import BROKER_OBJECT
from ipc_broker.routing.peer import Peer
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import OWNER, Principal
from ipc_broker.security.tokens import ID_BYTES, SECRET_BYTES, Tokens, make_token

TODAY = 1_800_000_000.0
TOKEN, _RECORD = make_token("fuzzed", TODAY, bytes(ID_BYTES + SECRET_BYTES), role="fuzzed")
TOKENS = Tokens([_RECORD])

SOMEBODY = Principal(1000, "somebody", frozenset({"staff"}))
PRINCIPALS: dict[str, Principal | None] = {"owner": OWNER, "somebody": SOMEBODY, "with a token": None, "stranger": None}
SHOWN = {"owner": "", "somebody": "", "with a token": TOKEN, "stranger": ""}
"""The token that each shows where it says hello in good order."""

POLICY = parse_policy(
    """
    [[rule]]
    name = "not these"
    effect = "deny"
    users = "somebody"
    roles = "fuzzed"
    call = ["theirs.add", "old.*"]
    register = ["shared", "many.3"]
    publish = ["sensor.x", "will.*"]
    subscribe = "rooms.>"

    [[rule]]
    name = "all else"
    users = 1000
    tokens = "fuzzed"
    call = ">"
    register = ">"
    publish = ">"
    subscribe = ">"
    monitor = true
    """,
    "policy.toml",
)
NARROW = parse_policy('[[rule]]\nname = "few"\ngroups = "staff"\ncall = "theirs.*"\nregister = "mine"\n', "narrow.toml")


def choose(rng: Random) -> str:
    return rng.choices(tuple(PRINCIPALS), (60, 22, 10, 8))[0]


def check(peer: Peer, given: list[Call]) -> None:
    """It has nothing that it may not have. `given` are calls that other workers have, some of them perhaps its own."""
    access = peer.access
    if peer.principal is None:
        owned = [peer.registrations, peer.subscriptions, peer.calls, peer.will]
        assert not any(owned), f"{peer} is a stranger, and has {owned}"
    elif access is not None:
        for name in peer.registrations:
            assert not access.refusal("register", name), f"{peer} serves {name}"
        for one in peer.subscriptions.values():
            allowed = not access.refusal("subscribe", one.object_name, one.topic)
            assert allowed or one.object_name == BROKER_OBJECT, f"{peer} is told of {one}"
        if peer.will is not None:
            assert not access.refusal("publish", peer.will.object_name, peer.will.topic), (
                f"{peer} has the will {peer.will}"
            )
        for call in given:
            if peer.prefix and call.call_id.startswith(peer.prefix):
                assert not access.refusal("call", call.object_name, call.method), f"{peer} called {call}"
