"""What a session publishes: events, retained values and the last will."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from ipc_broker.errors import ConnectionLost, InvalidArgs, Overloaded, PermissionDenied, TooLarge
from ipc_broker.messages import MAX_NAME, Error
from ipc_broker.protocol.encodings import JSON
from tests.memory import Bus, Client, RawPeer
from tests.messages import batch, error, event, publish, result
from tests.recording import Answer
from tests.seed.frames import Json, Message
from tests.session.scripted import ScriptedBroker

NOW = 1000.0
LONG = "n" * (MAX_NAME + 1)


def publish_with(broker: ScriptedBroker, value: Any, reply: Answer | None = None, *, retain: bool = False) -> None:
    payload = broker.session.codec.encode_payload(value)
    broker.session.publisher.publish_with("sensor", "temperature", payload, reply, NOW, retain=retain)


def retain(broker: ScriptedBroker, value: Any) -> None:
    publish_with(broker, value, retain=True)
    broker.sent()


def set_will(broker: ScriptedBroker, value: Any, topic: str = "state", *, retain: bool = False) -> Answer:
    reply = Answer()
    broker.session.publisher.set_will("lamp", topic, value, reply, NOW, retain=retain)
    return reply


def with_will(broker: ScriptedBroker, value: Any) -> None:
    reply = set_will(broker, value)
    broker.answer_ask("setWill", True)
    assert reply.result is None


def retained(value: Json, **fields: Json) -> Message:
    message = publish("sensor", "temperature", value)
    message["Publish"] |= {"retain": True, **fields}
    return message


def reopen(broker: ScriptedBroker, **fields: Json) -> list[Message]:
    """What is sent over a new connection."""
    broker.lose()
    broker.open(**fields)
    return broker.sent()


# Events


def test_an_event_is_queued_and_the_bytes_that_wait_are_given(broker: ScriptedBroker) -> None:
    publisher = broker.session.publisher
    first = publisher.publish("sensor", "temperature", Raw(b"25.6"))
    assert publisher.publish("sensor", "temperature", Raw(b"25.7")) == broker.session.queued > first > 4
    assert publisher.publish_with("sensor", "temperature", Raw(b"1"), None, NOW, retain=True) == broker.session.queued
    assert broker.sent() == [batch("sensor", "temperature", 25.6, 25.7), retained(1)]
    assert broker.session.queued == 0


def test_an_event_over_the_agreed_frame_limit_raises_and_is_not_sent() -> None:
    broker, limit, reply = ScriptedBroker(), 1000, Answer()
    broker.open(max_frame=limit)
    large = JSON.encode_payload("x" * limit)
    text = r"the event 'temperature' of 'sensor' takes \d+ bytes, over the limit of 1000 bytes"
    with pytest.raises(TooLarge, match=text):
        broker.session.publisher.publish("sensor", "temperature", large)
    with pytest.raises(TooLarge, match=text) as raised:
        publish_with(broker, "x" * limit, reply, retain=True)
    assert (raised.value.object, raised.value.delivered) == ("sensor", "no")
    assert broker.sent() == []
    assert broker.session.calls_in_flight == 0
    assert reopen(broker, epoch="another") == [], "nor is it kept"


def test_names_that_cannot_be_sent_are_refused(broker: ScriptedBroker) -> None:
    publisher, reply, null = broker.session.publisher, Answer(), Raw(b"null")
    for object_name, topic in (("sensor", LONG), (LONG, "t"), ("sensor", "\ud800")):
        with pytest.raises(InvalidArgs):
            publisher.publish(object_name, topic, null)
        with pytest.raises(InvalidArgs):
            publisher.publish_with(object_name, topic, null, reply, NOW, retain=True)
        with pytest.raises(InvalidArgs):
            publisher.clear(object_name, topic, reply, NOW)
        with pytest.raises(InvalidArgs):
            publisher.set_will(object_name, topic, None, reply, NOW, retain=False)
    assert broker.sent() == []
    assert broker.session.calls_in_flight == 0


def test_without_a_connection_nothing_can_be_published(broker: ScriptedBroker) -> None:
    broker.lose()
    publisher, reply, null = broker.session.publisher, Answer(), Raw(b"null")
    with pytest.raises(ConnectionLost):
        publisher.publish("sensor", "temperature", null)
    with pytest.raises(ConnectionLost):
        publisher.publish_with("sensor", "temperature", null, reply, NOW, retain=True)
    with pytest.raises(ConnectionLost):
        publisher.clear("sensor", "temperature", reply, NOW)
    with pytest.raises(ConnectionLost):
        publisher.set_will("lamp", "state", None, reply, NOW, retain=False)
    broker.open(epoch="another")
    assert broker.sent() == []


# Acknowledged


def test_a_result_tells_that_the_event_was_routed(broker: ScriptedBroker) -> None:
    first, second = Answer(), Answer()
    publish_with(broker, 1, first)
    publish_with(broker, 2, second)
    messages = broker.sent()
    ids = [str(message["Publish"].pop("call_id")) for message in messages]
    assert messages == [publish("sensor", "temperature", 1), publish("sensor", "temperature", 2)]
    assert all(id.startswith("7.") for id in ids)
    broker.give(result(ids[1], "sensor"))
    assert second.done()
    assert not first.done()


def test_an_error_tells_why_it_was_not(broker: ScriptedBroker) -> None:
    reply = Answer()
    publish_with(broker, 1, reply)
    [message] = broker.sent()
    refusal = error(str(message["Publish"]["call_id"]), "sensor", "the retained events take too much")
    refusal["Error"] |= {"code": "overloaded", "type": "Publish", "delivered": "no"}
    broker.give(refusal)
    assert isinstance(reply.error, Overloaded)
    assert (reply.error.object, reply.error.delivered) == ("sensor", "no")
    assert broker.notices == []


def test_an_acknowledgement_that_is_lost_with_the_connection_is_told(broker: ScriptedBroker) -> None:
    reply = Answer()
    publish_with(broker, 1, reply)
    broker.sent()
    broker.lose("gone")
    assert isinstance(reply.error, ConnectionLost)
    assert reply.error.delivered == "maybe"


def test_at_a_seed_broker_the_answer_to_a_later_question_acknowledges(seed_broker: ScriptedBroker) -> None:
    reply = Answer()
    publish_with(seed_broker, 1, reply)
    assert seed_broker.sent() == [publish("sensor", "temperature", 1), {"HasObject": {"object_name": "rob"}}]
    assert not reply.done()
    seed_broker.give({"HasObjectResult": {"object_name": "rob", "exists": False}})
    assert reply.done()
    publish_with(seed_broker, 2, lost := Answer())
    seed_broker.lose()
    assert isinstance(lost.error, ConnectionLost)


# Retained


def test_a_retained_event_says_so(broker: ScriptedBroker) -> None:
    publish_with(broker, 1, retain=True)
    assert broker.sent() == [retained(1)]


def test_what_was_retained_is_published_again_only_at_another_broker_and_where_none_is(broker: ScriptedBroker) -> None:
    retain(broker, 1)
    retain(broker, 2)
    publish_with(broker, 3)
    broker.sent()
    assert reopen(broker) == []
    assert reopen(broker, epoch="another") == [retained(2, if_absent=True)]
    assert reopen(broker, epoch="another") == []
    assert reopen(broker, epoch="e") == [retained(2, if_absent=True)]


def test_what_was_cleared_is_not_published_again(broker: ScriptedBroker) -> None:
    retain(broker, 1)
    reply = Answer()
    broker.session.publisher.clear("sensor", "temperature", reply, NOW)
    assert broker.answer_ask("clear", True) == {"object_name": "sensor", "topic": "temperature"}
    assert reply.done()
    assert reopen(broker, epoch="another") == []


def test_what_was_retained_goes_into_the_new_brokers_encoding() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack")
    retain(broker, {"degrees": [25.6, None]})
    broker.session.publisher.publish_with(
        "sensor", "raw", broker.session.codec.encode_payload(b"\xff"), None, 0, retain=True
    )
    assert reopen(broker, epoch="two", encoding="json") == [retained({"degrees": [25.6, None]}, if_absent=True)]
    assert broker.opened.done(), "what JSON cannot say is left out"
    messages = reopen(broker, epoch="three", encoding="msgpack")
    values: list[object] = [message["Publish"]["args"] for message in messages]
    assert values == [{"degrees": [25.6, None]}, b"\xff"]


def test_what_a_new_broker_does_not_take_is_left_out() -> None:
    broker = ScriptedBroker()
    broker.open(max_frame=1_000_000)
    retain(broker, "x" * 100_000)
    broker.session.publisher.publish_with("sensor", "small", Raw(b"1"), None, NOW, retain=True)
    broker.sent()
    [message] = reopen(broker, epoch="another", max_frame=65_536)
    assert message["Publish"]["topic"] == "small"
    assert broker.opened.done()


def test_a_seed_broker_retains_nothing_and_knows_no_wills(seed_broker: ScriptedBroker) -> None:
    reply = Answer()
    with pytest.raises(InvalidArgs, match="no retained events"):
        publish_with(seed_broker, 1, retain=True)
    with pytest.raises(InvalidArgs, match="no retained events"):
        seed_broker.session.publisher.clear("lamp", "state", reply, 0.0)
    with pytest.raises(InvalidArgs, match="no wills"):
        seed_broker.session.publisher.set_will("lamp", "state", 1, reply, 0.0, retain=False)
    assert seed_broker.sent() == []
    assert not reply.done()


# The last will


def test_a_will_is_asked_for_again_over_each_new_connection(broker: ScriptedBroker) -> None:
    reply = set_will(broker, {"on": False}, retain=True)
    assert not reply.done()
    will = {"object_name": "lamp", "topic": "state", "args": {"on": False}, "retain": True}
    assert broker.answer_ask("setWill", True) == will
    assert reply.result is None
    for epoch in ("e", "another"):
        broker.lose()
        broker.open(epoch=epoch)
        assert broker.answer_ask("setWill", True) == will


def test_a_will_that_was_refused_or_never_answered_is_not_asked_for_again(broker: ScriptedBroker) -> None:
    with_will(broker, "accepted")
    reply = set_will(broker, "refused")
    call_id, _ = broker.asked("setWill")
    refusal = error(call_id, "rob", "only the broker publishes as 'rob'")
    refusal["Error"]["code"] = "permission_denied"
    broker.give(refusal)
    assert isinstance(reply.error, PermissionDenied)
    lost = set_will(broker, "lost")
    broker.lose()
    assert isinstance(lost.error, ConnectionLost)
    broker.open()
    _, args = broker.asked("setWill")
    assert args["args"] == "accepted"


def test_a_will_without_a_topic_takes_it_away(broker: ScriptedBroker) -> None:
    with_will(broker, 1)
    reply = set_will(broker, None, topic="")
    assert broker.answer_ask("setWill", True) == {}
    assert reply.done()
    assert reopen(broker) == []


def test_a_will_is_the_value_that_was_given_even_if_that_changes_later(broker: ScriptedBroker) -> None:
    value: list[Json] = [1]
    with_will(broker, value)
    value.append(2)
    broker.lose()
    broker.open()
    assert broker.answer_ask("setWill", True)["args"] == [1]


def test_a_will_that_cannot_be_sent_is_refused(broker: ScriptedBroker) -> None:
    with pytest.raises(InvalidArgs, match=r"'lamp.state' was given cannot be sent"):
        set_will(broker, float("nan"))
    with pytest.raises(TooLarge):
        set_will(broker, "x" * 70_000)
    assert broker.sent() == []


def test_a_will_that_a_new_connection_cannot_say_keeps_nobody_from_going_on() -> None:
    for value, fields in ((b"\xff", {"encoding": "json"}), ("x" * 60_000, {"encoding": "msgpack", "max_frame": 1000})):
        broker = ScriptedBroker()
        broker.open(encoding="msgpack")
        with_will(broker, value)
        retain(broker, 1)
        [message] = reopen(broker, epoch="another", **fields)
        assert broker.opened.done()
        assert message["Publish"]["args"] == 1
        broker.lose()
        broker.open(encoding="msgpack")
        asked, _ = broker.sent()
        args = asked["Call"]["args"]
        assert isinstance(args, dict)
        given: object = args["args"]
        assert given == value, "another connection can say it again"


def test_a_will_is_not_asked_for_at_a_seed_broker(broker: ScriptedBroker) -> None:
    with_will(broker, 1)
    broker.lose()
    broker.open_seed()
    assert broker.sent() == []


# With the real router


def test_retained_events_acknowledgements_and_wills_reach_the_router(bus: Bus) -> None:
    client, watcher, routed = Client(bus), RawPeer(bus), Answer()
    session, null = client.session, client.session.codec.null
    session.publisher.publish_with("lamp", "state", session.codec.encode_payload("on"), routed, bus.now, retain=True)
    session.publisher.set_will("lamp", "state", "lost", Answer(), bus.now, retain=True)
    bus.settle()
    assert routed.done()
    assert client.subscribe("lamp", "state").seen == ["on"]
    watcher.subscribe("lamp", "state")
    session.publisher.publish_with("rob", "x", null, refused := Answer(), bus.now, retain=False)
    bus.settle()
    assert isinstance(refused.error, PermissionDenied)
    client.link.disconnect()
    assert watcher.receive() == [event("lamp", "state", "lost")]
    client.connect()
    session.publisher.clear("lamp", "state", cleared := Answer(), bus.now)
    bus.settle()
    assert cleared.done()
    assert Client(bus).subscribe("lamp", "state").seen == []
    client.link.disconnect()
    assert watcher.receive() == [event("lamp", "state", "lost")], "the will was set again"


def test_after_goodbye_no_will_is_published(bus: Bus) -> None:
    client, watcher = Client(bus), RawPeer(bus)
    watcher.subscribe("lamp", "state")
    client.session.publisher.set_will("lamp", "state", "lost", Answer(), bus.now, retain=False)
    client.session.say_goodbye()
    bus.settle()
    client.link.disconnect()
    assert watcher.receive() == []


def test_what_cannot_be_published_comes_back_as_a_notice(bus: Bus) -> None:
    client, seed = Client(bus, encodings=("json",)), RawPeer(bus)
    seed.subscribe("sensor", "temperature")
    client.session.publisher.publish("sensor", "temperature", Raw(b"1e999"))
    bus.settle()
    [notice] = client.notices
    assert isinstance(notice, Error)
    assert (notice.object_name, notice.code, notice.type) == ("sensor", "invalid_args", "Publish")
