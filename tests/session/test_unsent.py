"""What was surely not sent when a connection was lost: it stood in the outbox still."""

from __future__ import annotations

from msgspec import Raw

from ipc_broker.errors import ConnectionLost
from ipc_broker.messages import Error
from tests.messages import publish
from tests.recording import Answer
from tests.session.scripted import ScriptedBroker
from tests.session.test_publisher import NOW, publish_with, reopen, retained

NULL = Raw(b"null")


def test_a_call_that_was_surely_not_sent_says_so(broker: ScriptedBroker) -> None:
    sent, unsent = Answer(), Answer()
    broker.session.call("math", "add", NULL, sent, NOW)
    broker.sent()
    broker.session.call("math", "add", NULL, unsent, NOW, headers={"tenant": "a"})
    broker.lose()
    for answer, delivered in ((sent, "maybe"), (unsent, "no")):
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.delivered == delivered
    broker.open()
    assert broker.sent() == []


def test_what_could_not_be_sent_even_in_part_counts_as_not_sent(broker: ScriptedBroker) -> None:
    session, first, second = broker.session, Answer(), Answer()
    session.call("math", "add", NULL, first, NOW)
    session.call("math", "add", NULL, second, NOW)
    data = session.data_to_send()
    assert session.connection is not None
    session.connection.take_back(data)
    assert session.queued == len(data)
    broker.lose()
    for answer in (first, second):
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.delivered == "no"


def test_an_event_that_is_to_be_acknowledged_and_was_surely_not_sent_is_left_to_whoever_waits(
    broker: ScriptedBroker,
) -> None:
    publish_with(broker, 1, reply := Answer())
    broker.lose("gone")
    assert isinstance(reply.error, ConnectionLost)
    assert reply.error.delivered == "no"
    assert reopen(broker) == []


def test_a_retained_event_that_waits_for_its_acknowledgement_is_not_said_twice_to_a_new_broker(
    broker: ScriptedBroker,
) -> None:
    publish_with(broker, 1, retain=True)
    broker.sent()
    publish_with(broker, 2, Answer(), retain=True)
    assert reopen(broker, epoch="another") == [], "whoever waits publishes it again"
    assert reopen(broker, epoch="third") == [retained(2, if_absent=True)]


def test_events_that_were_surely_not_sent_go_out_before_all_others_in_their_order(broker: ScriptedBroker) -> None:
    publisher = broker.session.publisher
    publisher.publish("sensor", "temperature", Raw(b"1"))
    broker.sent()
    for value in (b"2", b"3"):
        publisher.publish("sensor", "temperature", Raw(value))
    publish_with(broker, 4, retain=True)
    broker.lose()
    broker.accept()
    broker.lose("again, before hello was answered")
    broker.open()
    publisher.publish("sensor", "temperature", Raw(b"5"))
    messages = broker.sent()
    assert [message["Publish"]["args"] for message in messages] == [2, 3, 4, 5]
    assert messages[2] == retained(4)
    assert reopen(broker) == []


def test_events_that_were_not_sent_go_into_the_new_brokers_encoding_and_what_it_cannot_say_is_told() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack")
    for value in ({"degrees": 25.6}, b"\xff"):
        broker.session.publisher.publish("sensor", "raw", broker.session.codec.encode_payload(value))
    assert reopen(broker, encoding="json") == [publish("sensor", "raw", {"degrees": 25.6})]
    [notice] = broker.notices
    assert isinstance(notice, Error)
    assert notice.object_name == "sensor"
    assert "an event that was to be sent again" in notice.message


def test_a_retained_event_that_was_not_sent_is_told_at_a_seed_broker(broker: ScriptedBroker) -> None:
    publish_with(broker, 1, retain=True)
    broker.session.publisher.publish("sensor", "temperature", Raw(b"2"))
    broker.lose()
    broker.open_seed()
    assert broker.sent() == [publish("sensor", "temperature", 2)]
    [notice] = broker.notices
    assert isinstance(notice, Error)
    assert "it has no retained events" in notice.message
