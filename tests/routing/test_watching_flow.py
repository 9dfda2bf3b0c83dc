"""How much a watcher is told, how it begins and ends, and that it costs nothing afterwards."""

from __future__ import annotations

import pytest

from ipc_broker.routing import watching
from ipc_broker.routing.taps import MOST_WATCHERS
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import batch, call, error_of, publish, result
from tests.routing.looking import Looker, assert_nobody_looks, handlers_of, original_handlers
from tests.routing.peers import call_with, json_peer
from tests.seed.frames import Json


def numbers(bus: Bus, publisher: RawPeer, first: int, last: int) -> None:
    for number in range(first, last):
        publisher.send(publish("sensor", "heat", number))
    bus.settle()


def events(first: int, last: int) -> list[str]:
    return [f"event {number}" for number in range(first, last)]


# The rate


def test_what_is_over_the_rate_is_counted_and_told_at_the_end_of_the_second(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus, rate=3)
    numbers(bus, publisher, 0, 10)
    assert looker.told() == events(0, 3)
    bus.advance(0.9)
    numbers(bus, publisher, 10, 12)
    assert looker.told() == []
    bus.advance(0.2)
    assert looker.told() == ["missed 9"]
    numbers(bus, publisher, 12, 14)
    assert looker.told() == events(12, 14)
    bus.advance(1.0)
    assert looker.told() == []
    assert bus.router.taps.next_deadline() is None


def test_the_first_record_of_the_next_second_comes_behind_what_was_missed(bus: Bus) -> None:
    peer = json_peer(bus)
    looker = Looker(bus, rate=1)
    numbers(bus, peer, 0, 3)
    bus.now += 1.5  # the timer is late
    numbers(bus, peer, 3, 4)
    peer.register("lamp", "door")
    assert looker.told() == ["event 0", "missed 3", "registered None"]
    bus.advance(1.0)
    assert looker.told() == ["missed 1"]


def test_what_a_watcher_does_itself_counts_while_it_is_told_nothing(bus: Bus) -> None:
    """As documented: else all that others do would have to be looked at one by one."""
    looker = Looker(bus, rate=1)
    numbers(bus, json_peer(bus), 0, 2)
    looker.seen()
    numbers(bus, looker.raw, 2, 4)
    looker.raw.send(call(f"{looker.raw.prefix}p", "rob", "ping"))
    bus.advance(1.5)
    *_, told = looker.raw.receive()
    assert told["Item"]["value"] == {"kind": "missed", "time": 1.0, "count": 4}
    numbers(bus, looker.raw, 4, 5)
    assert looker.raw.receive() == []


def test_all_is_told_or_counted_however_it_comes(bus: Bus) -> None:
    """Events too, which are counted otherwise while nothing is told."""
    publisher, worker = json_peer(bus, name="p"), json_peer(bus, "math")
    looker, of_sensor = Looker(bus, rate=7), Looker(bus, 3000, rate=7, object="sensor")
    looker.seen()
    will: dict[str, Json] = {"object_name": "sensor", "topic": "gone", "args": "will"}
    events = told = 0
    for number in range(60):
        owner = json_peer(bus)
        owner.send(call(f"{owner.prefix}w", "rob", "setWill", will))
        owner.send(publish("rob", "refused"), publish("sensor", "heat"), batch("rob", "refused", 1, 2))
        owner.send(batch("sensor", "heat", *range(number % 5)), batch("sensor", f"new{number}", 1, 2))
        bus.settle()
        owner.disconnect()
        publisher.send(call(f"{publisher.prefix}{number}", "math", "add"))
        bus.settle()
        worker.send(result(f"{publisher.prefix}{number}", "math"))
        if number % 7 == 0:
            of_sensor.give(300)
        bus.advance(0.13)
        events += 2 + number % 5 + 2
    bus.advance(2.0)
    of_sensor.give(100_000)
    for one, expected in ((looker, 60 * 2 + events + 60 * 2), (of_sensor, events)):
        told = sum(seen.record.count if seen.kind == "missed" else 1 for seen in one.seen())
        assert told == expected


def test_what_is_not_asked_for_counts_for_nothing(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus, rate=2, object="sensor", method="h*")
    by_pattern = Looker(bus, rate=2, object="sensor", method="*")
    for _ in range(5):
        publisher.send(publish("other", "heat"), publish("sensor", "heat"), publish("sensor", "a.b"))
    bus.advance(1.0)
    assert looker.told() == []
    assert by_pattern.told() == ["event None", "event None", "missed 3"]


def test_a_rate_may_end_in_the_midst_of_a_batch(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker, of_sensor = Looker(bus, rate=5), Looker(bus, rate=5, object="sensor")
    assert len(looker.seen()) == 1, "that the other came"
    for first in range(0, 15, 5):
        publisher.send(batch("sensor", "heat", *range(first, first + 5)))
    bus.advance(1.0)
    assert looker.told() == [*events(0, 4), "missed 11"]
    assert of_sensor.told() == [*events(0, 5), "missed 10"]
    publisher.send(batch("sensor", "heat", 15, 16))
    assert looker.told() == events(15, 17)


def test_without_a_rate_all_is_told(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker, usual = Looker(bus, rate=0), Looker(bus)
    looker.seen()
    numbers(bus, publisher, 0, 1500)
    assert looker.told() == events(0, 1500)
    bus.advance(1.0)
    assert usual.told() == [*events(0, 1000), "missed 500"]


# Credit


def test_without_credit_records_are_counted_and_told_with_the_next_credit(bus: Bus) -> None:
    publisher = json_peer(bus, name="p")
    looker = Looker(bus, 1)  # which the begin took
    numbers(bus, publisher, 0, 5)
    bus.advance(3.0)
    assert looker.told() == []
    looker.give(10_000)
    assert looker.told() == ["missed 5"]
    numbers(bus, publisher, 5, 6)
    assert looker.told() == events(5, 6)


def test_credit_that_does_not_reach_is_no_credit(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus, 1)
    numbers(bus, publisher, 0, 2)
    looker.give(1)
    assert looker.told() == []
    numbers(bus, publisher, 2, 3)
    looker.give(100_000)
    assert looker.told() == ["missed 3"]
    assert looker.raw.peer in bus.router.peers


def test_a_record_takes_as_much_credit_as_its_frame_has_bytes(bus: Bus) -> None:
    publisher = json_peer(bus, name="p")
    looker = Looker(bus, 1)
    looker.give(10_000)
    record: dict[str, Json] = {"kind": "event", "time": 0.0, "object": "sensor", "method": "heat", "peer": "'p'"}
    size = looker.size_of({**record, "value": 1, "size": 1})  # type: ignore[dict-item]
    begin = looker.size_of({"kind": "begin", "time": 0.0})  # type: ignore[dict-item]
    looker.stop()
    looker = Looker(bus, begin + 3 * size)
    looker.seen()
    numbers(bus, publisher, 1, 6)
    assert looker.told() == events(1, 4)
    looker.give(1)
    assert looker.told() == ["missed 2"]


def test_credit_and_rate_may_end_together(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus, 200, rate=2)
    numbers(bus, publisher, 0, 9)
    told = looker.told()
    bus.advance(1.5)
    assert looker.told() == []
    looker.give(100_000)
    assert looker.told() == [f"missed {9 - len(told)}"]


def test_a_watcher_that_reads_nothing_is_told_nothing_more(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much credit it has given: what waits for it would fill the broker."""
    monkeypatch.setattr(watching, "OUTBOX_WINDOW", 10_000)
    publisher = json_peer(bus)
    looker = Looker(bus, 2**53 - 1, rate=0)
    looker.raw.link.stop_taking()
    numbers(bus, publisher, 0, 500)
    queued = looker.raw.peer.connection.queued
    assert 10_000 < queued < 10_500
    bus.advance(5.0)
    assert looker.raw.peer.connection.queued == queued
    looker.raw.link.take_again()
    told = looker.told()
    assert told == events(0, len(told))
    bus.advance(1.0)
    assert looker.told() == [f"missed {500 - len(told)}"]
    numbers(bus, publisher, 500, 501)
    assert looker.told() == events(500, 501)


# Beginning and ending


def test_nobody_looks_before_and_after_anybody_does(bus: Bus) -> None:
    router = bus.router
    assert_nobody_looks(router)
    looker = Looker(bus)
    assert not set(map(id, handlers_of(router))) & set(map(id, original_handlers(router)))
    other = Looker(bus, object="x")
    looker.stop()
    assert handlers_of(router) != original_handlers(router)
    assert other.seen() == []
    other.raw.disconnect()
    assert_nobody_looks(router)


def test_a_watcher_that_is_cancelled_is_told_nothing_more(bus: Bus) -> None:
    publisher = json_peer(bus)
    looker = Looker(bus, rate=1)
    numbers(bus, publisher, 0, 5)
    looker.stop()
    numbers(bus, publisher, 5, 6)
    looker.give(100)
    bus.advance(2.0)
    assert looker.told() == ["event 0"]
    looker.stop()
    assert_nobody_looks(bus.router)
    again = Looker(bus)
    numbers(bus, publisher, 6, 7)
    assert again.told() == ["event 6"]


@pytest.mark.parametrize("last", [b"", b"\xff\xff\xff\xff"])
def test_a_watcher_whose_connection_ends_is_gone(bus: Bus, last: bytes) -> None:
    looker = Looker(bus)
    if last:
        looker.raw.send_bytes(last)
        bus.settle()
    else:
        looker.raw.link.end_input()
    assert_nobody_looks(bus.router)
    bus.assert_empty()


def test_who_says_goodbye_and_watches_then_does_not(bus: Bus) -> None:
    peer = json_peer(bus)
    peer.send({"Goodbye": {}}, call_with(f"{peer.prefix}w", "rob", "monitor", credit=1000))
    bus.settle()
    assert_nobody_looks(bus.router)


def test_several_watch_on_their_own(bus: Bus) -> None:
    publisher = json_peer(bus)
    other, one = Looker(bus, 1), Looker(bus, rate=1)
    numbers(bus, publisher, 0, 3)
    bus.advance(1.0)
    other.give(1000)
    assert one.told() == ["event 0", "missed 2"]
    assert other.told() == ["missed 4"]  # with who connected


def test_one_connection_may_watch_twice(bus: Bus) -> None:
    peer, publisher = json_peer(bus), json_peer(bus)
    for name in ("a", "b"):
        peer.send(call_with(f"{peer.prefix}{name}", "rob", "monitor", {"object": name}, credit=1000))
    peer.receive()
    publisher.send(publish("a", "x"), publish("b", "x"))
    assert [one["Item"]["call_id"] for one in peer.receive()] == [f"{peer.prefix}a", f"{peer.prefix}b"]
    peer.send({"Cancel": {"call_id": f"{peer.prefix}a"}})
    publisher.send(publish("a", "x"), publish("b", "x"))
    assert [one["Item"]["call_id"] for one in peer.receive()] == [f"{peer.prefix}b"]


# What is no watcher


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"object": 1}, "$.object"),
        ({"rate": -1}, "$.rate"),
        ({"payload": 2**53}, "$.payload"),
        ({"topic": "x"}, "topic"),
        ([], "$"),
        ("sensor", "$"),
        ({"object": "a.>.b"}, "'a.>.b'"),
        ({"method": "a..*"}, "'a..*'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(bus: Bus, args: Json, path: str) -> None:
    peer = json_peer(bus)
    peer.send(call_with(f"{peer.prefix}1", "rob", "monitor", args, credit=1000))
    [answer] = map(error_of, peer.receive())
    assert answer["code"] == "invalid_args"
    assert path in str(answer["message"])
    assert_nobody_looks(bus.router)


def test_who_takes_no_stream_cannot_watch(bus: Bus) -> None:
    seed, plain = RawPeer(bus), extended_peer(bus)
    seed.send(call_with("1", "rob", "monitor", credit=1000))
    plain.send(call(f"{plain.prefix}1", "rob", "monitor"))
    for peer in (seed, plain):
        [answer] = map(error_of, peer.receive())
        assert "'monitor' is a stream" in str(answer["message"])
    assert_nobody_looks(bus.router)


def test_an_id_is_used_once_at_a_time_and_with_its_prefix(bus: Bus) -> None:
    worker = json_peer(bus, "math")
    looker = Looker(bus)
    raw = looker.raw
    raw.send(call(f"{raw.prefix}busy", "math", "add"))
    bus.settle()
    for call_id, reason in (
        (looker.call_id, "is in flight"),
        (f"{raw.prefix}busy", "is in flight"),
        ("99.1", "does not begin with"),
    ):
        raw.send(call_with(call_id, "rob", "monitor", credit=1000))
        [answer] = map(error_of, raw.receive())
        assert (answer["call_id"], answer["code"]) == (call_id, "invalid_args")
        assert reason in str(answer["message"])
    assert len(bus.router.observers) == 1
    worker.send(result(f"{raw.prefix}busy", "math", 1))
    assert [list(one) for one in raw.receive()] == [["Result"]]


def test_watchers_are_limited(bus: Bus) -> None:
    peer = json_peer(bus)
    for number in range(MOST_WATCHERS + 1):
        peer.send(call_with(f"{peer.prefix}{number}", "rob", "monitor", credit=1000))
    *_, last = peer.receive()
    assert error_of(last)["code"] == "overloaded"
    assert len(bus.router.taps.watchers) == MOST_WATCHERS
    peer.send({"Cancel": {"call_id": f"{peer.prefix}0"}})
    peer.send(call_with(f"{peer.prefix}again", "rob", "monitor", credit=1000))
    [begin] = peer.receive()
    assert begin["Item"]["call_id"] == f"{peer.prefix}again"
    peer.disconnect()
    assert_nobody_looks(bus.router)
