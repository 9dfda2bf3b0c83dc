"""`rob.inspect`: what is stuck, who is slow, who has gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import convert

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.observation import MOST_LISTED, CallState, Inspection
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, publish
from tests.routing.looking import assert_nobody_looks
from tests.routing.peers import call_with, cancel, credit, item, json_peer, packed_peer, serve
from tests.routing.slow import Slow, SlowExtended, SlowSeed, send_events, slow_bus
from tests.routing.subscribers import subscribe_to
from tests.seed.frames import Json


def inspect(peer: RawPeer, args: Json = None) -> Inspection:
    peer.send(call(f"{peer.prefix}inspect", "rob", "inspect", args))
    [answer] = [one for one in peer.receive() if one.get("Result", {}).get("object_name") == "rob"]
    return convert(answer["Result"]["value"], Inspection)


def test_a_broker_with_nothing_stuck(bus: Bus) -> None:
    asker = json_peer(bus, "lamp")
    bus.advance(3.5)
    found = inspect(asker, {"ignored": True})
    assert found == Inspection(3.5, [], 0, [], [], [], [])
    assert_nobody_looks(bus.router)


# Calls


def test_calls_in_flight_with_who_made_them_and_who_has_them(bus: Bus) -> None:
    json_peer(bus, "math", name="worker")
    caller = extended_peer(bus, name="caller", credentials=Credentials(pid=12))
    seed = RawPeer(bus)
    asker = packed_peer(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add", timeout_ms=60_000))
    bus.advance(2.0)
    seed.send(call("7", "math", "sub"))
    bus.advance(0.5)
    found = inspect(asker)
    assert found.calls_total == 2
    assert found.calls == [
        CallState(
            call=f"{caller.prefix}1",
            object="math",
            method="add",
            caller="'caller' (process 12)",
            worker="'worker'",
            age=2.5,
            state="at its worker",
            left=57.5,
        ),
        CallState(
            call=f"{seed.peer.id}.7",
            object="math",
            method="sub",
            caller=f"connection {seed.peer.id}",
            worker="'worker'",
            age=0.5,
            state="at its worker",
        ),
    ]


def test_the_states_of_calls(bus: Bus) -> None:
    worker, caller, asker = json_peer(bus), json_peer(bus), json_peer(bus)
    serve(worker, "one", concurrency=1)
    serve(worker, "many")
    for number, (object_name, fields) in enumerate(
        (("one", {}), ("one", {}), ("many", {"credit": 10}), ("many", {"credit": 10_000}), ("many", {}))
    ):
        fields_of_call: dict[str, Json] = dict(fields)
        caller.send(call_with(f"{caller.prefix}{number}", object_name, "work", **fields_of_call))
        bus.advance(1.0)
    for number in (2, 3):
        worker.send(item(f"{caller.prefix}{number}", "x" * 20))
    states = {one.call: (one.state, one.worker) for one in inspect(asker).calls}
    at = worker.peer.describe()
    assert states == {
        f"{caller.prefix}0": ("at its worker", at),
        f"{caller.prefix}1": ("waiting for room", ""),
        f"{caller.prefix}2": ("waiting for its caller", at),
        f"{caller.prefix}3": ("at its worker", at),
        f"{caller.prefix}4": ("at its worker", at),
    }
    caller.send(credit(f"{caller.prefix}2", 10_000), cancel(f"{caller.prefix}0"), cancel(f"{caller.prefix}4"))
    bus.settle()
    found = inspect(asker)
    states = {one.call: (one.state, one.worker) for one in found.calls}
    assert states == {
        f"{caller.prefix}0": ("given up", at),
        f"{caller.prefix}1": ("waiting for room", ""),
        f"{caller.prefix}2": ("at its worker", at),
        f"{caller.prefix}3": ("at its worker", at),
    }
    assert found.calls_total == 4
    assert [one.caller for one in found.calls if one.state == "given up"] == [""]


def test_of_a_call_that_was_given_up_nothing_is_left(bus: Bus) -> None:
    worker, caller, asker = json_peer(bus), json_peer(bus), json_peer(bus)
    serve(worker, "one", concurrency=1)
    caller.send(call_with(f"{caller.prefix}1", "one", "work", timeout_ms=1000))
    bus.advance(5.0)
    [given_up] = inspect(asker).calls
    assert (given_up.state, given_up.left, given_up.age) == ("given up", 0.0, 5.0)


def test_the_oldest_calls_are_listed_and_all_are_counted(bus: Bus) -> None:
    json_peer(bus, "math")
    caller, asker = json_peer(bus), json_peer(bus)
    for number in range(MOST_LISTED + 20):
        caller.send(call(f"{caller.prefix}{number}", "math", "add"))
        bus.advance(0.01)
    found = inspect(asker)
    assert found.calls_total == MOST_LISTED + 20
    assert [one.call for one in found.calls] == [f"{caller.prefix}{number}" for number in range(MOST_LISTED)]


# Subscribers and publishers


@pytest.mark.parametrize("kind", [SlowSeed, SlowExtended])
def test_subscribers_that_are_behind_and_publishers_that_wait_for_them(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[[Bus], Slow]
) -> None:
    bus = slow_bus(monkeypatch)
    publisher, other, asker = json_peer(bus, name="sensor"), json_peer(bus), json_peer(bus)
    slow = kind(bus)
    send_events(publisher, *range(5))
    found = inspect(asker)
    [state] = found.behind
    assert (state.object, state.topic, state.state, state.age) == ("sensor", "temperature", "behind", 0.0)
    assert state.backlog == slow.feed.backlog_bytes > 0
    assert found.publishers == []
    send_events(publisher, *range(10))
    bus.advance(1.0)
    found = inspect(asker)
    [state] = found.behind
    assert (state.state, state.age, state.missed) == ("full", 1.0, 0)
    [waits] = found.publishers
    assert waits.peer == "'sensor'"
    assert waits.waits_for == [f"sensor temperature of {slow.raw.peer.describe()}"]
    bus.advance(2.0)
    send_events(publisher, 99)
    found = inspect(asker)
    [state] = found.behind
    assert (state.state, state.missed, state.age) == ("lagging", 1, 3.0)
    assert found.publishers == []
    assert other.peer in bus.router.peers


def test_a_seed_peer_with_several_subscriptions_is_behind_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = slow_bus(monkeypatch)
    publisher, asker, slow = json_peer(bus), json_peer(bus), SlowSeed(bus)
    slow.raw.link.take_again()
    slow.raw.subscribe("other", "x")
    slow.raw.link.stop_taking()
    send_events(publisher, *range(5))
    [state] = inspect(asker).behind
    assert (state.object, state.topic) == ("*", "*")


def test_the_worst_come_first_and_no_more_than_a_number(bus: Bus) -> None:
    publisher, asker = json_peer(bus), json_peer(bus)
    slow = json_peer(bus)
    for number in range(MOST_LISTED + 10):
        subscribe_to(slow, "sensor", f"t{number}", number + 1, 0)
        publisher.send(publish("sensor", f"t{number}", "x" * number))
    bus.settle()
    behind = inspect(asker).behind
    assert len(behind) == MOST_LISTED
    assert behind[0].topic == f"t{MOST_LISTED + 9}"
    assert behind == sorted(behind, key=lambda one: -one.backlog)


# Connections


def test_connections_with_something_left_to_write(bus: Bus) -> None:
    worker, caller, asker = json_peer(bus, "math", name="worker"), json_peer(bus), json_peer(bus)
    worker.link.stop_taking()
    caller.send(call(f"{caller.prefix}1", "math", "add", "x" * 100))
    [state] = inspect(asker).connections
    assert (state.name, state.serving) == ("worker", 1)
    assert state.outbox == worker.peer.connection.queued > 100


def test_who_has_gone_and_why() -> None:
    bus = Bus(Limits(backlog=1000, heartbeat=3.0))
    asker = json_peer(bus)
    polite = extended_peer(bus, name="polite", credentials=Credentials(pid=3))
    polite.send({"Goodbye": {"reason": "bye"}})
    bus.settle()
    bus.advance(1.0)
    killed = json_peer(bus, name="killed")
    killed.disconnect()
    nonsense = json_peer(bus, name="nonsense")
    nonsense.send_bytes(b"\xff\xff\xff\xff")
    bus.settle()
    overfull = json_peer(bus, name="overfull")
    overfull.send({"Subscribe": {"object_name": "a", "topic": "b", "id": 1, "overflow": "disconnect"}})
    bus.settle()
    asker.send(*(publish("a", "b", "x" * 600) for _ in range(3)))
    bus.settle()
    frozen = json_peer(bus, name="frozen", features=["heartbeat"])
    bus.advance(10.0)
    asker.receive()
    gone = inspect(asker).departures
    assert [(one.peer, one.expected) for one in gone] == [
        ("'frozen'", False),
        ("'overfull'", False),
        ("'nonsense'", False),
        ("'killed'", False),
        ("'polite' (process 3)", True),
    ]
    reasons = [one.reason for one in gone]
    assert "(heartbeat)" in reasons[0]
    assert "(backlog)" in reasons[1]
    assert "a frame of 4294967295 bytes" in reasons[2]
    assert reasons[3:] == ["its connection ended", "it said goodbye"]
    assert gone[-1].age == 11.0
    assert frozen.ended


def test_a_connection_that_came_back_over_another(bus: Bus) -> None:
    earlier, asker = RawPeer(bus), json_peer(bus)
    answer = earlier.hello(features=["resume"])["Result"]["value"]
    assert isinstance(answer, dict)
    RawPeer(bus).hello(features=["resume"], session=answer["session"])
    [gone] = inspect(asker).departures
    assert gone.reason == "it came back over another connection"


def test_the_last_departures_are_remembered(bus: Bus) -> None:
    asker = json_peer(bus)
    for _ in range(MOST_LISTED + 5):
        RawPeer(bus).disconnect()
    gone = inspect(asker).departures
    assert len(gone) == MOST_LISTED
    assert gone[0].peer == f"connection {MOST_LISTED + 6}"


def test_who_is_refused_for_room_has_not_been_here() -> None:
    bus = Bus(Limits(connections=1))
    asker = json_peer(bus)
    RawPeer(bus)
    assert inspect(asker).departures == []
