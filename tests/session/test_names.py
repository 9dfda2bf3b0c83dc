"""How a session waits for an object to be served."""

from __future__ import annotations

import pytest

from ipc_broker.errors import ConnectionLost, InvalidArgs, Overloaded
from tests.memory import Bus, Client
from tests.messages import event, refused
from tests.recording import Answer
from tests.seed.frames import Message
from tests.session.scripted import ScriptedBroker


def exists(name: str, answer: bool) -> Message:
    return {"HasObjectResult": {"object_name": name, "exists": answer}}


def registered(name: str, subscription: int = 1) -> Message:
    message = event("rob", "object.registered", {"object": name})
    message["Event"]["subscription"] = subscription
    return message


def wait_for(broker: ScriptedBroker, name: str) -> Answer:
    answer = Answer()
    broker.session.names.wait_for(name, answer)
    return answer


def subscription_ids(messages: list[Message]) -> list[object]:
    return [message["Subscribe"]["id"] for message in messages if "Subscribe" in message]


def unsubscribed(messages: list[Message]) -> list[object]:
    return [message["Call"]["args"] for message in messages if message.get("Call", {}).get("method") == "unsubscribe"]


def test_the_question_stands_behind_the_subscription(broker: ScriptedBroker) -> None:
    answer = wait_for(broker, "math")
    subscribe, question = broker.sent()
    assert (subscribe["Subscribe"]["object_name"], subscribe["Subscribe"]["topic"]) == ("rob", "object.registered")
    assert question == {"HasObject": {"object_name": "math"}}
    broker.give(exists("math", True))
    assert answer.result is None
    assert unsubscribed(broker.sent()) == [{"id": 1}]


def test_an_object_that_comes_later_is_told_by_the_brokers_event(broker: ScriptedBroker) -> None:
    answer = wait_for(broker, "math")
    broker.give(exists("math", False), registered("text"))
    assert not answer.done()
    broker.give(registered("math"))
    assert answer.result is None


def test_all_who_wait_share_one_subscription_that_lasts_while_somebody_waits(broker: ScriptedBroker) -> None:
    first, second, third = wait_for(broker, "math"), wait_for(broker, "math"), wait_for(broker, "text")
    assert subscription_ids(broker.sent()) == [1]
    broker.give(exists("math", False), registered("math"), exists("math", True))
    assert (first.result, second.result) == (None, None)
    assert unsubscribed(broker.sent()) == []
    broker.give(registered("text"))
    assert third.result is None
    assert unsubscribed(broker.sent()) == [{"id": 1}]
    wait_for(broker, "math")
    assert subscription_ids(broker.sent()) == [2]


def test_after_a_gap_it_is_asked_again(broker: ScriptedBroker) -> None:
    answer = wait_for(broker, "math")
    broker.give(exists("math", False))
    broker.sent()
    broker.give({"Missed": {"subscription": 1, "count": 3}})
    assert broker.sent() == [{"HasObject": {"object_name": "math"}}]
    broker.give(exists("math", True))
    assert answer.result is None


def test_nobody_is_told_who_waits_no_longer(broker: ScriptedBroker) -> None:
    first, second = wait_for(broker, "math"), wait_for(broker, "math")
    broker.session.names.forget("math", first)
    broker.sent()
    broker.session.names.forget("math", second)
    assert unsubscribed(broker.sent()) == [{"id": 1}]
    broker.session.names.forget("math", second)
    broker.give(exists("math", True), registered("math"))
    assert not first.done()
    assert not second.done()


def test_a_lost_connection_is_told_and_the_next_one_subscribes_to_nothing(broker: ScriptedBroker) -> None:
    answer = wait_for(broker, "math")
    broker.lose("gone")
    assert isinstance(answer.error, ConnectionLost)
    assert answer.error.delivered == "no"
    with pytest.raises(ConnectionLost):
        broker.session.names.wait_for("math", Answer())
    broker.open()
    assert broker.sent() == []
    answer = wait_for(broker, "math")
    broker.give(exists("math", True))
    assert answer.result is None


def test_a_subscription_that_is_refused_is_told(broker: ScriptedBroker) -> None:
    answer = wait_for(broker, "math")
    message = refused("Subscribe", "rob", "overloaded", "too many subscriptions")
    message["Error"]["subscription"] = 1
    broker.give(message)
    assert isinstance(answer.error, Overloaded)
    assert unsubscribed(broker.sent()) == []


def test_a_seed_broker_has_no_such_events(seed_broker: ScriptedBroker) -> None:
    with pytest.raises(InvalidArgs, match="no events of its objects"):
        seed_broker.session.names.wait_for("math", Answer())
    assert seed_broker.sent() == []


def test_names_that_cannot_be_sent_are_not_waited_for(broker: ScriptedBroker) -> None:
    with pytest.raises(InvalidArgs):
        broker.session.names.wait_for("\ud800", Answer())
    assert broker.sent() == []


def test_over_a_bus_whoever_waits_learns_of_a_registration_and_leaves_nothing_behind(bus: Bus) -> None:
    client, worker = Client(bus), Client(bus)
    answer = Answer()
    client.session.names.wait_for("math", answer)
    bus.settle()
    assert not answer.done()
    worker.session.serving.expose("math", "exclusive", 0)
    bus.settle()
    assert answer.result is None
    assert not bus.router.events.subscriptions.count
