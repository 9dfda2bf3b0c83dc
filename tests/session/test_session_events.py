"""Subscriptions of a session."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.config import Limits
from ipc_broker.errors import ConnectionLost, InvalidArgs, Overloaded
from ipc_broker.messages import MAX_NAME, Error
from tests.memory import Bus, Client, RawPeer
from tests.messages import error, event, publish, refused, result, subscribe
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json, Message
from tests.session.scripted import ScriptedBroker

NOW = 1000.0
SUBSCRIBE = subscribe("sensor", "temperature")
SUBSCRIBED: Message = {"Subscribed": {"object_name": "sensor", "topic": "temperature"}}


def value(payload: Json) -> Message:
    return event("sensor", "temperature", payload)


def start(broker: ScriptedBroker) -> tuple[RecordingSink, Answer]:
    sink, answer = RecordingSink(), Answer()
    broker.session.subscribe("sensor", "temperature", sink, answer)
    return sink, answer


def stop(broker: ScriptedBroker, sink: RecordingSink) -> Answer:
    answer = Answer()
    broker.session.unsubscribe("sensor", "temperature", sink, answer, NOW)
    return answer


def subscribed(broker: ScriptedBroker) -> RecordingSink:
    sink, answer = start(broker)
    broker.give(SUBSCRIBED)
    assert answer.done()
    broker.sent()
    return sink


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


def test_a_refused_subscription_is_told_and_leaves_nothing_behind(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    broker.give(refused("Subscribe", "sensor", "overloaded", "2 subscriptions, which is the limit (subscriptions)"))
    assert isinstance(answer.error, Overloaded)
    assert "(subscriptions)" in answer.error.message
    assert broker.notices == []
    broker.sent()
    second, again = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    broker.give(SUBSCRIBED, value(1))
    assert again.result is None
    assert (sink.seen, second.seen) == (["ended"], [1])
    broker.lose()
    broker.open()
    assert broker.sent() == [SUBSCRIBE]
    assert sink.seen == ["ended"]


@pytest.mark.parametrize("code", ["overloaded", "invalid_args", "permission_denied", "name_taken", "from_the_future"])
def test_a_subscription_is_refused_whatever_the_reason(broker: ScriptedBroker, code: str) -> None:
    sink, answer = start(broker)
    broker.give(refused("Subscribe", "sensor", code, f"refused: {code}"))
    assert answer.error.message == f"refused: {code}"
    assert sink.seen == ["ended"]


def test_a_refusal_ends_all_who_share_the_subscription(broker: ScriptedBroker) -> None:
    shared = [start(broker) for _ in range(3)]
    other, other_answer = RecordingSink(), Answer()
    broker.session.subscribe("sensor", "pressure", other, other_answer)
    broker.give(refused("Subscribe", "sensor", "overloaded", "no more"))
    for sink, answer in shared:
        assert isinstance(answer.error, Overloaded)
        assert sink.seen == ["ended"]
    assert not other_answer.done()
    broker.give({"Subscribed": {"object_name": "sensor", "topic": "pressure"}}, event("sensor", "pressure", 1))
    assert other_answer.result is None
    assert other.seen == [1]


def test_refusals_of_one_object_are_for_its_topics_in_the_order_they_were_asked_for(broker: ScriptedBroker) -> None:
    sinks = {topic: RecordingSink() for topic in ("a", "b", "c")}
    answers = {topic: Answer() for topic in sinks}
    for topic, sink in sinks.items():
        broker.session.subscribe("sensor", topic, sink, answers[topic])
    broker.give({"Subscribed": {"object_name": "sensor", "topic": "a"}})
    broker.give(refused("Subscribe", "sensor", "overloaded", "no more"))
    broker.give({"Subscribed": {"object_name": "sensor", "topic": "c"}})
    assert answers["a"].result is None
    assert isinstance(answers["b"].error, Overloaded)
    assert answers["c"].result is None
    broker.give(*(event("sensor", topic, topic) for topic in sinks))
    assert {topic: sink.seen for topic, sink in sinks.items()} == {"a": ["a"], "b": ["ended"], "c": ["c"]}


def test_a_refusal_of_something_else_leaves_a_subscription_that_is_on_its_way_alone(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    elsewhere = [
        refused("Publish", "sensor", "invalid_args", "cannot be read"),
        refused("Publish", "sensor", "overloaded", "no more"),
        refused("RegisterObject", "sensor", "name_taken", "taken"),
        refused("Subscribe", "other", "overloaded", "no more"),
        refused("FromTheFuture", "sensor", "overloaded", "no more"),
        error(None, "sensor", "of the seed's broker"),
    ]
    broker.give(*elsewhere)
    assert not answer.done()
    assert len(broker.notices) == len(elsewhere)
    broker.give(SUBSCRIBED, value(1))
    assert answer.result is None
    assert sink.seen == [1]


def test_a_refused_subscription_does_not_take_the_events_of_one_made_again_at_once(broker: ScriptedBroker) -> None:
    first, first_answer = start(broker)
    stop(broker, first)
    second, second_answer = start(broker)
    _, unsubscribe, _ = broker.sent()
    broker.give(refused("Subscribe", "sensor", "overloaded", "no more"))
    assert isinstance(first_answer.error, Overloaded)
    assert not second_answer.done()
    broker.give(result(str(unsubscribe["Call"]["call_id"]), "rob", False), SUBSCRIBED, value(1))
    assert second_answer.result is None
    assert second.seen == [1]


def test_sinks_of_one_topic_do_not_share_the_value_of_an_event(broker: ScriptedBroker) -> None:
    (first, _), (second, _) = start(broker), start(broker)
    broker.give(SUBSCRIBED, value([1]))
    [mine], [theirs] = first.seen, second.seen
    assert mine == theirs == [1]
    assert mine is not theirs


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


def test_a_subscription_that_a_new_connection_is_refused_ends_and_is_not_asked_for_again(
    broker: ScriptedBroker,
) -> None:
    sink = subscribed(broker)
    broker.lose()
    broker.open()
    joined, answer = start(broker)
    broker.sent()
    broker.give(refused("Subscribe", "sensor", "overloaded", "no more"))
    assert isinstance(answer.error, Overloaded)
    assert (sink.seen, joined.seen) == (["interrupted", "ended"], ["ended"])
    assert broker.notices == []
    broker.lose()
    broker.open()
    assert broker.sent() == []
    assert sink.seen == ["interrupted", "ended"]


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


def test_the_routers_limit_of_subscriptions_reaches_whoever_subscribes() -> None:
    bus = Bus(Limits(subscriptions=1))
    client, sink, answer = Client(bus), RecordingSink(), Answer()
    kept = client.subscribe("sensor", "a")
    client.session.subscribe("sensor", "b", sink, answer)
    bus.settle()
    assert isinstance(answer.error, Overloaded)
    client.publish("sensor", "a", 1)
    client.publish("sensor", "b", 2)
    bus.settle()
    assert (kept.seen, sink.seen) == ([1], ["ended"])
    assert client.notices == []


def test_a_subscription_over_the_limit_between_others_is_the_one_that_is_refused() -> None:
    bus = Bus(Limits(subscriptions=1))
    client = Client(bus)
    session, sinks, answers = client.session, [RecordingSink() for _ in range(3)], [Answer() for _ in range(3)]
    session.subscribe("sensor", "a", sinks[0], answers[0])
    session.subscribe("sensor", "b", sinks[1], answers[1])
    session.unsubscribe("sensor", "a", sinks[0], Answer(), bus.now)
    session.subscribe("sensor", "a", sinks[2], answers[2])
    bus.settle()
    assert answers[0].result is None
    assert isinstance(answers[1].error, Overloaded)
    assert answers[2].result is None
    client.publish("sensor", "a", 1)
    bus.settle()
    assert [sink.seen for sink in sinks] == [[], ["ended"], [1]]


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
