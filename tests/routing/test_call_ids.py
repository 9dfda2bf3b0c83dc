"""Call ids of different callers never mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.messages import MAX_NAME
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, result
from tests.routing.peers import cancel, ids_of, json_peer, serve
from tests.seed.frames import Json, Message, frame


def given_to(worker: RawPeer) -> list[dict[str, Json]]:
    """The fields of the calls that have come."""
    return [message["Call"] for message in worker.receive()]


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return extended_peer(bus, "math")


def test_two_seed_callers_with_one_id_each_get_their_own_answer(bus: Bus) -> None:
    worker, callers = RawPeer(bus, "math"), [RawPeer(bus) for _ in range(3)]
    for number, caller in enumerate(callers):
        caller.send(call("same", "math", "add", number))
        bus.settle()
    given = given_to(worker)
    assert len({str(fields["call_id"]) for fields in given}) == 3
    for fields in reversed(given[:2]):
        worker.send(result(str(fields["call_id"]), "math", fields["args"]))
    worker.send(error(str(given[2]["call_id"]), "math", "no"))
    assert callers[0].receive() == [result("same", "math", 0)]
    assert callers[1].receive() == [result("same", "math", 1)]
    assert callers[2].receive() == [error("same", "math", "no")]
    bus.assert_no_call_is_left()


def test_an_extended_workers_error_reaches_its_seed_caller_under_the_callers_id(bus: Bus, worker: RawPeer) -> None:
    callers = [RawPeer(bus), RawPeer(bus)]
    for caller in callers:
        caller.send(call("same", "math", "add"))
        bus.settle()
    for fields in given_to(worker):
        answer = error(str(fields["call_id"]), "math", "no")
        answer["Error"] |= {"code": "remote_error", "type": "ValueError", "data": {"a": 1}, "delivered": "yes"}
        worker.send(answer)
    for caller in callers:
        assert caller.receive() == [error("same", "math", "no")]


def test_a_seed_callers_id_does_not_meet_that_of_an_extended_one(bus: Bus, worker: RawPeer) -> None:
    extended, seed = extended_peer(bus), RawPeer(bus)
    call_id = f"{extended.prefix}1"
    seed.send(call(call_id, "math", "add", "seed"))
    bus.settle()
    extended.send(call(call_id, "math", "add", "extended"))
    for fields in given_to(worker):
        worker.send(result(str(fields["call_id"]), "math", fields["args"]))
    assert seed.receive() == [result(call_id, "math", "seed")]
    assert extended.receive() == [result(call_id, "math", "extended")]


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_two_seed_callers_with_one_id_of_the_longest_kind_both_get_an_answer(
    bus: Bus, kind: Callable[..., RawPeer]
) -> None:
    worker, first, second = kind(bus, "math"), RawPeer(bus), RawPeer(bus)
    longest = "i" * MAX_NAME
    first.send(call(longest, "math", "add", 1))
    bus.settle()
    second.send(call(longest, "math", "add", 2))
    for fields in given_to(worker):
        assert len(str(fields["call_id"])) <= MAX_NAME, "nobody could decode the call"
        worker.send(result(str(fields["call_id"]), "math", fields["args"]))
    assert first.receive() == [result(longest, "math", 1)]
    [answer] = second.receive()
    assert next(iter(answer.values()))["call_id"] == longest
    bus.assert_no_call_is_left()


def largest_call(call_id: str) -> Message:
    """One whose frame takes all that a frame may."""
    room = 65_536 - (len(frame(call(call_id, "math", "add", ""))) - 4)
    return call(call_id, "math", "add", "x" * room)


@pytest.mark.parametrize("call_id", ["12", "same", "i" * MAX_NAME])
def test_another_id_is_short_so_that_a_call_of_the_largest_size_still_fits(bus: Bus, call_id: str) -> None:
    worker, callers = RawPeer(bus, "math"), [RawPeer(bus), RawPeer(bus)]
    for caller in callers:
        caller.send(largest_call(call_id))
        bus.settle()
    first, second = given_to(worker)
    assert first["call_id"] == call_id
    assert second["call_id"] == "~1"
    assert first["args"] == second["args"]
    for fields, answer in ((second, 2), (first, 1)):
        worker.send(result(str(fields["call_id"]), "math", answer))
    assert callers[0].receive() == [result(call_id, "math", 1)]
    assert callers[1].receive() == [result(call_id, "math", 2)]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("call_id", ["", "s"])
def test_a_call_that_another_id_makes_too_large_is_refused(bus: Bus, call_id: str) -> None:
    """Only an id shorter than the other one can do that."""
    worker, first, second = RawPeer(bus, "math"), RawPeer(bus), RawPeer(bus)
    largest = largest_call(call_id)
    first.send(largest)
    assert worker.receive() == [largest]
    second.send(largest)
    answer = error_of(second.receive()[0])
    assert answer["call_id"] == call_id
    assert "over the limit of 65536 bytes" in str(answer["message"])
    assert worker.receive() == []
    worker.send(result(call_id, "math"))
    assert first.receive() == [result(call_id, "math")]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_that_the_callers_own_id_makes_too_large_is_an_error(bus: Bus, fails: bool) -> None:
    """The worker knows the call under a shorter id, so that its answer just fits. `RawPeer` fails on a larger frame."""
    worker, caller = extended_peer(bus, "math"), RawPeer(bus)
    longest = "i" * MAX_NAME
    caller.send(call(longest, "math", "add"))
    [given] = given_to(worker)

    def answer_of(text: str) -> Message:
        call_id = str(given["call_id"])
        return error(call_id, "math", text) if fails else result(call_id, "math", text)

    room = 65_536 - (len(frame(answer_of(""))) - 4)
    worker.send(answer_of("x" * room))
    [message] = caller.receive()
    assert error_of(message)["call_id"] == longest
    assert "over the limit of 65536 bytes" in str(error_of(message)["message"])
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("order", [("~1", "same", "same"), ("same", "same", "~1"), ("same", "~1", "same")])
def test_an_id_that_looks_like_another_id_meets_no_other_call(bus: Bus, order: tuple[str, ...]) -> None:
    worker, callers = RawPeer(bus, "math"), [RawPeer(bus) for _ in order]
    for number, (caller, call_id) in enumerate(zip(callers, order, strict=True)):
        caller.send(call(call_id, "math", "add", number))
        bus.settle()
    given = given_to(worker)
    assert len({str(fields["call_id"]) for fields in given}) == 3
    for fields in reversed(given):
        worker.send(result(str(fields["call_id"]), "math", fields["args"]))
    for number, (caller, call_id) in enumerate(zip(callers, order, strict=True)):
        assert caller.receive() == [result(call_id, "math", number)]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_an_id_in_flight_is_refused_and_the_first_call_still_gets_its_answer(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]
) -> None:
    RawPeer(bus, "text")
    caller = kind(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add"), call(call_id, "text", "upper"))
    refused = error_of(caller.receive()[0])
    assert refused["call_id"] == call_id
    assert refused["message"] == f"the call id {call_id!r} is in flight; use a new one for each call"
    [given] = given_to(worker)
    worker.send(result(str(given["call_id"]), "math", 42))
    assert caller.receive() == [result(call_id, "math", 42)]
    caller.send(call(call_id, "text", "upper"))
    assert caller.receive() == []


def test_extended_callers_keep_to_their_prefix(bus: Bus, worker: RawPeer) -> None:
    caller = extended_peer(bus)
    for call_id in ("1", f"{worker.prefix}1", ""):
        caller.send(call(call_id, "math", "add"))
        refused = error_of(caller.receive()[0])
        assert (refused["call_id"], refused["code"], refused["delivered"]) == (call_id, "invalid_args", "no")
    assert worker.receive() == []
    bus.assert_no_call_is_left()


def test_an_extended_worker_knows_the_calls_of_a_seed_caller_by_the_callers_prefix(bus: Bus, worker: RawPeer) -> None:
    """Each by another id, so that a late answer to one that its caller abandoned meets no other."""
    seeds = [RawPeer(bus), RawPeer(bus)]
    given: list[str] = []
    for seed in (*seeds, *seeds):
        seed.send(call(f"{len(given)}", "math", "add"))
        given += [str(fields["call_id"]) for fields in given_to(worker)]
    assert [call_id.partition(".")[0] for call_id in given] == [str(seed.peer.id) for seed in (*seeds, *seeds)]
    assert len(set(given)) == 4
    for call_id in given:
        worker.send(result(call_id, "math", call_id))
    for number, seed in enumerate(seeds):
        assert seed.receive() == [
            result(f"{number}", "math", given[number]),
            result(f"{number + 2}", "math", given[number + 2]),
        ]
    bus.assert_no_call_is_left()


def test_the_same_id_after_a_lost_seed_caller_is_another_call_to_an_extended_worker(bus: Bus, worker: RawPeer) -> None:
    first, second = RawPeer(bus), RawPeer(bus)
    first.send(call("same", "math", "add"))
    [abandoned] = given_to(worker)
    first.disconnect()
    second.send(call("same", "math", "add"))
    [given] = given_to(worker)
    worker.send(result(str(abandoned["call_id"]), "math", "not yours"))
    assert second.receive() == []
    worker.send(result(str(given["call_id"]), "math", "yours"))
    assert second.receive() == [result("same", "math", "yours")]


def test_an_id_that_a_busy_worker_still_knows_is_rewritten_under_the_callers_prefix(bus: Bus) -> None:
    """The call was cancelled, but counts until its worker has answered; the caller may use its id again."""
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "math", concurrency=2)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add", 1), cancel(call_id), call(call_id, "math", "add", 2))
    first, second = ids_of(worker.receive())
    assert first == call_id
    assert second.startswith(caller.prefix)
    assert second != first
    worker.send(result(first, "math", "late"), result(second, "math", "in time"))
    assert caller.receive() == [result(call_id, "math", "in time")]
    bus.assert_no_call_is_left()
