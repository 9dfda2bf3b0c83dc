"""Subscriptions that the broker does not want."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.errors import Overloaded
from tests.memory import Bus, Client
from tests.messages import error, event, refused, result
from tests.recording import Answer, RecordingSink
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import SUBSCRIBE, SUBSCRIBED, start, stop, subscribed, value


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


# With the real router


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
