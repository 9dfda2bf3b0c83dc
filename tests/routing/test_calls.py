"""Every call ends once, and only by the worker that was given it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, publish, result
from tests.seed.frames import Message, frame_of


def in_order_of_id(messages: list[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: str(next(iter(message.values()))["call_id"]))


# Only the worker that was given a call can answer it


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    """A seed peer, which knows the calls of others by their own ids."""
    return RawPeer(bus, "math")


@pytest.fixture
def caller(bus: Bus, worker: RawPeer) -> RawPeer:
    """A seed peer whose call "1" is in flight."""
    caller = RawPeer(bus)
    caller.send(call("1", "math", "add"))
    assert worker.receive() == [call("1", "math", "add")]
    return caller


def assert_still_in_flight(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    assert caller.receive() == []
    assert bus.router.calls.in_flight == 1
    assert bus.router.totals.late_answers == 1
    worker.send(result("1", "math", "real"))
    assert caller.receive() == [result("1", "math", "real")]


@pytest.mark.parametrize("forged", [result("1", "math", "forged"), error("1", "math", "forged")])
def test_a_call_cannot_be_answered_by_another_peer(bus: Bus, worker: RawPeer, caller: RawPeer, forged: Message) -> None:
    forger = RawPeer(bus, "other")
    forger.send(forged)
    bus.settle()
    assert_still_in_flight(bus, worker, caller)
    assert forger.receive() == []


def test_a_call_cannot_be_answered_by_its_caller(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    caller.send(result("1", "math", "forged"))
    assert_still_in_flight(bus, worker, caller)


def test_a_call_cannot_be_answered_by_a_former_owner_of_the_name(bus: Bus) -> None:
    former = extended_peer(bus, "math")
    former.send(call(f"{former.prefix}1", "rob", "unregister", {"object_name": "math"}))
    former.receive()
    worker, caller = RawPeer(bus, "math"), RawPeer(bus)
    caller.send(call("1", "math", "add"))
    worker.receive()
    former.send(result("1", "math", "forged"))
    assert_still_in_flight(bus, worker, caller)


def test_a_call_cannot_be_answered_by_the_next_owner_of_the_name(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.disconnect()
    caller.receive()
    RawPeer(bus, "math").send(result("1", "math", "forged"))
    assert caller.receive() == []
    assert bus.router.totals.late_answers == 1


def test_an_answer_without_call_id_answers_nothing(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.send(error(None, "math", "something is wrong"))
    assert_still_in_flight(bus, worker, caller)


def test_late_answers_are_dropped_and_counted(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.send(result("1", "math", 1), result("1", "math", 2), error("1", "math", "three"))
    assert caller.receive() == [result("1", "math", 1)]
    assert bus.router.totals.late_answers == 2
    caller.send(call("2", "math", "add"))
    worker.receive()
    caller.disconnect()
    bus.assert_no_call_is_left()
    worker.send(result("2", "math"))
    bus.settle()
    assert bus.router.totals.late_answers == 3


# A worker that will not answer any more

ENDS: dict[str, Callable[[RawPeer], None]] = {
    "disconnects": lambda worker: worker.disconnect(),
    "ends its stream": lambda worker: worker.link.end_input(),
    "sends garbage": lambda worker: worker.send_bytes(frame_of(b"\xff\xfe")),
    "sends an unknown message": lambda worker: worker.send_bytes(frame_of(b'{"Answer":{"call_id":"1"}}')),
    "answers it does not say what": lambda worker: worker.send_bytes(frame_of(b'{"Result":{"value":1}}')),
    "announces an oversize frame": lambda worker: worker.send_bytes((2**31).to_bytes(4, "big")),
}


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
@pytest.mark.parametrize("end", ENDS)
def test_a_lost_worker_ends_all_its_calls_at_once(bus: Bus, kind: Callable[..., RawPeer], end: str) -> None:
    worker = kind(bus, "math", "text")
    seed, extended = RawPeer(bus), extended_peer(bus)
    seed.send(call("1", "math", "add"), call("2", "text", "upper"))
    extended.send(call(f"{extended.prefix}1", "math", "add"))
    assert len(worker.receive()) == 3
    ENDS[end](worker)
    bus.settle()
    bus.assert_no_call_is_left()
    assert [error_of(message)["call_id"] for message in in_order_of_id(seed.receive())] == ["1", "2"]
    [answer] = map(error_of, extended.receive())
    assert answer["call_id"] == f"{extended.prefix}1"
    assert answer["code"] == "worker_lost"
    assert answer["delivered"] == "maybe"


BROKEN_ANSWERS = {
    "too deep a value": b'{"Result":{"call_id":"%b","object_name":"math","value":%b}}',
    "invalid UTF-8": b'{"Result":{"call_id":"%b","object_name":"math","value":"\xff","new":%b}}',
    "no message": b'{"Error":{"call_id":"%b","object_name":"math","data":%b}}',
}


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
@pytest.mark.parametrize("broken", BROKEN_ANSWERS)
def test_a_broken_answer_ends_the_call_that_it_was_for_and_no_other(
    bus: Bus, kind: Callable[..., RawPeer], broken: str
) -> None:
    worker, caller, other = kind(bus, "math"), extended_peer(bus), RawPeer(bus)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    caller.send(call(first, "math", "add"), call(second, "math", "add"))
    assert len(worker.receive()) == 2
    body = BROKEN_ANSWERS[broken] % (first.encode(), b"[" * 30_000 + b"]" * 30_000)
    other.send_bytes(frame_of(body))
    assert error_of(other.receive()[0])["call_id"] is None
    assert caller.receive() == [], "it was not the other's to answer"
    worker.send_bytes(frame_of(body))
    [answer] = map(error_of, caller.receive())
    assert (answer["call_id"], answer["code"], answer["delivered"]) == (first, "worker_lost", "maybe")
    assert error_of(worker.receive()[0])["call_id"] is None
    worker.send(result(first, "math", "late"), result(second, "math", 42))
    assert caller.receive() == [result(second, "math", 42)]
    assert bus.router.totals.late_answers == 1
    bus.assert_no_call_is_left()


def test_unregistering_an_object_ends_its_calls_only(bus: Bus) -> None:
    worker, caller = extended_peer(bus, "math", "text"), extended_peer(bus)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    caller.send(call(first, "math", "add"), call(second, "text", "upper"))
    worker.receive()
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "math"}))
    [answer] = map(error_of, caller.receive())
    assert (answer["call_id"], answer["code"]) == (first, "worker_lost")
    worker.send(result(first, "math", "late"), result(second, "text", "A"))
    assert caller.receive() == [result(second, "text", "A")]
    assert bus.router.totals.late_answers == 1


BROKEN_CALLS = {
    "too deep arguments": b'{"Call":{"call_id":"7","object_name":"x","method":"m","args":%b}}'
    % (b"[" * 30_000 + b"]" * 30_000),
    "invalid UTF-8": b'{"Call":{"call_id":"7","object_name":"x","method":"m","args":"\xff"}}',
    "no method": b'{"Call":{"call_id":"7","object_name":"x","args":null}}',
    "broken JSON": b'{"Call":{"call_id":"7","object_name":"x","method":"m","args":[1,}}',
}


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
@pytest.mark.parametrize("broken", BROKEN_CALLS)
def test_a_broken_call_of_a_worker_does_not_end_the_calls_it_was_given(
    bus: Bus, kind: Callable[..., RawPeer], broken: str
) -> None:
    worker, caller = kind(bus, "math"), extended_peer(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add"))
    worker.receive()
    worker.send_bytes(frame_of(BROKEN_CALLS[broken]))
    refused = error_of(worker.receive()[0])
    assert refused["call_id"] == "7"
    assert refused.get("code", "invalid_args") == "invalid_args"
    assert bus.router.totals.invalid_messages == 1
    assert caller.receive() == []
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result(call_id, "math", 42)]
    assert bus.router.totals.late_answers == 0


def test_what_is_no_message_ends_only_the_calls_that_its_sender_was_given(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    """Not those it has made itself, nor anybody else's."""
    both = extended_peer(bus, "text")
    both.send(call(f"{both.prefix}1", "math", "add"))
    caller.send(call("2", "text", "upper"))
    bus.settle()
    both.send_bytes(frame_of(b"garbage"))
    assert [error_of(message)["call_id"] for message in caller.receive()] == ["2"]
    assert [error_of(message)["call_id"] for message in both.receive() if "Call" not in message] == [None]
    worker.receive()
    worker.send(result(f"{both.prefix}1", "math", 1), result("1", "math", 2))
    assert both.receive() == [result(f"{both.prefix}1", "math", 1)]
    assert caller.receive() == [result("1", "math", 2)]


def test_a_worker_that_sent_garbage_serves_on(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.send_bytes(frame_of(b"garbage"))
    assert error_of(worker.receive()[0])["call_id"] is None
    caller.receive()
    caller.send(call("2", "math", "add"))
    assert worker.receive() == [call("2", "math", "add")]
    worker.send(result("2", "math", 42))
    assert caller.receive() == [result("2", "math", 42)]


def test_a_worker_that_is_being_closed_gets_no_calls(bus: Bus, worker: RawPeer) -> None:
    """It has sent an oversize frame, and does not take the error that tells it so: whatever it sends is ignored."""
    caller = RawPeer(bus)
    worker.link.stop_taking()
    worker.send_bytes((65_537).to_bytes(4, "big"))
    bus.settle()
    caller.send(call("1", "math", "add"))
    assert error_of(caller.receive()[0])["call_id"] == "1"
    bus.assert_no_call_is_left()


# Many, and to oneself


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_10_000_calls_in_flight_are_answered_in_any_order(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    worker, caller = kind(bus, "math"), kind(bus)
    calls = [call(f"{caller.prefix}{number}", "math", "add", number) for number in range(10_000)]
    caller.send(*calls)
    given = worker.receive()
    assert given == calls
    assert bus.router.calls.in_flight == 10_000
    answers = [result(f"{caller.prefix}{number}", "math", -number) for number in range(10_000)]
    random.Random(1).shuffle(answers)
    worker.send(*answers)
    assert caller.receive() == answers
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_a_worker_may_call_itself(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    worker = kind(bus, "math")
    call_id = f"{worker.prefix}1"
    worker.send(call(call_id, "math", "add", 1))
    assert worker.receive() == [call(call_id, "math", "add", 1)]
    worker.send(result(call_id, "math", 2))
    assert worker.receive() == [result(call_id, "math", 2)]
    worker.send(call(call_id, "math", "add", 1))
    bus.settle()
    worker.disconnect()
    bus.assert_empty()


def test_the_limit_of_calls_is_named_and_an_answer_makes_room() -> None:
    bus = Bus(Limits(calls=2))
    worker, caller, other = RawPeer(bus, "math"), extended_peer(bus), RawPeer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(4)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids[:3]))
    refused = error_of(caller.receive()[0])
    assert (refused["call_id"], refused["code"]) == (ids[2], "overloaded")
    assert str(refused["message"]).endswith("the limit (calls)")
    other.send(call("1", "math", "add"))
    assert other.receive() == []
    worker.send(result(ids[0], "math"))
    assert caller.receive() == [result(ids[0], "math")]
    caller.send(call(ids[3], "math", "add"))
    assert caller.receive() == []


# Callers that go


def test_a_half_closed_seed_caller_gets_its_answers_and_is_closed_then(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    caller.send(call("2", "math", "add"))
    caller.link.end_input()
    worker.send(result("1", "math", 1))
    assert caller.receive() == [result("1", "math", 1)]
    assert not caller.ended
    worker.send(result("2", "math", 2))
    assert caller.receive() == [result("2", "math", 2)]
    assert caller.ended
    assert caller.peer not in bus.router.peers


def test_a_half_closed_seed_caller_gets_the_errors_of_a_lost_worker(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    caller.send(call("2", "math", "add"))
    caller.link.end_input()
    worker.disconnect()
    assert [error_of(message)["call_id"] for message in in_order_of_id(caller.receive())] == ["1", "2"]
    assert caller.ended


def test_a_half_closed_seed_peer_that_waits_for_nothing_is_closed(bus: Bus) -> None:
    subscriber, peer = RawPeer(bus), RawPeer(bus)
    subscriber.subscribe("sensor", "temperature")
    peer.send(publish("sensor", "temperature", 1))
    peer.link.end_input()
    assert peer.ended
    assert len(subscriber.receive()) == 1


def test_the_end_of_input_of_an_extended_peer_ends_it(bus: Bus, worker: RawPeer) -> None:
    caller = extended_peer(bus, "other")
    caller.subscribe("sensor", "temperature")
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    caller.link.end_input()
    assert caller.ended
    bus.assert_no_call_is_left()
    assert list(bus.router.names) == ["math"]
    assert bus.router.events.subscriptions.count == 0
    worker.send(result(f"{caller.prefix}1", "math"))
    bus.settle()
    assert bus.router.totals.late_answers == 1


def test_a_lost_caller_leaves_no_slot(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    caller.disconnect()
    bus.assert_no_call_is_left()
    worker.send(result("1", "math"))
    bus.settle()
    assert bus.router.totals.late_answers == 1
