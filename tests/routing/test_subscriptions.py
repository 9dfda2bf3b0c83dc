from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.messages import Subscribe
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.routing import subscriptions as module
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.subscriptions import Heads, Subscription, Subscriptions
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, event, publish, refused, result, subscribe
from tests.routing.peers import json_peer, packed_peer
from tests.routing.subscribers import ask, event_for, subscribe_to, told, unsubscribe
from tests.seed.frames import Json, Message


def a_subscription(object_name: str, topic: str, id: int = 1, group: str = "") -> Subscription:
    return Subscription(Peer(1, Credentials(), lambda peer: None), Subscribe(object_name, topic, id, 1000, group))


def test_subscribers_are_found_once_each_in_the_order_they_came() -> None:
    subscriptions = Subscriptions()
    first, second, other = (a_subscription("sensor", topic) for topic in ("a", "a", "b"))
    for one in (first, second, other):
        subscriptions.add(one)
    assert subscriptions.find("sensor", "a").subscriptions == [first, second]
    assert subscriptions.find("sensor", "b").subscriptions == [other]
    assert subscriptions.count == 3


def test_what_was_found_is_kept_until_it_changes() -> None:
    subscriptions, first, second = Subscriptions(), a_subscription("sensor", "a"), a_subscription("sensor", "*")
    subscriptions.add(first)
    route = subscriptions.find("sensor", "a")
    assert subscriptions.route(("sensor", "a")) is route
    subscriptions.add(a_subscription("sensor", "b"))
    assert subscriptions.route(("sensor", "a")) is route
    subscriptions.add(second)
    assert subscriptions.route(("sensor", "a")) is None
    assert subscriptions.find("sensor", "a").subscriptions == [first, second]
    subscriptions.remove(second)
    assert subscriptions.route(("sensor", "a")) is None
    subscriptions.find("sensor", "a")
    subscriptions.remove(first)
    assert subscriptions.route(("sensor", "a")) is None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROUTES", 10)
    subscriptions = Subscriptions()
    for number in range(25):
        subscriptions.find("sensor", str(number))
    assert sum(subscriptions.route(("sensor", str(number))) is not None for number in range(25)) == 5


def test_the_last_subscriber_leaves_nothing_behind() -> None:
    subscriptions = Subscriptions()
    several = [a_subscription(*names) for names in [("sensor", "a"), ("sensor", "a"), ("sensor", "*"), (">", "a")]]
    for one in several:
        subscriptions.add(one)
    for one in several:
        subscriptions.remove(one)
        subscriptions.remove(one)
    assert subscriptions.count == 0
    assert not subscriptions.find("sensor", "a").subscriptions
    assert not subscriptions._literal


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_the_head_of_an_event_and_its_value_are_its_frame(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HEADS", 5)
    heads = Heads(codec, "sensor", "a")
    for size in range(20):
        value = codec.encode_payload("x" * size)
        end = bytes(value) + codec.publish_closing
        for id in (7, size, 2**53):
            made = heads.make(id, len(end))
            assert made[1] + end == codec.event_frame("sensor", "a", value, id)
            assert heads.find(id) is made
            assert made[0] == len(end)
        assert len(heads.made) <= 5


# Through the router


def test_events_go_exactly_to_the_subscribers_of_object_and_topic_in_order(bus: Bus) -> None:
    seed, extended, other = RawPeer(bus), extended_peer(bus), RawPeer(bus)
    packed, json = packed_peer(bus), json_peer(bus)
    for peer in (seed, extended):
        peer.subscribe("sensor", "temperature")
    subscribe_to(packed, "sensor", "temperature", 5)
    subscribe_to(json, "sensor", "temperature", 6)
    other.subscribe("sensor", "pressure")
    for number, publisher in enumerate((RawPeer(bus), json_peer(bus), packed_peer(bus))):
        values = range(100 * number, 100 * number + 100)
        publisher.send(*(publish("sensor", "temperature", value) for value in values))
        expected = [event("sensor", "temperature", value) for value in values]
        assert seed.receive() == expected
        assert extended.receive() == expected
        assert packed.receive() == [event_for(5, "sensor", "temperature", value) for value in values]
        assert json.receive() == [event_for(6, "sensor", "temperature", value) for value in values]
        assert other.receive() == []
        assert publisher.receive() == []


def test_two_subscriptions_of_one_peer_get_the_event_each_under_its_id(bus: Bus) -> None:
    peer, publisher = json_peer(bus), RawPeer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    subscribe_to(peer, "sensor", "a", 2**53 - 1)
    publisher.send(publish("sensor", "a", 1))
    assert peer.receive() == [event_for(id, "sensor", "a", 1) for id in (1, 2**53 - 1)]


def test_without_an_id_a_second_subscription_is_confirmed_and_brings_no_event_twice(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.subscribe("sensor", "temperature")
    peer.subscribe("sensor", "temperature")
    peer.send(publish("sensor", "temperature", 1))
    assert peer.receive() == [event("sensor", "temperature", 1)]


def test_after_unsubscribing_no_event_comes(bus: Bus) -> None:
    peer, publisher = json_peer(bus), RawPeer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    subscribe_to(peer, "sensor", "a", 2)
    unsubscribe(peer, 1)
    publisher.send(publish("sensor", "a", 1))
    assert peer.receive() == [event_for(2, "sensor", "a", 1)]
    assert ask(peer, "unsubscribe", id=1) is False
    assert ask(peer, "unsubscribe", object_name="sensor", topic="a") is False
    peer.send({"EventCredit": {"subscription": 1, "bytes": 10}})
    assert peer.receive() == []


def test_without_an_id_the_names_unsubscribe(bus: Bus) -> None:
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


def test_an_id_can_be_used_again_when_its_subscription_has_ended(bus: Bus) -> None:
    peer, publisher = packed_peer(bus), RawPeer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    unsubscribe(peer, 1)
    subscribe_to(peer, "sensor", "b", 1)
    publisher.send(publish("sensor", "a", 1), publish("sensor", "b", 2))
    assert told(peer.receive()) == [2]


@pytest.mark.parametrize("pattern", ["*", ">"])
def test_wildcards_are_literal_to_seed_peers(bus: Bus, pattern: str) -> None:
    peer, publisher = RawPeer(bus), RawPeer(bus)
    peer.subscribe("sensor", pattern)
    peer.subscribe(pattern, "temperature")
    publisher.send(publish("sensor", "temperature", 1), publish("sensor", pattern, 2))
    assert peer.receive() == [event("sensor", pattern, 2)]


REFUSED: list[tuple[dict[str, Json], str]] = [
    ({"id": 1, "credit": 5}, "the subscription id 1 is in use; take another for each subscription"),
    (
        {"id": 2, "overflow": "block"},
        "there is no overflow 'block'; there is '', 'drop_oldest', 'latest', 'disconnect'",
    ),
    ({"group": "g"}, "a subscription with a group, overflow or credit needs an id"),
    ({"overflow": "latest"}, "a subscription with a group, overflow or credit needs an id"),
    ({"credit": 1}, "a subscription with a group, overflow or credit needs an id"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_a_subscription_that_cannot_be_is_refused_and_changes_nothing(
    bus: Bus, fields: dict[str, Json], text: str
) -> None:
    peer, publisher = json_peer(bus), RawPeer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    message = subscribe("sensor", "b")
    message["Subscribe"] |= fields
    peer.send(message)
    refusal: Message = refused("Subscribe", "sensor", "invalid_args", text)
    if "id" in fields:
        refusal["Error"]["subscription"] = fields["id"]
    assert peer.receive() == [refusal]
    publisher.send(publish("sensor", "a", 1), publish("sensor", "b", 2))
    assert peer.receive() == [event_for(1, "sensor", "a", 1)]
    assert bus.router.events.subscriptions.count == 1


def test_the_limit_of_subscriptions_is_named_and_unsubscribing_makes_room() -> None:
    bus = Bus(Limits(subscriptions=2))
    peer = json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1)
    peer.subscribe("sensor", "b")
    peer.send(subscribe("sensor", "c"))
    text = "this connection has 2 subscriptions, which is the limit (subscriptions)"
    assert peer.receive() == [refused("Subscribe", "sensor", "overloaded", text)]
    unsubscribe(peer, 1)
    peer.subscribe("sensor", "c")
    json_peer(bus).subscribe("sensor", "c")


@pytest.mark.parametrize("topic", ["{}", "{}.*"])
def test_100_000_subscriptions_leave_nothing_behind(topic: str) -> None:
    bus = Bus(Limits(subscriptions=100_000))
    peer = packed_peer(bus)
    wishes = [subscribe("sensor", topic.format(number)) for number in range(100_000)]
    for id, wish in enumerate(wishes, 1):
        wish["Subscribe"]["id"] = id
    peer.send(*wishes)
    assert len(peer.receive_frames()) == 100_000
    assert bus.router.events.subscriptions.count == 100_000
    peer.disconnect()
    bus.assert_empty()


def test_an_event_keeps_its_payload_byte_for_byte(bus: Bus) -> None:
    seed, extended, publisher = RawPeer(bus), json_peer(bus), RawPeer(bus)
    seed.subscribe("sensor", "temperature")
    subscribe_to(extended, "sensor", "temperature", 4)
    fields = '"object_name":"sensor","topic":"temperature","args":{ "b":1.50, "a":"\\u00b0C °" , "a":0.10 }'
    body = f'{{"Publish":{{{fields}}}}}'.encode()
    publisher.send_bytes(len(body).to_bytes(4, "big") + body)
    assert [frame[4:] for frame in seed.receive_frames()] == [f'{{"Event":{{{fields}}}}}'.encode()]
    assert [frame[4:] for frame in extended.receive_frames()] == [f'{{"Event":{{"subscription":4,{fields}}}}}'.encode()]
