"""What one connection may leave in the broker's memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.routing.feeds import OUTBOX_WINDOW
from ipc_broker.routing.nonsense import MOST_INVALID, MOST_LOGGED
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error_of, event, publish, register, result, subscribe
from tests.seed.frames import Message, frame_of

LIMITS = Limits(outbox=10_000)
KINDS: list[Callable[..., RawPeer]] = [RawPeer, extended_peer]


@pytest.fixture
def bus() -> Bus:
    return Bus(LIMITS)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_for_a_worker_over_the_outbox_limit_are_refused_until_it_takes_them(
    bus: Bus, kind: Callable[..., RawPeer]
) -> None:
    worker, caller = kind(bus, "math"), extended_peer(bus)
    worker.link.stop_taking()
    ids = [f"{caller.prefix}{number}" for number in range(20)]
    for call_id in ids:
        caller.send(call(call_id, "math", "add", "x" * 1000))
    refused = [error_of(message) for message in caller.receive()]
    accepted = 20 - len(refused)
    assert [answer["call_id"] for answer in refused] == ids[accepted:]
    assert {(answer["code"], answer["delivered"]) for answer in refused} == {("overloaded", "no")}
    assert "(outbox)" in str(refused[0]["message"])
    assert "'math'" in str(refused[0]["message"])
    assert worker.peer.connection.queued < LIMITS.outbox + 2000
    worker.link.take_again()
    assert [message["Call"]["call_id"] for message in worker.receive()] == ids[:accepted]
    caller.send(call(ids[-1], "math", "add"))
    assert caller.receive() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_that_leaves_its_answers_beyond_the_outbox_limit_is_closed_and_told_once(
    bus: Bus, kind: Callable[..., RawPeer]
) -> None:
    worker, caller = RawPeer(bus, "math"), kind(bus)
    ids = [f"{caller.prefix}{number}" for number in range(50)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids))
    worker.receive()
    caller.link.stop_taking()
    for call_id in ids:
        worker.send(result(call_id, "math", "x" * 1000))
        bus.settle()
    assert caller.peer.closing
    assert caller.peer.connection.queued < LIMITS.outbox + 2500
    caller.link.take_again()
    *answers, reason = caller.receive()
    assert [message["Result"]["call_id"] for message in answers] == ids[: len(answers)]
    assert error_of(reason)["call_id"] is None
    assert "(outbox)" in str(error_of(reason)["message"])
    assert caller.ended
    assert bus.router.calls.in_flight == 0
    assert bus.router.peers == {worker.peer}


ASKED: dict[str, Message] = {
    "ping": call("1", "rob", "ping"),
    "an unknown object": call("1", "ghost", "x"),
    "HasObject": {"HasObject": {"object_name": "math"}},
    "a taken name": register("math"),
    "Subscribe": subscribe("sensor", "temperature"),
    "no message": {"Nonsense": {}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ASKED)
def test_a_peer_that_leaves_the_brokers_own_answers_beyond_the_outbox_limit_is_closed_and_told_once(
    bus: Bus, kind: Callable[..., RawPeer], asked: str
) -> None:
    other = RawPeer(bus, "math")
    peer = kind(bus)
    peer.link.stop_taking()
    for _ in range(500):
        assert peer.peer.closing == (peer.peer.connection.queued > LIMITS.outbox)
        peer.send(ASKED[asked])
        bus.settle()
    assert peer.peer.closing
    assert peer.peer.connection.queued < LIMITS.outbox + 1000
    assert bus.router.peers == {other.peer}
    peer.link.take_again()
    *answers, reason = peer.receive()
    assert answers
    assert "(outbox)" not in repr(answers)
    assert error_of(reason)["message"] == f"over {LIMITS.outbox} bytes of answers were left unread (outbox)"
    assert peer.ended


NO_MESSAGES: dict[str, bytes] = {
    "no JSON": frame_of(b"garbage"),
    "no fields": frame_of(b'{"Call":{"call_id":"1"}}'),
    "an unknown type": frame_of(b'{"Nonsense":{}}'),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", NO_MESSAGES)
@pytest.mark.parametrize("together", [1, MOST_INVALID])
def test_a_peer_that_keeps_sending_what_is_no_message_is_closed(
    together: int, body: str, kind: Callable[..., RawPeer], caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    other, peer = RawPeer(bus), kind(bus, "math", "text")
    peer.subscribe("sensor", "temperature")
    answers: list[Message] = []
    for sent in range(MOST_INVALID // together):
        assert not peer.peer.closing, sent
        peer.send_bytes(NO_MESSAGES[body] * together)
        answers += peer.receive()
    assert peer.ended
    assert len(answers) == MOST_INVALID
    assert {error_of(answer)["object_name"] for answer in answers} == {"rob"}
    assert bus.router.totals.invalid_messages == MOST_INVALID
    assert bus.router.peers == {other.peer}
    other.register("math", "text")
    other.disconnect()
    bus.assert_empty()
    complaints = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(complaints) == MOST_LOGGED + 1
    assert all("sent what is no message" in complaint for complaint in complaints[:-1])
    assert complaints[-1] == f"connection 2 is disconnected: it sent {MOST_INVALID} bodies that are no messages"


def test_what_is_no_message_is_counted_and_logged_for_each_connection(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    peers = [RawPeer(bus) for _ in range(3)]
    for peer in peers:
        for _ in range(MOST_INVALID - 1):
            peer.send_bytes(NO_MESSAGES["no JSON"])
            peer.receive()
        peer.send(ASKED["HasObject"])
        assert peer.receive() == [{"HasObjectResult": {"object_name": "math", "exists": False}}]
    assert not any(peer.ended for peer in peers)
    assert bus.router.totals.invalid_messages == 3 * (MOST_INVALID - 1)
    assert len(caplog.records) == 3 * MOST_LOGGED


def test_what_a_peer_sends_beyond_the_last_body_that_is_forgiven_costs_nothing_more(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.link.stop_taking()
    peer.send_bytes(NO_MESSAGES["no JSON"] * (3 * MOST_INVALID))
    bus.settle()
    assert peer.peer.closing
    peer.link.take_again()
    assert len(peer.receive()) == MOST_INVALID
    assert peer.ended
    assert bus.router.totals.invalid_messages == 3 * MOST_INVALID
    bus.assert_empty()


def test_one_batch_of_questions_may_be_over_the_limit_for_as_long_as_it_takes_to_be_read(bus: Bus) -> None:
    """The limit is looked at after the batch, so that the outbox holds no more than one batch beyond it."""
    peer = RawPeer(bus)
    peer.link.stop_taking()
    peer.send(*([ASKED["HasObject"]] * 500))
    bus.settle()
    assert peer.peer.closing
    peer.link.take_again()
    *answers, reason = peer.receive()
    assert len(answers) == 500
    assert "(outbox)" in str(error_of(reason)["message"])
    assert peer.ended


def test_an_error_that_a_lost_worker_leaves_counts_against_the_outbox_too(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), extended_peer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(200)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids))
    worker.receive()
    caller.link.stop_taking()
    worker.disconnect()
    assert caller.peer.closing
    assert caller.peer.connection.queued < LIMITS.outbox + 1000
    bus.assert_empty()


def test_what_came_behind_the_answer_that_filled_its_senders_outbox_leaves_nothing_behind(bus: Bus) -> None:
    """It calls itself, so that its own answers end it in the middle of what it has sent."""
    peer = extended_peer(bus, "math")
    ids = [f"{peer.prefix}{number}" for number in range(15)]
    peer.link.stop_taking()
    peer.send(*(call(call_id, "math", "add") for call_id in ids))
    bus.settle()
    assert not peer.peer.closing
    peer.send(
        *(result(call_id, "math", "x" * 1000) for call_id in ids),
        register("late"),
        subscribe("sensor", "temperature"),
        call(f"{peer.prefix}late", "late", "x"),
    )
    bus.settle()
    assert peer.peer.closing
    bus.assert_empty()


# A peer that is to be closed, but takes nothing any more


def sends_an_oversize_frame(bus: Bus, peer: RawPeer) -> None:
    peer.send_bytes((2**31).to_bytes(4, "big"))
    bus.settle()


def leaves_its_answers(bus: Bus, peer: RawPeer) -> None:
    worker = RawPeer(bus, "text")
    ids = [f"{peer.prefix}{number}" for number in range(15)]
    peer.send(*(call(call_id, "text", "upper") for call_id in ids))
    worker.receive()
    worker.send(*(result(call_id, "text", "x" * 1000) for call_id in ids))
    bus.settle()
    worker.disconnect()


def ends_its_input(bus: Bus, peer: RawPeer) -> None:
    peer.send({"HasObject": {"object_name": "math"}})
    peer.link.end_input()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", [sends_an_oversize_frame, leaves_its_answers, ends_its_input])
def test_a_peer_to_be_closed_that_takes_nothing_has_left_at_once(
    bus: Bus, kind: Callable[..., RawPeer], reason: Callable[[Bus, RawPeer], None]
) -> None:
    """Only what is queued for it is still there, for the shell, which gives it a while to take that."""
    peer = kind(bus, "math")
    peer.subscribe("sensor", "temperature")
    peer.link.stop_taking()
    reason(bus, peer)
    assert peer.peer.closing
    assert peer.peer.connection.queued > 0
    bus.assert_empty()
    assert not peer.ended
    peer.link.take_again()
    assert len(peer.receive()) > 0
    assert peer.ended
    bus.assert_empty()


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_to_be_closed_that_is_cut_off_instead_leaves_nothing_behind(
    bus: Bus, kind: Callable[..., RawPeer]
) -> None:
    peer = kind(bus, "math")
    peer.link.stop_taking()
    sends_an_oversize_frame(bus, peer)
    peer.disconnect()
    assert peer.ended
    assert bus.router.totals.connections == 1
    bus.assert_empty()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_waits_for_a_peer_that_is_to_be_closed(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    peer, next_worker = kind(bus, "math"), RawPeer(bus)
    watcher, caller = extended_peer(bus), RawPeer(bus)
    watcher.subscribe("rob", "object.lost")
    peer.subscribe("sensor", "temperature")
    caller.send(call("1", "math", "add"))
    peer.receive()
    peer.link.stop_taking()
    sends_an_oversize_frame(bus, peer)
    assert error_of(caller.receive()[0])["call_id"] == "1"
    assert watcher.receive() == [event("rob", "object.lost", {"object": "math"})]
    next_worker.register("math")
    caller.send(call("2", "math", "add"))
    assert next_worker.receive() == [call("2", "math", "add")]
    queued = peer.peer.connection.queued
    caller.send(publish("sensor", "temperature", 1))
    bus.settle()
    assert peer.peer.connection.queued == queued
    peer.send(result("1", "math", "late"), register("text"), {"HasObject": {"object_name": "math"}})
    bus.settle()
    assert peer.peer.connection.queued == queued
    assert list(bus.router.names) == ["math"]
    assert caller.receive() == []


def test_the_calls_of_a_peer_that_is_to_be_closed_are_nobodys_any_more(bus: Bus) -> None:
    worker, caller = extended_peer(bus, "math"), extended_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    caller.link.stop_taking()
    sends_an_oversize_frame(bus, caller)
    bus.assert_no_call_is_left()
    queued = caller.peer.connection.queued
    worker.send(result(f"{caller.prefix}1", "math"))
    bus.settle()
    assert bus.router.totals.late_answers == 1
    assert caller.peer.connection.queued == queued


@pytest.mark.parametrize("kind", KINDS)
def test_the_publishers_of_a_subscriber_that_is_to_be_closed_go_on(kind: Callable[..., RawPeer]) -> None:
    bus = Bus(Limits(backlog=1000))
    subscriber, publisher = kind(bus), RawPeer(bus)
    subscriber.subscribe("sensor", "temperature")
    subscriber.link.stop_taking()
    for _ in range(2 * OUTBOX_WINDOW // 60_000):
        publisher.send(publish("sensor", "temperature", "x" * 60_000))
    bus.settle()
    assert not publisher.peer.reads
    sends_an_oversize_frame(bus, subscriber)
    assert publisher.peer.reads
    assert bus.router.next_deadline() is None
    publisher.disconnect()
    bus.assert_empty()


def test_an_extended_peer_whose_input_ended_has_no_calls_even_if_it_takes_nothing(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), extended_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    caller.link.stop_taking()
    caller.send({"HasObject": {"object_name": "math"}})
    caller.link.end_input()
    bus.assert_no_call_is_left()
