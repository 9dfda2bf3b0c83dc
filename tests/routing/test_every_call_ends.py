"""Whatever its worker or its caller does, a call ends: with one result or one error, and no slot of it is left."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.memory import Bus, RawPeer
from tests.messages import call, error_of, result
from tests.routing.peers import (
    ALL_FEATURES,
    PackedPeer,
    call_with,
    cancel,
    error_from,
    ids_of,
    json_peer,
    packed,
    packed_peer,
    serve,
    stats,
)
from tests.seed.frames import Message, frame, frame_of

Kind = Callable[..., RawPeer]
KINDS: list[Kind] = [RawPeer, json_peer, packed_peer]
EXTENDED: list[Kind] = [json_peer, packed_peer]
TIMEOUT = 5.0


@pytest.fixture
def watcher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def assert_no_slot_is_left(bus: Bus, watcher: RawPeer) -> None:
    found = stats(watcher)
    assert (found["calls_in_flight"], found["calls_waiting"]) == (0, 0)
    bus.assert_no_call_is_left()


def call_twice(caller: RawPeer, worker: RawPeer) -> tuple[str, str, str]:
    """The worker takes one call of `math` at once, so that the second waits. The ids, and the first as its worker knows it."""
    serve(worker, "math", concurrency=1)
    first, second = (f"{caller.prefix}{number}" for number in (1, 2))
    caller.send(*(call_with(one, "math", "add", timeout_ms=int(TIMEOUT * 1000)) for one in (first, second)))
    caller.bus.settle()
    [given] = ids_of(worker.receive())
    return first, second, given


def ends_of(caller: RawPeer) -> dict[str, tuple[str, str]]:
    """How each call ended that was answered now: code and delivered, which a seed caller is not told, or a result."""
    ends: dict[str, tuple[str, str]] = {}
    for message in caller.receive():
        if "Result" in message:
            call_id, end = message["Result"]["call_id"], ("result", "")
        elif caller.prefix:
            answer = error_from(message)
            call_id, end = answer.call_id, (answer.code, answer.delivered)
        else:
            assert list(error_of(message)) == ["call_id", "object_name", "message"]
            call_id, end = error_of(message)["call_id"], ("error", "")
        assert isinstance(call_id, str)
        assert call_id not in ends, "it ended twice"
        ends[call_id] = end
    return ends


def as_told(caller: RawPeer, code: str, delivered: str) -> tuple[str, str]:
    return (code, delivered) if caller.prefix or code == "result" else ("error", "")


# Workers


def broken_answer(worker: RawPeer, call_id: str) -> None:
    """An answer whose value cannot be read in its worker's encoding."""
    if isinstance(worker, PackedPeer):
        body = msgspec.msgpack.encode(result(call_id, "math", 1))[:-1] + b"\xc1"
        worker.send_bytes(frame_of(body))
    else:
        worker.send_bytes(frame_of(frame(result(call_id, "math", [1]))[4:].replace(b"[1]", b"[1,")))


def unregister(worker: RawPeer, call_id: str) -> None:
    worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": "math"}))


LOST, NOT_GIVEN, RESULT = ("worker_lost", "maybe"), ("worker_lost", "no"), ("result", "")

# What it does with the call that it was given; how that call ends, and how the one does that still waits.
WORKERS: dict[str, tuple[Callable[[RawPeer, str], None], tuple[str, str], tuple[str, str]]] = {
    "is killed": (lambda worker, call_id: worker.disconnect(), LOST, NOT_GIVEN),
    "ends its stream": (lambda worker, call_id: worker.link.end_input(), LOST, NOT_GIVEN),
    "unregisters": (unregister, LOST, NOT_GIVEN),
    "sends no message": (lambda worker, call_id: worker.send_bytes(frame_of(b"\xc1")), LOST, RESULT),
    "answers with a broken value": (broken_answer, LOST, RESULT),
    "announces too much": (lambda worker, call_id: worker.send_bytes(b"\xff\xff\xff\xff"), LOST, NOT_GIVEN),
    "answers a call that there is not": (
        lambda worker, call_id: worker.send(result(f"{call_id}0", "math", 1), result("", "math", 1)),
        ("deadline_exceeded", "maybe"),
        ("deadline_exceeded", "no"),
    ),
    "never answers": (lambda worker, call_id: None, ("deadline_exceeded", "maybe"), ("deadline_exceeded", "no")),
    "answers": (lambda worker, call_id: worker.send(result(call_id, "math", 1)), RESULT, RESULT),
}


@pytest.mark.parametrize("of_caller", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("of_worker", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("does", WORKERS)
def test_a_call_ends_whatever_its_worker_does(
    bus: Bus, watcher: RawPeer, of_worker: Kind, of_caller: Kind, does: str
) -> None:
    act, first_end, second_end = WORKERS[does]
    worker, caller = of_worker(bus), of_caller(bus)
    first, second, given = call_twice(caller, worker)
    act(worker, given)
    bus.settle()
    if "deadline" in first_end[0]:
        assert ends_of(caller) == {}
        bus.advance(TIMEOUT + 0.1)
    ends = ends_of(caller)
    if worker.peer in bus.router.peers:  # late for the first, and perhaps not for the second
        worker.send(result(given, "math", 2), *(result(one, "math", 2) for one in ids_of(worker.receive())))
    ends |= (later := ends_of(caller))
    assert first not in later
    assert ends == {first: as_told(caller, *first_end), second: as_told(caller, *second_end)}
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_worker", EXTENDED, ids=lambda kind: kind.__name__)
def test_a_call_of_a_frozen_worker_ends(bus: Bus, watcher: RawPeer, of_worker: Kind) -> None:
    """Nothing comes from it any more, and its connection is there: the heartbeat finds it."""
    worker, caller = of_worker(bus, features=[*ALL_FEATURES, "heartbeat"]), json_peer(bus)
    serve(worker, "math")
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    bus.advance(bus.router.limits.heartbeat + 1)
    assert ends_of(caller) == {f"{caller.prefix}1": LOST}
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_caller", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("of_worker", EXTENDED, ids=lambda kind: kind.__name__)
def test_an_answer_that_is_more_than_its_caller_takes_ends_the_call(
    bus: Bus, watcher: RawPeer, of_worker: Kind, of_caller: Kind
) -> None:
    worker, caller = of_worker(bus, "math"), of_caller(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    [given] = ids_of(worker.receive())
    worker.send(result(given, "math", "x" * 70_000))
    assert ends_of(caller) == {f"{caller.prefix}1": as_told(caller, "too_large", "yes")}
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_caller", [RawPeer, json_peer], ids=lambda kind: kind.__name__)
def test_an_answer_that_cannot_be_said_to_its_caller_ends_the_call(bus: Bus, watcher: RawPeer, of_caller: Kind) -> None:
    """Text in MessagePack that is no UTF-8 is a value that its worker may send, but not one for JSON."""
    worker, caller = packed_peer(bus, "math"), of_caller(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    [given] = ids_of(worker.receive())
    worker.send_bytes(packed(result(given, "math", "x~")).replace(b"x~", b"x\xff"))
    assert ends_of(caller) == {f"{caller.prefix}1": as_told(caller, "invalid_args", "yes")}
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_worker", KINDS, ids=lambda kind: kind.__name__)
def test_a_worker_that_answers_somebody_elses_calls_ends_none_of_them(
    bus: Bus, watcher: RawPeer, of_worker: Kind
) -> None:
    worker, forger = of_worker(bus, "math"), of_worker(bus, "text")
    callers = [kind(bus) for kind in KINDS]
    for caller in callers:
        caller.send(call(f"{caller.prefix}1", "math", "add"))
        caller.bus.settle()
    given = ids_of(worker.receive())
    forger.send(*(result(one, "math", "forged") for one in [*given, *(f"{caller.prefix}1" for caller in callers)]))
    assert [caller.receive() for caller in callers] == [[], [], []]
    assert stats(watcher)["calls_in_flight"] == 3
    worker.send(*(result(one, "math", "real") for one in given))
    for caller in callers:
        assert caller.receive() == [result(f"{caller.prefix}1", "math", "real")]
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_caller", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("of_worker", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seen", [True, False], ids=["before", "after"])
def test_a_worker_that_is_gone_before_its_first_call_was_read_gets_none(
    bus: Bus, watcher: RawPeer, of_worker: Kind, of_caller: Kind, seen: bool
) -> None:
    """The broker sees its end before the call comes, or afterwards."""
    worker, caller = of_worker(bus, "math"), of_caller(bus)
    worker.link.stop_taking()
    if seen:
        worker.disconnect()
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    bus.settle()
    if not seen:
        worker.disconnect()
    expected = ("no_such_object", "no") if seen else LOST
    assert ends_of(caller) == {f"{caller.prefix}1": as_told(caller, *expected)}
    assert_no_slot_is_left(bus, watcher)


# Callers

CALLERS: dict[str, Callable[[RawPeer, str], None]] = {
    "is killed": lambda caller, call_id: caller.disconnect(),
    "ends its stream": lambda caller, call_id: caller.link.end_input(),
    "cancels": lambda caller, call_id: caller.send(cancel(call_id), cancel(call_id)),
}


@pytest.mark.parametrize("of_worker", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("of_caller", EXTENDED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("does", CALLERS)
def test_a_call_ends_whatever_its_caller_does(
    bus: Bus, watcher: RawPeer, of_caller: Kind, of_worker: Kind, does: str
) -> None:
    """The worker is told where it can be, and never given the call that waited; what it answers later is nobody's."""
    worker, caller = of_worker(bus), of_caller(bus)
    first, second, given = call_twice(caller, worker)
    CALLERS[does](caller, second)
    CALLERS[does](caller, first)
    told = worker.receive()
    assert ids_of(told) == []
    assert [message["Cancel"]["call_id"] for message in told if "Cancel" in message] == [given] * bool(worker.prefix)
    found = stats(watcher)
    assert (found["calls_in_flight"], found["calls_waiting"]) == (0, 0)
    worker.send(result(given, "math", "late"))
    assert ends_of(caller) == {}
    assert stats(watcher)["totals"]["late_answers"] == 1
    assert_no_slot_is_left(bus, watcher)


@pytest.mark.parametrize("of_worker", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("does", ["is killed", "ends its stream"])
def test_the_calls_of_a_seed_caller_end_when_it_is_lost_and_not_when_it_is_half_closed(
    bus: Bus, watcher: RawPeer, of_worker: Kind, does: str
) -> None:
    worker, caller = of_worker(bus), RawPeer(bus)
    first, second, given = call_twice(caller, worker)
    CALLERS[does](caller, first)
    assert stats(watcher)["calls_in_flight"] == (0 if does == "is killed" else 2)
    worker.send(result(given, "math", 1))
    worker.send(*(result(one, "math", 2) for one in ids_of(worker.receive())))
    assert ends_of(caller) == ({} if does == "is killed" else {first: RESULT, second: RESULT})
    assert caller.ended
    assert_no_slot_is_left(bus, watcher)


def test_of_all_that_is_answered_at_once_each_call_ends_once(bus: Bus, watcher: RawPeer) -> None:
    """Garbage, answers and the end, in one piece."""
    worker, caller = json_peer(bus, "math"), json_peer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(6)]
    caller.send(*(call(one, "math", "add") for one in ids))
    worker.receive()
    pieces: list[Message] = [result(ids[0], "math", 1), result(ids[0], "math", 2), result(ids[1], "math", 1)]
    worker.send(*pieces)
    broken_answer(worker, ids[1])
    broken_answer(worker, ids[2])
    worker.send(result(ids[2], "math", 1), result(ids[3], "math", 1))
    worker.send_bytes(b"\xff\xff\xff\xff" + frame(result(ids[4], "math", 1)))
    ends = ends_of(caller)
    assert ends == {ids[0]: RESULT, ids[1]: RESULT, ids[2]: LOST, ids[3]: RESULT, ids[4]: LOST, ids[5]: LOST}
    assert_no_slot_is_left(bus, watcher)
