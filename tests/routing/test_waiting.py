"""Calls over a worker's `concurrency` wait in one line for the name, in order, until there is room."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import call, error, result
from tests.routing.peers import (
    call_with,
    cancel,
    error_from,
    ids_of,
    json_peer,
    packed_peer,
    register_as,
    serve,
    stats,
)


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    worker = packed_peer(bus)
    serve(worker, "math", concurrency=2)
    return worker


def calls_of(caller: RawPeer, count: int, first: int = 1) -> list[str]:
    """Makes so many calls at once, and gives their ids."""
    ids = [f"{caller.prefix}{number}" for number in range(first, first + count)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids))
    caller.bus.settle()
    return ids


def waiting_and_in_flight(caller: RawPeer) -> tuple[int, int]:
    found = stats(caller)
    return found["calls_waiting"], found["calls_in_flight"]


def test_calls_over_the_cap_wait_in_order_for_an_answer_to_make_room(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 6)
    given = ids_of(worker.receive())
    assert given == ids[:2]
    assert waiting_and_in_flight(caller) == (4, 6)
    order: list[str] = []
    while given:
        call_id = given.pop()  # the later one first: the order of those that wait is not that of the answers
        worker.send(result(call_id, "math"))
        order += (new := ids_of(worker.receive()))
        given += new
        assert len(given) <= 2
    assert order == ids[2:]
    assert len(caller.receive()) == 6
    assert waiting_and_in_flight(caller) == (0, 0)
    bus.assert_no_call_is_left()


def test_all_callers_wait_in_one_line(bus: Bus, worker: RawPeer) -> None:
    first, second, seed = packed_peer(bus), json_peer(bus), RawPeer(bus)
    calls_of(first, 2)
    order = [*calls_of(second, 1), *calls_of(first, 1, 3), *calls_of(second, 1, 2)]
    seed.send(call("seed", "math", "add"))
    bus.settle()
    worker.receive()
    given: list[str] = []
    for call_id in (f"{first.prefix}1", f"{first.prefix}2", *order):
        worker.send(result(call_id, "math"))
        given += ids_of(worker.receive())
    assert given[:3] == order
    assert given[3].startswith(f"{seed.peer.id}.")


def test_an_error_makes_room_as_a_result_does(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 3)
    worker.receive()
    worker.send(error(ids[0], "math", "no"))
    assert ids_of(worker.receive()) == ids[2:]


def test_nobody_overtakes_those_who_wait(bus: Bus) -> None:
    """Room that is there when a call comes belongs to the first in the line."""
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    ids = calls_of(caller, 2)
    assert ids_of(worker.receive()) == ids[:1]
    worker.send(result(ids[0], "math"))
    later = calls_of(caller, 1, 3)
    assert ids_of(worker.receive()) == ids[1:]
    worker.send(result(ids[1], "math"))
    assert ids_of(worker.receive()) == later


def test_calls_of_another_name_of_the_same_worker_do_not_wait(bus: Bus, worker: RawPeer) -> None:
    serve(worker, "text", concurrency=1)
    caller = packed_peer(bus)
    calls_of(caller, 3)
    caller.send(call(f"{caller.prefix}text", "text", "upper"))
    assert ids_of(worker.receive())[-1] == f"{caller.prefix}text"


def test_those_who_share_a_name_have_one_line_and_each_its_own_cap(bus: Bus) -> None:
    small, large, caller = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    serve(small, "math", "shared", concurrency=1)
    serve(large, "math", "shared", concurrency=3)
    ids = calls_of(caller, 6)
    of_small, of_large = ids_of(small.receive()), ids_of(large.receive())
    assert (len(of_small), len(of_large)) == (1, 3)
    large.send(result(of_large[0], "math"))
    assert ids_of(large.receive()) == ids[4:5]
    small.send(result(of_small[0], "math"))
    assert ids_of(small.receive()) == ids[5:]


def test_the_limit_of_those_who_wait_is_named(bus: Bus) -> None:
    bus = Bus(Limits(waiting=2))
    worker, caller, seed = packed_peer(bus), packed_peer(bus), RawPeer(bus)
    serve(worker, "math", concurrency=1)
    ids = calls_of(caller, 4)
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (ids[3], "overloaded", "no")
    assert answer.message == "2 calls of 'math' wait for room at its workers, the limit (waiting)"
    seed.send(call("1", "math", "add"))
    assert seed.receive() == [error("1", "math", answer.message)]
    worker.send(result(ids[0], "math"))
    bus.settle()
    caller.receive()
    calls_of(caller, 1, 5)
    assert caller.receive() == []
    assert waiting_and_in_flight(caller) == (2, 3)


def test_a_call_that_waits_counts_against_its_callers_limit_and_keeps_its_id(bus: Bus) -> None:
    bus = Bus(Limits(calls=3))
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    ids = calls_of(caller, 2)
    caller.send(call(ids[1], "math", "add"))
    [answer] = map(error_from, caller.receive())
    assert "is in flight" in answer.message
    calls_of(caller, 2, 3)
    [answer] = map(error_from, caller.receive())
    assert "the limit (calls)" in answer.message


# What else makes room, or ends the waiting


def test_a_higher_cap_lets_those_who_wait_in(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 6)
    assert ids_of(worker.receive()) == ids[:2]
    worker.send(register_as("math", concurrency=3))
    registered, *given = worker.receive()
    assert registered == {"Registered": {"object_name": "math"}}
    assert ids_of(given) == ids[2:3]
    worker.send(register_as("math"))
    assert ids_of(worker.receive()) == ids[3:]
    caller.send(call(f"{caller.prefix}7", "math", "add"))
    assert ids_of(worker.receive()) == [f"{caller.prefix}7"]
    worker.send(*(result(call_id, "math") for call_id in (*ids, f"{caller.prefix}7")))
    bus.settle()
    bus.assert_no_call_is_left()


def test_a_lower_cap_lets_nobody_in_before_enough_are_done(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 3)
    worker.receive()
    worker.send(register_as("math", concurrency=1))
    assert ids_of(worker.receive()) == []
    worker.send(result(ids[0], "math"))
    assert ids_of(worker.receive()) == []
    worker.send(result(ids[1], "math"))
    assert ids_of(worker.receive()) == ids[2:]


def test_a_new_member_lets_those_who_wait_in(bus: Bus) -> None:
    first, second, caller = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    serve(first, "math", "shared", concurrency=1)
    ids = calls_of(caller, 3)
    second.send({"RegisterObject": {"object_name": "math", "mode": "shared", "concurrency": 1}})
    registered, *rest = second.receive()
    assert registered == {"Registered": {"object_name": "math"}}, "before the first call"
    assert ids_of(rest) == ids[1:2]


@pytest.mark.parametrize("end", ["disconnect", "unregister"])
def test_calls_that_wait_when_the_last_worker_is_lost_were_not_delivered(bus: Bus, worker: RawPeer, end: str) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 4)
    worker.receive()
    if end == "disconnect":
        worker.disconnect()
    else:
        worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": "math"}))
    answers = [error_from(message) for message in caller.receive()]
    assert [(answer.call_id, answer.delivered) for answer in answers] == [
        (ids[0], "maybe"),
        (ids[1], "maybe"),
        (ids[2], "no"),
        (ids[3], "no"),
    ]
    assert {answer.code for answer in answers} == {"worker_lost"}
    assert waiting_and_in_flight(caller) == (0, 0)
    bus.assert_no_call_is_left()


def test_calls_that_wait_when_the_name_is_given_up_but_its_calls_are_kept_end_too(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    ids = calls_of(caller, 3)
    worker.receive()
    worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": "math", "keep_calls": True}))
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (ids[2], "worker_lost", "no")
    worker.send(*(result(call_id, "math", 42) for call_id in ids[:2]))
    assert caller.receive() == [result(call_id, "math", 42) for call_id in ids[:2]]
    bus.assert_no_call_is_left()


def test_calls_that_wait_go_to_whoever_takes_the_name_over(bus: Bus, worker: RawPeer) -> None:
    standby, caller = packed_peer(bus), packed_peer(bus)
    serve(standby, "math", "standby", concurrency=1)
    ids = calls_of(caller, 4)
    worker.disconnect()
    assert [error_from(message).call_id for message in caller.receive()] == ids[:2]
    assert ids_of(standby.receive()) == ids[2:3]
    standby.send(result(ids[2], "math"))
    assert ids_of(standby.receive()) == ids[3:]
    standby.send(result(ids[3], "math"))
    assert len(caller.receive()) == 2
    bus.assert_no_call_is_left()


def test_calls_that_wait_go_to_the_members_that_are_left(bus: Bus) -> None:
    first, second, caller = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    for one in (first, second):
        serve(one, "math", "shared", concurrency=1)
    ids = calls_of(caller, 3)
    assert (ids_of(first.receive()), ids_of(second.receive())) == (ids[:1], ids[1:2])
    first.disconnect()
    assert [error_from(message).call_id for message in caller.receive()] == ids[:1]
    second.send(result(ids[1], "math"))
    assert ids_of(second.receive()) == ids[2:]


def test_a_worker_that_answers_what_is_no_message_gets_the_next_calls(bus: Bus, worker: RawPeer) -> None:
    """It holds none any more, so that nothing else would ever make room."""
    caller = packed_peer(bus)
    ids = calls_of(caller, 5)
    assert ids_of(worker.receive()) == ids[:2]
    worker.send_bytes(b"\0\0\0\1\xc1")
    assert ids_of(worker.receive()) == ids[2:4]
    assert [error_from(message).call_id for message in caller.receive()] == ids[:2]
    worker.send(*(result(call_id, "math") for call_id in ids[2:4]))
    assert ids_of(worker.receive()) == ids[4:]


def test_a_worker_that_is_closed_for_its_garbage_gets_no_more_calls(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    calls_of(caller, 5)
    worker.receive()
    worker.send_bytes((2**31).to_bytes(4, "big"))
    answers = [error_from(message) for message in caller.receive()]
    assert [answer.delivered for answer in answers] == ["maybe"] * 2 + ["no"] * 3
    assert ids_of(worker.receive()) == []
    bus.assert_no_call_is_left()


def test_a_call_that_turns_out_to_be_unsendable_makes_place_for_the_next(bus: Bus) -> None:
    """It is looked at only when there is room: nobody knows before to which worker it goes."""
    worker, caller = packed_peer(bus), packed_peer(bus, max_frame=100_000)
    serve(worker, "math", concurrency=1)
    ids = calls_of(caller, 1)
    caller.send(
        call_with(f"{caller.prefix}2", "math", "add", "x" * 70_000),
        call_with(f"{caller.prefix}3", "math", "add", timeout_ms=1000),
    )
    worker.receive()
    worker.send(result(ids[0], "math"))
    assert ids_of(worker.receive()) == [f"{caller.prefix}3"]
    _, failed = caller.receive()
    answer = error_from(failed)
    assert (answer.call_id, answer.code, answer.delivered) == (f"{caller.prefix}2", "too_large", "no")
    caller.send(cancel(f"{caller.prefix}3"))
    bus.settle()
    worker.send(result(f"{caller.prefix}3", "math"))
    bus.settle()
    bus.assert_no_call_is_left()
    assert bus.router.next_deadline() is None


def test_a_half_closed_seed_caller_gets_its_answer_even_if_its_call_has_to_wait(bus: Bus, worker: RawPeer) -> None:
    other, caller = packed_peer(bus), RawPeer(bus)
    ids = calls_of(other, 2)
    caller.send(call("1", "math", "add"))
    caller.link.end_input()
    assert not caller.ended
    worker.receive()
    worker.send(result(ids[0], "math"))
    [call_id] = ids_of(worker.receive())
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result("1", "math", 42)]
    assert caller.ended


def test_a_caller_that_leaves_while_its_call_waits_for_its_own_object_leaves_nothing_behind(bus: Bus) -> None:
    peer = packed_peer(bus)
    serve(peer, "math", concurrency=1)
    calls_of(peer, 3)
    peer.disconnect()
    bus.assert_empty()


def test_a_call_that_a_lost_worker_is_given_while_its_names_go_ends_too() -> None:
    """The end of the first name ends a caller, whose place at the second is taken by the worker that is being lost."""
    bus = Bus(Limits(outbox=5000))
    lost, full, caller = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    serve(lost, "a", concurrency=1)
    for one in (lost, full):
        serve(one, "b", "shared", concurrency=1)
    full.send(*(call(f"{full.prefix}{number}", "a", "x") for number in range(60)))
    caller.send(*(call(f"{caller.prefix}{number}", "b", "x") for number in range(3)))
    bus.settle()
    assert waiting_and_in_flight(caller) == (60, 63)
    full.link.stop_taking()
    lost.disconnect()
    assert full.peer.closing
    answers = [error_from(message) for message in caller.receive()]
    assert sorted(str(answer.call_id) for answer in answers) == [f"{caller.prefix}{number}" for number in range(3)]
    assert {answer.code for answer in answers} == {"worker_lost"}
    bus.assert_no_call_is_left()
