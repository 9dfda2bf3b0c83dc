"""What a policy denies is refused with the rule that says so, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Quotas
from ipc_broker.routing.guard import METHODS_OF_ROB
from ipc_broker.security.policy import Policy
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import Principal
from tests.memory import Bus, Client, RawPeer
from tests.messages import batch, call, error, error_of, event, publish, refused, register, result, subscribe
from tests.routing.peers import call_with, cancel, credit, error_from, json_peer, packed_peer, register_as, serve, stats
from tests.routing.subscribers import subscribe_to, told
from tests.security.people import ALICE, BOB, ROOT
from tests.seed.frames import Message

DENIED = "permission_denied"
BY_DEFAULT = "the default of policy.toml: what no rule allows is denied"
POLICY = parse_policy(
    """
    [[rule]]
    name = "no formatting"
    effect = "deny"
    users = "alice"
    call = "disk.format"

    [[rule]]
    name = "alice"
    users = "alice"
    call = ["disk.*", "slow.>"]
    register = "home.>"
    publish = "sensor.heat"
    subscribe = ["sensor.*", "rooms.>"]

    [[rule]]
    name = "bob looks"
    users = "bob"
    monitor = true
    administer = true
    """,
    "/etc/policy.toml",
)


@pytest.fixture
def bus() -> Bus:
    bus = Bus()
    bus.router.gatekeeper.replace_policy(POLICY, bus.now)
    return bus


def alice(bus: Bus) -> RawPeer:
    return json_peer(bus, principal=ALICE)


def watch(peer: RawPeer, call_id: str, **watch: object) -> None:
    wish = {"object": "", "method": "", "payload": 4096, "rate": 0, **watch}
    peer.send(call_with(call_id, "rob", "monitor", wish, credit=1_000_000))  # type: ignore[arg-type]  # it is JSON


def records(peer: RawPeer) -> list[dict[str, object]]:
    return [message["Item"]["value"] for message in peer.receive() if "Item" in message]  # type: ignore[misc]  # maps


# Calls


def test_a_call_that_is_denied_says_by_which_rule_and_reaches_nobody(bus: Bus) -> None:
    worker, caller = json_peer(bus, "disk", "other"), alice(bus)
    caller.send(
        call(f"{caller.prefix}1", "disk", "format"),
        call(f"{caller.prefix}2", "other", "read"),
        call(f"{caller.prefix}3", "nobody", "read"),
    )
    answers = [error_from(answer) for answer in caller.receive()]
    assert [(one.call_id, one.object_name, one.code, one.delivered, one.message) for one in answers] == [
        (f"{caller.prefix}{number}", name, DENIED, "no", f"user 'alice' may not call '{name}.{method}': {why}")
        for number, name, method, why in [
            (1, "disk", "format", "the rule 'no formatting' of policy.toml"),
            (2, "other", "read", BY_DEFAULT),
            (3, "nobody", "read", BY_DEFAULT),  # whether there is such an object is not said
        ]
    ]
    assert worker.receive() == []
    bus.assert_no_call_is_left()


def test_a_call_that_is_allowed_goes_its_way(bus: Bus) -> None:
    worker, caller = packed_peer(bus, "disk"), alice(bus)
    for number in range(3):
        call_id = f"{caller.prefix}{number}"
        caller.send(call(call_id, "disk", "read", [number]))
        assert worker.receive()[-1] == call(call_id, "disk", "read", [number])
        worker.send(result(call_id, "disk", number))
        assert caller.receive() == [result(call_id, "disk", number)]


def test_a_seed_peer_is_told_in_its_own_words(bus: Bus) -> None:
    seed = RawPeer(bus, principal=ALICE)
    seed.send(call("1", "disk", "format"))
    message = "user 'alice' may not call 'disk.format': the rule 'no formatting' of policy.toml"
    assert seed.receive() == [error("1", "disk", message)]
    seed.send(subscribe("keys", "new"))
    assert seed.receive() == [error(None, "keys", f"user 'alice' may not subscribe to 'keys.new': {BY_DEFAULT}")]


def test_cancelling_and_credit_need_no_rule(bus: Bus) -> None:
    worker, caller = json_peer(bus, "disk"), alice(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call_with(call_id, "disk", "tail", credit=10))
    worker.receive()
    caller.send(credit(call_id, 20), cancel(call_id))
    assert worker.receive() == [credit(call_id, 20), cancel(call_id)]
    bus.assert_no_call_is_left()


# Names and events


def test_a_name_that_is_denied(bus: Bus) -> None:
    peer = alice(bus)
    peer.send(register("disk"), register("home.lamp"), register("home"))
    assert peer.receive() == [
        refused("RegisterObject", "disk", DENIED, f"user 'alice' may not serve 'disk': {BY_DEFAULT}"),
        {"Registered": {"object_name": "home.lamp"}},
        refused("RegisterObject", "home", DENIED, f"user 'alice' may not serve 'home': {BY_DEFAULT}"),
    ]
    assert list(bus.router.names) == ["home.lamp"]


def test_the_name_rob_is_nobody_s_whatever_the_policy_says(bus: Bus) -> None:
    peer = json_peer(bus, principal=BOB)
    peer.send(register("rob"), publish("rob", "x"))
    assert [error_from(answer).message for answer in peer.receive()] == [
        "the name 'rob' is the broker's own; choose another",
        "only the broker publishes as 'rob'",
    ]


def test_an_event_that_is_denied_reaches_nobody(bus: Bus) -> None:
    listener, publisher = json_peer(bus), alice(bus)
    listener.subscribe("sensor", "heat")
    listener.subscribe("sensor", "light")
    publisher.send(
        publish("sensor", "light", 1),
        {"Publish": {"object_name": "sensor", "topic": "light", "args": 2, "call_id": f"{publisher.prefix}1"}},
        {"Publish": {"object_name": "sensor", "topic": "light", "args": 3, "retain": True}},
        publish("sensor", "heat", 4),
    )
    why = f"user 'alice' may not publish 'sensor.light': {BY_DEFAULT}"
    unasked = refused("Publish", "sensor", DENIED, why)
    asked = refused("Publish", "sensor", DENIED, why)
    asked["Error"]["call_id"] = f"{publisher.prefix}1"
    assert publisher.receive() == [unasked, asked, unasked]
    assert listener.receive() == [event("sensor", "heat", 4)]
    assert len(bus.router.events.retained) == 0


def test_of_a_batch_that_is_denied_each_event_is_refused_and_one_that_is_allowed_goes_on_whole(bus: Bus) -> None:
    listener, publisher = json_peer(bus), alice(bus)
    subscribe_to(listener, "sensor", ">", 1)
    why = f"user 'alice' may not publish 'sensor.light': {BY_DEFAULT}"
    for _ in range(2):  # as somebody who is not known, and as somebody who is
        publisher.send(batch("sensor", "light", 1, 2), batch("sensor", "heat", 3, 4), batch("rob", "heat", 5))
        as_rob = refused("Publish", "rob", DENIED, "only the broker publishes as 'rob'")
        assert publisher.receive() == [refused("Publish", "sensor", DENIED, why)] * 2 + [as_rob]
    assert told(listener.receive()) == [3, 4, 3, 4]
    publisher.send(batch("sensor", "heat", 5, 6))
    [whole] = listener.receive()
    assert whole["Batch"]["values"] == [5, 6]
    assert bus.router.events.published == 6


@pytest.mark.parametrize(
    ("object_name", "topic", "allowed"),
    [
        ("sensor", "heat", True),
        ("sensor", "*", True),
        ("sensor", "heat.indoors", False),
        ("sensor", ">", False),  # which is also for `heat.indoors`
        ("rooms", ">", True),
        ("rooms.>", "*", True),
        ("*", "heat", False),
        (">", ">", False),
        ("rob", "object.lost", True),
    ],
)
def test_a_pattern_is_allowed_where_all_is_that_it_stands_for(
    bus: Bus, object_name: str, topic: str, allowed: bool
) -> None:
    peer = alice(bus)
    peer.send({"Subscribe": {"object_name": object_name, "topic": topic, "id": 7, "credit": 1000}})
    [answer] = peer.receive()
    assert ("Subscribed" in answer) is allowed
    assert len(peer.peer.subscriptions) == allowed
    if not allowed:
        refusal = error_from(answer)
        assert (refusal.code, refusal.type, refusal.subscription) == (DENIED, "Subscribe", 7)
        assert refusal.message == f"user 'alice' may not subscribe to '{object_name}.{topic}': {BY_DEFAULT}"


def test_a_subscription_that_a_part_of_is_denied(bus: Bus) -> None:
    text = 'default = "allow"\n[[rule]]\nname = "keys"\neffect = "deny"\nsubscribe = "keys.>"\n'
    bus.router.gatekeeper.replace_policy(parse_policy(text, "policy.toml"), bus.now)
    peer = alice(bus)
    for number, (object_name, topic) in enumerate([(">", ">"), ("*", "new"), ("keys", "*"), ("sensor", ">")], 1):
        peer.send({"Subscribe": {"object_name": object_name, "topic": topic, "id": number, "credit": 1000}})
    answers = peer.receive()
    assert [error_from(answer).message for answer in answers[:3]] == [
        f"user 'alice' may not subscribe to '{object_name}.{topic}': the rule 'keys' of policy.toml"
        for object_name, topic in [(">", ">"), ("*", "new"), ("keys", "*")]
    ]
    assert answers[3] == {"Subscribed": {"object_name": "sensor", "topic": ">", "id": 4}}


# What is asked of `rob`


@pytest.mark.parametrize("method", METHODS_OF_ROB)
def test_methods_of_rob_that_are_not_for_everybody(bus: Bus, method: str) -> None:
    peer = alice(bus)
    peer.send(call_with(f"{peer.prefix}1", "rob", method, credit=1000))
    [answer] = peer.receive()
    what = "administer this broker" if METHODS_OF_ROB[method] == "administer" else "look at what others do on this bus"
    why = "the default: only the broker's own user and root may do that"
    assert error_from(answer).message == f"user 'alice' may not {what}: {why}"
    assert error_from(answer).code == DENIED
    allowed = json_peer(bus, principal=BOB)
    allowed.send(call_with(f"{allowed.prefix}1", "rob", method, credit=100_000))
    assert not any("Error" in one and error_from(one).code == DENIED for one in allowed.receive())


def test_what_everybody_may_ask(bus: Bus) -> None:
    """Which names there are, what they offer and which topics are in use is no secret."""
    json_peer(bus, "disk")
    peer = alice(bus)
    peer.send(
        call(f"{peer.prefix}1", "rob", "listObjects"),
        call(f"{peer.prefix}2", "rob", "describe", {"object": "disk"}),
        call(f"{peer.prefix}3", "rob", "topics"),
        call(f"{peer.prefix}4", "rob", "stats"),
        call(f"{peer.prefix}5", "rob", "ping"),
        {"HasObject": {"object_name": "disk"}},
    )
    assert [next(iter(answer)) for answer in peer.receive()] == ["Result"] * 5 + ["HasObjectResult"]


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("setWill", {"object_name": "sensor", "topic": "light", "args": 1}),
        ("clear", {"object_name": "sensor", "topic": "light"}),
    ],
)
def test_wills_and_clearing_are_publishing(bus: Bus, method: str, args: dict[str, object]) -> None:
    peer = alice(bus)
    allowed = args | {"topic": "heat"}
    peer.send(call(f"{peer.prefix}1", "rob", method, args), call(f"{peer.prefix}2", "rob", method, allowed))  # type: ignore[arg-type]  # it is JSON
    denied, done = peer.receive()
    assert error_from(denied).code == DENIED
    assert error_from(denied).message == f"user 'alice' may not publish 'sensor.light': {BY_DEFAULT}"
    assert "Result" in done


def test_a_service_may_be_registered_by_those_who_administer(bus: Bus) -> None:
    wish: Message = {"RegisterService": {"object_name": "disk", "service_name": "disk.service"}}
    bus.router.services.allow_units = frozenset({"disk.service"})
    peer = alice(bus)
    peer.send(wish)
    [answer] = peer.receive()
    why = "the default: only the broker's own user and root may do that"
    assert answer == refused("RegisterService", "disk", DENIED, f"user 'alice' may not administer this broker: {why}")
    other = json_peer(bus, principal=BOB)
    other.send(wish)
    assert other.receive() == []


# Those who look


def test_who_may_look_sees_calls_that_are_denied_and_what_restricted_peers_do(bus: Bus) -> None:
    worker, caller, watcher = json_peer(bus, "disk"), alice(bus), json_peer(bus, principal=ROOT)
    watch(watcher, f"{watcher.prefix}1")
    assert [one["kind"] for one in records(watcher)] == ["begin"]
    call_ids = [f"{caller.prefix}{number}" for number in range(2)]
    caller.send(call(call_ids[0], "disk", "format"), call(call_ids[1], "disk", "read"), publish("sensor", "heat", 5))
    worker.receive()
    worker.send(result(call_ids[1], "disk", 42))
    seen = [(one["kind"], one.get("method"), one.get("code"), one.get("value")) for one in records(watcher)]
    assert seen == [
        ("call", "format", None, None),
        ("error", "format", DENIED, None),
        ("call", "read", None, None),
        ("event", "heat", None, 5),
        ("result", "read", None, 42),
    ]


def test_who_looks_at_rob_sees_no_tokens(bus: Bus) -> None:
    watcher = json_peer(bus, principal=ROOT)
    watch(watcher, f"{watcher.prefix}1", object="rob")
    records(watcher)
    RawPeer(bus, principal=ALICE).hello(token="ipcb_secret", session="secret")
    [hello] = [one for one in records(watcher) if one["kind"] == "call"]
    assert hello["method"] == "hello"
    assert "value" not in hello


# Costs


def test_who_may_do_everything_has_the_handlers_of_the_router_itself(bus: Bus) -> None:
    """`POLICY` denies nothing to root, so that no look-up and no further step stands before what root's programs say."""
    peers = [RawPeer(bus), json_peer(bus, principal=ROOT), alice(bus)]
    assert [peer.peer.handlers is bus.router.handlers for peer in peers] == [True, True, False]
    assert [peer.peer.account is None for peer in peers] == [True, True, False]
    assert [peer.peer.access is None for peer in peers] == [True, True, False]


def test_an_owner_to_whom_something_is_denied(bus: Bus) -> None:
    text = '[[rule]]\nname = "never"\neffect = "deny"\ncall = "disk.format"\n'
    bus.router.gatekeeper.replace_policy(parse_policy(text, "policy.toml"), bus.now)
    worker, caller = json_peer(bus, "disk"), json_peer(bus, principal=ROOT)
    assert caller.peer.account is None, "of the owner nothing is counted"
    caller.send(call(f"{caller.prefix}1", "disk", "format"), call(f"{caller.prefix}2", "disk", "read"))
    [answer] = caller.receive()
    assert error_from(answer).message == "user 'root' may not call 'disk.format': the rule 'never' of policy.toml"
    assert worker.receive()[1:] == [call(f"{caller.prefix}2", "disk", "read")]


def test_decisions_are_shared_and_bounded(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_broker.routing.access.MOST_REMEMBERED", 10)
    one, other, bob = alice(bus), alice(bus), json_peer(bus, principal=BOB)
    assert one.peer.access is other.peer.access is not bob.peer.access
    for number in range(25):
        one.send(
            call(f"{one.prefix}a{number}", f"disk{number}", "read"),
            call(f"{one.prefix}b{number}", "disk", f"read{number}"),
            publish("sensor", f"heat{number}"),
            publish("sensor", "heat"),
        )
    codes = [error_from(answer).code for answer in one.receive()]
    assert sorted(codes) == ["no_such_object"] * 25 + [DENIED] * 50
    access = one.peer.access
    assert access is not None
    assert max(len(access._denied), len(access.may_call), len(access.may_publish)) <= 10


@pytest.mark.parametrize("mode", ["shared", "standby"])
def test_a_name_is_shared_with_other_users_only_by_a_rule(bus: Bus, mode: str) -> None:
    """Else whoever is let in would get calls that were made to somebody else."""
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    alice, bob = json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)
    serve(alice, "disk", "shared")
    serve(json_peer(bus, principal=ALICE), "disk", mode)
    bob.send(register_as("disk", mode))
    refusal = error_from(bob.receive()[0])
    assert (refusal.code, refusal.message) == (
        DENIED,
        "user 'bob' may not serve 'disk', which somebody else serves, unless a rule of the policy says so",
    )
    bob.send(register_as("disk"))
    assert error_of(bob.receive()[0])["code"] == "name_taken"
    serve(bob, "lamp", mode)
    serve(json_peer(bus, principal=ROOT), "disk", mode)
    rule = '[[rule]]\nname = "disks"\nusers = ["alice", "bob"]\nregister = "disk"\n'
    bus.router.gatekeeper.replace_policy(parse_policy(rule, "policy.toml"), bus.now)
    serve(bob, "disk", mode)


def test_who_stands_by_alone_keeps_others_out_too(bus: Bus) -> None:
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    alice, bob = json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)
    serve(alice, "disk", "standby")
    bob.send(register_as("disk", "standby"))
    assert error_from(bob.receive()[0]).code == DENIED


@pytest.mark.parametrize("who", [ALICE, BOB, Principal(token="ci")], ids=Principal.describe)
@pytest.mark.parametrize("kind", [json_peer, packed_peer])
def test_by_default_those_who_are_let_in_work_as_all_others_do(who: Principal, kind: Callable[..., RawPeer]) -> None:
    bus = Bus(quotas=Quotas())
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    peer, other = json_peer(bus, principal=who), kind(bus)
    serve(peer, "home")
    other.send(call(f"{other.prefix}1", "home", "f"))
    assert call(f"{other.prefix}1", "home", "f") in peer.receive()
    peer.send(result(f"{other.prefix}1", "home", 1))
    assert other.receive() == [result(f"{other.prefix}1", "home", 1)]
    peer.subscribe("a", "t")
    other.send(publish("a", "t", 2))
    assert peer.receive() == [event("a", "t", 2)]
    assert stats(other)["calls_in_flight"] == 0
    client = Client(bus)
    assert client.call("home", "f").done() is False
