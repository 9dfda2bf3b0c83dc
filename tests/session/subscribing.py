"""The one topic that most tests of subscriptions use, and what they do with it."""

from __future__ import annotations

from tests.messages import event, subscribe
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
