"""Subscribers whose events carry no id: seed peers, and extended ones that gave none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from ipc_broker.config import Limits
from ipc_broker.routing import feeds
from tests.memory import Bus, RawPeer
from tests.messages import call, error, event, publish, register, result
from tests.routing.peers import error_from, ids_of, json_peer, packed_peer
from tests.routing.subscribers import PAUSE, RESUME, publish_with, subscribe_to, told
from tests.seed.frames import Json


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return json_peer(bus, "math")


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return packed_peer(bus)


@pytest.fixture
def seed(bus: Bus) -> RawPeer:
    seed = RawPeer(bus)
    seed.subscribe("sensor", "a")
    return seed


def send(publisher: RawPeer, *values: Json) -> None:
    publisher.send(*(publish("sensor", "a", value) for value in values))
    publisher.bus.settle()


def events(*values: Json) -> list[Any]:
    return [event("sensor", "a", value) for value in values]


# Events and answers


def test_events_wait_for_the_answer_of_the_last_call_in_flight(
    seed: RawPeer, worker: RawPeer, publisher: RawPeer
) -> None:
    send(publisher, 0)
    seed.send(call("1", "math", "add"), call("2", "math", "add"))
    first, second = ids_of(worker.receive())
    send(publisher, 1, 2)
    worker.send(result(first, "math", 42))
    send(publisher, 3)
    assert seed.receive() == [*events(0), result("1", "math", 42)]
    worker.send(result(second, "math", 43))
    send(publisher, 4)
    assert seed.receive() == [result("2", "math", 43), *events(1, 2, 3, 4)]


def test_they_come_after_every_kind_of_end(bus: Bus, seed: RawPeer, worker: RawPeer, publisher: RawPeer) -> None:
    def call_and_publish(value: int) -> str:
        seed.send(call("1", "math", "add"))
        [given] = ids_of(worker.receive())
        send(publisher, value)
        assert seed.receive() == []
        return given

    worker.send(error(call_and_publish(1), "math", "no"))
    assert [next(iter(message)) for message in seed.receive()] == ["Error", "Event"]
    call_and_publish(2)
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "math"}))
    assert [next(iter(message)) for message in seed.receive()] == ["Error", "Event"]
    worker.receive()
    worker.register("math")
    call_and_publish(3)
    worker.disconnect()
    assert [next(iter(message)) for message in seed.receive()] == ["Error", "Event"]


def test_a_call_that_is_answered_at_once_holds_nothing_back(seed: RawPeer, publisher: RawPeer) -> None:
    seed.send(call("1", "rob", "ping"), call("2", "nobody", "m"))
    send(publisher, 1)
    assert [next(iter(message)) for message in seed.receive()] == ["Result", "Error", "Event"]


def test_an_extended_peer_tells_events_from_answers(bus: Bus, worker: RawPeer, publisher: RawPeer) -> None:
    for subscriber in (json_peer(bus), packed_peer(bus)):
        subscriber.subscribe("sensor", "a")
        subscriber.send(call(f"{subscriber.prefix}1", "math", "add"))
        worker.receive()
        send(publisher, 1)
        assert subscriber.receive() == events(1)


def test_a_seed_worker_that_serves_a_call_gets_its_events(bus: Bus, seed: RawPeer, publisher: RawPeer) -> None:
    seed.register("text")
    publisher.send(call(f"{publisher.prefix}1", "text", "upper"))
    bus.settle()
    send(publisher, 1)
    assert [next(iter(message)) for message in seed.receive()] == ["Call", "Event"]


def test_what_waits_still_reaches_one_that_only_waits_for_its_answer(
    seed: RawPeer, worker: RawPeer, publisher: RawPeer
) -> None:
    seed.send(call("1", "math", "add"))
    [given] = ids_of(worker.receive())
    send(publisher, 1)
    seed.link.end_input()
    send(publisher, 2)  # it has no subscriptions any more
    worker.send(result(given, "math", 42))
    assert seed.receive() == [result("1", "math", 42), *events(1)]
    assert seed.ended


def test_one_whose_call_takes_too_long_is_lagging(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(Limits(backlog=1000))
    seed, worker, publisher = RawPeer(bus), json_peer(bus, "math"), packed_peer(bus)
    seed.subscribe("sensor", "a")
    seed.send(call("1", "math", "add"))
    [given] = ids_of(worker.receive())
    send(publisher, *("x" * 300 for _ in range(4)))
    assert publisher.receive() == [PAUSE]
    bus.advance(2)
    assert publisher.receive() == [RESUME]
    send(publisher, 1, 2, 3)
    caplog.clear()
    worker.send(result(given, "math", 42))
    assert seed.receive() == [result("1", "math", 42), *events(*["x" * 300] * 4)]
    assert "takes events again; it missed 3" in caplog.text
    assert bus.router.events.backpressure.dropped == 3
    send(publisher, 4)
    assert seed.receive() == events(4)
    for peer in (seed, worker, publisher):
        peer.disconnect()
    bus.assert_empty()


def test_nobody_waits_longer_for_one_that_always_has_a_call_in_flight() -> None:
    """Its answers are no events: it takes none of them."""
    bus = Bus(Limits(backlog=1000))
    seed, worker, publisher = RawPeer(bus), json_peer(bus, "math"), packed_peer(bus)
    seed.subscribe("sensor", "a")
    seed.send(call("0", "math", "add"))
    send(publisher, *("x" * 300 for _ in range(4)))
    for number in range(1, 5):
        seed.send(call(str(number), "math", "add"))
        [given, *_] = ids_of(worker.receive())
        worker.send(result(given, "math", number))
        assert [next(iter(message)) for message in seed.receive()] == ["Result"]
        assert publisher.receive() == [[PAUSE], [], [], [RESUME]][number - 1]
        bus.advance(0.9)


# The outbox


@pytest.mark.parametrize("connect", [RawPeer, json_peer, packed_peer])
def test_events_beyond_the_window_of_the_outbox_wait(
    bus: Bus, connect: Callable[[Bus], RawPeer], publisher: RawPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "OUTBOX_WINDOW", 1000)
    subscriber = connect(bus)
    subscriber.subscribe("sensor", "a")
    subscriber.link.stop_taking()
    send(publisher, *range(100))
    queued = subscriber.peer.connection.queued
    assert 1000 <= queued < 1100
    feed = subscriber.peer.feed
    assert feed is not None
    waiting = feed.backlog_bytes
    subscriber.link.take(1)
    assert 0 < waiting - feed.backlog_bytes < 200
    assert 1000 <= subscriber.peer.connection.queued < 1100
    send(publisher, 100)
    subscriber.link.take_again()
    assert subscriber.receive() == events(*range(101))
    assert feed.backlog_bytes == 0


def test_an_answer_waits_for_the_window_only(
    bus: Bus, worker: RawPeer, publisher: RawPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "OUTBOX_WINDOW", 1000)
    subscriber = json_peer(bus)
    subscriber.subscribe("sensor", "a")
    subscriber.link.stop_taking()
    send(publisher, *range(100))
    subscriber.send(call(f"{subscriber.prefix}1", "rob", "ping"))
    bus.settle()
    subscriber.link.take_again()
    messages = subscriber.receive()
    assert messages.index(result(f"{subscriber.prefix}1", "rob", "pong")) < 20
    assert len(messages) == 101


# What they cannot be told


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


UNSAYABLE: list[tuple[Json, str]] = [
    (cast(Json, b"\x00"), "invalid_args"),
    ({"value": float("nan")}, "invalid_args"),
    (nested(126), "invalid_args"),
    ("x" * 65_536, "too_large"),
]


@pytest.mark.parametrize(("value", "code"), UNSAYABLE)
def test_what_a_seed_cannot_read_is_an_error_to_its_publisher_and_reaches_the_others(
    bus: Bus, seed: RawPeer, value: Json, code: str
) -> None:
    publisher, other = packed_peer(bus), packed_peer(bus, max_frame=100_000)
    subscribe_to(other, "sensor", "a", 1)
    second = RawPeer(bus)
    second.subscribe("sensor", "a")
    publisher.send(publish("sensor", "a", value), publish_with("sensor", "a", value, call_id="ack"))
    bus.settle()
    assert seed.receive() == second.receive() == []
    assert [str(one) for one in told(other.receive())] == [str(value)] * 2
    refusals = [error_from(message) for message in publisher.receive()]
    assert [(refusal.call_id, refusal.code) for refusal in refusals] == [(None, code), ("ack", code)]
    assert refusals[0].type == "Publish"
    send(publisher, 1)
    assert seed.receive() == second.receive() == events(1)


@pytest.mark.parametrize("value", [nested(126), 10**400])
def test_json_that_its_programs_do_not_read_is_kept_from_it_too(bus: Bus, seed: RawPeer, value: Json) -> None:
    publisher = json_peer(bus)
    send(publisher, value, 1)
    assert [error_from(message).code for message in publisher.receive()] == ["invalid_args"]
    assert seed.receive() == events(1)


def test_a_seed_publisher_is_told_in_its_own_words(bus: Bus, seed: RawPeer) -> None:
    publisher = RawPeer(bus)
    send(publisher, nested(126 - 1), nested(126))
    [answer] = publisher.receive()
    assert answer["Error"]["call_id"] is None
    assert "cannot read this event" in str(answer["Error"]["message"])
    assert len(seed.receive()) == 1


def test_it_hears_of_names_as_everybody_does(bus: Bus, seed: RawPeer, publisher: RawPeer) -> None:
    seed.subscribe("rob", "object.registered")
    publisher.send(register("text"))
    assert told(seed.receive()) == [{"object": "text"}]
