"""`rob.describe` and `rob.topics`: what there is. Interfaces have their own module, as have monitor, measure and inspect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import convert, json

from ipc_broker.description import Interface, ObjectDescription
from ipc_broker.routing.driver import own_interface
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, publish
from tests.routing.peers import json_peer, packed_peer
from tests.routing.subscribers import publish_with, subscribe_to
from tests.routing.test_driver import ask, refusal
from tests.seed.frames import Json

KINDS: list[Callable[..., RawPeer]] = [RawPeer, json_peer, packed_peer]


@pytest.mark.parametrize("kind", KINDS)
def test_rob_describes_itself(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    described = convert(ask(kind(bus), "describe", {"object": "rob"}), ObjectDescription)
    assert (described.object, described.mode, described.owners) == ("rob", "exclusive", ())
    # With tuples among the defaults, as it is before it is sent, it would be another one.
    assert described.interface == json.decode(json.encode(own_interface()), type=Interface)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_there_is_not_is_not_described(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    peer = kind(bus)
    for name in ("ghost", "", "*"):
        assert refusal(peer, "describe", {"object": name})["message"] == f"No such object '{name}'"
    if not peer.peer.is_seed:
        assert refusal(peer, "describe", {"object": "ghost"})["code"] == "no_such_object"


@pytest.mark.parametrize("args", [None, [], "math", {}, {"object": 1}, {"object": None}, {"object": "a", "more": 1}])
def test_arguments_of_describe_that_do_not_fit(bus: Bus, args: Json) -> None:
    refused = refusal(json_peer(bus, "math"), "describe", args)
    assert refused["code"] == "invalid_args"
    assert " - at `$" in str(refused["message"])


# Topics


def topics(peer: RawPeer, wanted: Any = None) -> list[tuple[str, str, int, bool]]:
    listed = ask(peer, "topics", None if wanted is None else {"object": wanted})
    assert isinstance(listed, list)
    return [
        (one["object"], one["topic"], one.get("subscribers", 0), one.get("retained", False))  # type: ignore[misc]
        for one in listed
        if isinstance(one, dict)
    ]


def test_topics_that_are_subscribed_to_retained_or_were_published(bus: Bus) -> None:
    asker, seed = json_peer(bus), RawPeer(bus)
    assert topics(asker) == []
    seed.subscribe("sensor", "heat")
    subscribe_to(asker, "sensor", "heat", 1)
    subscribe_to(asker, "sensor.*", ">", 2)
    seed.send(publish("sensor.a", "cold"), publish("sensor", "heat"), publish("none", "published"))
    asker.send(publish_with("lamp", "state", "on", retain=True))
    bus.settle()
    asker.receive()
    assert topics(asker) == [
        ("lamp", "state", 0, True),
        ("none", "published", 0, False),
        ("sensor", "heat", 2, False),
        ("sensor.*", ">", 1, False),
        ("sensor.a", "cold", 0, False),
    ]
    seed.disconnect()
    ask(asker, "unsubscribe", {"id": 1})
    ask(asker, "clear", {"object_name": "lamp", "topic": "state"})
    assert ("sensor.*", ">", 1, False) in topics(asker)
    assert all(count == 0 and not kept for name, _, count, kept in topics(asker) if name != "sensor.*")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, ["a", "a.b", "a.b.c"]),
        ("", ["a", "a.b", "a.b.c"]),
        ("a", ["a"]),
        ("a.*", ["a.b"]),
        ("a.>", ["a.b", "a.b.c"]),
        (">", ["a", "a.b", "a.b.c"]),
        ("b", []),
    ],
)
def test_topics_of_some_objects(bus: Bus, wanted: str | None, expected: list[str]) -> None:
    peer = extended_peer(bus)
    peer.send(*(publish(name, "x") for name in ("a.b.c", "a.b", "a")))
    assert [name for name, *_ in topics(peer, wanted)] == expected


@pytest.mark.parametrize("args", [[], "sensor", {"object": 1}, {"topic": "x"}, {"object": "a.>.b"}, {"object": "*..a"}])
def test_arguments_of_topics_that_do_not_fit(bus: Bus, args: Json) -> None:
    assert refusal(json_peer(bus), "topics", args)["code"] == "invalid_args"


def test_topics_over_the_frame_limit_are_an_error_and_fewer_can_be_asked_for(bus: Bus) -> None:
    peer = json_peer(bus)
    for number in range(100):
        peer.send(publish("long", f"{number}" + "x" * 1000))
    peer.send(publish("short", "x"))
    assert "over the limit of 65536 bytes" in str(refusal(peer, "topics")["message"])
    assert topics(peer, "short") == [("short", "x", 0, False)]


def test_who_asks_for_what_there_is_not_is_told_of_all(bus: Bus) -> None:
    peer = json_peer(bus)
    peer.send(call(f"{peer.prefix}1", "rob", "observe"))
    [answer] = peer.receive()
    for name in ("describe", "topics", "measure", "inspect", "monitor"):
        assert name in str(answer["Error"]["message"])
