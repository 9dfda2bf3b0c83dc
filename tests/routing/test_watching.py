"""`rob.monitor`: who is told what."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.observation import PAYLOAD
from tests.memory import Bus, Client, RawPeer, extended_peer
from tests.messages import batch, call, error, publish, register, result
from tests.routing.looking import Looker, Seen
from tests.routing.peers import call_with, cancel, credit, ended, item, json_peer, packed, packed_peer, register_as
from tests.routing.subscribers import publish_with, subscribe_to
from tests.seed.frames import Json, Message, frame_of


def text(one: Seen) -> str:
    record = one.record
    return " ".join(filter(None, (record.kind, record.object, record.method, record.peer)))


class Scene:
    """A worker of `math` and a caller."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.worker = json_peer(bus, "math", name="worker")
        self.caller = json_peer(bus, name="caller")
        self._last = 0

    def call(self, args: Json = None, method: str = "add", **fields: Json) -> str:
        """Gives the id."""
        self._last += 1
        call_id = f"{self.caller.prefix}{self._last}"
        self.caller.send(call_with(call_id, "math", method, args, **fields))
        self.bus.settle()
        return call_id

    def answer(self, message: Message) -> None:
        self.worker.send(message)
        self.bus.settle()


@pytest.fixture
def scene(bus: Bus) -> Scene:
    return Scene(bus)


# Calls


def test_a_call_and_its_result(scene: Scene) -> None:
    looker = Looker(scene.bus)
    scene.bus.advance(2.0)
    call_id = scene.call({"a": 1}, timeout_ms=1500, headers={"tenant": "x"})
    scene.bus.advance(0.25)
    scene.answer(result(call_id, "math", 42))
    asked, answered = looker.seen()
    record = asked.record
    assert (record.kind, record.object, record.method, record.peer) == ("call", "math", "add", "'caller'")
    assert (record.call, record.time, record.timeout, record.headers) == (call_id, 2.0, 1.5, {"tenant": "x"})
    assert (asked.value, record.size, record.stream) == ({"a": 1}, 7, False)
    record = answered.record
    assert (record.kind, record.object, record.method, record.peer) == ("result", "math", "add", "'worker'")
    assert (record.call, record.time, record.seconds) == (call_id, 2.25, 0.25)
    assert (answered.value, record.size, record.code) == (42, 2, "")


def test_an_error_of_a_worker(scene: Scene) -> None:
    looker = Looker(scene.bus)
    failure = error(scene.call(), "math", "it went wrong")
    failure["Error"] |= {"code": "overloaded", "type": "QueueFull", "data": [1]}
    scene.answer(failure)
    scene.answer(error(scene.call(), "math", "again"))
    _, one, _, other = looker.seen()
    assert (one.kind, one.record.code, one.record.message, one.value) == ("error", "overloaded", "it went wrong", [1])
    assert one.record.type == "QueueFull"
    assert one.record.peer == "'worker'"
    assert (other.record.code, other.value) == ("remote_error", None)


def test_errors_that_the_broker_answers(scene: Scene) -> None:
    looker = Looker(scene.bus)
    scene.caller.send(call(f"{scene.caller.prefix}x", "ghost", "scare"))
    scene.call(timeout_ms=200)
    scene.bus.advance(0.5)
    lost = scene.call()
    scene.worker.disconnect()
    seen = [(one.kind, one.record.code, one.record.peer) for one in looker.seen()]
    assert seen == [
        ("call", "", "'caller'"),
        ("error", "no_such_object", "'caller'"),
        ("call", "", "'caller'"),
        ("error", "deadline_exceeded", "'caller'"),
        ("call", "", "'caller'"),
        ("disconnected", "", "'worker'"),
        ("error", "worker_lost", "'caller'"),
        ("lost", "", "'worker'"),
    ]
    assert lost


def test_how_long_a_call_took_until_its_deadline(scene: Scene) -> None:
    looker = Looker(scene.bus)
    scene.call(timeout_ms=200)
    scene.bus.advance(1.0)
    _, failed = looker.seen()
    assert 0.2 <= failed.record.seconds < 0.3


def test_what_cancels_a_call(scene: Scene) -> None:
    looker = Looker(scene.bus)
    call_id = scene.call()
    scene.bus.advance(0.5)
    scene.caller.send(cancel(call_id))
    scene.bus.settle()
    scene.answer(result(call_id, "math", "too late"))
    asked, cancelled = looker.seen()
    assert (cancelled.kind, cancelled.record.call, cancelled.record.seconds) == ("cancel", asked.record.call, 0.5)
    assert cancelled.record.peer == "'caller'"
    scene.call()
    scene.caller.disconnect()
    assert [text(one) for one in looker.seen()] == [
        "call math add 'caller'",
        "disconnected 'caller'",
        "cancel math add 'caller'",
    ]


def test_a_stream(scene: Scene) -> None:
    looker = Looker(scene.bus)
    call_id = scene.call(credit=1000, method="count")
    scene.answer(item(call_id, 1))
    scene.caller.send(credit(call_id, 1000))
    scene.answer(item(call_id, 2))
    scene.answer(ended(call_id, "math"))
    asked, *rest = looker.seen()
    assert asked.record.stream
    assert [(one.kind, one.value, one.record.size) for one in rest] == [
        ("item", 1, 1),
        ("item", 2, 1),
        ("result", None, 0),
    ]
    assert {one.record.call for one in rest} == {call_id}


def test_an_item_that_nobody_waits_for_is_not_told(scene: Scene) -> None:
    call_id = scene.call(credit=1000)
    scene.caller.send(cancel(call_id))
    scene.bus.settle()
    looker = Looker(scene.bus)
    scene.answer(item(call_id, 1))
    scene.answer(result(call_id, "math", 1))
    scene.answer(error(None, "math", "of nothing"))
    assert looker.seen() == []


def test_an_answer_that_its_caller_cannot_take_is_told_with_what_the_caller_gets(bus: Bus) -> None:
    worker, caller = packed_peer(bus, "math", max_frame=200_000), json_peer(bus)
    looker = Looker(bus)
    for number, value in enumerate((b"bytes", "x" * 70_000)):
        call_id = f"{caller.prefix}{number}"
        caller.send(call(call_id, "math", "add"))
        bus.settle()
        worker.send({"Result": {"call_id": call_id, "object_name": "math", "value": value}})  # type: ignore[dict-item]
        [answer] = caller.receive()
        told = [(one.kind, one.record.code) for one in looker.seen()]
        assert told == [("call", ""), ("result", ""), ("error", answer["Error"]["code"])]


def test_calls_that_wait_for_room_are_told_once(bus: Bus) -> None:
    worker, caller = json_peer(bus), json_peer(bus)
    worker.send(register_as("math", concurrency=1))
    looker = Looker(bus)
    for number in range(2):
        caller.send(call(f"{caller.prefix}{number}", "math", "add"))
    bus.settle()
    worker.send(result(f"{caller.prefix}0", "math", 1))
    bus.settle()
    worker.send(result(f"{caller.prefix}1", "math", 2))
    assert looker.kinds() == ["call", "call", "result", "result"]


def test_ids_of_calls_are_unique_at_the_broker(bus: Bus) -> None:
    worker = json_peer(bus, "math")
    looker, callers = Looker(bus), [RawPeer(bus), RawPeer(bus)]
    for caller in callers:
        caller.send(call("1", "math", "add"))
    bus.settle()
    for given in worker.receive():
        if "Call" in given:
            worker.send(result(str(given["Call"]["call_id"]), "math"))
    ids = [one.record.call for one in looker.seen()]
    assert len(set(ids)) == 2
    assert ids == [f"{caller.peer.id}.1" for caller in callers] * 2


# Events


def test_an_event_with_how_many_get_it(bus: Bus) -> None:
    publisher, subscriber, seed = json_peer(bus, name="sensor"), json_peer(bus), RawPeer(bus)
    subscribe_to(subscriber, "sensor", "*", 1)
    subscribe_to(subscriber, "sensor", "heat", 2, group="g")
    subscribe_to(subscriber, "sensor", "heat", 3, group="g")
    seed.subscribe("sensor", "heat")
    looker = Looker(bus)
    publisher.send(publish("sensor", "heat", 25.5))
    publisher.send(publish_with("sensor", "cold", [1], retain=True))
    heat, cold = looker.seen()
    assert text(heat) == "event sensor heat 'sensor'"
    assert (heat.value, heat.record.size, heat.record.count, heat.record.retained) == (25.5, 4, 3, False)
    assert (cold.value, cold.record.count, cold.record.retained) == ([1], 1, True)


def test_the_events_of_a_batch_one_by_one_with_how_many_get_each(bus: Bus) -> None:
    """Which goes on whole all the same; for those who get the events one by one, how many those are may differ."""
    publisher, taker, in_json, seed = packed_peer(bus, name="sensor"), packed_peer(bus), json_peer(bus), RawPeer(bus)
    subscribe_to(taker, "sensor", "heat", 1)
    subscribe_to(taker, "sensor", "heat", 2, group="g")
    subscribe_to(in_json, "sensor", "*", 1)
    seed.subscribe("sensor", "heat")
    of_others, looker = Looker(bus, object="other"), Looker(bus, packed=True)
    for whole in (False, True):
        body = packed(batch("sensor", "heat", 1, "bytes", 2))[4:].replace(b"\xa5bytes", b"\xc4\x01\xff")
        publisher.send_bytes(frame_of(body))
        seen = looker.seen()
        assert [text(one) for one in seen] == ["event sensor heat 'sensor'"] * 3
        assert [(one.value, one.record.count, one.record.size) for one in seen] == [
            (1, 4, 1),
            (b"\xff", 2, 3),
            (2, 4, 1),
        ]
        assert ("Batch" in [next(iter(message)) for message in taker.receive()]) is whole
    publisher.send(
        batch("rob", "heat", 1), batch("sensor", "*", 1), batch("sensor", "heat"), batch("sensor", "heat", 5)
    )
    publisher.send({"Batch": {"object_name": "sensor", "topic": "heat", "values": None}})
    assert [(one.value, one.record.count) for one in looker.seen()] == [(5, 4)]
    assert of_others.seen() == []


def test_events_of_batches_that_wait_reach_their_subscribers_and_those_that_are_dropped_do_not() -> None:
    bus = Bus(Limits(backlog=1000, stall=1.0))
    publisher, slow, other = json_peer(bus), json_peer(bus), json_peer(bus)
    subscribe_to(slow, "sensor", "heat", 1, 1)
    subscribe_to(other, "sensor", "heat", 1)
    looker, second = Looker(bus), Looker(bus, object="sensor")
    for _ in range(4):
        publisher.send(batch("sensor", "heat", *["x" * 200] * 3))
    bus.advance(1.5)
    publisher.send(batch("sensor", "heat", 1, 2))
    counts = [one.record.count for one in looker.seen() if one.kind == "event"]
    assert counts == [2] * 12 + [1, 1]
    assert [one.record.count for one in second.seen()] == counts


def test_an_event_for_which_others_are_dropped_reaches_its_subscribers_all_the_same() -> None:
    bus = Bus(Limits(backlog=1000))
    publisher, subscriber = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "heat", 1, 1, overflow="drop_oldest")
    looker = Looker(bus)
    for _ in range(10):
        publisher.send(publish("sensor", "heat", "x" * 80))
    publisher.send(publish("sensor", "heat", "x" * 900))
    assert [one.record.count for one in looker.seen()] == [1] * 11
    assert bus.router.events.backpressure.dropped > 5


def test_what_an_events_overfull_subscriber_leaves_behind_counts_for_itself() -> None:
    """Its end publishes its will, which has a subscriber too."""
    bus = Bus(Limits(backlog=1000))
    publisher, subscriber = json_peer(bus), json_peer(bus, name="full")
    subscribe_to(subscriber, "sensor", "heat", 1, 1, overflow="disconnect")
    will: dict[str, Json] = {"object_name": "full", "topic": "gone", "args": "bye"}
    subscriber.send(call(f"{subscriber.prefix}w", "rob", "setWill", will))
    other = json_peer(bus)
    subscribe_to(other, "full", "gone", 1)
    looker = Looker(bus)
    for _ in range(3):
        publisher.send(publish("sensor", "heat", "x" * 600))
    seen = [(text(one), one.record.count) for one in looker.seen()]
    assert seen == [
        ("event sensor heat connection 1", 1),
        ("event sensor heat connection 1", 1),
        ("disconnected 'full'", 0),
        ("event full gone 'full'", 1),
        ("event sensor heat connection 1", 1),
    ]


def test_a_last_will_is_an_event(bus: Bus) -> None:
    owner = json_peer(bus, name="owner")
    will: dict[str, Json] = {"object_name": "lamp", "topic": "state", "args": "off", "retain": True}
    owner.send(call(f"{owner.prefix}w", "rob", "setWill", will))
    looker = Looker(bus)
    owner.disconnect()
    gone, event = looker.seen()
    assert text(gone) == "disconnected 'owner'"
    assert text(event) == "event lamp state 'owner'"
    assert (event.value, event.record.retained) == ("off", True)


def test_events_that_are_refused_are_not_told(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus)
    publisher.send(publish("rob", "object.lost"), publish("sensor", "*"), publish("a", "ok"))
    assert [text(one) for one in looker.seen()] == ["event a ok connection 1"]


# Who comes and goes


def test_who_comes_and_goes_and_what_they_serve(bus: Bus) -> None:
    looker = Looker(bus)
    worker = extended_peer(bus, "math", name="worker", credentials=Credentials(pid=7))
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "math"}))
    worker.send({"Goodbye": {"reason": "done"}})
    bus.settle()
    seed = RawPeer(bus, "text")
    seed.disconnect()
    seen = looker.seen()
    assert [(one.kind, one.record.object, one.record.peer) for one in seen] == [
        ("connected", "", "'worker' (process 7)"),
        ("registered", "math", "'worker' (process 7)"),
        ("lost", "math", "'worker' (process 7)"),
        ("disconnected", "", "'worker' (process 7)"),
        ("registered", "text", f"connection {seed.peer.id}"),
        ("disconnected", "", f"connection {seed.peer.id}"),
        ("lost", "text", f"connection {seed.peer.id}"),
    ]
    reasons = [one.record.message for one in seen if one.kind == "disconnected"]
    assert reasons == ["it said goodbye", "its connection ended"]


# Filters


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["call math add", "call math sub", "call text add", "event math add", "event a.b c.d", "registered new"]),
    ({"object": "math"}, ["call math add", "call math sub", "event math add"]),
    ({"object": "m*"}, []),  # a wildcard is a segment of its own
    ({"object": "*"}, ["call math add", "call math sub", "call text add", "event math add", "registered new"]),
    ({"object": "a.>"}, ["event a.b c.d"]),
    ({"method": "add"}, ["call math add", "call text add", "event math add"]),
    ({"method": "c.*"}, ["event a.b c.d"]),
    ({"object": "math", "method": "sub"}, ["call math sub"]),
    ({"object": "*.*", "method": ">"}, ["event a.b c.d"]),
    ({"object": "new"}, ["registered new"]),
    ({"object": "nobody"}, []),
]


@pytest.mark.parametrize(("watch", "expected"), FILTERS)
def test_what_is_asked_for(bus: Bus, watch: dict[str, Any], expected: list[str]) -> None:
    peer = RawPeer(bus, "math", "text")
    looker = Looker(bus, **watch)
    for number, (object_name, method) in enumerate((("math", "add"), ("math", "sub"), ("text", "add"))):
        peer.send(call(str(number), object_name, method))
    peer.send(publish("math", "add"), publish("a.b", "c.d"), register("new"))
    bus.settle()
    seen = [f"{one.kind} {one.record.object} {one.record.method}".strip() for one in looker.seen()]
    assert seen == expected


def test_a_filter_knows_many_names(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_broker.routing.watching.MOST_REMEMBERED", 3)
    peer, looker = RawPeer(bus), Looker(bus, object="a.*")
    for _ in range(2):
        for number in range(10):
            peer.send(publish(f"a.{number}", "x"), publish(f"b.{number}", "x"))
    assert [one.record.object for one in looker.seen()] == [f"a.{number}" for number in range(10)] * 2


def test_calls_of_rob_are_told_to_who_asks_for_them(bus: Bus) -> None:
    peer = json_peer(bus)
    everything, pattern, of_rob = Looker(bus), Looker(bus, object=">"), Looker(bus, object="rob")
    everything.seen()
    pattern.seen()
    peer.send(call(f"{peer.prefix}1", "rob", "ping"), call(f"{peer.prefix}2", "rob", "nosuch"))
    bus.settle()
    assert everything.seen() == []
    for looker in (pattern, of_rob):
        assert [(one.kind, one.record.method) for one in looker.seen()] == [("call", "ping"), ("call", "nosuch")]


def test_what_a_watcher_does_itself_is_not_told(bus: Bus) -> None:
    worker = json_peer(bus, "math")
    looker, other = Looker(bus), Looker(bus)
    looker.seen()
    raw = looker.raw
    for number, ending in enumerate(("result", "error", "cancel", "refused")):
        call_id = f"{raw.prefix}{number}"
        raw.send(call(call_id, "math" if ending != "refused" else "ghost", "add"))
        bus.settle()
        if ending == "cancel":
            raw.send(cancel(call_id))
        elif ending != "refused":
            worker.send(result(call_id, "math") if ending == "result" else error(call_id, "math", "no"))
        bus.settle()
    raw.send(publish("sensor", "heat"), register("lamp"))
    bus.settle()
    assert [one for one in raw.receive() if "Item" in one] == []
    assert other.kinds() == [
        "call",
        "result",
        "call",
        "error",
        "call",
        "cancel",
        "call",
        "error",
        "event",
        "registered",
    ]


def test_others_calls_of_a_watchers_object_are_told_whole(bus: Bus) -> None:
    looker = Looker(bus)
    looker.raw.send(register("own"))
    bus.settle()
    caller = json_peer(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "own", "add"))
    bus.settle()
    looker.raw.send(result(call_id, "own", 1))
    told = [one["Item"]["value"] for one in looker.raw.receive() if "Item" in one]
    assert [one["kind"] for one in told if isinstance(one, dict)] == ["connected", "call", "result"]


# Payloads


def test_payloads_over_the_limit_are_left_out(bus: Bus) -> None:
    publisher = json_peer(bus)
    usual, short, none = Looker(bus), Looker(bus, payload=5), Looker(bus, payload=0)
    for looker in (usual, short, none):
        looker.seen()
    fits, over = "x" * (PAYLOAD - 2), "x" * (PAYLOAD - 1)
    publisher.send(*(publish("a", "b", value) for value in ("abc", "abcd", fits, over)))
    bus.settle()
    assert [(one.value, one.record.size) for one in usual.seen()] == [
        ("abc", 5),
        ("abcd", 6),
        (fits, PAYLOAD),
        (None, PAYLOAD + 1),
    ]
    assert [one.value for one in short.seen()] == ["abc", None, None, None]
    assert [one.value for one in none.seen()] == [None] * 4


def test_a_record_that_no_frame_can_hold_comes_without_payload_and_headers(bus: Bus) -> None:
    """Each character of a header may take six bytes, and of a name or an error's text too."""
    worker = packed_peer(bus, "\x01" * 1024, max_frame=1_000_000)
    caller = packed_peer(bus, max_frame=1_000_000)
    looker = Looker(bus, payload=1_000_000)
    call_id = f"{caller.prefix}".ljust(1024, "\x01")
    headers: Json = {"\x01" * 4000: "\x01" * 4000}
    caller.send(call_with(call_id, "\x01" * 1024, "\x01" * 1024, "x" * 100, headers=headers))
    bus.settle()
    failure = error(call_id, "\x01" * 1024, "\x01" * 100_000)
    failure["Error"] |= {"code": "\x01" * 100_000, "type": "\x01" * 100_000, "data": "x" * 100_000}
    worker.send(failure)
    caller.send(publish("a", "b", "x" * 70_000))
    asked, failed, event = looker.seen()
    assert (asked.record.headers, asked.value, asked.record.size) == ({}, None, 102)
    assert (failed.kind, len(failed.record.message)) == ("error", 2048)
    assert (event.value, event.record.size) == (None, 70_005)


@pytest.mark.parametrize("packed", [False, True])
def test_payloads_come_in_the_watchers_encoding(bus: Bus, packed: bool) -> None:
    worker, caller, seed = packed_peer(bus, "math"), json_peer(bus), RawPeer(bus)
    looker = Looker(bus, packed=packed)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add", {"a": [1.5]}))
    bus.settle()
    worker.send(result(call_id, "math", ["x"]))
    seed.send(publish("sensor", "heat", None))
    bus.settle()
    binary = publish("sensor", "picture")
    binary["Publish"]["args"] = b"\x00\xff"  # type: ignore[assignment]  # which JSON has not
    worker.send(binary)
    seen = looker.seen()
    assert [one.value for one in seen[:3]] == [{"a": [1.5]}, ["x"], None]
    assert seen[2].record.size == 4
    assert seen[3].value == (b"\x00\xff" if packed else None)
    assert seen[3].record.size == 4


def test_a_real_client_reads_it(bus: Bus) -> None:
    """Its records are those of the class that describes them."""
    client, looker = Client(bus), Looker(bus)
    client.publish("sensor", "heat", {"a": 1})
    bus.settle()
    [seen] = looker.seen()
    assert text(seen) == "event sensor heat 'client'"
