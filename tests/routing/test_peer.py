from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.routing.peer import Peer
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, event, publish, result


def test_a_peer_describes_itself_by_name_and_process_or_address() -> None:
    peer = Peer(7, Credentials(), lambda peer: None)
    assert peer.describe() == "connection 7"
    peer.credentials = Credentials(address="127.0.0.1:54321")
    assert peer.describe() == "connection 7 (127.0.0.1:54321)"
    peer.credentials = Credentials(pid=4711, uid=0)
    assert peer.describe() == "connection 7 (process 4711)"
    peer.name = "thermostat"
    assert peer.describe() == "'thermostat' (process 4711)"


def test_repr_shows_the_live_state(bus: Bus) -> None:
    peer = extended_peer(bus, "math", name="worker")
    caller = RawPeer(bus)
    peer.subscribe("sensor", "temperature")
    caller.send(call("1", "math", "add"))
    bus.settle()
    assert repr(peer.peer) == "<Peer 'worker' extended names=1 subscriptions=1 calls=0 serving=1 queued=0>"
    assert repr(caller.peer) == "<Peer connection 2 seed names=0 subscriptions=0 calls=1 serving=0 queued=0>"


def test_a_peer_is_woken_once_for_all_that_is_queued() -> None:
    woken: list[Peer] = []
    peer = Peer(1, Credentials(), woken.append)
    peer.send_frame(b"one")
    peer.send_frame(b"two")
    assert woken == [peer]
    assert peer.connection.data_to_send() == b"onetwo"
    peer.send_frame(b"three")
    assert woken == [peer, peer]


# What a seed peer is spared


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return RawPeer(bus, "math")


@pytest.fixture
def caller(bus: Bus) -> RawPeer:
    """A seed peer that is subscribed and has a call in flight."""
    caller = RawPeer(bus)
    caller.subscribe("sensor", "temperature")
    caller.send(call("1", "math", "add"))
    assert caller.receive() == []
    return caller


def publish_values(bus: Bus, *values: int) -> None:
    publisher = RawPeer(bus)
    publisher.send(*(publish("sensor", "temperature", value) for value in values))
    bus.settle()


def test_events_of_a_seed_peer_wait_for_the_answer_and_come_after_it_in_order(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    publish_values(bus, 1, 2)
    assert caller.receive() == []
    worker.send(result("1", "math", 42))
    assert caller.receive() == [
        result("1", "math", 42),
        event("sensor", "temperature", 1),
        event("sensor", "temperature", 2),
    ]
    publish_values(bus, 3)
    assert caller.receive() == [event("sensor", "temperature", 3)]
    assert caller.peer.feed is not None
    assert caller.peer.feed.backlog_bytes == 0
    assert not caller.peer.feed.backlog


def test_events_of_a_seed_peer_wait_for_an_error_too(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    publish_values(bus, 1)
    worker.send(error("1", "math", "cannot add"))
    assert caller.receive() == [error("1", "math", "cannot add"), event("sensor", "temperature", 1)]


def test_events_of_a_seed_peer_wait_until_its_last_call_is_answered(bus: Bus, worker: RawPeer, caller: RawPeer) -> None:
    caller.send(call("2", "math", "add"))
    bus.settle()
    publish_values(bus, 1)
    worker.send(result("2", "math"))
    assert caller.receive() == [result("2", "math")]
    worker.send(result("1", "math"))
    assert caller.receive() == [result("1", "math"), event("sensor", "temperature", 1)]


def test_events_of_a_seed_peer_come_after_all_the_errors_of_a_lost_worker(
    bus: Bus, worker: RawPeer, caller: RawPeer
) -> None:
    caller.send(call("2", "math", "add"))
    bus.settle()
    publish_values(bus, 1)
    worker.disconnect()
    assert [next(iter(message)) for message in caller.receive()] == ["Error", "Error", "Event"]


def test_for_events_that_wait_for_an_answer_publishers_wait_a_while_and_those_beyond_are_counted() -> None:
    bus = Bus(Limits(backlog=1000))
    worker, caller, publisher = RawPeer(bus, "math"), RawPeer(bus), RawPeer(bus)
    caller.subscribe("sensor", "temperature")
    caller.send(call("1", "math", "add"))
    bus.settle()

    def publish_until_stopped(first: int) -> int:
        """The number of the event after the last that the broker has read."""
        for value in range(first, first + 100):
            if not publisher.peer.reads:
                return value
            publisher.send(publish("sensor", "temperature", value))
            bus.settle()
        return first + 100

    kept = publish_until_stopped(0)
    assert 10 < kept < 20
    bus.advance(bus.router.limits.stall)
    assert publish_until_stopped(kept) == kept + 100, "nobody waits for it any more"
    worker.send(result("1", "math"))
    answer, *events = caller.receive()
    assert answer == result("1", "math")
    assert events == [event("sensor", "temperature", value) for value in range(kept)]
    assert bus.router.events.backpressure.dropped == 100
    publish_values(bus, 1000)
    assert caller.receive() == [event("sensor", "temperature", 1000)]


def test_an_extended_peer_gets_its_events_while_its_call_is_in_flight(bus: Bus, worker: RawPeer) -> None:
    caller = extended_peer(bus)
    caller.subscribe("sensor", "temperature")
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    bus.settle()
    publish_values(bus, 1)
    assert caller.receive() == [event("sensor", "temperature", 1)]
