"""`rob.measure`: what is counted, and for how long."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest
from msgspec import convert

from ipc_broker.observation import LEASE, MOST_LISTED, Measurement, ObjectMeasures
from ipc_broker.protocol.batching import MOST_TAKEN
from ipc_broker.routing import measuring
from tests.memory import Bus, RawPeer
from tests.messages import batch, call, error, publish, result
from tests.routing.looking import Looker, assert_nobody_looks, handlers_of, original_handlers
from tests.routing.peers import cancel, json_peer, packed_peer, register_as
from tests.routing.slow import LIMITS, SlowExtended, send_events
from tests.routing.subscribers import subscribe_to
from tests.seed.frames import Json


def measure(peer: RawPeer, args: Json = None) -> Measurement:
    peer.send(call(f"{peer.prefix}measure", "rob", "measure", args))
    [answer] = [one for one in peer.receive() if one.get("Result", {}).get("object_name") == "rob"]
    # In JSON the keys of `latency` are text.
    return convert(answer["Result"]["value"], Measurement, strict=False)


class Scene:
    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.worker = json_peer(bus, "math", name="worker")
        self.caller = json_peer(bus, name="caller")
        self.asker = json_peer(bus, name="asker")
        self._last = 0

    def call(self, object_name: str = "math", **fields: Any) -> str:
        self._last += 1
        call_id = f"{self.caller.prefix}{self._last}"
        message = call(call_id, object_name, "add")
        message["Call"] |= fields
        self.caller.send(message)
        self.bus.settle()
        return call_id

    def answer(self, call_id: str, after: float = 0.0) -> None:
        self.bus.advance(after)
        self.worker.send(result(call_id, "math"))
        self.bus.settle()

    def measure(self) -> Measurement:
        return measure(self.asker)


@pytest.fixture
def scene(bus: Bus) -> Scene:
    return Scene(bus)


def test_calls_answers_and_events_of_each_object_are_counted_from_the_first_question_on(scene: Scene) -> None:
    scene.answer(scene.call())
    first = scene.measure()
    assert first.objects == {"math": ObjectMeasures()}
    scene.answer(scene.call())
    failed, cancelled = scene.call(), scene.call()
    scene.worker.send(error(failed, "math", "no"))
    scene.caller.send(cancel(cancelled))
    scene.call("ghost")
    scene.caller.send(call(f"{scene.caller.prefix}p", "rob", "ping"))
    scene.caller.send(*(publish("sensor", topic) for topic in ("heat", "cold", "heat")))
    scene.call()
    objects = scene.measure().objects
    assert {name: (one.calls, one.results, one.errors, one.events) for name, one in objects.items()} == {
        "math": (4, 1, 1, 0),
        "sensor": (0, 0, 0, 3),
        "ghost": (1, 0, 1, 0),
    }
    assert objects["math"].in_flight == 1
    assert objects["math"].waiting == 0


def test_events_of_batches_are_counted_one_by_one_and_those_that_are_refused_are_not(scene: Scene) -> None:
    scene.measure()
    no_list: Json = "no list"
    for _ in range(2):  # to a topic that is new, and to one that is known
        scene.caller.send(
            batch("sensor", "heat", 1, 2, 3),
            batch("sensor", "heat"),
            batch("sensor", "*", 1, 2),
            batch("rob", "heat", 1),
            {"Batch": {"object_name": "sensor", "topic": "heat", "values": no_list}},
            batch("sensor", "heat", *range(MOST_TAKEN + 1)),
            publish("sensor", "heat"),
        )
        scene.bus.settle()
    measured = scene.measure()
    assert {name: one.events for name, one in measured.objects.items() if one.events} == {"sensor": 8}
    assert measured.published == 8


def test_counting_lets_a_batch_go_on_whole(bus: Bus) -> None:
    publisher, subscriber, asker = json_peer(bus), json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "heat", 1)
    publisher.send(publish("sensor", "heat"))
    measure(asker)
    subscriber.receive()
    publisher.send(batch("sensor", "heat", 1, 2))
    assert [list(message) for message in subscriber.receive()] == [["Batch"]]
    assert measure(asker).objects["sensor"].events == 2


def test_errors_of_the_broker_count(scene: Scene) -> None:
    scene.measure()
    scene.call(timeout_ms=100)
    scene.bus.advance(1.0)
    scene.call()
    scene.worker.disconnect()
    one = scene.measure().objects["math"]
    assert (one.calls, one.results, one.errors, one.latency) == (2, 0, 2, {})


@pytest.mark.parametrize("seconds", [1e-6, 1.5e-6, 0.001, 0.0123, 1.0, 9.0])
def test_latencies_stand_in_buckets_that_are_a_quarter_of_a_power_of_two_wide(scene: Scene, seconds: float) -> None:
    scene.measure()
    scene.answer(scene.call(), seconds)
    scene.answer(scene.call())  # within one and the same turn of the broker
    latency = scene.measure().objects["math"].latency
    assert sum(latency.values()) == 2
    assert latency.pop(0) >= 1
    for bucket in latency:
        assert 2 ** (bucket / 4) <= seconds * 1e6 * 1.001
        assert seconds * 1e6 <= 2 ** ((bucket + 1) / 4) * 1.001
    assert latency or log2(seconds * 1e6) < 0.3


def test_latencies_of_the_same_length_share_a_bucket(scene: Scene) -> None:
    scene.measure()
    for _ in range(3):
        scene.answer(scene.call(), 0.010)
    [(bucket, count)] = scene.measure().objects["math"].latency.items()
    assert count == 3
    assert 2 ** (bucket / 4) <= 10_000 < 2 ** ((bucket + 1) / 4)


def test_calls_that_wait_for_room_and_calls_from_before(bus: Bus) -> None:
    worker, caller, asker = json_peer(bus), json_peer(bus), packed_peer(bus)
    worker.send(register_as("slow", concurrency=1))
    for number in range(3):
        caller.send(call(f"{caller.prefix}{number}", "slow", "add"))
    bus.settle()
    measured = measure(asker)
    one = measured.objects["slow"]
    assert (one.calls, one.in_flight, one.waiting, measured.calls_in_flight) == (0, 3, 2, 3)
    for number in range(3):
        worker.send(result(f"{caller.prefix}{number}", "slow"))
        bus.settle()
    one = measure(asker).objects["slow"]
    assert (one.calls, one.results, one.in_flight, one.waiting) == (0, 3, 0, 0)


def test_whoever_asks_the_counters_are_the_same_and_go_on(scene: Scene) -> None:
    other = json_peer(scene.bus)
    since = scene.measure().since
    for number in range(1, 6):
        scene.bus.advance(LEASE - 1)
        scene.call()
        measured = measure(other if number % 2 else scene.asker)
        assert measured.since == since == 0.0
        assert measured.time == number * (LEASE - 1)
        assert measured.objects["math"].calls == number


# How long


def test_counting_ends_when_nobody_asks_any_more(scene: Scene) -> None:
    router = scene.bus.router
    assert_nobody_looks(router)
    scene.measure()
    assert not set(map(id, handlers_of(router))) & set(map(id, original_handlers(router)))
    scene.call()
    scene.bus.advance(LEASE - 1)
    scene.measure()
    scene.bus.advance(LEASE - 0.1)
    assert handlers_of(router) != original_handlers(router)
    scene.bus.advance(0.2)
    assert_nobody_looks(router)
    scene.call()
    measured = scene.measure()
    assert measured.since == measured.time
    assert measured.objects["math"].calls == 0
    assert measured.objects["math"].in_flight == 2


def test_counting_goes_on_without_who_asked_first_until_its_time(scene: Scene) -> None:
    scene.measure()
    scene.asker.disconnect()
    scene.bus.advance(LEASE + 0.1)
    assert_nobody_looks(scene.bus.router)


def test_watching_and_counting_do_not_disturb_each_other(scene: Scene) -> None:
    looker = Looker(scene.bus)
    scene.measure()
    scene.answer(scene.call())
    scene.bus.advance(LEASE + 1)
    assert scene.bus.router.observers == scene.bus.router.taps.watchers
    scene.answer(scene.call())
    assert looker.kinds() == ["call", "result", "call", "result"]
    scene.measure()
    looker.stop()
    scene.call()
    assert scene.measure().objects["math"].calls == 1
    scene.bus.advance(LEASE + 1)
    assert_nobody_looks(scene.bus.router)


# What is listed


def test_names_that_are_counted_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MOST_COUNTED", 5)
    scene.measure()
    for number in range(20):
        scene.call(f"ghost{number}")
        scene.caller.send(publish(f"sensor{number}", "x"))
    scene.answer(scene.call())
    measured = scene.measure()
    assert sum(bool(one.calls + one.events) for one in measured.objects.values()) == 5
    assert measured.objects["math"] == ObjectMeasures()


def test_the_busiest_are_listed_and_all_are_counted(bus: Bus) -> None:
    names = [f"o{number:03}" for number in range(MOST_LISTED + 50)]
    worker, caller, asker = json_peer(bus, *names), json_peer(bus), json_peer(bus)
    quiet = measure(asker)
    assert (len(quiet.objects), quiet.objects_total) == (MOST_LISTED, len(names))
    busy = names[-40:]
    for number, name in enumerate(busy):
        caller.send(call(f"{caller.prefix}{number}", name, "x"))
    caller.send(*(publish("events-only", "x") for _ in range(3)))
    bus.settle()
    worker.send(result(f"{caller.prefix}0", busy[0]))
    bus.settle()
    measured = measure(asker)
    assert len(measured.objects) == MOST_LISTED
    assert set(list(measured.objects)[:39]) == set(busy[1:])
    assert list(measured.objects)[39:41] == ["events-only", busy[0]]


def test_connections_with_the_most_to_do_come_first(bus: Bus) -> None:
    worker = packed_peer(bus, "math", "text", name="worker")
    callers = [json_peer(bus, name=f"caller{number}") for number in range(3)]
    seed = RawPeer(bus)
    seed.subscribe("sensor", "heat")
    bus.advance(5.0)
    for count, caller in enumerate(callers):
        for number in range(count):
            caller.send(call(f"{caller.prefix}{number}", "math", "add"))
    bus.settle()
    measured = measure(callers[0])
    assert measured.connections_total == 5
    assert [one.name for one in measured.connections[:2]] == ["caller2", "caller1"]
    by_id = {one.id: one for one in measured.connections}
    one = by_id[worker.peer.id]
    assert (one.name, one.protocol, one.objects, one.serving, one.calls, one.age) == ("worker", "msgpack", 2, 3, 0, 5.0)
    one = by_id[seed.peer.id]
    assert (one.name, one.protocol, one.subscriptions, one.paused) == ("", "seed", 1, False)
    assert by_id[callers[2].peer.id].calls == 2


def test_connections_are_listed_up_to_a_number(bus: Bus) -> None:
    for _ in range(MOST_LISTED + 10):
        RawPeer(bus)
    measured = measure(json_peer(bus))
    assert (len(measured.connections), measured.connections_total) == (MOST_LISTED, MOST_LISTED + 11)


def test_subscribers_that_are_behind_and_totals_of_events() -> None:
    bus = Bus(LIMITS)
    publisher, slow, asker = json_peer(bus, name="sensor"), SlowExtended(bus), json_peer(bus)
    subscribe_to(asker, "sensor", "temperature", 1)
    send_events(publisher, *range(4))
    measured = measure(asker)
    [state] = measured.behind
    assert (state.object, state.topic, state.state, state.missed, state.age) == (
        "sensor",
        "temperature",
        "behind",
        0,
        0.0,
    )
    assert state.peer == slow.raw.peer.describe()
    assert state.backlog == slow.feed.backlog_bytes > 2000
    assert (measured.published, measured.delivered, measured.dropped) == (4, 8, 0)
    send_events(publisher, *range(20))
    assert [one.paused for one in measure(asker).connections if one.name == "sensor"] == [True]


@pytest.mark.parametrize("args", [None, {}, {"more": 1}, [], "x"])
def test_arguments_are_ignored(bus: Bus, args: Json) -> None:
    assert measure(json_peer(bus), args).objects == {}
