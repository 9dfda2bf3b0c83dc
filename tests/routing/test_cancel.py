"""Cancelling reaches the worker; and what a call carries besides: its headers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.routing.calls import MOST_HEADERS
from tests.memory import Bus, RawPeer
from tests.messages import call, error, result
from tests.routing.peers import (
    call_with,
    cancel,
    error_from,
    ids_of,
    json_peer,
    packed_peer,
    serve,
    stats,
)
from tests.seed.frames import Json

KINDS: list[Callable[..., RawPeer]] = [json_peer, packed_peer]


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return packed_peer(bus, "math", features=["cancel"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_call_is_cancelled_at_its_worker_and_gets_no_answer(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]
) -> None:
    caller = kind(bus)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    caller.send(call(first, "math", "add"), call(second, "math", "add"))
    assert ids_of(worker.receive()) == [first, second]
    caller.send(cancel(first))
    assert worker.receive() == [cancel(first)]
    worker.send(error(first, "math", "cancelled"), result(second, "math", 42))
    assert caller.receive() == [result(second, "math", 42)]
    assert bus.router.totals.late_answers == 1
    bus.assert_no_call_is_left()


def test_cancelling_what_is_no_call_in_flight_is_nobodys_fault(bus: Bus, worker: RawPeer) -> None:
    caller, other = packed_peer(bus), packed_peer(bus)
    call_id = f"{caller.prefix}1"
    caller.send(cancel(call_id), cancel(""), call(call_id, "math", "add"))
    assert ids_of(worker.receive()) == [call_id]
    other.send(cancel(call_id))
    worker.send(cancel(call_id))
    assert worker.receive() == [], "it is not theirs"
    worker.send(result(call_id, "math"))
    bus.settle()
    caller.send(cancel(call_id), cancel(call_id))
    assert caller.receive() == [result(call_id, "math")]
    assert other.receive() == worker.receive() == []
    assert bus.router.totals.invalid_messages == 0


def test_a_seed_peer_knows_no_cancel(bus: Bus, worker: RawPeer) -> None:
    caller = RawPeer(bus)
    caller.send(call("1", "math", "add"))
    [call_id] = ids_of(worker.receive())
    caller.send(cancel("1"))
    assert [next(iter(message)) for message in caller.receive()] == ["Error"]
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result("1", "math", 42)]


@pytest.mark.parametrize("end", [RawPeer.disconnect, lambda caller: caller.link.end_input()])
@pytest.mark.parametrize("kind", KINDS)
def test_the_calls_of_a_lost_caller_are_cancelled(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer], end: Callable[[RawPeer], None]
) -> None:
    caller, other = kind(bus), packed_peer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(3)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids))
    other.send(call(f"{other.prefix}1", "math", "add"))
    assert len(worker.receive()) == 4
    end(caller)
    assert worker.receive() == [cancel(call_id) for call_id in ids]
    assert bus.router.calls.in_flight == 1
    worker.send(*(result(call_id, "math") for call_id in ids), result(f"{other.prefix}1", "math", 42))
    assert other.receive() == [result(f"{other.prefix}1", "math", 42)]
    assert bus.router.totals.late_answers == 3
    bus.assert_no_call_is_left()


def test_the_calls_of_a_lost_seed_caller_are_cancelled_by_the_ids_that_the_worker_knows(
    bus: Bus, worker: RawPeer
) -> None:
    caller = RawPeer(bus)
    caller.send(call("1", "math", "add"), call("2", "math", "add"))
    given = ids_of(worker.receive())
    caller.disconnect()
    assert worker.receive() == [cancel(call_id) for call_id in given]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("end", ["cancel", "disconnect"])
def test_a_call_that_waits_for_room_leaves_its_place_and_its_worker_never_hears_of_it(bus: Bus, end: str) -> None:
    worker, caller, other = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    other.send(call(f"{other.prefix}1", "math", "add"))
    bus.settle()
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    bus.settle()
    other.send(call(f"{other.prefix}2", "math", "add"))
    bus.settle()
    assert stats(other)["calls_waiting"] == 2
    worker.receive()
    if end == "cancel":
        caller.send(cancel(f"{caller.prefix}1"))
    else:
        caller.disconnect()
    assert worker.receive() == []
    found = stats(other)
    assert (found["calls_waiting"], found["calls_in_flight"]) == (1, 2)
    worker.send(result(f"{other.prefix}1", "math"))
    assert ids_of(worker.receive()) == [f"{other.prefix}2"]
    worker.send(result(f"{other.prefix}2", "math"))
    assert len(other.receive()) == 2
    bus.assert_no_call_is_left()


def test_a_capped_workers_cancelled_call_counts_until_it_has_answered(bus: Bus) -> None:
    """It is still at work; the next call would be one too many."""
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    ids = [f"{caller.prefix}{number}" for number in range(3)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids), cancel(ids[0]))
    assert worker.receive()[-1] == cancel(ids[0])
    found = stats(caller)
    assert (found["calls_in_flight"], found["calls_waiting"]) == (2, 2)
    worker.send(error(ids[0], "math", "cancelled"))
    assert ids_of(worker.receive()) == [ids[1]]
    assert caller.receive() == []
    assert bus.router.totals.late_answers == 1
    worker.send(result(ids[1], "math", 1))
    assert ids_of(worker.receive()) == [ids[2]]
    worker.send(result(ids[2], "math", 2))
    assert caller.receive() == [result(ids[1], "math", 1), result(ids[2], "math", 2)]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("end", ["disconnect", "unregister", "garbage"])
def test_a_cancelled_call_that_still_counts_goes_with_its_worker(bus: Bus, end: str) -> None:
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    caller.send(call(f"{caller.prefix}1", "math", "add"), cancel(f"{caller.prefix}1"))
    worker.receive()
    assert len(worker.peer.serving) == 1
    if end == "disconnect":
        worker.disconnect()
    elif end == "unregister":
        worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "math"}))
    else:
        worker.send_bytes(b"\0\0\0\1\xc1")
    bus.settle()
    assert caller.receive() == [], "nobody waits for it"
    bus.assert_no_call_is_left()


# Headers


@pytest.mark.parametrize("kind", KINDS)
def test_headers_reach_the_worker(bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]) -> None:
    caller = kind(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add", [1], headers={"tenant": "a", "trace": "é"}))
    [given] = worker.receive()
    assert given["Call"]["headers"] == {"tenant": "a", "trace": "é"}
    assert given["Call"]["args"] == [1]


def test_a_seed_worker_gets_the_call_without_headers_timeout_and_credit(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), packed_peer(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call_with(call_id, "math", "add", [1], headers={"tenant": "a"}, timeout_ms=1000, credit=1000))
    [frame] = worker.receive_frames()
    assert frame[4:] == b'{"Call":{"call_id":"%b","object_name":"math","method":"add","args":[1]}}' % call_id.encode()


@pytest.mark.parametrize("kind", KINDS)
def test_headers_over_the_limit_are_refused(bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]) -> None:
    caller = kind(bus)
    most: dict[str, Json] = {"k": "v" * (MOST_HEADERS - 1)}
    too_many: dict[str, Json] = {"k": "", **{f"{number:04}": "v" * 4 for number in range(MOST_HEADERS // 8)}}
    caller.send(call_with(f"{caller.prefix}1", "math", "add", headers=most))
    assert len(worker.receive()) == 1
    caller.send(call_with(f"{caller.prefix}2", "math", "add", headers=too_many))
    [answer] = map(error_from, caller.receive())
    assert (answer.code, answer.delivered) == ("too_large", "no")
    assert answer.message == f"the headers have {MOST_HEADERS + 1} characters, over the limit of {MOST_HEADERS}"
    assert worker.receive() == []
    assert bus.router.calls.in_flight == 1


@pytest.mark.parametrize("headers", [None, [], "a", {"a": 1}, {"a": None}])
@pytest.mark.parametrize("kind", KINDS)
def test_headers_that_are_no_text_are_refused_with_their_path(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer], headers: Json
) -> None:
    caller = kind(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add", headers=headers))
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code) == (f"{caller.prefix}1", "invalid_args")
    assert "$.headers" in answer.message
    assert worker.receive() == []


def test_a_call_with_no_header_in_it_is_like_one_without(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call_with(f"{caller.prefix}1", "math", "add", headers={}))
    [given] = worker.receive()
    assert given["Call"].get("headers", {}) == {}
