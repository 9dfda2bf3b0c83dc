"""Call ids of different callers never mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.messages import MAX_NAME
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, result
from tests.seed.frames import Json, frame


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


def test_a_call_that_another_id_makes_too_large_is_refused(bus: Bus) -> None:
    worker, first, second = RawPeer(bus, "math"), RawPeer(bus), RawPeer(bus)
    room = 65_536 - (len(frame(call("same", "math", "add", ""))) - 4)
    largest = call("same", "math", "add", "x" * room)
    first.send(largest)
    assert worker.receive() == [largest]
    second.send(largest)
    answer = error_of(second.receive()[0])
    assert answer["call_id"] == "same"
    assert "over the limit of 65536 bytes" in str(answer["message"])
    assert worker.receive() == []
    worker.send(result("same", "math"))
    assert first.receive() == [result("same", "math")]
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
    assert "in flight already" in str(refused["message"])
    worker.send(result(call_id, "math", 42))
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
