"""Subscriptions of a session at a broker that has agreed to everything."""

from __future__ import annotations

import pytest

from ipc_broker.errors import ConnectionLost, InvalidArgs
from ipc_broker.messages import MAX_NAME
from ipc_broker.session.subscriptions import GRANT, WINDOW
from tests.memory import Bus, Client, RawPeer
from tests.messages import event, publish
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json, frame, frame_of
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import (
    missed,
    start,
    stop,
    subscribe_as,
    subscribed,
    subscribed_as,
    value,
)


def granted(broker: ScriptedBroker) -> list[tuple[Json, Json]]:
    """The `EventCredit`s sent since the last time."""
    messages = broker.sent()
    assert all(list(message) == ["EventCredit"] for message in messages), messages
    return [(message["EventCredit"]["subscription"], message["EventCredit"]["bytes"]) for message in messages]


# Ids


def test_subscribe_returns_when_the_broker_has_confirmed(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    assert broker.sent() == [subscribe_as(1)]
    assert not answer.done()
    broker.give(subscribed_as(1), value(1, 1), value(2, 1))
    assert answer.result is None
    assert sink.seen == [1, 2]


def test_each_subscription_has_its_own_id_by_which_its_events_find_it(broker: ScriptedBroker) -> None:
    (first, first_answer), (second, second_answer) = start(broker), start(broker)
    assert broker.sent() == [subscribe_as(1), subscribe_as(2)]
    broker.give(subscribed_as(2))
    assert second_answer.done()
    assert not first_answer.done()
    broker.give(subscribed_as(1), value("first", 1), value("second", 2))
    assert (first.seen, second.seen) == (["first"], ["second"])


def test_an_id_is_never_used_again(broker: ScriptedBroker) -> None:
    stop(broker, subscribed(broker))
    broker.lose()
    broker.open()
    start(broker)
    assert broker.sent() == [subscribe_as(2)]


def test_group_and_overflow_travel(broker: ScriptedBroker) -> None:
    broker.session.subscribe("sensor", "temperature", RecordingSink(), Answer(), group="g", overflow="latest")
    assert broker.sent() == [subscribe_as(1, group="g", overflow="latest")]


def test_names_that_cannot_be_sent_are_refused_and_leave_nothing_behind(broker: ScriptedBroker) -> None:
    long, session = "n" * (MAX_NAME + 1), broker.session
    for names in ((long, "t", ""), ("o", long, ""), ("o", "t", long), ("\ud800", "t", "")):
        with pytest.raises(InvalidArgs):
            session.subscribe(names[0], names[1], RecordingSink(), Answer(), group=names[2])
    broker.lose()
    broker.open()
    assert broker.sent() == []


def test_without_a_connection_nothing_can_be_subscribed(broker: ScriptedBroker) -> None:
    broker.lose()
    with pytest.raises(ConnectionLost):
        start(broker)
    broker.open()
    assert broker.sent() == []


def test_what_comes_for_an_unknown_id_is_dropped(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 99), missed(99, 3), subscribed_as(99), subscribed_as(1), event("sensor", "pressure", 1))
    unreadable = b'{"Event":{"subscription":99,"object_name":"sensor","topic":"temperature","args":1e999}}'
    broker.session.receive_data(frame_of(unreadable))
    broker.give({"Subscribed": {"object_name": "sensor", "topic": "temperature"}}, value(2, 1))
    assert sink.seen == [2]


# Credit


def test_credit_is_given_back_as_soon_as_a_grant_was_taken(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    message = value("x" * 1000, 1)
    size = len(frame(message))
    count = -(-GRANT // size)
    broker.give(*[message] * (count - 1))
    sink.take_all()
    assert granted(broker) == []
    broker.give(message)
    assert granted(broker) == [], "what was not taken is not given back"
    sink.take_all()
    assert granted(broker) == [(1, count * size)]
    broker.give(*[message] * count)
    sink.take_all()
    assert granted(broker) == [(1, count * size)], "each byte is given back once"


def test_the_shell_is_told_when_credit_should_be_written_at_once(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    one = sink.subscription
    assert one is not None
    sink.takes = False
    broker.give(value("x" * (GRANT // 2), 1), value("x" * (GRANT // 2), 1))
    size = len(frame(value("x" * (GRANT // 2), 1)))
    assert not one.taken(size)
    assert one.taken(size)


def test_a_subscription_that_was_ended_gives_no_credit(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    broker.give(*[value("x" * 1000, 1)] * 100)
    stop(broker, sink)
    broker.sent()
    sink.take_all()
    assert granted(broker) == []


def test_without_a_connection_no_credit_is_given(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    broker.give(*[value("x" * 1000, 1)] * 100)
    broker.lose()
    sink.take_all()
    broker.accept()
    assert broker.sent() == []


# Gaps


def test_missed_events_are_a_gap_in_their_place(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 1), missed(1, 3), value(5, 1), missed(1, 2**53 - 1))
    assert sink.seen == [1, "missed 3", 5, f"missed {2**53 - 1}"]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_event_that_cannot_be_decoded_is_a_gap_and_its_bytes_are_given_back(encoding: str) -> None:
    broker = ScriptedBroker()
    broker.open(encoding=encoding)
    sink = subscribed(broker)
    if encoding == "json":
        body = b'{"Event":{"subscription":1,"object_name":"sensor","topic":"temperature","args":[%b1e999]}}'
        body %= b"1," * GRANT
    else:
        names = b"\xacsubscription\x01\xabobject_name\xa6sensor\xa5topic\xabtemperature\xa4args"
        body = b"\x81\xa5Event\x84" + names + b"\xdb" + GRANT.to_bytes(4, "big") + b"\xff" * GRANT
    broker.session.receive_data(frame_of(body))
    broker.give(value(2, 1))
    assert sink.seen == ["missed 1", 2]
    assert granted(broker) == [(1, len(frame_of(body)))]


# Unsubscribing


def test_unsubscribing_names_the_id_and_ends_events_at_once(broker: ScriptedBroker) -> None:
    first, second = subscribed(broker), subscribed(broker)
    answer = stop(broker, first)
    assert not answer.done()
    broker.give(value("late", 1), missed(1, 3), value("kept", 2))
    assert (first.seen, second.seen) == ([], ["kept"])
    assert broker.answer_ask("unsubscribe", True) == {"id": 1}
    assert answer.done()


def test_unsubscribing_twice_is_done_at_once(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    stop(broker, sink)
    broker.sent()
    assert stop(broker, sink).done()
    assert broker.sent() == []


def test_a_subscription_ended_before_it_was_confirmed_leaves_the_next_one_alone(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    stop(broker, sink)
    second, second_answer = start(broker)
    broker.give(subscribed_as(1), value(1, 1))
    assert answer.done()
    assert not second_answer.done()
    broker.give(subscribed_as(2), value(2, 2))
    assert (sink.seen, second.seen) == ([], [2])


# With the real router


def test_events_through_the_router_come_once_and_in_order(bus: Bus) -> None:
    publisher, subscriber, seed = Client(bus), Client(bus), RawPeer(bus)
    sinks = [subscriber.subscribe("sensor", "temperature") for _ in range(2)]
    seed.subscribe("sensor", "temperature")
    for number in range(100):
        publisher.publish("sensor", "temperature", number)
    bus.settle()
    assert [sink.seen for sink in sinks] == [list(range(100))] * 2
    assert seed.receive() == [value(number) for number in range(100)]
    seed.send(publish("sensor", "temperature", 100))
    bus.settle()
    assert sinks[0].seen[-1] == 100


@pytest.mark.parametrize("encodings", [("msgpack",), ("json",)])
def test_credit_comes_back_to_the_router_to_the_last_byte(bus: Bus, encodings: tuple[str, ...]) -> None:
    publisher, subscriber = Client(bus), Client(bus, encodings=encodings)
    sink = subscriber.subscribe("sensor", "temperature")
    sink.takes = False
    for number in range(2000):
        publisher.publish("sensor", "temperature", ["x" * 1000, number])
    bus.settle()
    [there] = subscriber.link.peer.subscriptions.values()
    assert there.credit <= 0
    assert len(sink.seen) < 600, "the rest waits in the broker"
    sink.takes = True
    sink.take_all()
    bus.settle()
    assert len(sink.seen) == 2000
    assert WINDOW - GRANT < there.credit <= WINDOW


def test_patterns_and_groups_reach_the_router(bus: Bus) -> None:
    publisher, subscriber = Client(bus), Client(bus)
    pattern = subscriber.subscribe("sensor", "*")
    members = [subscriber.subscribe("sensor", "temperature", group="g") for _ in range(2)]
    for number in range(4):
        publisher.publish("sensor", "temperature", number)
    bus.settle()
    assert pattern.seen == [0, 1, 2, 3]
    assert sorted(members[0].seen + members[1].seen, key=str) == [0, 1, 2, 3]
    assert members[0].seen
    assert members[1].seen


def test_after_unsubscribing_the_router_knows_nothing_of_the_subscription(bus: Bus) -> None:
    client, answer = Client(bus), Answer()
    sink = client.subscribe("sensor", "temperature")
    assert sink.subscription is not None
    client.session.unsubscribe(sink.subscription, answer, bus.now)
    bus.settle()
    assert answer.done()
    assert bus.router.events.subscriptions.count == 0
