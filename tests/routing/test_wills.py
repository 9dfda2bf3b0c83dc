"""The last will is published when its owner's connection ends without goodbye."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.routing.driver import MOST_WILL
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, publish
from tests.routing.peers import error_from, json_peer, packed_peer
from tests.routing.subscribers import ask, event_for, subscribe_to, told
from tests.seed.frames import Json

KINDS: list[Callable[[Bus], RawPeer]] = [json_peer, packed_peer]


@pytest.fixture
def watcher(bus: Bus) -> RawPeer:
    watcher = json_peer(bus)
    subscribe_to(watcher, "state", "*", 1)
    return watcher


@pytest.fixture(params=KINDS)
def owner(bus: Bus, request: pytest.FixtureRequest) -> RawPeer:
    owner: RawPeer = request.param(bus)
    assert ask(owner, "setWill", object_name="state", topic="owner", args={"alive": False}) is True
    return owner


WILL = event_for(1, "state", "owner", {"alive": False})


def test_it_is_published_when_the_connection_breaks(bus: Bus, watcher: RawPeer, owner: RawPeer) -> None:
    assert watcher.receive() == []
    owner.disconnect()
    assert watcher.receive() == [WILL]
    watcher.disconnect()
    bus.assert_empty()


def test_it_is_published_when_the_input_ends(watcher: RawPeer, owner: RawPeer) -> None:
    owner.link.end_input()
    assert watcher.receive() == [WILL]


def test_it_is_published_once_when_the_broker_ends_the_connection(watcher: RawPeer, owner: RawPeer) -> None:
    owner.send_bytes((2**31).to_bytes(4, "big"))
    assert watcher.receive() == [WILL]
    owner.disconnect()
    assert watcher.receive() == []


def test_after_what_its_owner_published(watcher: RawPeer, owner: RawPeer) -> None:
    owner.send(publish("state", "a", 1), publish("state", "a", 2))
    owner.link.end_input()
    assert told(watcher.receive()) == [1, 2, {"alive": False}]


def test_it_is_not_published_after_goodbye(watcher: RawPeer, owner: RawPeer) -> None:
    owner.send({"Goodbye": {}})
    owner.link.end_input()
    assert owner.ended
    assert watcher.receive() == []


def test_another_one_takes_its_place(watcher: RawPeer, owner: RawPeer) -> None:
    ask(owner, "setWill", object_name="state", topic="other", args=2)
    owner.disconnect()
    assert watcher.receive() == [event_for(1, "state", "other", 2)]


def test_without_a_topic_there_is_none_any_more(watcher: RawPeer, owner: RawPeer) -> None:
    assert ask(owner, "setWill") is True
    owner.disconnect()
    assert watcher.receive() == []


def test_it_reaches_every_encoding_and_seed_peers(bus: Bus, owner: RawPeer) -> None:
    listeners = [packed_peer(bus), json_peer(bus)]
    for listener in listeners:
        subscribe_to(listener, "state", "owner", 1)
    seed = RawPeer(bus)
    seed.subscribe("state", "owner")
    owner.disconnect()
    assert [told(listener.receive()) for listener in [*listeners, seed]] == [[{"alive": False}]] * 3


def test_it_may_be_retained(bus: Bus, owner: RawPeer) -> None:
    ask(owner, "setWill", object_name="state", topic="owner", args=1, retain=True)
    owner.disconnect()
    late = json_peer(bus)
    subscribe_to(late, "state", "owner", 1)
    assert late.receive() == [event_for(1, "state", "owner", 1, retained=True)]


def test_its_owner_does_not_get_it(bus: Bus, owner: RawPeer) -> None:
    subscribe_to(owner, "state", "owner", 1)
    owner.link.end_input()
    assert owner.receive() == []


def test_wills_that_lose_each_other_all_come(bus: Bus, watcher: RawPeer) -> None:
    owners = [json_peer(bus) for _ in range(3)]
    for number, owner in enumerate(owners):
        ask(owner, "setWill", object_name="state", topic=str(number), args=number)
    for owner in owners:
        owner.disconnect()
    assert told(watcher.receive()) == [0, 1, 2]


REFUSED: list[tuple[dict[str, Json], str, str]] = [
    ({"object_name": "state", "topic": "*", "args": 1}, "invalid_args", "is a pattern"),
    ({"object_name": ">", "topic": "a", "args": 1}, "invalid_args", "is a pattern"),
    ({"object_name": "a.>.b", "topic": "a", "args": 1}, "invalid_args", "something behind '>'"),
    ({"object_name": "rob", "topic": "a", "args": 1}, "permission_denied", "only the broker publishes as 'rob'"),
    ({"object_name": "state", "topic": "a"}, "invalid_args", "a will needs args"),
    ({"object_name": "state", "args": 1}, "invalid_args", "a will needs an object and a topic"),
    ({"topic": "a", "args": 1}, "invalid_args", "a will needs an object and a topic"),
    ({"object_name": "state", "topic": "a", "args": 1, "qos": 2}, "invalid_args", "qos"),
    ({"object_name": "state", "topic": "a", "args": "x" * (MOST_WILL - 1)}, "too_large", f"limit of {MOST_WILL}"),
    ({"object_name": "state", "topic": "x" * 1025, "args": 1}, "invalid_args", "$.topic"),
]


@pytest.mark.parametrize(("will", "code", "text"), REFUSED)
def test_one_that_cannot_be_is_refused_and_the_earlier_one_stays(
    bus: Bus, watcher: RawPeer, will: dict[str, Json], code: str, text: str
) -> None:
    owner = json_peer(bus)
    ask(owner, "setWill", object_name="state", topic="owner", args={"alive": False})
    owner.send(call(f"{owner.prefix}will", "rob", "setWill", will))
    error = error_from(owner.receive()[-1])
    assert error.code == code
    assert text in error.message
    owner.disconnect()
    assert watcher.receive() == [WILL]


def test_a_seed_peer_has_none(bus: Bus, watcher: RawPeer) -> None:
    seed = RawPeer(bus)
    seed.send(call("1", "rob", "setWill", {"object_name": "state", "topic": "a", "args": 1}))
    [answer] = seed.receive()
    assert "a will needs a connection that has said hello" in str(answer["Error"]["message"])
    seed.disconnect()
    assert watcher.receive() == []


def test_a_broker_that_stops_says_so_and_publishes_no_will() -> None:
    bus = Bus()
    mortal, seed, listener = extended_peer(bus), RawPeer(bus), extended_peer(bus)
    listener.subscribe("status", "mortal")
    mortal.send(call(f"{mortal.prefix}1", "rob", "setWill", {"object_name": "status", "topic": "mortal", "args": 1}))
    mortal.receive()
    bus.router.say_goodbye("the broker stops")
    bus.flush()
    assert mortal.receive() == [{"Goodbye": {"reason": "the broker stops"}}]
    assert seed.receive() == []
    mortal.disconnect()
    assert listener.receive() == [{"Goodbye": {"reason": "the broker stops"}}]
