"""What can be said with events: values that are kept, confirmations, wills, patterns, groups and overflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import ipc_broker.sync.publishing
from ipc_broker import Event, Gap, Limits, errors
from ipc_broker.sync import Client, Subscription, connect
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.conftest import OURS, running_bus
from tests.sync.scripted_broker import ScriptedBroker

BIG = "x" * 100_000


@pytest.fixture
def other(our_bus: Bus) -> Iterator[Client]:
    """A second client."""
    with connect(our_bus.address) as other:
        yield other


def lose(client: Client) -> None:
    """The connection ends without goodbye."""
    assert client.link.transport is not None
    client.link.transport.close()


def come(client: Client, events: Subscription) -> list[object]:
    """The values of all events that were routed so far."""
    client.drain()
    return take(events, events.pending)


# Kept values


def test_a_retained_value_comes_to_later_subscribers(our_client: Client, other: Client) -> None:
    with other.subscribe("sensor", "heat") as early:
        our_client.publish("sensor", "heat", "old", retain=True)
        our_client.publish("sensor", "heat", "new", retain=True)
        our_client.publish("sensor", "heat", "passing")
        our_client.drain()
        with other.subscribe("sensor", "heat") as late:
            assert late.get(PATIENCE) == Event("sensor", "heat", "new", retained=True)
            our_client.publish("sensor", "heat", "live")
            assert late.get(PATIENCE) == Event("sensor", "heat", "live")
        assert take(early, 4) == ["old", "new", "passing", "live"]
        assert not early.pending


def test_a_cleared_value_comes_to_nobody(our_client: Client, other: Client) -> None:
    our_client.publish("sensor", "heat", 1, retain=True)
    our_client.publish("sensor", "light", 2, retain=True)
    our_client.clear("sensor", "heat")
    our_client.clear("sensor", "heat")
    with other.subscribe("sensor", "*") as events:
        assert come(other, events) == [2]


def test_a_retained_value_that_is_no_json(our_client: Client, other: Client) -> None:
    our_client.publish("sensor", "heat", b"\x00\xff", retain=True, ack=True)
    with other.subscribe("sensor", "heat") as events:
        assert events.get(PATIENCE) == Event("sensor", "heat", b"\x00\xff", retained=True)


# Confirmations


def test_a_confirmed_event_was_routed(bus: Bus, client: Client) -> None:
    with connect(bus.address) as subscriber, subscriber.subscribe("sensor", "heat") as events:
        client.publish("sensor", "heat", 1, ack=True)
        subscriber.drain()
        assert events.pending == 1
        assert take(events, 1) == [1]


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("rob", "object.lost"), errors.PermissionDenied),
        (("sensor", "*"), errors.InvalidArgs),
        (("sensor.>", "heat"), errors.InvalidArgs),
    ],
)
def test_an_event_that_the_broker_refuses(
    our_client: Client, names: tuple[str, str], error: type[errors.CallError]
) -> None:
    with pytest.raises(error):
        our_client.publish(*names, 1, ack=True)
    our_client.publish("sensor", "heat", 1, ack=True)


def test_the_confirmation_is_waited_for() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        publishing = InThread(lambda: client.publish("sensor", "heat", 1, ack=True))
        publish = broker.read("Publish")
        assert str(publish["call_id"]).startswith("1.")
        assert not publishing.done
        broker.answer(publish, None)
        publishing.result()
        client.close()


def test_a_confirmation_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc_broker.sync.publishing, "DEFAULT_TIMEOUT", 0.05)
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with pytest.raises(errors.DeadlineExceeded, match="did not acknowledge 'heat' of 'sensor'"):
            client.publish("sensor", "heat", 1, ack=True)
        broker.answer(broker.read("Publish"), None)
        client.close()


def test_a_connection_that_is_lost_before_the_confirmation() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        publishing = InThread(lambda: client.publish("sensor", "heat", 1, ack=True))
        broker.read("Publish")
        broker.hang_up()
        assert isinstance(publishing.error(), errors.ConnectionLost)
        client.close()


# Wills


def test_the_will_of_a_lost_client_is_published(our_client: Client, other: Client) -> None:
    with our_client.subscribe("status", "other") as events:
        other.set_will("status", "other", {"is": b"gone"})
        lose(other)
        assert events.get(PATIENCE) == Event("status", "other", {"is": b"gone"})


def test_the_last_will_counts(our_client: Client, other: Client) -> None:
    with our_client.subscribe("status", "*") as events:
        other.set_will("status", "first", 1)
        other.set_will("status", "last", 2, retain=True)
        lose(other)
        assert events.get(PATIENCE) == Event("status", "last", 2)
    with our_client.subscribe("status", "*") as events:
        assert events.get(PATIENCE) == Event("status", "last", 2, retained=True)


def test_no_will_is_published_when_the_client_says_goodbye(our_bus: Bus, our_client: Client, other: Client) -> None:
    with our_client.subscribe("status", "*") as events, connect(our_bus.address) as withdrawn:
        other.set_will("status", "other", "gone")
        other.close()
        withdrawn.set_will("status", "withdrawn", "gone")
        withdrawn.set_will("", "")
        lose(withdrawn)
        while our_client.call("rob", "stats")["connections"] > 2:  # the worker's and this one
            pass
        assert come(our_client, events) == []
        withdrawn.close()


def test_a_client_with_events_unread_says_goodbye_all_the_same() -> None:
    """Where a connection is reset, because it is closed with something unread, the goodbye must not be lost."""
    with (
        running_bus("ours-tcp") as bus,
        connect(bus.address) as watcher,
        watcher.subscribe("status", "*") as events,
        connect(bus.address) as leaving,
    ):
        leaving.subscribe("sensor", "heat")
        leaving.set_will("status", "leaving", "gone")
        publish_much(watcher, 4)
        leaving.close()
        while watcher.call("rob", "stats")["connections"] > 2:
            pass
        assert come(watcher, events) == []


@pytest.mark.parametrize("names", [("rob", "object.lost"), ("status", "*")])
def test_a_will_that_the_broker_refuses(our_client: Client, names: tuple[str, str]) -> None:
    with pytest.raises(errors.CallError):
        our_client.set_will(*names, 1)
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_broker_of_the_rust_crate_keeps_no_will_and_no_values(seed_client: Client) -> None:
    with pytest.raises(errors.InvalidArgs):
        seed_client.set_will("status", "seed", "gone")
    with pytest.raises(errors.InvalidArgs):
        seed_client.clear("sensor", "heat")
    with pytest.raises(errors.InvalidArgs):
        seed_client.publish("sensor", "heat", 1, retain=True)
    with seed_client.subscribe("sensor", "heat") as events:
        seed_client.publish("sensor", "heat", 2)
        assert take(events, 1) == [2]


# Patterns


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        (("*", "*"), ["sensor c", "z d"]),
        (("sensor", "*"), ["sensor c"]),
        (("sensor", ">"), ["sensor c", "sensor c.d"]),
        (("sensor.*", "a.b"), ["sensor.one a.b"]),
        ((">", "a.*"), ["sensor.one a.b", "x.y a.c", "z a.b"]),
        (("x.>", ">"), ["x.y a.c"]),
        (("sensor", "heat.>"), []),
    ],
    ids=repr,
)
def test_patterns(our_client: Client, pattern: tuple[str, str], matching: list[str]) -> None:
    with our_client.subscribe(*pattern) as events:
        for names in ("sensor c", "sensor c.d", "sensor.one a.b", "x.y a.c", "z a.b", "z d"):
            object_name, topic = names.split()
            our_client.publish(object_name, topic, names)
        our_client.drain()
        came = [events.get(PATIENCE) for _ in range(events.pending)]
        assert [f"{event.object} {event.topic}" for event in came] == matching
        assert [event.value for event in came if isinstance(event, Event)] == matching


def test_the_broker_tells_of_names(our_bus: Bus, our_client: Client) -> None:
    with our_client.subscribe("rob", "object.*") as events:
        our_bus.add("later", object())
        assert events.get(PATIENCE) == Event("rob", "object.registered", {"object": "later"})


# Groups


def test_of_a_group_one_gets_each_event(our_client: Client, other: Client) -> None:
    with (
        our_client.subscribe("jobs", "new", group="workers") as first,
        other.subscribe("jobs", "new", group="workers") as second,
        other.subscribe("jobs", "new", group="watchers") as third,
    ):
        for number in range(100):
            our_client.publish("jobs", "new", number)
        our_client.drain()
        of_first, of_second, of_third = come(our_client, first), come(other, second), come(other, third)
        assert of_third == list(range(100))
        assert sorted(of_first + of_second) == of_third  # type: ignore[type-var]
        assert len(of_first) == len(of_second) == 50


def test_what_a_broker_of_the_rust_crate_cannot_do_is_said(seed_client: Client) -> None:
    for options in ({"group": "workers"}, {"overflow": "latest"}):
        with pytest.raises(errors.InvalidArgs, match="no groups and no overflow"):
            seed_client.subscribe("jobs", "new", **options)  # type: ignore[arg-type]


# Overflow


def publish_much(client: Client, count: int) -> None:
    for number in range(count):
        client.publish("sensor", "heat", [number, BIG])
    client.drain()


def numbers(events: Subscription, count: int) -> list[object]:
    """What comes up to the last of so many events: their numbers, and a string for each gap."""
    came: list[object] = []
    while not came or came[-1] != count - 1:
        event = events.get(PATIENCE)
        came.append(f"missed {event.missed}" if isinstance(event, Gap) else event.value[0])
    return came


def test_of_what_waits_only_the_latest_is_kept(our_client: Client, other: Client) -> None:
    with other.subscribe("sensor", "heat", overflow="latest") as events:
        publish_much(our_client, 30)
        came = numbers(events, 30)
        before, gap = came[:-2], came[-2]
        assert before == list(range(len(before)))
        assert 5 <= len(before) <= 6, "what fits into the window"
        assert gap == f"missed {29 - len(before)}"


def test_of_what_waits_the_oldest_are_dropped() -> None:
    with (
        running_bus(OURS[0], Limits(backlog=300_000)) as bus,
        connect(bus.address) as client,
        connect(bus.address) as other,
        other.subscribe("sensor", "heat", overflow="drop_oldest") as events,
    ):
        publish_much(client, 30)
        came = numbers(events, 30)
        gap = next(one for one in came if isinstance(one, str))
        before, behind = came[: came.index(gap)], came[came.index(gap) + 1 :]
        assert before == list(range(len(before)))
        assert behind == list(range(30 - len(behind), 30))
        assert gap == f"missed {30 - len(before) - len(behind)}"
        assert len(behind) == 2, "what fits into the backlog"


def test_a_subscriber_that_wishes_so_is_disconnected_and_learns_what_it_missed() -> None:
    limits = Limits(backlog=300_000)
    with running_bus(OURS[0], limits) as bus, connect(bus.address) as client, connect(bus.address) as other:
        events = other.subscribe("sensor", "heat", overflow="disconnect")
        publish_much(client, 30)
        for number in range(5):
            event = events.get(PATIENCE)
            assert isinstance(event, Event)
            assert event.value[0] == number
        gaps, count = 0, 5
        while count < 30:
            event = events.get(PATIENCE)
            if isinstance(event, Event):
                assert event.value[0] == count
                count += 1
            else:
                assert event.missed is not None
                gaps, count = gaps + 1, count + event.missed
        assert (gaps, count) == (1, 30)


def test_an_overflow_that_does_not_exist(our_client: Client) -> None:
    with pytest.raises(errors.InvalidArgs, match="there is no overflow 'explode'"):
        our_client.subscribe("sensor", "heat", overflow="explode")  # type: ignore[arg-type]
    assert our_client.call("rob", "stats")["subscriptions"] == 0


def test_events_for_a_stalled_subscriber_are_counted() -> None:
    """It takes nothing for longer than publishers wait: the first thing behind what it had is how many it missed."""
    with (
        running_bus(OURS[0], Limits(backlog=300_000, stall=0.05)) as bus,
        connect(bus.address) as client,
        connect(bus.address) as stalled,
        stalled.subscribe("sensor", "heat") as events,
    ):
        publish_much(client, 30)
        seen: list[object] = []
        while not seen or not isinstance(seen[-1], Gap):
            seen.append(events.get(PATIENCE))
        gap = seen.pop()
        assert [event.value[0] for event in seen if isinstance(event, Event)] == list(range(len(seen)))
        assert gap == Gap("sensor", "heat", 30 - len(seen))
        client.publish("sensor", "heat", "again")
        assert take(events, 1) == ["again"]
