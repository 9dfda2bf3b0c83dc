"""What one connection may leave in the broker's memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error_of, register, result, subscribe
from tests.seed.frames import Message

LIMITS = Limits(outbox=10_000)
KINDS: list[Callable[..., RawPeer]] = [RawPeer, extended_peer]
A_LONG_TIME = 3600.0


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
def test_a_peer_that_leaves_the_brokers_own_answers_beyond_the_outbox_limit_is_closed(
    bus: Bus, kind: Callable[..., RawPeer], asked: str
) -> None:
    RawPeer(bus, "math")
    peer = kind(bus)
    peer.link.stop_taking()
    for _ in range(500):
        peer.send(ASKED[asked])
        bus.settle()
    assert peer.peer.connection.queued < 2 * LIMITS.outbox
    assert peer.peer.closing


# A peer that is to be closed, but takes nothing any more


def sends_an_oversize_frame(bus: Bus, peer: RawPeer) -> None:
    peer.send_bytes((65_537).to_bytes(4, "big"))
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
def test_a_peer_to_be_closed_that_takes_nothing_is_gone_in_the_end(
    bus: Bus, kind: Callable[..., RawPeer], reason: Callable[[Bus, RawPeer], None]
) -> None:
    peer = kind(bus, "math")
    peer.subscribe("sensor", "temperature")
    peer.link.stop_taking()
    reason(bus, peer)
    assert peer.peer.closing
    bus.advance(A_LONG_TIME)
    bus.assert_empty()


def test_an_extended_peer_whose_input_ended_has_no_calls_even_if_it_takes_nothing(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), extended_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    caller.link.stop_taking()
    caller.send({"HasObject": {"object_name": "math"}})
    caller.link.end_input()
    bus.assert_no_call_is_left()
