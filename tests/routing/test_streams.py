"""Streams: items go to the caller, credit to the worker, and neither gets more than the other gave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import call, error_of, result
from tests.routing.peers import (
    call_with,
    cancel,
    credit,
    ended,
    error_from,
    ids_of,
    item,
    json_peer,
    packed,
    packed_peer,
    serve,
    stats,
)
from tests.seed.frames import Json, frame

KINDS: list[Callable[..., RawPeer]] = [json_peer, packed_peer]


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return packed_peer(bus, "logs", features=["cancel", "streams"])


@pytest.fixture
def caller(bus: Bus, worker: RawPeer) -> RawPeer:
    """One whose stream "2.1" is open, with credit for 1000 bytes."""
    caller = packed_peer(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1000))
    [given] = worker.receive()
    assert given["Call"]["credit"] == 1000
    return caller


def test_items_reach_the_caller_in_order_and_the_last_result_ends_the_stream(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    items = [item("2.1", number) for number in range(5)]
    worker.send(*items, ended("2.1", "logs"))
    assert caller.receive() == [*items, ended("2.1", "logs")]
    bus.assert_no_call_is_left()
    worker.send(item("2.1", 6))
    assert caller.receive() == []
    assert stats(caller)["totals"]["late_items"] == 1


def test_an_error_ends_a_stream_too(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    failed = {"Error": {"call_id": "2.1", "object_name": "logs", "message": "no", "code": "remote_error"}}
    worker.send(item("2.1", 1), failed)  # type: ignore[arg-type]
    assert caller.receive() == [item("2.1", 1), failed]
    bus.assert_no_call_is_left()


def test_only_the_worker_that_was_given_the_call_streams_its_items(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    forger = packed_peer(bus, "other")
    forger.send(item("2.1", "forged"))
    caller.send(item("2.1", "forged"))
    assert caller.receive() == []
    assert bus.router.totals.late_items == 2
    worker.send(item("2.1", "real"))
    assert caller.receive() == [item("2.1", "real")]


def test_credit_reaches_the_worker(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    caller.send(credit("2.1", 300), credit("2.1", 1), credit("ghost", 5))
    assert worker.receive() == [credit("2.1", 300), credit("2.1", 1)]
    worker.send(credit("2.1", 5))
    assert caller.receive() == [], "it is not the worker's to give"


def test_a_worker_may_use_its_credit_to_the_last_byte_and_one_item_beyond(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    """The size of an item is known when it is made: the credit says when to stop, not how large the last one may be."""
    last = item("2.1", "x" * 5000)
    size = len(packed(item("2.1", 1)))
    few = [item("2.1", 1)] * (999 // size)
    worker.send(*few, last)
    assert caller.receive() == [*few, last]
    assert caller.peer.calls["2.1"].credit < 0


def test_an_item_over_the_credit_ends_the_call_with_an_error_to_both(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    worker.send(item("2.1", "x" * 1000), item("2.1", "too much"), item("2.1", "late"))
    first, failed = caller.receive()
    assert first == item("2.1", "x" * 1000)
    answer = error_from(failed)
    assert (answer.call_id, answer.code, answer.delivered) == ("2.1", "remote_error", "yes")
    assert "over the credit" in answer.message
    refused, told = worker.receive()
    assert (error_of(refused)["call_id"], error_of(refused)["type"]) == (None, "Item")
    assert error_of(refused)["message"] == answer.message
    assert told == cancel("2.1")
    assert bus.router.totals.late_items == 1
    bus.assert_no_call_is_left()
    worker.send(ended("2.1", "logs"))
    assert caller.receive() == []
    assert bus.router.totals.late_answers == 1


def test_more_credit_lets_the_stream_go_on(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    large = item("2.1", "x" * 1000)
    worker.send(large)
    assert caller.receive() == [large]
    caller.send(credit("2.1", len(packed(large))))
    bus.settle()
    assert caller.peer.calls["2.1"].credit == 1000
    worker.send(large)
    assert caller.receive() == [large]


def test_a_caller_that_gave_no_credit_takes_no_stream(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call("2.1", "logs", "tail"))
    worker.receive()
    worker.send(item("2.1", 1))
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code) == ("2.1", "remote_error")
    assert [next(iter(message)) for message in worker.receive()] == ["Error", "Cancel"]
    bus.assert_no_call_is_left()


def test_a_method_that_does_not_stream_answers_with_its_value(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.send(result("2.1", "logs", 42))
    assert caller.receive() == [result("2.1", "logs", 42)]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("end", ["cancel", "disconnect"])
def test_items_for_a_caller_that_is_gone_are_dropped_and_counted(
    bus: Bus, worker: RawPeer, caller: RawPeer, end: str
) -> None:
    if end == "cancel":
        caller.send(cancel("2.1"))
    else:
        caller.disconnect()
    assert worker.receive() == [cancel("2.1")]
    worker.send(item("2.1", 1), item("2.1", 2), ended("2.1", "logs"))
    assert caller.receive() == []
    assert (bus.router.totals.late_items, bus.router.totals.late_answers) == (2, 1)
    assert worker.receive() == []


def test_items_for_a_call_past_its_deadline_are_dropped_and_counted(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1000, timeout_ms=100))
    worker.receive()
    worker.send(item("2.1", 1))
    bus.advance(1)
    assert [next(iter(message)) for message in caller.receive()] == ["Item", "Error"]
    worker.send(item("2.1", 2))
    assert caller.receive() == []
    assert bus.router.totals.late_items == 1


def test_a_lost_worker_ends_the_stream(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    worker.send(item("2.1", 1))
    bus.settle()
    worker.disconnect()
    first, failed = caller.receive()
    assert first == item("2.1", 1)
    assert error_from(failed).code == "worker_lost"
    caller.send(credit("2.1", 1))
    assert caller.receive() == []
    bus.assert_no_call_is_left()


def test_credit_for_a_call_that_waits_for_room_goes_with_it(bus: Bus) -> None:
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "logs", concurrency=1)
    caller.send(call("2.1", "logs", "tail"), call_with("2.2", "logs", "tail", [1], credit=1000), credit("2.2", 500))
    assert ids_of(worker.receive()) == ["2.1"]
    worker.send(result("2.1", "logs"))
    [given] = worker.receive()
    assert (given["Call"]["call_id"], given["Call"]["args"], given["Call"]["credit"]) == ("2.2", [1], 1500)
    worker.send(item("2.2", "x" * 1400), item("2.2", "x"))
    assert [next(iter(message)) for message in caller.receive()] == ["Result", "Item", "Item"]


@pytest.mark.parametrize("waits", [False, True])
def test_the_most_credit_is_what_a_message_can_say(bus: Bus, waits: bool) -> None:
    most = 2**53 - 1
    worker, caller = packed_peer(bus), packed_peer(bus)
    serve(worker, "logs", concurrency=1)
    if waits:
        caller.send(call("2.0", "logs", "tail"))
    caller.send(call_with("2.1", "logs", "tail", credit=most), credit("2.1", most), credit("2.1", most))
    bus.settle()
    worker.send(result("2.0", "logs"))
    bus.settle()
    worker.receive()
    assert caller.peer.calls["2.1"].credit == most
    worker.send(item("2.1", 1), ended("2.1", "logs"))
    assert [next(iter(message)) for message in caller.receive()][-2:] == ["Item", "Result"]


def test_a_worker_without_streams_is_not_told_of_credit(bus: Bus) -> None:
    seed, plain, caller = RawPeer(bus, "seed"), json_peer(bus, "plain", features=[]), packed_peer(bus)
    for name in ("seed", "plain"):
        caller.send(call_with(f"3.{name}", name, "tail", credit=1000), credit(f"3.{name}", 1000))
    assert [next(iter(message)) for peer in (seed, plain) for message in peer.receive()] == ["Call", "Call"]


def test_a_caller_that_reads_no_items_is_ended_at_the_limit_whatever_credit_it_gave() -> None:
    bus = Bus(Limits(outbox=10_000))
    worker, caller = packed_peer(bus, "logs"), packed_peer(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=2**53 - 1))
    worker.receive()
    caller.link.stop_taking()
    sent = 0
    while not caller.peer.closing and sent < 100:
        worker.send(item("2.1", "x" * 1000))
        bus.settle()
        sent += 1
    assert sent < 12
    assert cancel("2.1") in worker.receive()
    assert bus.router.peers == {worker.peer}
    bus.assert_no_call_is_left()


def test_credit_does_not_pile_up_for_a_worker_that_reads_nothing() -> None:
    bus = Bus(Limits(outbox=10_000))
    worker, caller = packed_peer(bus, "logs"), packed_peer(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1))
    worker.receive()
    worker.link.stop_taking()
    caller.send(*([credit("2.1", 1)] * 1000))
    [answer] = map(error_from, caller.receive())
    assert (answer.code, answer.delivered) == ("overloaded", "maybe")
    assert "(outbox)" in answer.message
    assert worker.peer.connection.queued < 10_200
    bus.assert_no_call_is_left()


# In different encodings

VALUES: dict[str, Json] = {
    "longer in JSON": [0.1234567890123456] * 5,
    "twice as long in JSON": [-0.12345678901234567] * 50,
    "longer in MessagePack": [1.5] * 20,
    "a small one": True,
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kinds", [(json_peer, packed_peer), (packed_peer, json_peer)])
def test_a_stream_between_two_encodings_neither_runs_dry_nor_ever_further_ahead(
    bus: Bus, kinds: tuple[Callable[..., RawPeer], Callable[..., RawPeer]], value: str
) -> None:
    """The worker counts its own frames, the caller those that it gets, and gives back after half a window."""
    worker, caller = kinds[0](bus, "logs", features=["cancel", "streams"]), kinds[1](bus)
    window = 2000
    sent = item("2.1", VALUES[value])
    worker_size, caller_size = (len((packed if kind is packed_peer else frame)(sent)) for kind in kinds)
    caller.send(call_with("2.1", "logs", "tail", credit=window))
    assert len(worker.receive()) == 1
    may_send, untaken, came = window, 0, 0
    most = window + worker_size  # what may be on its way, as the worker counts it, and by how much encodings differ
    for _ in range(50):
        while may_send > 0:
            worker.send(sent)
            bus.settle()
            may_send -= worker_size
        assert may_send <= most
        for message in caller.receive():
            assert message == sent, "the stream goes on"
            came += 1
            untaken += caller_size
        assert untaken <= most * max(1, caller_size / worker_size) + caller_size
        if untaken >= window // 2:
            caller.send(credit("2.1", untaken))
            untaken = 0
        may_send += sum(int(str(message["Credit"]["bytes"])) for message in worker.receive())
        assert may_send > 0, "both wait for each other"
    assert came >= 50
    worker.send(ended("2.1", "logs"))
    assert caller.receive() == [ended("2.1", "logs")]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kinds", [(json_peer, packed_peer), (packed_peer, json_peer)])
def test_credit_that_is_given_byte_by_byte_is_what_the_item_took_at_its_worker(
    bus: Bus, kinds: tuple[Callable[..., RawPeer], Callable[..., RawPeer]]
) -> None:
    worker, caller = kinds[0](bus, "logs", features=["cancel", "streams"]), kinds[1](bus)
    sent = item("2.1", [0.1234567890123456] * 5)
    worker_size, caller_size = (len((packed if kind is packed_peer else frame)(sent)) for kind in kinds)
    caller.send(call_with("2.1", "logs", "tail", credit=10_000))
    bus.settle()
    worker.send(sent)
    assert caller.receive() == [sent]
    worker.receive()
    caller.send(*([credit("2.1", 1)] * caller_size))
    given = [int(str(message["Credit"]["bytes"])) for message in worker.receive()]
    assert min(given) > 0
    assert sum(given) == worker_size
    assert caller.peer.calls["2.1"].credit == 10_000


@pytest.mark.parametrize("kinds", [(json_peer, packed_peer), (packed_peer, json_peer)])
def test_items_and_the_end_of_a_stream_are_told_in_the_callers_encoding(
    bus: Bus, kinds: tuple[Callable[..., RawPeer], Callable[..., RawPeer]]
) -> None:
    worker, caller = kinds[0](bus, "logs"), kinds[1](bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1000))
    worker.receive()
    values: list[Json] = [1, "é", [1.5, None], {"a": True}]
    items = [item("2.1", value) for value in values]
    worker.send(*items, ended("2.1", "logs"))
    assert caller.receive() == [*items, ended("2.1", "logs")]


def test_an_item_that_the_callers_encoding_cannot_say_ends_the_stream_with_an_error_to_both(bus: Bus) -> None:
    worker, caller = packed_peer(bus, "logs"), json_peer(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1000))
    worker.receive()
    worker.send_bytes(packed({"Item": {"call_id": "2.1", "value": {"a": b"bytes"}}}))
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code) == ("2.1", "remote_error")
    assert "JSON has no bytes" in answer.message
    assert "`$.a`" in answer.message
    refused, told = worker.receive()
    assert error_of(refused)["type"] == "Item"
    assert told == cancel("2.1")
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_that_is_too_large_for_the_caller_ends_the_stream_with_an_error_to_both(
    bus: Bus, kind: Callable[..., RawPeer]
) -> None:
    worker, caller = packed_peer(bus, "logs"), kind(bus)
    caller.send(call_with("2.1", "logs", "tail", credit=1000))
    worker.receive()
    worker.send(item("2.1", "x" * 70_000))
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code) == ("2.1", "too_large")
    assert "over the limit of 65536 bytes" in answer.message
    assert [next(iter(message)) for message in worker.receive()] == ["Error", "Cancel"]
    bus.assert_no_call_is_left()
