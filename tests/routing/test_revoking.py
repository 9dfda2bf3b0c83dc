"""A policy that is replaced ends what it does not allow any more, at once and altogether, and nothing else."""

from __future__ import annotations

import pytest

from ipc_broker.routing.router import Router
from ipc_broker.security.policy import Policy
from ipc_broker.security.policy_file import parse_policy
from tests.memory import Bus, RawPeer
from tests.messages import call, event, publish, refused, result
from tests.routing.peers import call_with, cancel, ended, error_from, item, json_peer, register_as, serve
from tests.security.people import ALICE, BOB, ROOT
from tests.seed.frames import Message

DENIED = "permission_denied"
ALL_FOR_ALICE = """
[[rule]]
name = "alice"
users = "alice"
call = ">"
register = ">"
publish = ">"
subscribe = ">"
monitor = true
"""
BY_DEFAULT = "the default of policy.toml: what no rule allows is denied"


@pytest.fixture
def bus() -> Bus:
    bus = Bus()
    replace(bus, ALL_FOR_ALICE)
    return bus


def replace(bus: Bus, text: str) -> None:
    bus.router.gatekeeper.replace_policy(parse_policy(text, "policy.toml"), bus.now)
    bus.flush()


def sent_to(peer: RawPeer) -> list[Message]:
    """Without what only tells who calls."""
    return [message for message in peer.receive() if "Caller" not in message]


def test_names_end_with_the_calls_that_they_were_given(bus: Bus) -> None:
    worker, caller = json_peer(bus, principal=ALICE), json_peer(bus)
    worker.register("disk", "lamp")
    caller.send(call(f"{caller.prefix}1", "disk", "f"), call(f"{caller.prefix}2", "lamp", "f"))
    worker.receive()
    replace(bus, '[[rule]]\nname = "lamps"\nusers = "alice"\nregister = "lamp"\n')
    why = f"user 'alice' may not serve 'disk': {BY_DEFAULT}"
    assert worker.receive() == [refused("RegisterObject", "disk", DENIED, why)]
    [answer] = caller.receive()
    assert error_from(answer).message == "'disk' will not answer 'f': its worker stopped serving 'disk'"
    worker.send(result(f"{caller.prefix}1", "disk", 1), result(f"{caller.prefix}2", "lamp", 2))
    assert caller.receive() == [result(f"{caller.prefix}2", "lamp", 2)]
    assert list(bus.router.names) == ["lamp"]


def test_nobody_takes_over_who_may_not_serve_either(bus: Bus) -> None:
    """The one who stands by would else be given the call that waits, for a moment."""
    serving, standing_by, caller = (json_peer(bus, principal=who) for who in (ALICE, ALICE, ROOT))
    events = json_peer(bus)
    serving.send(register_as("disk", concurrency=1))
    standing_by.send(register_as("disk", "standby", concurrency=1))
    caller.send(call(f"{caller.prefix}1", "disk", "f"), call(f"{caller.prefix}2", "disk", "f"))
    serving.receive()
    standing_by.receive()
    events.subscribe("rob", "object.registered")
    replace(bus, "")
    assert [next(iter(message)) for message in sent_to(standing_by)] == ["Error"]
    assert [error_from(answer).code for answer in caller.receive()] == ["worker_lost", "worker_lost"]
    assert events.receive() == []
    assert list(bus.router.names) == []


def test_one_who_may_serve_takes_over(bus: Bus) -> None:
    serving, caller = json_peer(bus, principal=ALICE), json_peer(bus)
    standing_by = json_peer(bus, principal=ROOT)
    serving.send(register_as("disk"))
    serving.receive()
    standing_by.send(register_as("disk", "standby"))
    standing_by.receive()
    replace(bus, "")
    caller.send(call(f"{caller.prefix}1", "disk", "f"))
    assert sent_to(standing_by) == [call(f"{caller.prefix}1", "disk", "f")]


def test_subscriptions_end_and_those_of_others_do_not(bus: Bus) -> None:
    alice, other = json_peer(bus, principal=ALICE), json_peer(bus)
    for number, (object_name, topic) in enumerate(
        [("keys", "*"), (">", ">"), ("sensor", "heat"), ("rob", "object.lost")]
    ):
        alice.send({"Subscribe": {"object_name": object_name, "topic": topic, "id": number + 1, "credit": 10_000}})
    alice.receive()
    other.subscribe("keys", "new")
    replace(bus, '[[rule]]\nname = "sensors"\nusers = "alice"\nsubscribe = "sensor.>"\n')
    told = [error_from(message) for message in alice.receive()]
    assert [(one.code, one.type, one.subscription) for one in told] == [
        (DENIED, "Subscribe", 1),
        (DENIED, "Subscribe", 2),
    ]
    assert told[0].message == f"user 'alice' may not subscribe to 'keys.*': {BY_DEFAULT}"
    other.send(publish("keys", "new", 1), publish("sensor", "heat", 2))
    assert [message["Event"]["subscription"] for message in alice.receive()] == [3]
    assert other.receive() == [event("keys", "new", 1)]
    assert sorted(str(one.object_name) for one in alice.peer.subscriptions.values()) == ["rob", "sensor"]


def test_what_waits_for_a_subscription_goes_with_it(bus: Bus) -> None:
    alice, other = json_peer(bus, principal=ALICE), json_peer(bus)
    alice.send({"Subscribe": {"object_name": "keys", "topic": "new", "id": 1, "credit": 1}})
    alice.receive()
    other.send(*(publish("keys", "new", number) for number in range(5)))
    assert len(alice.receive()) == 1
    replace(bus, "")
    alice.send({"EventCredit": {"subscription": 1, "bytes": 10_000}})
    assert [next(iter(message)) for message in alice.receive()] == ["Error"]


def test_a_last_will_ends(bus: Bus) -> None:
    alice, other = json_peer(bus, principal=ALICE), json_peer(bus)
    alice.send(call(f"{alice.prefix}1", "rob", "setWill", {"object_name": "alice", "topic": "gone", "args": 1}))
    alice.receive()
    other.subscribe("alice", "gone")
    replace(bus, '[[rule]]\nname = "x"\nusers = "alice"\npublish = "alice.here"\n')
    why = f"user 'alice' may not publish 'alice.gone': {BY_DEFAULT}"
    assert alice.receive() == [refused("Publish", "alice", DENIED, why)]
    alice.disconnect()
    assert other.receive() == []


def test_calls_are_answered_and_streams_and_those_that_wait_end(bus: Bus) -> None:
    worker, alice = json_peer(bus), json_peer(bus, principal=ALICE)
    serve(worker, "disk", concurrency=2)
    ids = [f"{alice.prefix}{number}" for number in range(3)]
    alice.send(
        call(ids[0], "disk", "read"), call_with(ids[1], "disk", "tail", credit=1000), call(ids[2], "disk", "read")
    )
    assert len(sent_to(worker)) == 2
    worker.send(item(ids[1], "line"))
    alice.receive()
    replace(bus, "")
    told = [error_from(message) for message in alice.receive()]
    assert [(one.call_id, one.code, one.delivered) for one in told] == [
        (ids[1], DENIED, "maybe"),
        (ids[2], DENIED, "no"),
    ]
    assert told[0].message == f"user 'alice' may not call 'disk.tail': {BY_DEFAULT}"
    assert sent_to(worker) == [cancel(ids[1])]
    worker.send(result(ids[0], "disk", 1), ended(ids[1], "disk"))
    assert alice.receive() == [result(ids[0], "disk", 1)]
    bus.assert_no_call_is_left()


def test_looking_at_the_bus_ends(bus: Bus) -> None:
    alice, other = json_peer(bus, principal=ALICE), json_peer(bus, principal=ROOT)
    for peer in (alice, other):
        peer.send(call_with(f"{peer.prefix}1", "rob", "monitor", {"payload": 0}, credit=100_000))
        peer.receive()
    replace(bus, "")
    [told] = alice.receive()
    assert (error_from(told).call_id, error_from(told).code) == (f"{alice.prefix}1", DENIED)
    json_peer(bus).send(publish("a", "b"))
    assert alice.receive() == []
    assert [message["Item"]["value"]["kind"] for message in other.receive()] == ["connected", "event"]  # type: ignore[index,call-overload]  # a map


def test_all_have_their_new_standing_before_anything_ends(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the policy before can be seen while it is replaced."""
    peers = [json_peer(bus, principal=who) for who in (ALICE, BOB, ROOT, ALICE)]
    peers[0].register("a")
    seen: list[list[bool]] = []
    refuse = Router.refuse

    def look(router: Router, *words: object, **fields: object) -> None:
        seen.append([peer.peer.access is None or not peer.peer.access.refusal("call", "a", "b") for peer in peers])
        refuse(router, *words, **fields)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(Router, "refuse", look)
    replace(bus, '[[rule]]\nname = "bob"\nusers = "bob"\ncall = ">"\n')
    assert seen == [[False, True, True, False]]


def test_what_was_denied_is_allowed_at_once(bus: Bus) -> None:
    worker, bob = json_peer(bus, "disk"), json_peer(bus, principal=BOB)
    bob.send(call(f"{bob.prefix}1", "disk", "f"))
    assert error_from(bob.receive()[0]).code == DENIED
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    bob.send(call(f"{bob.prefix}1", "disk", "f"))
    assert bob.receive() == []
    assert sent_to(worker) == [call(f"{bob.prefix}1", "disk", "f")]


def test_the_owner_gets_other_handlers_only_where_something_is_denied_to_it(bus: Bus) -> None:
    owner = json_peer(bus, principal=ROOT)
    handlers = bus.router.handlers
    assert owner.peer.handlers is handlers
    replace(bus, '[[rule]]\nname = "x"\neffect = "deny"\ncall = "a.b"\n')
    assert owner.peer.handlers is not handlers
    replace(bus, "")
    assert owner.peer.handlers is handlers


def test_strangers_stay_strangers(bus: Bus) -> None:
    stranger = RawPeer(bus, principal=None)
    replace(bus, 'default = "allow"')
    stranger.send(call("1", "rob", "ping"))
    assert [next(iter(message)) for message in stranger.receive()] == ["Error"]
    assert stranger.ended
