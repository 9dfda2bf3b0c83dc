"""Deadlines at the broker: it counts from when it got the call, and tells caller and worker when the time is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.deadlines import BUCKET_SECONDS
from tests.memory import Bus, Client, RawPeer
from tests.messages import error, result
from tests.routing.peers import call_with, cancel, error_from, ids_of, json_peer, packed_peer, serve, stats

KINDS: list[Callable[..., RawPeer]] = [json_peer, packed_peer]


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return packed_peer(bus, "math", features=["cancel"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_past_its_deadline_is_an_error_to_its_caller_and_is_cancelled_at_its_worker(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]
) -> None:
    caller = kind(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call_with(call_id, "math", "add", timeout_ms=1500))
    [given] = worker.receive()
    assert given["Call"]["timeout_ms"] == 1500
    bus.advance(1.5)
    assert caller.receive() == []
    bus.advance(2 * BUCKET_SECONDS)
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (call_id, "deadline_exceeded", "maybe")
    assert answer.object_name == "math"
    assert answer.message == "'math' did not answer 'add' within 1.5 s"
    assert worker.receive() == [cancel(call_id)]
    bus.assert_no_call_is_left()
    assert bus.router.next_deadline() is None


@pytest.mark.parametrize("late", [result("2.1", "math", 42), error("2.1", "math", "too late")])
def test_an_answer_after_the_deadline_is_dropped_and_counted(
    bus: Bus, worker: RawPeer, late: dict[str, dict[str, object]]
) -> None:
    caller = packed_peer(bus)
    assert caller.prefix == "2."
    caller.send(call_with("2.1", "math", "add", timeout_ms=100))
    bus.advance(1)
    assert len(caller.receive()) == 1
    worker.receive()
    worker.send(late)  # type: ignore[arg-type]
    assert caller.receive() == []
    assert stats(caller)["totals"]["late_answers"] == 1
    caller.send(call_with("2.2", "math", "add", timeout_ms=100))
    worker.receive()
    worker.send(result("2.2", "math", "in time"))
    assert caller.receive() == [result("2.2", "math", "in time")], "the connection goes on as before"


def test_a_worker_that_does_not_know_cancel_is_not_told_of_the_deadline(bus: Bus) -> None:
    seed, plain = RawPeer(bus, "seed"), json_peer(bus, "plain", features=[])
    caller = json_peer(bus)
    for number, name in enumerate(("seed", "plain")):
        caller.send(call_with(f"{caller.prefix}{number}", name, "add", timeout_ms=100))
    assert len(seed.receive()) == len(plain.receive()) == 1
    bus.advance(1)
    assert [answer.code for answer in map(error_from, caller.receive())] == ["deadline_exceeded"] * 2
    assert seed.receive() == plain.receive() == []
    bus.assert_no_call_is_left()


def test_a_call_that_was_answered_leaves_nothing_to_wait_for(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(4)]
    caller.send(*(call_with(call_id, "math", "add", timeout_ms=30_000) for call_id in ids))
    worker.receive()
    bucket = caller.peer.calls[ids[0]].bucket
    assert bucket is not None
    assert len(bucket) == 4
    assert bus.router.next_deadline() == pytest.approx(bus.now + 30, abs=2 * BUCKET_SECONDS)
    worker.send(result(ids[0], "math"), error(ids[1], "math", "no"))
    caller.send(cancel(ids[2]))
    bus.settle()
    assert list(bucket) == [caller.peer.calls[ids[3]]]
    worker.disconnect()
    assert not bucket
    assert bus.router.next_deadline() is None
    assert [next(iter(message)) for message in caller.receive()] == ["Result", "Error", "Error"]
    bus.advance(60)
    assert caller.receive() == []


def test_a_call_without_timeout_waits_for_ever(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add"))
    [call_id] = ids_of(worker.receive())
    assert bus.router.next_deadline() is None
    bus.advance(1_000_000)
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result(call_id, "math", 42)]


def test_the_longest_timeout_is_one_like_others(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add", timeout_ms=2**53 - 1))
    worker.receive()
    deadline = bus.router.next_deadline()
    assert deadline is not None
    assert deadline > 10**12
    caller.send(call_with(f"{caller.prefix}2", "math", "add", timeout_ms=2**53))
    assert error_from(caller.receive()[0]).code == "invalid_args"
    caller.disconnect()
    assert bus.router.next_deadline() is None


def test_calls_end_each_at_its_own_deadline(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    timeouts = {f"{caller.prefix}{number}": 100 * (10 - number) for number in range(10)}
    for call_id, timeout in timeouts.items():
        caller.send(call_with(call_id, "math", "add", timeout_ms=timeout))
    ended: list[str | None] = []
    for _ in range(11):
        bus.advance(0.1)
        ended += [error_from(message).call_id for message in caller.receive()]
    assert ended == list(reversed(timeouts))


def test_a_refused_call_has_no_deadline(bus: Bus) -> None:
    caller = packed_peer(bus)
    caller.send(call_with(f"{caller.prefix}1", "ghost", "add", timeout_ms=100))
    assert error_from(caller.receive()[0]).code == "no_such_object"
    assert bus.router.next_deadline() is None


def test_a_seed_caller_may_give_a_timeout_too_and_is_told_in_its_own_protocol(bus: Bus, worker: RawPeer) -> None:
    caller = RawPeer(bus)
    caller.send(call_with("1", "math", "add", timeout_ms=100))
    [call_id] = ids_of(worker.receive())
    caller.link.end_input()
    assert not caller.ended
    bus.advance(1)
    assert caller.receive() == [error("1", "math", "'math' did not answer 'add' within 0.1 s")]
    assert caller.ended, "that was the last answer it waited for"
    assert worker.receive() == [cancel(call_id)]


def test_a_call_that_still_waits_for_room_at_its_deadline_was_not_delivered(bus: Bus) -> None:
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    caller.send(call_with(first, "math", "add"), call_with(second, "math", "add", timeout_ms=100))
    assert ids_of(worker.receive()) == [first]
    bus.advance(1)
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (second, "deadline_exceeded", "no")
    assert worker.receive() == [], "it never heard of it"
    assert stats(caller)["calls_waiting"] == 0
    worker.send(result(first, "math"))
    assert caller.receive() == [result(first, "math")]
    assert worker.receive() == []
    bus.assert_no_call_is_left()


def test_the_deadline_counts_from_when_the_call_came_not_from_when_there_was_room(bus: Bus) -> None:
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    caller.send(call_with(first, "math", "add"), call_with(second, "math", "add", timeout_ms=1000))
    bus.advance(0.9)
    worker.receive()
    worker.send(result(first, "math"))
    assert ids_of(worker.receive()) == [second]
    caller.receive()
    bus.advance(0.1 + 2 * BUCKET_SECONDS)
    [answer] = map(error_from, caller.receive())
    assert (answer.code, answer.delivered) == ("deadline_exceeded", "maybe")
    assert worker.receive() == [cancel(second)]


def test_a_caller_that_its_deadlines_errors_end_takes_those_it_serves_along_once() -> None:
    """Its outbox is full: the first error of the tick ends it, and with it a call that is due in the same tick."""
    bus = Bus(Limits(outbox=2000))
    worker, full, other = packed_peer(bus, "math"), packed_peer(bus, "text"), packed_peer(bus)
    ids = [f"{full.prefix}{number}" for number in range(20)]
    full.send(*(call_with(call_id, "math", "add", timeout_ms=100) for call_id in ids))
    other.send(call_with(f"{other.prefix}1", "text", "upper", timeout_ms=100))
    assert len(worker.receive()) == 21  # with who calls
    assert len(full.receive()) == 2
    full.link.stop_taking()
    bus.advance(1)
    assert full.peer.closing
    [answer] = map(error_from, other.receive())
    assert (answer.call_id, answer.code) == (f"{other.prefix}1", "worker_lost")
    bus.assert_no_call_is_left()
    assert bus.router.next_deadline() is None


def test_sessions_and_broker_count_the_same_deadline_and_the_caller_is_told_once(bus: Bus) -> None:
    worker, caller = Client(bus), Client(bus)
    worker.serve("math")
    answer = caller.call("math", "add", None, timeout=1.0)
    bus.settle()
    [(given, _)] = worker.server.calls
    assert given.timeout_ms == 1000
    bus.advance(2)
    assert "math" in str(answer.error)
    assert type(answer.error).__name__ == "DeadlineExceeded"
    assert worker.server.cancelled == [given.call_id]
    worker.answer(42)
    bus.settle()
    assert bus.router.totals.late_answers == 1
    bus.assert_no_call_is_left()
