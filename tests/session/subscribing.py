"""The one topic that most tests of subscriptions use, and what they do with it."""

from __future__ import annotations

from ipc_broker.session.subscriptions import WINDOW
from tests.messages import event, subscribe
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json, Message
from tests.session.scripted import ScriptedBroker

NOW = 1000.0
SUBSCRIBE = subscribe("sensor", "temperature")
SUBSCRIBED: Message = {"Subscribed": {"object_name": "sensor", "topic": "temperature"}}
"""As a seed broker is asked and answers."""


def subscribe_as(id: int, credit: int = WINDOW, **fields: Json) -> Message:
    """As an extended broker is asked."""
    return {"Subscribe": {**SUBSCRIBE["Subscribe"], "id": id, "credit": credit, **fields}}


def subscribed_as(id: int, **fields: Json) -> Message:
    return {"Subscribed": {**SUBSCRIBED["Subscribed"], "id": id, **fields}}


def value(payload: Json, id: int = 0) -> Message:
    message = event("sensor", "temperature", payload)
    if id:
        message["Event"]["subscription"] = id
    return message


def missed(id: int, count: int) -> Message:
    return {"Missed": {"subscription": id, "count": count}}


def start(broker: ScriptedBroker) -> tuple[RecordingSink, Answer]:
    sink, answer = RecordingSink(), Answer()
    sink.subscription = broker.session.subscribe("sensor", "temperature", sink, answer)
    return sink, answer


def stop(broker: ScriptedBroker, sink: RecordingSink) -> Answer:
    assert sink.subscription is not None
    answer = Answer()
    broker.session.unsubscribe(sink.subscription, answer, NOW)
    return answer


def subscribed(broker: ScriptedBroker) -> RecordingSink:
    """A subscription that was confirmed."""
    sink, answer = start(broker)
    assert sink.subscription is not None
    broker.give(subscribed_as(sink.subscription.id) if broker.session.welcome is not None else SUBSCRIBED)
    assert answer.done()
    broker.sent()
    return sink
