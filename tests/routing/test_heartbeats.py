"""A peer that is gone or frozen without a word is found by its silence; one that says anything stays."""

from __future__ import annotations

from typing import cast

import pytest

from ipc_broker.config import Limits
from ipc_broker.errors import WorkerLost
from tests.memory import Bus, Client, RawPeer
from tests.messages import call
from tests.seed.frames import Message

PING: Message = {"Ping": {}}
LOOK = 15.0 / 4


def beating_peer(bus: Bus) -> RawPeer:
    peer = RawPeer(bus)
    answer = peer.hello(name="beating", features=["multiplex", "heartbeat", "cancel"])
    agreed = cast(dict[str, int], answer["Result"]["value"])
    assert agreed["heartbeat_ms"] == bus.router.limits.heartbeat * 1000
    return peer


def test_a_peer_that_says_nothing_is_asked_and_then_given_up() -> None:
    bus = Bus()
    peer = beating_peer(bus)
    for _ in range(2):
        bus.advance(LOOK)
        assert peer.receive() == [PING]
    bus.advance(LOOK)
    assert peer.receive() == [{"Goodbye": {"reason": "nothing has come from it for 15 s (heartbeat)"}}]
    assert peer.ended
    assert not bus.router.peers


@pytest.mark.parametrize("said", [b'\0\0\0\x0b{"Pong":{}}', b"\0\0"])
def test_whatever_comes_from_it_counts(said: bytes) -> None:
    bus = Bus()
    peer = beating_peer(bus)
    for _ in range(2):
        bus.advance(2 * LOOK)
        assert not peer.ended
        peer.send_bytes(said)
        if len(said) == 2:  # the beginning of a frame, whose rest comes a while later
            bus.advance(2 * LOOK)
            peer.send_bytes(b'\0\x0b{"Pong":{}}')
    bus.advance(LOOK)
    assert not peer.ended


def test_a_peer_that_only_publishes_hears_that_its_broker_is_there() -> None:
    """It looks as the broker does: at the third look at which nothing had come it would take the broker for gone."""
    bus = Bus()
    peer = beating_peer(bus)
    heard: list[list[Message]] = []
    for number in range(8):
        peer.send({"Publish": {"object_name": "sensor", "topic": "heat", "args": number}})
        bus.advance(LOOK)
        heard.append(peer.receive())
    assert heard == [[PING], []] * 4


def test_a_client_that_only_publishes_does_not_take_its_broker_for_gone() -> None:
    bus = Bus()
    client = Client(bus)
    silent: list[str] = []
    client.session.on_silence = silent.append
    for number in range(20):
        client.session.publisher.publish("sensor", "heat", client.session.codec.encode_payload(number))
        bus.advance(LOOK)
    assert silent == []


def test_the_calls_of_a_frozen_worker_end() -> None:
    bus = Bus()
    worker, caller = beating_peer(bus), Client(bus)
    worker.register("math")
    answer = caller.call("math", "add")
    bus.advance(4 * LOOK)
    assert isinstance(answer.error, WorkerLost)
    bus.assert_no_call_is_left()


def test_sessions_answer_and_are_never_given_up() -> None:
    bus = Bus()
    client = Client(bus)
    bus.advance(600.0)
    assert client.session.ready
    assert not client.notices


def test_peers_without_the_feature_are_left_alone() -> None:
    bus = Bus()
    seed, other = RawPeer(bus), RawPeer(bus)
    other.hello(name="other")
    bus.advance(600.0)
    assert (seed.receive(), other.receive()) == ([], [])
    assert [seed.ended, other.ended] == [False, False]


def test_without_heartbeats_nobody_is_asked() -> None:
    bus = Bus(Limits(heartbeat=0.0))
    peer = beating_peer(bus)
    bus.advance(600.0)
    assert peer.receive() == []
    assert bus.router.next_deadline() is None


def test_a_broker_that_was_frozen_itself_gives_nobody_up() -> None:
    bus = Bus()
    peer = beating_peer(bus)
    bus.now += 3600.0
    bus.router.handle_timer(bus.now)
    bus.flush()
    assert not peer.ended
    peer.send(call("1.1", "rob", "ping"))
    assert [next(iter(message)) for message in peer.receive()] == ["Ping", "Result"]
