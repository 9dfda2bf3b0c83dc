"""A connection over the limit is told so and closed; nobody else notices."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, result
from tests.routing.peers import stats
from tests.seed.frames import Message, frame

FULL: Message = {
    "Error": {
        "call_id": None,
        "object_name": "rob",
        "message": "this broker has 2 connections, which is the limit (connections)",
        "code": "overloaded",
    }
}


@pytest.fixture
def bus() -> Bus:
    return Bus(Limits(connections=2))


def answer_of(peer: RawPeer) -> list[Message]:
    """What a client sees that has not read the answer to its hello."""
    peer.prefix = "so that all fields are shown"
    return peer.receive()


def test_one_too_many_is_told_and_closed(bus: Bus) -> None:
    worker, caller = extended_peer(bus, "math"), extended_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    third = RawPeer(bus)
    third.send(call("h", "rob", "hello"), call("1", "math", "add"))
    assert third.peer.closing
    bus.flush()
    assert answer_of(third) == [FULL]
    assert third.ended
    assert bus.router.peers == {worker.peer, caller.peer}
    assert worker.receive() == []
    worker.send(result(f"{caller.prefix}1", "math", 3))
    assert caller.receive() == [result(f"{caller.prefix}1", "math", 3)]
    third.disconnect()
    worker.disconnect()
    caller.disconnect()
    bus.assert_empty()


def test_one_that_says_more_all_the_same_is_not_listened_to(bus: Bus) -> None:
    first, second, third = RawPeer(bus), RawPeer(bus), RawPeer(bus)
    now = bus.now
    bus.router.receive(third.peer, frame({"RegisterObject": {"object_name": "math"}}), now)
    bus.router.end_of_input(third.peer, now)
    assert list(bus.router.names) == []
    bus.flush()
    assert answer_of(third) == [FULL]
    assert bus.router.peers == {first.peer, second.peer}


def test_a_place_that_gets_free_is_taken(bus: Bus) -> None:
    first, _ = RawPeer(bus), RawPeer(bus)
    assert RawPeer(bus).peer.closing
    first.disconnect()
    peer = extended_peer(bus)
    assert stats(peer)["connections"] == 2


def test_they_are_counted_apart(bus: Bus) -> None:
    peer, _ = extended_peer(bus), RawPeer(bus)
    for _ in range(5):
        RawPeer(bus)
    totals = stats(peer)["totals"]
    assert (totals["connections"], totals["refused_connections"], totals["errors"]) == (2, 5, 5)


def test_refusing_is_logged_when_it_begins_and_not_again_at_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(Limits(connections=16))
    peers = [RawPeer(bus) for _ in range(16)]
    caplog.clear()
    for _ in range(10):
        assert RawPeer(bus).peer.closing
        peers.pop().disconnect()
        peers.append(RawPeer(bus))
    assert [record.getMessage() for record in caplog.records] == [
        "this broker has 16 connections, which is the limit (connections): further ones are refused"
    ]
    for _ in range(3):
        peers.pop().disconnect()
    peers += [RawPeer(bus) for _ in range(3)]
    assert RawPeer(bus).peer.closing
    assert len(caplog.records) == 2
