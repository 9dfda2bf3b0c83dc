"""Subscriptions of a session."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.errors import ConnectionLost, InvalidArgs
from ipc_broker.messages import MAX_NAME, Error
from tests.memory import Bus, Client, RawPeer
from tests.messages import event, publish, result
from tests.recording import Answer, RecordingSink
from tests.seed.frames import frame_of
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import SUBSCRIBE, SUBSCRIBED, start, stop, subscribed, value

NOW = 1000.0


def confirm_unsubscribed(broker: ScriptedBroker) -> None:
    [message] = broker.sent()
    assert message["Call"]["object_name"] == "rob"
    assert message["Call"]["method"] == "unsubscribe"
    assert message["Call"]["args"] == {"object_name": "sensor", "topic": "temperature"}
    broker.give(result(str(message["Call"]["call_id"]), "rob", True))


def test_subscribe_returns_when_the_broker_has_confirmed(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()
    broker.give(SUBSCRIBED, value(1), value(2), event("sensor", "pressure", 3), event("other", "temperature", 4))
    assert answer.result is None
    assert sink.seen == [1, 2]


def test_several_subscriptions_to_one_topic_share_one_on_the_wire(broker: ScriptedBroker) -> None:
    (first, first_answer), (second, second_answer) = start(broker), start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not second_answer.done()
    broker.give(SUBSCRIBED)
    assert first_answer.done()
    assert second_answer.done()
    third, third_answer = start(broker)
    assert third_answer.done()
    assert broker.sent() == []
    broker.give(value(1))
    assert [sink.seen for sink in (first, second, third)] == [[1], [1], [1]]


def test_the_last_of_several_subscriptions_unsubscribes(broker: ScriptedBroker) -> None:
    first = subscribed(broker)
    second, _ = start(broker)
    assert stop(broker, first).done()
    assert broker.sent() == []
    broker.give(value(1))
    answer = stop(broker, second)
    assert not answer.done()
    broker.give(value(2))
    assert (first.seen, second.seen) == ([], [1])
    confirm_unsubscribed(broker)
    assert answer.done()
    third, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    broker.give(SUBSCRIBED, value(3))
    assert third.seen == [3]


def test_unsubscribing_twice_is_done_at_once(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    stop(broker, sink)
    broker.sent()
    assert stop(broker, sink).done()
    assert broker.sent() == []


def test_a_subscription_made_again_at_once_waits_for_its_own_confirmation(broker: ScriptedBroker) -> None:
    sink, _ = start(broker)
    stop(broker, sink)
    _, answer = start(broker)
    first, unsubscribe, second = broker.sent()
    assert (first, second) == (SUBSCRIBE, SUBSCRIBE)
    broker.give(SUBSCRIBED)
    assert not answer.done()
    broker.give(result(str(unsubscribe["Call"]["call_id"]), "rob", True), SUBSCRIBED)
    assert answer.done()


def test_a_sink_that_leaves_while_an_event_is_delivered_does_not_keep_it_from_the_others(
    broker: ScriptedBroker,
) -> None:
    class LeavingSink(RecordingSink):
        def deliver(self, event: object) -> None:
            stop(broker, self)

    leaving = LeavingSink()
    broker.session.subscribe("sensor", "temperature", leaving, Answer())
    staying, _ = start(broker)
    broker.give(SUBSCRIBED, value(1), value(2))
    assert staying.seen == [1, 2]


def test_sinks_of_one_topic_do_not_share_the_value_of_an_event(broker: ScriptedBroker) -> None:
    (first, _), (second, _) = start(broker), start(broker)
    broker.give(SUBSCRIBED, value([1]))
    [mine], [theirs] = first.seen, second.seen
    assert mine == theirs == [1]
    assert mine is not theirs


def test_an_event_that_cannot_be_decoded_is_a_gap_for_each_of_its_sinks(broker: ScriptedBroker) -> None:
    (first, _), (second, _) = start(broker), start(broker)
    broker.give(SUBSCRIBED, value(1))
    unreadable = b'{"Event":{"object_name":"sensor","topic":"%b","args":1e999}}'
    broker.session.receive_data(frame_of(unreadable % b"temperature") + frame_of(unreadable % b"pressure"))
    broker.give(value(2))
    assert first.seen == second.seen == [1, "missed 1", 2]


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_several_sinks_of_one_topic_survive_an_event_of_any_depth(broker: ScriptedBroker, depth: int) -> None:
    sinks = [start(broker)[0] for _ in range(2)]
    broker.give(SUBSCRIBED)
    body = b'{"Event":{"object_name":"sensor","topic":"temperature","args":%b}}' % (b"[" * depth + b"]" * depth)
    broker.session.receive_data(frame_of(body))
    broker.give(value(1))
    assert [len(sink.seen) for sink in sinks] == [2, 2]
    assert [sink.seen[1] for sink in sinks] == [1, 1]


def test_the_topics_and_objects_of_subscriptions_are_bounded(broker: ScriptedBroker) -> None:
    with pytest.raises(InvalidArgs):
        broker.session.subscribe("sensor", "t" * (MAX_NAME + 1), RecordingSink(), Answer())
    assert broker.sent() == []


# The seed's broker, which cannot unsubscribe


def test_with_a_seed_broker_unsubscribing_is_local_and_subscribing_again_sends_nothing() -> None:
    """That broker sends an event once for each time one has subscribed."""
    broker = ScriptedBroker()
    broker.open_seed()
    first = subscribed(broker)
    assert stop(broker, first).done()
    assert broker.sent() == []
    broker.give(value(1))
    second, answer = start(broker)
    assert answer.done()
    assert broker.sent() == []
    broker.give(value(2))
    assert (first.seen, second.seen) == ([], [2])


# A lost connection


def test_a_new_connection_subscribes_again_and_tells_the_sinks_before_anything_comes(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1))
    broker.lose()
    assert sink.seen == [1]
    broker.open()
    assert broker.opened.done()
    assert broker.sent() == [SUBSCRIBE]
    broker.give(SUBSCRIBED, value(2))
    assert sink.seen == [1, "interrupted", 2]


def test_a_second_subscription_right_after_a_new_connection_waits_for_the_confirmation(broker: ScriptedBroker) -> None:
    subscribed(broker)
    broker.lose()
    broker.open()
    _, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()
    broker.give(SUBSCRIBED)
    assert answer.result is None


def test_a_subscription_made_again_right_after_a_new_connection_waits_for_its_own_confirmation(
    broker: ScriptedBroker,
) -> None:
    sink = subscribed(broker)
    broker.lose()
    broker.open()
    stop(broker, sink)
    second, answer = start(broker)
    first, unsubscribe, again = broker.sent()
    assert (first, again) == (SUBSCRIBE, SUBSCRIBE)
    broker.give(SUBSCRIBED)
    assert not answer.done()
    broker.give(result(str(unsubscribe["Call"]["call_id"]), "rob", True), SUBSCRIBED, value(1))
    assert answer.result is None
    assert second.seen == [1]


def test_a_subscription_that_was_not_confirmed_ends_with_the_connection(broker: ScriptedBroker) -> None:
    _, answer = start(broker)
    broker.lose("gone")
    assert isinstance(answer.error, ConnectionLost)


def test_a_topic_unsubscribed_without_connection_is_not_subscribed_again(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.lose()
    assert stop(broker, sink).done()
    broker.open()
    assert broker.sent() == []
    assert sink.seen == []


def test_a_new_connection_forgets_what_a_seed_broker_kept() -> None:
    broker = ScriptedBroker()
    broker.open_seed()
    stop(broker, subscribed(broker))
    broker.lose()
    broker.open_seed()
    assert broker.sent() == []
    _, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()


def test_without_a_connection_nothing_can_be_subscribed(broker: ScriptedBroker) -> None:
    broker.lose()
    with pytest.raises(ConnectionLost):
        start(broker)
    broker.open()
    assert broker.sent() == []


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


def test_after_unsubscribing_the_router_knows_nothing_of_the_subscription(bus: Bus) -> None:
    client, answer = Client(bus), Answer()
    sink = client.subscribe("sensor", "temperature")
    client.session.unsubscribe("sensor", "temperature", sink, answer, bus.now)
    bus.settle()
    assert answer.done()
    assert bus.router.subscriptions.count == 0


def test_a_subscription_survives_a_new_connection_to_the_router(bus: Bus) -> None:
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    publisher.publish("sensor", "temperature", 1)
    bus.settle()
    subscriber.link.disconnect()
    publisher.publish("sensor", "temperature", 2)
    bus.settle()
    subscriber.connect()
    publisher.publish("sensor", "temperature", 3)
    bus.settle()
    assert sink.seen == [1, "interrupted", 3]


def test_what_cannot_be_published_comes_back_as_a_notice(bus: Bus) -> None:
    client, seed = Client(bus), RawPeer(bus)
    seed.subscribe("sensor", "temperature")
    client.session.publish("sensor", "temperature", Raw(b"1e999"))
    bus.settle()
    [notice] = client.notices
    assert isinstance(notice, Error)
    assert (notice.object_name, notice.code, notice.type) == ("sensor", "invalid_args", "Publish")
