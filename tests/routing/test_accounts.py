"""Quotas: what the connections of one user may take together, and that others do not notice who takes too much."""

from __future__ import annotations

import logging

import pytest

from ipc_broker.config import Limits, Quotas
from ipc_broker.protocol.framing import FIRST_ROOM
from ipc_broker.routing.accounts import LOOK_EVERY, PAUSE
from ipc_broker.security.principal import Principal
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import batch, call, event, publish, register, result, subscribe
from tests.routing.peers import error_from, json_peer, serve, stats
from tests.security.people import ALICE, BOB, CI, ROOT
from tests.seed.frames import Message, frame

PONG: Message = {"Pong": {}}
TOGETHER = "all connections of user 'alice' together have"
QUOTAS = Quotas(connections=3, names=3, subscriptions=3, calls=3, queued=30_000, rate=0)


def bus_with(limits: Limits = Limits(), **quotas: int) -> Bus:
    return Bus(limits, Quotas(**{"rate": 0, **quotas}))


def refusals(messages: list[Message]) -> list[tuple[str, str]]:
    return [(one.code, one.message) for one in map(error_from, messages)]


# Connections


def test_connections(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(quotas=QUOTAS)
    peers = [extended_peer_of(bus, ALICE) for _ in range(3)]
    for _ in range(2):
        refused = RawPeer(bus, principal=ALICE)
        refused.prefix = "so that all fields are shown"
        assert refusals(refused.receive()) == [
            ("overloaded", f"{TOGETHER} 3 connections, the quota (quotas.connections)")
        ]
        assert refused.ended
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1, "told once"
    assert not RawPeer(bus, principal=BOB).peer.closing
    assert not RawPeer(bus, principal=ROOT).peer.closing
    owner = extended_peer(bus)
    assert stats(owner)["totals"]["refused_connections"] == 2
    peers.pop().disconnect()
    assert not RawPeer(bus, principal=ALICE).peer.closing


def extended_peer_of(bus: Bus, who: Principal) -> RawPeer:
    return json_peer(bus, principal=who)


# What they own


def test_names() -> None:
    bus = Bus(quotas=QUOTAS)
    one, other, bob = (json_peer(bus, principal=who) for who in (ALICE, ALICE, BOB))
    one.register("a", "b")
    other.register("c")
    one.send(register("d"), register("a"))
    refused, again = one.receive()
    assert refusals([refused]) == [("overloaded", f"{TOGETHER} 3 names, the quota (quotas.names)")]
    assert again == {"Registered": {"object_name": "a"}}, "what is registered already may be so again"
    bob.register("d", "e", "f")
    other.disconnect()
    one.register("c")


def test_subscriptions() -> None:
    bus = Bus(quotas=QUOTAS)
    one, other, bob = (json_peer(bus, principal=who) for who in (ALICE, ALICE, BOB))
    one.subscribe("a", "1")
    one.subscribe("a", "2")
    other.subscribe("a", "3")
    one.send({"Subscribe": {"object_name": "a", "topic": "4", "id": 9, "credit": 1}})
    [refused] = one.receive()
    assert refusals([refused]) == [("overloaded", f"{TOGETHER} 3 subscriptions, the quota (quotas.subscriptions)")]
    assert error_from(refused).subscription == 9
    bob.subscribe("a", "4")
    other.disconnect()
    one.subscribe("a", "4")


def test_calls_in_flight() -> None:
    bus = Bus(quotas=QUOTAS)
    worker = RawPeer(bus, "math")
    one, other, bob = (json_peer(bus, principal=who) for who in (ALICE, ALICE, BOB))
    one.send(call(f"{one.prefix}1", "math", "f"), call(f"{one.prefix}2", "math", "f"))
    other.send(call(f"{other.prefix}1", "math", "f"), call(f"{other.prefix}2", "math", "f"))
    assert refusals(other.receive()) == [("overloaded", f"{TOGETHER} 3 calls in flight, the quota (quotas.calls)")]
    bob.send(call(f"{bob.prefix}1", "math", "f"))
    assert bob.receive() == []
    other.send(call(f"{other.prefix}3", "rob", "ping"))
    assert other.receive() == [result(f"{other.prefix}3", "rob", "pong")], "what the broker answers itself is none"
    worker.receive()
    worker.send(result(f"{one.prefix}1", "math", 1))
    bus.settle()
    other.send(call(f"{other.prefix}4", "math", "f"))
    assert other.receive() == []
    one.disconnect()
    other.send(call(f"{other.prefix}5", "math", "f"))
    assert other.receive() == []


def test_calls_that_came_to_nothing_do_not_count() -> None:
    bus = Bus(quotas=QUOTAS)
    worker, peer = RawPeer(bus, "math"), json_peer(bus, principal=ALICE)
    for number in range(20):
        peer.send(call(f"{peer.prefix}{number}", "nobody", "f"))
        assert error_from(peer.receive()[0]).code == "no_such_object"
    for number in range(20, 40):
        peer.send(call(f"{peer.prefix}{number}", "math", "f"))
        assert worker.receive() != []
        worker.send(result(f"{peer.prefix}{number}", "math", 1))
        assert "Result" in peer.receive()[0]


def test_a_token_has_an_account_of_its_own_where_nobody_knows_the_user() -> None:
    bus = Bus(quotas=QUOTAS)
    same = Principal(1000, "alice", token="ci")
    for who in (ALICE, same, same):
        RawPeer(bus, principal=who)
    assert RawPeer(bus, principal=same).peer.closing, "a user has one, however many tokens"
    assert not RawPeer(bus, principal=CI).peer.closing


# What waits for them


def test_who_leaves_too_much_unread_is_disconnected_the_heaviest_first() -> None:
    bus = Bus(quotas=QUOTAS)
    publisher, bob = json_peer(bus), json_peer(bus, principal=BOB)
    peers = [json_peer(bus, principal=ALICE) for _ in range(3)]
    for peer in (*peers, bob):
        peer.subscribe("sensor", "heat")
    for peer in (*peers, bob):
        peer.link.stop_taking()
    publisher.send(*(publish("sensor", "heat", "x" * 1000) for _ in range(8)))
    bus.settle()
    peers[1].send(*(call(f"{peers[1].prefix}{number}", "rob", "ping") for number in range(20)))
    bus.advance(LOOK_EVERY)
    assert all(peer.peer in bus.router.peers for peer in peers), "28,000 bytes are no more than they may have"
    publisher.send(*(publish("sensor", "heat", "x" * 1000) for _ in range(2)))
    bus.advance(LOOK_EVERY)
    assert [peer.peer in bus.router.peers for peer in (*peers, bob)] == [True, False, True, True]
    peers[1].link.take_again()
    last = error_from(peers[1].receive()[-1])
    assert (last.code, last.message) == (
        "overloaded",
        "over 30000 bytes of all connections of user 'alice' wait (quotas.queued)",
    )


def test_what_waits_behind_credit_counts_too() -> None:
    bus = Bus(quotas=QUOTAS)
    publisher, peer = json_peer(bus), json_peer(bus, principal=ALICE)
    peer.send({"Subscribe": {"object_name": "sensor", "topic": "heat", "id": 1, "credit": 1}})
    peer.receive()
    publisher.send(*(publish("sensor", "heat", "x" * 1000) for _ in range(35)))
    bus.advance(LOOK_EVERY)
    assert peer.ended
    assert "quotas.queued" in error_from(peer.receive()[-1]).message


def test_calls_that_wait_in_a_line_count_too() -> None:
    """Each line has a limit of its own; one user may make many lines."""
    bus = bus_with(queued=30_000)
    worker, caller = json_peer(bus, principal=ALICE), json_peer(bus, principal=ALICE)
    for number in range(5):
        serve(worker, f"slow.{number}", concurrency=1)
        for size in (1, 7000):
            caller.send(call(f"{caller.prefix}{number}.{size}", f"slow.{number}", "f", "x" * size))
        bus.advance(LOOK_EVERY)
        assert caller.ended is (number == 4)
    assert "quotas.queued" in error_from(caller.receive()[-1]).message
    assert not worker.ended
    assert bus.router.calls.waiting == 0


@pytest.mark.parametrize("size", [200_000, 400_000], ids=["in parts", "as one"])
def test_a_message_without_its_end_counts_too(size: int) -> None:
    bus = bus_with(queued=size + 10_000)
    peers = [json_peer(bus, principal=ALICE) for _ in range(2)]
    unfinished = frame(publish("a", "b", "x" * size))[:-1]
    for start in range(0, len(unfinished), 10_000):
        peers[0].send_bytes(unfinished[start : start + 10_000])
        bus.settle()
    bus.advance(LOOK_EVERY)
    assert not peers[0].ended
    peers[1].send_bytes(frame(publish("a", "b", "x" * 100_000))[:20_000])
    bus.advance(LOOK_EVERY)
    assert [peer.ended for peer in peers] == [True, False]


def test_what_is_set_aside_for_a_large_message_counts_before_it_comes() -> None:
    bus = bus_with(queued=2 * FIRST_ROOM)
    peers = [json_peer(bus, principal=ALICE) for _ in range(3)]
    for peer in peers:
        assert not peers[0].ended
        peer.send_bytes((60_000_000).to_bytes(4, "big"))
        bus.advance(LOOK_EVERY)
    peers[0].send_bytes(b"x")
    bus.settle()
    peers[1].send_bytes(b"x")
    peers[2].send_bytes(b"x")
    bus.advance(LOOK_EVERY)
    assert [peer.ended for peer in peers] == [False, False, True]


# Their rate


def heard(peer: RawPeer) -> list[object]:
    return [message["Event"]["args"] for message in peer.receive()]


def test_who_sends_too_much_is_not_read_from_for_a_while_and_nothing_is_lost() -> None:
    bus = bus_with(rate=100)
    listener, publisher, other = json_peer(bus), json_peer(bus, principal=ALICE), json_peer(bus, principal=ALICE)
    bob = json_peer(bus, principal=BOB)
    listener.subscribe("sensor", "heat")
    publisher.send(*(publish("sensor", "heat", number) for number in range(150)))
    assert heard(listener) == list(range(150)), "what was read is handled"
    assert not publisher.peer.reads
    assert not other.peer.reads, "the same user's"
    publisher.send(*(publish("sensor", "heat", number) for number in range(150, 160)))
    assert heard(listener) == []
    bob.send(publish("sensor", "heat", "bob"))
    assert heard(listener) == ["bob"]
    bus.advance(0.4)
    assert heard(listener) == []
    bus.advance(0.2)
    assert heard(listener) == list(range(150, 160)), "after half a second the 50 are paid off"
    bus.advance(0.2)
    assert other.peer.reads


@pytest.mark.parametrize("known_before", [True, False])
def test_each_event_of_a_batch_counts_and_one_that_is_empty_counts_as_what_it_is(known_before: bool) -> None:
    bus = bus_with(rate=100)
    publisher = json_peer(bus, principal=ALICE)
    account = publisher.peer.account
    assert account is not None
    if known_before:
        publisher.send(publish("sensor", "heat"))
        bus.settle()
    no_list: Message = {"Batch": {"object_name": "sensor", "topic": "heat", "values": "no list"}}
    for message, cost in (
        (batch("sensor", "heat", *range(7)), 7),
        (batch("sensor", "heat"), 1),
        (batch("sensor", "heat", 1), 1),
        (no_list, 1),
    ):
        before = account.left
        publisher.send(message)
        bus.settle()
        assert before - account.left == cost, message
    publisher.send(batch("sensor", "heat", *range(150)))
    bus.settle()
    assert bus.router.events.published == 7 + 1 + 150 + known_before, "what was read is handled"
    assert not publisher.peer.reads
    bus.advance(1.0)
    assert publisher.peer.reads


def test_over_a_long_time_the_rate_is_kept_exactly() -> None:
    bus = bus_with(rate=100)
    listener, publisher = json_peer(bus), json_peer(bus, principal=ALICE)
    listener.subscribe("sensor", "heat")
    sent = 0
    for _ in range(1000):
        if publisher.peer.reads:  # else the kernel would soon take no more
            publisher.send(*(publish("sensor", "heat", number) for number in range(sent, sent + 20)))
            sent += 20
        bus.advance(0.01)
    assert heard(listener) == list(range(sent))
    assert 10 * 100 <= sent <= 10 * 100 + 100 + 20


def test_who_is_over_the_rate_pauses_not_too_shortly() -> None:
    bus = bus_with(rate=1000)
    publisher = json_peer(bus, principal=ALICE)
    publisher.send(*(publish("sensor", "heat") for _ in range(1000)))
    bus.settle()
    assert not publisher.peer.reads
    bus.advance(PAUSE * 0.9)
    assert not publisher.peer.reads
    bus.advance(PAUSE * 0.2)
    assert publisher.peer.reads


@pytest.mark.parametrize(
    "message",
    [
        {"HasObject": {"object_name": "math"}},
        {"EventCredit": {"subscription": 1, "bytes": 1}},
        {"Cancel": {"call_id": "x"}},
        {"Pong": {}},
        {"Result": {"call_id": "x", "object_name": "y", "value": 1}},
        subscribe("a", "b"),
        register("rob"),
        call("x", "rob", "ping"),
        publish("a", "b"),
        {"RegisterService": {"object_name": "a", "service_name": "b"}},
        {"no": "message"},
    ],
    ids=lambda message: next(iter(message)),
)
def test_whatever_is_said_counts(message: Message) -> None:
    bus = bus_with(rate=100)
    peer = json_peer(bus, principal=ALICE, features=["multiplex", "flow", "cancel", "heartbeat"])
    peer.send(*(message for _ in range(98)))
    bus.settle()
    assert peer.peer.reads
    peer.send(message, message)
    bus.settle()
    assert not peer.peer.reads


def test_a_call_s_answer_comes_to_one_who_is_not_read_from() -> None:
    bus = bus_with(rate=10)
    worker, peer = RawPeer(bus, "math"), json_peer(bus, principal=ALICE)
    peer.send(*(call(f"{peer.prefix}{number}", "math", "f") for number in range(30)))
    worker.receive()
    assert not peer.peer.reads
    worker.send(*(result(f"{peer.prefix}{number}", "math", number) for number in range(30)))
    assert len(peer.receive()) == 30


def test_who_comes_back_has_its_debts_still() -> None:
    bus = bus_with(rate=100)
    first = json_peer(bus, principal=ALICE)
    first.send(*(publish("a", "b") for _ in range(300)))
    bus.settle()
    first.disconnect()
    again = RawPeer(bus, principal=ALICE)
    again.send(call("h", "rob", "ping"))
    assert again.receive() == []
    assert not again.peer.reads
    bus.advance(1.9)
    assert again.receive() == []
    bus.advance(0.3)
    assert again.receive() == [result("h", "rob", "pong")]


def test_accounts_are_forgotten_when_they_make_no_difference_any_more() -> None:
    bus = bus_with(rate=100)
    peers = [json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)]
    assert len(bus.router.accounts) == 2
    peers[0].send(*(publish("a", "b") for _ in range(300)))
    bus.settle()
    for peer in peers:
        peer.disconnect()
    bus.advance(LOOK_EVERY)
    assert len(bus.router.accounts) == 1
    bus.advance(3)
    assert len(bus.router.accounts) == 0
    bus.assert_empty()


@pytest.mark.parametrize("features", [["multiplex", "flow"], ["multiplex"]], ids=["told", "not read"])
def test_who_is_held_up_by_slow_subscribers_too_goes_on_when_both_are_over(features: list[str]) -> None:
    """A publisher that was told to pause is read from when its rate allows, another one not before the subscriber reads."""
    bus = bus_with(Limits(backlog=1000, stall=60), rate=100)
    listener = json_peer(bus)
    publisher = json_peer(bus, principal=ALICE, features=features)  # type: ignore[arg-type]  # it is JSON
    listener.send({"Subscribe": {"object_name": "a", "topic": "b", "id": 1, "credit": 1}})
    listener.receive()
    publisher.send(*(publish("a", "b", "x" * 100) for _ in range(150)))
    bus.settle()
    assert not publisher.peer.reads
    bus.advance(1)
    assert publisher.peer.reads is ("flow" in features)
    listener.send({"EventCredit": {"subscription": 1, "bytes": 10**6}})
    bus.settle()
    assert publisher.peer.reads


def test_heartbeats_do_not_blame_who_is_not_read_from() -> None:
    bus = Bus(Limits(heartbeat=4), Quotas(rate=10))
    peer = json_peer(bus, principal=ALICE, features=["multiplex", "heartbeat", "cancel"])
    other = json_peer(bus, principal=ALICE, features=["multiplex", "heartbeat", "cancel"])
    peer.send(*(publish("a", "b") for _ in range(200)))
    bus.advance(18)
    assert not peer.peer.reads
    assert [peer.ended, other.ended] == [False, False]
    for _ in range(4):
        bus.advance(1)
        for one in (peer, other):
            one.send(*(PONG for message in one.receive() if "Ping" in message))
    assert peer.peer.reads
    assert [peer.ended, other.ended] == [False, False]


def test_nobody_else_is_slower_while_one_sends_without_end() -> None:
    bus = bus_with(rate=1000)
    worker = json_peer(bus, "math")
    hog, bob = json_peer(bus, principal=ALICE), json_peer(bus, principal=BOB)
    handled = 0
    for number in range(200):
        if hog.peer.reads:
            hog.send(*(publish("a", "b") for _ in range(100)))
        bob.send(call(f"{bob.prefix}{number}", "math", "f"))
        given = [message for message in worker.receive() if "Call" in message]
        assert given == [call(f"{bob.prefix}{number}", "math", "f")]
        worker.send(result(f"{bob.prefix}{number}", "math", number))
        assert bob.receive() == [result(f"{bob.prefix}{number}", "math", number)]
        handled = bus.router.events.published
        bus.advance(0.01)
    assert 2 * 1000 <= handled <= 1000 + 2 * 1000 + 100, "of the 20,000 that it would have sent"


def test_the_owner_has_no_quotas() -> None:
    bus = Bus(quotas=Quotas(connections=1, names=1, subscriptions=1, calls=1, queued=1, rate=1))
    RawPeer(bus, principal=ROOT)
    peer, worker = json_peer(bus, principal=ROOT), RawPeer(bus, "math")
    peer.register("a", "b")
    peer.subscribe("s", "1")
    peer.subscribe("s", "2")
    peer.send(call(f"{peer.prefix}1", "math", "f"), call(f"{peer.prefix}2", "math", "f"), publish("s", "1", 3))
    assert peer.receive() == [event("s", "1", 3)]
    assert len(worker.receive()) == 2
    assert len(bus.router.accounts) == 0
