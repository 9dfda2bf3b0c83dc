"""Subscriptions that go on over a new connection."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.errors import ConnectionLost
from ipc_broker.session.subscriptions import GRANT, WINDOW
from tests.memory import Bus, Client, Link
from tests.messages import refused
from tests.recording import Answer, RecordingSink
from tests.seed.frames import frame
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import (
    SUBSCRIBE,
    SUBSCRIBED,
    missed,
    start,
    stop,
    subscribe_as,
    subscribed,
    subscribed_as,
    value,
)


def reconnected(broker: ScriptedBroker) -> RecordingSink:
    """A subscription that has got two events before its connection was lost; there is a new one."""
    sink = subscribed(broker)
    broker.give(value(1, 1), value(2, 1))
    broker.lose()
    broker.open()
    return sink


def test_a_new_connection_subscribes_again_and_says_what_was_seen(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 1), missed(1, 3), value(5, 1))
    broker.lose()
    assert sink.seen == [1, "missed 3", 5]
    broker.open()
    assert broker.opened.done()
    assert broker.sent() == [subscribe_as(1, seen=5)]


@pytest.mark.parametrize(
    ("fields", "told"), [({"missed": 0}, []), ({"missed": 3}, ["missed 3"]), ({}, ["missed None"])]
)
def test_what_was_missed_stands_between_the_connections(
    broker: ScriptedBroker, fields: dict[str, int], told: list[str]
) -> None:
    sink = reconnected(broker)
    assert sink.seen == [1, 2]
    broker.give(subscribed_as(1, **fields), value(9, 1))
    assert sink.seen == [1, 2, *told, 9]


def test_what_was_told_of_as_missed_counts_as_seen(broker: ScriptedBroker) -> None:
    reconnected(broker)
    broker.give(subscribed_as(1, missed=3), value(6, 1))
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, seen=6)]
    broker.give(subscribed_as(1), value(9, 1))
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, seen=7)]


def test_what_was_not_taken_is_not_asked_for_again(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    message = value("x" * 50_000, 1)
    size = len(frame(message))
    broker.give(message, message)
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, credit=WINDOW - 2 * size, seen=2)]
    sink.take_all()
    assert broker.sent() == [{"EventCredit": {"subscription": 1, "bytes": 2 * size}}]


def test_credit_that_was_due_at_the_old_connection_is_in_the_new_ones(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    message = value("x" * (GRANT // 2), 1)
    broker.give(message)
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, seen=1)]
    broker.give(message)
    assert len(sink.seen) == 2
    assert broker.sent() == [], "half a grant is due, not a whole one"


def test_more_than_a_window_that_was_not_taken_leaves_no_credit_to_give() -> None:
    broker = ScriptedBroker()
    broker.open()
    sink = subscribed(broker)
    sink.takes = False
    broker.give(value("x" * (2 * WINDOW), 1))
    broker.lose()
    broker.open()
    [message] = broker.sent()
    assert message["Subscribe"].get("credit", 0) == 0
    sink.take_all()
    [given] = broker.sent()
    assert list(given) == ["EventCredit"]


def test_a_second_subscription_right_after_a_new_connection_waits_for_its_own_confirmation(
    broker: ScriptedBroker,
) -> None:
    reconnected(broker)
    broker.sent()
    _, answer = start(broker)
    assert broker.sent() == [subscribe_as(2)]
    broker.give(subscribed_as(1, missed=0))
    assert not answer.done()
    broker.give(subscribed_as(2))
    assert answer.result is None


def test_a_subscription_that_was_not_confirmed_ends_with_the_connection(broker: ScriptedBroker) -> None:
    _, answer = start(broker)
    broker.lose("gone")
    assert isinstance(answer.error, ConnectionLost)
    assert answer.error.message == "gone"


def test_a_subscription_that_is_lost_again_before_it_was_confirmed_is_asked_for_again(broker: ScriptedBroker) -> None:
    sink = reconnected(broker)
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, seen=2)]
    broker.give(subscribed_as(1, missed=1))
    assert sink.seen == [1, 2, "missed 1"]


def test_a_subscription_ended_without_connection_is_not_asked_for_again(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.lose()
    assert stop(broker, sink).done()
    broker.open()
    assert broker.sent() == []
    assert sink.seen == []


def test_one_ended_before_it_was_confirmed_again_is_told_nothing_more(broker: ScriptedBroker) -> None:
    sink = reconnected(broker)
    broker.sent()
    stop(broker, sink)
    broker.give(subscribed_as(1, missed=3), value(9, 1))
    assert sink.seen == [1, 2]


def test_one_that_a_new_connection_is_refused_ends_and_is_not_asked_for_again(broker: ScriptedBroker) -> None:
    sink = reconnected(broker)
    broker.sent()
    refusal = refused("Subscribe", "sensor", "overloaded", "no more")
    refusal["Error"]["subscription"] = 1
    broker.give(refusal)
    assert sink.seen == [1, 2, "ended"]
    assert broker.notices == []
    broker.lose()
    broker.open()
    assert broker.sent() == []


# Between brokers of two kinds


def test_a_seed_broker_in_between_is_a_gap_of_unknown_size(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 1))
    broker.lose()
    broker.open_seed()
    assert broker.sent() == [SUBSCRIBE]
    broker.give(SUBSCRIBED, value(3))
    assert sink.seen == [1, "missed None", 3]
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1)]
    broker.give(subscribed_as(1))
    assert sink.seen == [1, "missed None", 3, "missed None"]


def test_only_the_broker_that_has_counted_is_told_what_was_seen(broker: ScriptedBroker) -> None:
    sink = reconnected(broker)
    broker.lose()
    broker.open(epoch="another")
    assert broker.sent() == [subscribe_as(1)]
    broker.lose()
    broker.open(epoch="another")
    assert broker.sent() == [subscribe_as(1)], "the first answer is lost: it would have told that nobody knows"
    broker.give(subscribed_as(1), value(7, 1))
    assert sink.seen == [1, 2, "missed None", 7]
    broker.lose()
    broker.open(epoch="another")
    assert broker.sent() == [subscribe_as(1, seen=1)]
    broker.give(subscribed_as(1, missed=2))
    assert sink.seen == [1, 2, "missed None", 7, "missed 2"]


def test_what_an_extended_broker_sent_is_not_given_back_to_a_seed_broker(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    broker.give(*[value("x" * 1000, 1)] * 100)
    broker.lose()
    broker.open_seed()
    broker.give(SUBSCRIBED)
    broker.sent()
    sink.take_all()
    assert broker.sent() == []


# With the real router


def half_connected(client: Client, *, asks: bool) -> None:
    """Its hello is answered; then it `asks` for its subscriptions, or does not come to that. No answer reaches it."""
    client.link = Link(client.bus, client)
    client.session.connection_made(lambda: None, Answer())
    while not client.session.opened:
        assert client.bus.step()
    if asks:
        assert client.bus.step()


def test_a_subscription_goes_on_at_the_router_and_is_told_how_many_it_missed(bus: Bus) -> None:
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    publisher.publish("sensor", "temperature", 1)
    bus.settle()
    subscriber.link.disconnect()
    for number in (2, 3):
        publisher.publish("sensor", "temperature", number)
    bus.advance(29)
    subscriber.connect()
    publisher.publish("sensor", "temperature", 4)
    bus.settle()
    assert sink.seen == [1, "missed 2", 4]
    subscriber.link.disconnect()
    subscriber.connect()
    publisher.publish("sensor", "temperature", 5)
    bus.settle()
    assert sink.seen == [1, "missed 2", 4, 5], "nothing was missed"


def test_after_the_routers_time_is_over_nobody_knows_how_many_were_missed() -> None:
    bus = Bus(Limits(resume=30.0))
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    subscriber.link.disconnect()
    bus.advance(31)
    subscriber.connect()
    publisher.publish("sensor", "temperature", 1)
    bus.settle()
    assert sink.seen == ["missed None", 1]


def test_a_loss_before_a_new_broker_has_answered_leaves_the_gap_unknown_and_what_is_retained_comes(bus: Bus) -> None:
    """What a broker counts begins with the first of two questions. It must not stand for what came before that."""
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    publisher.publish("sensor", "temperature", 1)
    bus.settle()
    subscriber.link.disconnect()
    publisher.publish("sensor", "temperature", 2)  # which the old broker has routed, and nobody else knows of
    bus.settle()
    after = Bus(epoch="after")
    publisher, subscriber.bus = Client(after), after
    retained = publisher.session.codec.encode_payload(3)
    publisher.session.publisher.publish_with("sensor", "temperature", retained, None, after.now, retain=True)
    after.settle()
    half_connected(subscriber, asks=True)
    assert after.router.events.subscriptions.count == 1
    subscriber.link.disconnect()
    assert sink.seen == [1]
    subscriber.connect()
    assert sink.seen == [1, "missed None", 3]
    subscriber.link.disconnect()
    publisher.publish("sensor", "temperature", 4)
    after.settle()
    subscriber.connect()
    assert sink.seen == [1, "missed None", 3, "missed 1"]


@pytest.mark.parametrize("asks", [False, True])
def test_a_loss_before_the_same_broker_has_answered_does_not_matter(bus: Bus, asks: bool) -> None:
    publisher, subscriber = Client(bus), Client(bus)
    sinks = [subscriber.subscribe("sensor", "temperature"), subscriber.subscribe("sensor", "*")]
    publisher.publish("sensor", "temperature", 1)
    bus.settle()
    subscriber.link.disconnect()
    publisher.publish("sensor", "temperature", 2)
    bus.settle()
    half_connected(subscriber, asks=asks)
    subscriber.link.disconnect()
    publisher.publish("sensor", "temperature", 3)
    bus.settle()
    subscriber.connect()
    assert [sink.seen for sink in sinks] == [[1, "missed 2"]] * 2


def test_what_was_on_its_way_to_a_lost_connection_is_missed(bus: Bus) -> None:
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    subscriber.link.stop_taking()
    for number in range(3):
        publisher.publish("sensor", "temperature", number)
    bus.settle()
    subscriber.link.disconnect()
    subscriber.connect()
    publisher.publish("sensor", "temperature", 3)
    bus.settle()
    assert sink.seen == ["missed 3", 3]


def test_after_goodbye_the_router_keeps_no_subscription(bus: Bus) -> None:
    subscriber = Client(bus)
    subscriber.subscribe("sensor", "temperature")
    subscriber.session.say_goodbye()
    bus.settle()
    subscriber.link.disconnect()
    assert bus.router.events.subscriptions.count == 0
