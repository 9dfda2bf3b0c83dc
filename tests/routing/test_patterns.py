from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.routing.patterns import PatternError, PatternTree, is_pattern, matches
from tests.memory import Bus, RawPeer
from tests.messages import event, publish, refused
from tests.routing.peers import json_peer, packed_peer
from tests.routing.subscribers import event_for, publish_with, subscribe_to, told, unsubscribe
from tests.seed.frames import Message

SEGMENTS = st.sampled_from(["a", "b", "", "*", ">", "a*"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)


def valid(pattern: str) -> bool:
    try:
        is_pattern(pattern)
    except PatternError:
        return False
    return True


PATTERNS = NAMES.filter(valid)


@pytest.mark.parametrize("name", ["", "a", "a.b", "a..b", ".", "a*", "*a.b", "a.>b", "a*..b", "**"])
def test_a_wildcard_is_a_whole_segment(name: str) -> None:
    assert not is_pattern(name)


@pytest.mark.parametrize("name", ["*", ">", "a.*", "*.a", "a.*.b", "a.>", "*.>"])
def test_a_wildcard_makes_a_pattern(name: str) -> None:
    assert is_pattern(name)


@pytest.mark.parametrize("pattern", ["a.>.b", ">.a", ">.>", "*.>.*"])
def test_nothing_stands_behind_the_rest(pattern: str) -> None:
    with pytest.raises(PatternError, match="something behind '>'"):
        is_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a..*", ".*", "*.", "..>", "*..a"])
def test_a_pattern_has_no_empty_segment(pattern: str) -> None:
    with pytest.raises(PatternError, match="empty segment"):
        is_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a", "a", True),
        ("a", "a.b", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("*", "", True),
        ("*", "*", True),
        (">", "a", True),
        (">", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "ab.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a..c", True),
        ("a.*.c", "a.b.c.d", False),
        ("*.*", "a", False),
        ("*.>", "a.b", True),
        ("*.>", "a", False),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected
    tree: PatternTree[str] = PatternTree()
    tree.add(pattern, "topic", "object")
    tree.add("object", pattern, "topic")
    assert tree.find(name, "topic") == (["object"] if expected else [])
    assert tree.find("object", name) == (["topic"] if expected else [])


@given(
    patterns=st.lists(st.tuples(PATTERNS, PATTERNS), max_size=8),
    name=NAMES,
    topic=NAMES,
    gone=st.sets(st.integers(0, 7)),
)
def test_the_tree_finds_each_pattern_that_matches_once(
    patterns: list[tuple[str, str]], name: str, topic: str, gone: set[int]
) -> None:
    tree: PatternTree[int] = PatternTree()
    for number, pattern in enumerate(patterns):
        tree.add(*pattern, number)
    left = dict(enumerate(patterns))
    for number in gone & left.keys():
        tree.remove(*left.pop(number), number)
    assert tree.count == len(left)
    expected = [number for number, (one, other) in left.items() if matches(one, name) and matches(other, topic)]
    assert sorted(tree.find(name, topic)) == expected
    for number, pattern in left.items():
        tree.remove(*pattern, number)
    assert tree.count == 0
    assert vars_of(tree) == vars_of(PatternTree())


def vars_of(tree: PatternTree[int]) -> tuple[object, ...]:
    """What is left in the tree's root."""
    root = tree._root
    return root.segments, root.topics, root.ends


def test_a_name_of_a_thousand_segments_is_no_problem() -> None:
    tree: PatternTree[int] = PatternTree()
    long = ".".join("a" * 512)
    tree.add(f"{long}.>", f"*.{long}", 1)
    assert tree.find(f"{long}.b", f"b.{long}") == [1]
    tree.remove(f"{long}.>", f"*.{long}", 1)
    assert tree.find(f"{long}.b", f"b.{long}") == []


# Through the router


def test_a_pattern_gets_the_events_it_matches_with_their_own_names(bus: Bus) -> None:
    subscriber, publisher = json_peer(bus), RawPeer(bus)
    subscribe_to(subscriber, "sensor.*", "temperature.>", 1)
    publisher.send(
        publish("sensor.kitchen", "temperature.air", 1),
        publish("sensor.kitchen", "temperature", 2),
        publish("sensor", "temperature.air", 3),
        publish("sensor.hall", "temperature.air.max", 4),
    )
    assert subscriber.receive() == [
        event_for(1, "sensor.kitchen", "temperature.air", 1),
        event_for(1, "sensor.hall", "temperature.air.max", 4),
    ]


def test_each_subscription_that_matches_gets_the_event(bus: Bus) -> None:
    subscriber, publisher = packed_peer(bus), RawPeer(bus)
    for id, (name, topic) in enumerate([("sensor", "a"), ("sensor", "*"), (">", "a"), ("sensor", "b")], 1):
        subscribe_to(subscriber, name, topic, id)
    publisher.send(publish("sensor", "a", 1))
    got = subscriber.receive()
    assert sorted(got, key=str) == [event_for(id, "sensor", "a", 1) for id in (1, 2, 3)]


def test_who_gets_an_event_changes_with_every_pattern(bus: Bus) -> None:
    """Although it is kept who gets the events of a topic."""
    subscriber, publisher = json_peer(bus), RawPeer(bus)
    received: list[list[Message]] = []

    def publish_one(value: int) -> None:
        publisher.send(publish("sensor", "a", value))
        received.append(subscriber.receive())

    publish_one(1)
    subscribe_to(subscriber, "sensor", "*", 1)
    publish_one(2)
    subscribe_to(subscriber, "sensor", "a", 2)
    publish_one(3)
    unsubscribe(subscriber, 1)
    publish_one(4)
    unsubscribe(subscriber, 2)
    publish_one(5)
    ids = [sorted(int(str(message["Event"]["subscription"])) for message in messages) for messages in received]
    assert ids == [[], [1], [1, 2], [2], []]


def test_a_pattern_that_is_none_is_refused(bus: Bus) -> None:
    subscriber = json_peer(bus)
    for name, topic in [("a.>.b", "c"), ("c", "a.>.b")]:
        subscriber.send({"Subscribe": {"object_name": name, "topic": topic, "id": 3, "credit": 1}})
        text = "the pattern 'a.>.b' has something behind '>', which stands for all the rest"
        refusal = refused("Subscribe", name, "invalid_args", text)
        refusal["Error"]["subscription"] = 3
        assert subscriber.receive() == [refusal]
    assert bus.router.events.subscriptions.count == 0


@pytest.mark.parametrize(("name", "topic"), [("sensor", "*"), (">", "a"), ("sensor", "a.*"), ("a.>.b", "a")])
def test_publishing_to_a_pattern_is_refused(bus: Bus, name: str, topic: str) -> None:
    publisher, subscriber = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, ">", ">", 1)
    publisher.send(publish(name, topic, 1), publish_with(name, topic, 2, call_id="ack"))
    first, second = (message["Error"] for message in publisher.receive())
    assert first == {**first, "call_id": None, "code": "invalid_args", "type": "Publish"}
    assert second == {**second, "call_id": "ack", "code": "invalid_args"}
    assert subscriber.receive() == []
    assert bus.router.events.published == 0


def test_it_is_refused_even_where_a_seed_peer_publishes_such_a_topic(bus: Bus) -> None:
    """To seed peers it is no pattern; who gets its events is kept then."""
    seed, extended, subscriber = RawPeer(bus), json_peer(bus), RawPeer(bus)
    subscriber.subscribe("sensor", "*")
    seed.send(publish("sensor", "*", 1))
    assert subscriber.receive() == [event("sensor", "*", 1)]
    extended.send(publish("sensor", "*", 2))
    assert [message["Error"]["code"] for message in extended.receive()] == ["invalid_args"]
    assert subscriber.receive() == []


def test_wildcards_are_literal_without_an_id(bus: Bus) -> None:
    subscriber, publisher = json_peer(bus), RawPeer(bus)
    subscriber.subscribe("sensor", "*")
    publisher.send(publish("sensor", "a", 1), publish("sensor", "*", 2))
    assert subscriber.receive() == [event("sensor", "*", 2)]


def test_a_pattern_stands_for_a_seed_peers_star_too(bus: Bus) -> None:
    subscriber, publisher = json_peer(bus), RawPeer(bus)
    subscribe_to(subscriber, "sensor", "*", 1)
    publisher.send(publish("sensor", "*", 1), publish("sensor", ">", 2), publish("sensor", "", 3))
    assert told(subscriber.receive()) == [1, 2, 3]
