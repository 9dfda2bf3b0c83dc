from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.subscriptions import Subscriptions
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, event, publish, refused, result, subscribe


def a_peer(number: int) -> Peer:
    return Peer(number, Credentials(), lambda peer: None)


def test_subscribers_are_found_once_each_in_the_order_they_came() -> None:
    subscriptions, first, second = Subscriptions(), a_peer(1), a_peer(2)
    subscriptions.add("sensor", "temperature", first)
    subscriptions.add("sensor", "temperature", second)
    subscriptions.add("sensor", "temperature", first)
    assert list(subscriptions.find(("sensor", "temperature")) or ()) == [first, second]
    assert subscriptions.count == 2


def test_the_last_subscriber_leaves_nothing_behind() -> None:
    subscriptions, first, second = Subscriptions(), a_peer(1), a_peer(2)
    for peer in (first, second):
        subscriptions.add("sensor", "temperature", peer)
        subscriptions.add("sensor", "pressure", peer)
    assert subscriptions.remove("sensor", "temperature", first)
    assert not subscriptions.remove("sensor", "temperature", first)
    subscriptions.remove_all(first)
    assert list(subscriptions.find(("sensor", "pressure")) or ()) == [second]
    subscriptions.remove_all(second)
    assert subscriptions.find(("sensor", "temperature")) is None
    assert subscriptions.find(("sensor", "pressure")) is None
    assert subscriptions.count == 0
    assert not first.subscriptions


# Through the router


def test_events_go_exactly_to_the_subscribers_of_object_and_topic_in_order(bus: Bus) -> None:
    seed, extended, other = RawPeer(bus), extended_peer(bus), RawPeer(bus)
    for peer in (seed, extended):
        peer.subscribe("sensor", "temperature")
    other.subscribe("sensor", "pressure")
    publisher = RawPeer(bus)
    publisher.send(*(publish("sensor", "temperature", value) for value in range(100)))
    expected = [event("sensor", "temperature", value) for value in range(100)]
    assert seed.receive() == expected
    assert extended.receive() == expected
    assert other.receive() == []
    assert publisher.receive() == []


def test_a_second_subscription_of_one_peer_is_confirmed_and_brings_no_event_twice(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.subscribe("sensor", "temperature")
    peer.subscribe("sensor", "temperature")
    peer.send(publish("sensor", "temperature", 1))
    assert peer.receive() == [event("sensor", "temperature", 1)]


def test_after_unsubscribing_no_event_comes(bus: Bus) -> None:
    peer, publisher = extended_peer(bus), RawPeer(bus)
    peer.subscribe("sensor", "temperature")
    call_id = f"{peer.prefix}1"
    wish = call(call_id, "rob", "unsubscribe", {"object_name": "sensor", "topic": "temperature"})
    peer.send(wish)
    assert peer.receive() == [result(call_id, "rob", True)]
    publisher.send(publish("sensor", "temperature", 1))
    assert peer.receive() == []
    peer.send(wish)
    assert peer.receive() == [result(call_id, "rob", False)]


@pytest.mark.parametrize("pattern", ["*", ">"])
def test_wildcards_are_literal_to_seed_peers(bus: Bus, pattern: str) -> None:
    peer, publisher = RawPeer(bus), RawPeer(bus)
    peer.subscribe("sensor", pattern)
    peer.subscribe(pattern, "temperature")
    publisher.send(publish("sensor", "temperature", 1), publish("sensor", pattern, 2))
    assert peer.receive() == [event("sensor", pattern, 2)]


def test_the_limit_of_subscriptions_is_named_and_unsubscribing_makes_room() -> None:
    bus = Bus(Limits(subscriptions=2))
    peer = extended_peer(bus)
    peer.subscribe("sensor", "a")
    peer.subscribe("sensor", "b")
    peer.send(subscribe("sensor", "c"))
    text = "this connection has 2 subscriptions, which is the limit (subscriptions)"
    assert peer.receive() == [refused("Subscribe", "sensor", "overloaded", text)]
    peer.send(call(f"{peer.prefix}1", "rob", "unsubscribe", {"object_name": "sensor", "topic": "a"}))
    peer.receive()
    peer.subscribe("sensor", "c")
    extended_peer(bus).subscribe("sensor", "c")


def test_100_000_subscriptions_leave_nothing_behind() -> None:
    bus = Bus(Limits(subscriptions=100_000))
    peer = extended_peer(bus)
    peer.send(*(subscribe("sensor", str(number)) for number in range(100_000)))
    assert len(peer.receive_frames()) == 100_000
    assert bus.router.subscriptions.count == 100_000
    peer.disconnect()
    bus.assert_empty()


def test_an_event_keeps_its_payload_byte_for_byte(bus: Bus) -> None:
    seed, extended, publisher = RawPeer(bus), extended_peer(bus), RawPeer(bus)
    seed.subscribe("sensor", "temperature")
    extended.subscribe("sensor", "temperature")
    fields = '"object_name":"sensor","topic":"temperature","args":{ "b":1.50, "a":"\\u00b0C °" , "a":0.10 }'
    body = f'{{"Publish":{{{fields}}}}}'.encode()
    publisher.send_bytes(len(body).to_bytes(4, "big") + body)
    expected = f'{{"Event":{{{fields}}}}}'.encode()
    assert [frame[4:] for frame in seed.receive_frames()] == [expected]
    assert [frame[4:] for frame in extended.receive_frames()] == [expected]
