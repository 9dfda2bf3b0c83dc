"""What few messages of one user set going is done a piece at a time: others have their turn in between."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.turns import NEXT_TURN, OF_A_MESSAGE, TURN
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import Principal
from tests.memory import Bus, RawPeer
from tests.messages import call, publish, register, result
from tests.routing.peers import error_from, json_peer
from tests.routing.test_accounts import bus_with
from tests.security.people import ALICE, BOB, ROOT
from tests.seed.frames import Message

MANY = 2000
"""Subscriptions, so that six events are more than one turn."""

A_TURN = TURN // MANY + 1


@pytest.fixture
def bus() -> Bus:
    return bus_with(Limits(backlog=10**9))


def subscribe_often(bus: Bus, object_name: str = "sensor", topic: str = "heat", **fields: str) -> RawPeer:
    """A peer that is subscribed many times, and takes nothing."""
    listener = json_peer(bus)
    for number in range(1, MANY + 1):
        listener.send({"Subscribe": {"object_name": object_name, "topic": topic, "id": number, **fields}})
    listener.receive()
    return listener


def assert_answers(peer: RawPeer) -> None:
    peer.send(call(f"{peer.prefix}ping", "rob", "ping"))
    assert peer.receive() == [result(f"{peer.prefix}ping", "rob", "pong")]


def test_events_for_many_are_delivered_a_turn_at_a_time(bus: Bus) -> None:
    subscribe_often(bus)
    hog, bob = json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)
    hog.send(*(publish("sensor", "heat", number) for number in range(3 * A_TURN)))
    for turn in (1, 2):
        bus.settle()
        assert bus.router.events.published == turn * A_TURN
        assert not hog.peer.reads
        assert_answers(bob)
        bus.advance(NEXT_TURN)
    assert bus.router.events.published == 3 * A_TURN
    assert hog.peer.reads
    assert_answers(hog)


def test_nothing_changes_its_place(bus: Bus) -> None:
    """Also not what the shell had read already when it was told to stop."""
    subscribe_often(bus)
    listener, hog = json_peer(bus), json_peer(bus, principal=ALICE)
    listener.subscribe("sensor", "heat")
    hog.send(*(publish("sensor", "heat", number) for number in range(2 * A_TURN)))
    bus.settle()
    late = RawPeer(bus)
    late.send(publish("sensor", "heat", 2 * A_TURN))
    bus.router.receive(hog.peer, late.outgoing(), bus.now)
    hog.send(publish("sensor", "heat", 2 * A_TURN + 1))
    bus.advance(3 * NEXT_TURN)
    assert [message["Event"]["args"] for message in listener.receive()] == list(range(2 * A_TURN + 2))


@pytest.mark.parametrize("fields", [{"overflow": "drop_oldest"}, {"group": "all"}], ids=["each", "a group"])
def test_what_nobody_takes_is_work_too(bus: Bus, fields: dict[str, str]) -> None:
    subscribe_often(bus, **fields)
    hog = json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "heat") for _ in range(2 * A_TURN)))
    bus.settle()
    assert bus.router.events.published == A_TURN


def test_large_events_are_more_work(bus: Bus) -> None:
    listeners = [json_peer(bus) for _ in range(20)]
    for listener in listeners:
        listener.subscribe("sensor", "picture")
    hog = json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "picture", "x" * 40_000) for _ in range(100)))
    bus.settle()
    assert bus.router.events.published == TURN // (20 * 10) + 1


def test_so_is_what_rob_tells(bus: Bus) -> None:
    owner = json_peer(bus)
    owner.send(*(register(f"object.{number}") for number in range(MANY)))
    owner.receive()
    hog, bob = json_peer(bus, principal=ALICE, max_frame=10**6), json_peer(bus, principal=BOB)
    hog.send(*(call(f"{hog.prefix}{number}", "rob", "listObjects", {"after": ""}) for number in range(40)))
    first = len(hog.receive())
    assert 0 < first < 20
    assert_answers(bob)
    bus.advance(10 * NEXT_TURN)
    assert first + len(hog.receive()) == 40


def test_so_is_a_long_policy(bus: Bus) -> None:
    """Of what it says is remembered what is asked for again, and not what is always another."""
    rules = "".join(f'[[rule]]\nname = "{n}"\nusers = "alice"\ncall = "object.{n}"\n' for n in range(MANY))
    bus.router.gatekeeper.replace_policy(parse_policy(rules, "policy.toml"), bus.now)
    hog = json_peer(bus, principal=ALICE)
    bus.advance(NEXT_TURN)
    hog.send(*(call(f"{hog.prefix}{number}", "object", f"x{number}") for number in range(4)))
    assert len(hog.receive()) == 2
    bus.advance(NEXT_TURN)
    assert len(hog.receive()) == 2


def test_so_is_looking_for_retained_values(bus: Bus) -> None:
    owner = json_peer(bus)
    for number in range(MANY):
        owner.send({"Publish": {"object_name": "x", "topic": f"{number}", "args": 1, "retain": True}})
    bus.settle()
    hog = json_peer(bus, principal=ALICE)
    for number in range(1, 3 * A_TURN):
        hog.send({"Subscribe": {"object_name": "*", "topic": "none", "id": number}})
    assert len(hog.receive()) == A_TURN
    bus.advance(NEXT_TURN * 3)
    assert len(hog.receive()) == 2 * A_TURN - 1


def test_ten_deliveries_count_as_a_message() -> None:
    bus = bus_with(rate=1000)
    subscribe_often(bus)
    hog = json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "heat") for _ in range(5)))
    bus.settle()
    assert not hog.peer.reads
    debt = 5 * (1 + MANY // OF_A_MESSAGE) + 1 - 1000
    bus.advance(debt / 1000 - 0.001)
    assert not hog.peer.reads
    bus.advance(0.1)
    assert hog.peer.reads


def test_what_is_left_waits_for_the_rate_too() -> None:
    bus = bus_with(rate=1000)
    subscribe_often(bus)
    hog, other = json_peer(bus, principal=ALICE), json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "heat") for _ in range(A_TURN + 1)))
    bus.settle()
    debt = A_TURN * (1 + MANY // OF_A_MESSAGE) + 2 - 1000
    bus.advance(debt / 1000 - 0.001)
    assert bus.router.events.published == A_TURN
    bus.advance(0.1)
    assert bus.router.events.published == A_TURN + 1
    assert not hog.peer.reads or other.peer.reads
    bus.advance(1)
    assert hog.peer.reads
    assert other.peer.reads


@pytest.mark.parametrize("who", [ALICE, ROOT], ids=lambda who: who.user)
def test_the_end_of_what_somebody_says_comes_behind_it(bus: Bus, who: Principal) -> None:
    subscribe_often(bus)
    hog = json_peer(bus, principal=who)
    hog.send(*(publish("sensor", "heat", number) for number in range(2 * A_TURN)))
    bus.settle()
    bus.router.end_of_input(hog.peer, bus.now)
    bus.flush()
    bus.advance(2 * NEXT_TURN)
    assert bus.router.events.published == 2 * A_TURN
    assert hog.ended


def test_of_one_that_is_gone_nothing_is_heard_any_more(bus: Bus) -> None:
    listener = subscribe_often(bus)
    hog = json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "heat") for _ in range(2 * A_TURN)))
    bus.settle()
    hog.disconnect()
    listener.disconnect()
    bus.advance(1)
    assert bus.router.events.published == A_TURN
    bus.assert_empty()


def test_a_new_policy_takes_nobody_s_turn_and_holds_in_the_next(bus: Bus) -> None:
    subscribe_often(bus)
    hog = json_peer(bus, principal=ALICE)
    hog.send(*(publish("sensor", "heat") for _ in range(A_TURN)), publish("sensor", "heat"), publish("lamp", "on"))
    bus.settle()
    policy = '[[rule]]\nname = "sensors"\nusers = "alice"\npublish = "sensor.*"\n'
    bus.router.gatekeeper.replace_policy(parse_policy(policy, "policy.toml"), bus.now)
    assert not hog.peer.reads
    bus.advance(NEXT_TURN)
    assert bus.router.events.published == A_TURN + 1
    assert [error_from(message).code for message in hog.receive()] == ["permission_denied"]
    assert hog.peer.reads


def test_a_fault_of_ours_costs_one_connection(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe_often(bus)
    hog, bob = json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)
    for one in (hog, bob):
        one.send(*(publish("sensor", "heat") for _ in range(A_TURN)), call("x", "rob", "ping"))
    bus.settle()

    def fails(peer: Peer, *_: object) -> None:
        if peer is hog.peer:
            raise ZeroDivisionError

    monkeypatch.setattr(bus.router.driver, "call", fails)
    with pytest.raises(ZeroDivisionError):
        bus.advance(NEXT_TURN)
    bus.flush()
    bus.advance(NEXT_TURN)
    assert hog.ended
    assert bob.peer.reads


def test_one_that_is_ended_by_another_s_turn_has_no_turn(bus: Bus) -> None:
    """Two wait for their turn, and the first one's takes the second one's connection."""
    subscribe_often(bus)
    first = json_peer(bus, principal=ALICE)
    token = first.peer.token
    second = RawPeer(bus, principal=ALICE)
    for one in (first, second):
        one.send(*(publish("sensor", "heat") for _ in range(A_TURN + 1)))
    bus.settle()
    assert bus.router.events.published == 2 * A_TURN
    third = RawPeer(bus, principal=ALICE)
    third.hello(session=token)
    bus.advance(NEXT_TURN)
    assert bus.router.events.published == 2 * A_TURN + 1
    assert first.ended


def test_the_owner_is_heard_at_once(bus: Bus) -> None:
    subscribe_often(bus)
    owner = json_peer(bus)
    owner.send(*(publish("sensor", "heat") for _ in range(2 * A_TURN)))
    bus.settle()
    assert bus.router.events.published == 2 * A_TURN


def test_few_subscribers_cost_nothing_more() -> None:
    bus = bus_with(rate=100)
    for _ in range(8):
        json_peer(bus).subscribe("sensor", "heat")
    publisher = json_peer(bus, principal=ALICE)
    messages: list[Message] = [publish("sensor", "heat")] * 98
    publisher.send(*messages)
    bus.settle()
    assert publisher.peer.reads
