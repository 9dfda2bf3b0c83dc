"""Subscriptions that the broker does not want."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.errors import InvalidArgs, Overloaded
from tests.memory import Bus, Client
from tests.messages import error, refused, result
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Message
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import start, stop, subscribe_as, subscribed, subscribed_as, value


def refusal(id: int, code: str = "overloaded", message: str = "no more") -> Message:
    answer = refused("Subscribe", "sensor", code, message)
    answer["Error"]["subscription"] = id
    return answer


def test_a_refused_subscription_is_told_and_leaves_nothing_behind(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    broker.give(refusal(1, message="2 subscriptions, which is the limit (subscriptions)"))
    assert isinstance(answer.error, Overloaded)
    assert "(subscriptions)" in answer.error.message
    assert sink.seen == ["ended"]
    assert broker.notices == []
    broker.sent()
    broker.lose()
    broker.open()
    assert broker.sent() == []
    second, again = start(broker)
    broker.give(subscribed_as(2), value(1, 2), value(2, 1))
    assert again.result is None
    assert (sink.seen, second.seen) == (["ended"], [1])


@pytest.mark.parametrize("code", ["overloaded", "invalid_args", "permission_denied", "name_taken", "from_the_future"])
def test_a_subscription_is_refused_whatever_the_reason(broker: ScriptedBroker, code: str) -> None:
    sink, answer = start(broker)
    broker.give(refusal(1, code, f"refused: {code}"))
    assert answer.error.message == f"refused: {code}"
    assert sink.seen == ["ended"]


def test_a_refusal_says_of_which_object_and_that_nothing_was_done(broker: ScriptedBroker) -> None:
    _, answer = start(broker)
    broker.give(refusal(1, "invalid_args", "`>` stands at the end only"))
    assert isinstance(answer.error, InvalidArgs)
    assert (answer.error.object, answer.error.delivered) == ("sensor", "no")


def test_a_refusal_is_for_the_subscription_whose_id_it_has(broker: ScriptedBroker) -> None:
    started = [start(broker) for _ in range(3)]
    broker.give(subscribed_as(1), refusal(2), subscribed_as(3))
    assert started[0][1].result is None
    assert isinstance(started[1][1].error, Overloaded)
    assert started[2][1].result is None
    broker.give(*(value(id, id) for id in (1, 2, 3)))
    assert [sink.seen for sink, _ in started] == [[1], ["ended"], [3]]


def test_a_subscription_that_the_broker_ends_later_is_told_once(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 1), refusal(1), refusal(1), value(2, 1))
    assert sink.seen == [1, "ended"]
    assert stop(broker, sink).done()
    assert broker.sent() == []


def test_a_refusal_of_something_else_leaves_a_subscription_that_is_on_its_way_alone(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    elsewhere = [
        refused("Publish", "sensor", "invalid_args", "cannot be read"),
        refused("RegisterObject", "sensor", "name_taken", "taken"),
        refused("Subscribe", "sensor", "overloaded", "without an id"),
        refused("FromTheFuture", "sensor", "overloaded", "no more"),
        error(None, "sensor", "of the seed's broker"),
    ]
    broker.give(*elsewhere)
    broker.give(refusal(99))
    assert not answer.done()
    assert len(broker.notices) == len(elsewhere)
    broker.give(subscribed_as(1), value(1, 1))
    assert answer.result is None
    assert sink.seen == [1]


def test_an_object_named_as_an_id_is_not_taken_for_it(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    broker.give(refused("Subscribe", "1", "overloaded", "no more"))
    assert not answer.done()
    assert sink.seen == []
    assert len(broker.notices) == 1


def test_a_refused_subscription_does_not_take_the_events_of_one_made_again_at_once(broker: ScriptedBroker) -> None:
    first, first_answer = start(broker)
    stop(broker, first)
    second, second_answer = start(broker)
    _, unsubscribe, again = broker.sent()
    assert again == subscribe_as(2)
    broker.give(refusal(1))
    assert isinstance(first_answer.error, Overloaded)
    assert not second_answer.done()
    broker.give(result(str(unsubscribe["Call"]["call_id"]), "rob", False), subscribed_as(2), value(1, 2))
    assert second_answer.result is None
    assert (first.seen, second.seen) == ([], [1])


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


@pytest.mark.parametrize(("topic", "overflow"), [("a.>.b", ""), ("a", "drop_everything")])
def test_what_the_router_does_not_understand_is_refused(bus: Bus, topic: str, overflow: str) -> None:
    client, sink, answer = Client(bus), RecordingSink(), Answer()
    client.session.subscribe("sensor", topic, sink, answer, overflow=overflow)
    bus.settle()
    assert isinstance(answer.error, InvalidArgs)
    assert sink.seen == ["ended"]
    assert client.notices == []
    assert bus.router.events.subscriptions.count == 0


def test_a_subscription_over_the_limit_between_others_is_the_one_that_is_refused() -> None:
    bus = Bus(Limits(subscriptions=1))
    client = Client(bus)
    session, sinks, answers = client.session, [RecordingSink() for _ in range(3)], [Answer() for _ in range(3)]
    first = session.subscribe("sensor", "a", sinks[0], answers[0])
    session.subscribe("sensor", "a", sinks[1], answers[1])
    session.unsubscribe(first, Answer(), bus.now)
    session.subscribe("sensor", "a", sinks[2], answers[2])
    bus.settle()
    assert answers[0].result is None
    assert isinstance(answers[1].error, Overloaded)
    assert answers[2].result is None
    client.publish("sensor", "a", 1)
    bus.settle()
    assert [sink.seen for sink in sinks] == [[], ["ended"], [1]]
