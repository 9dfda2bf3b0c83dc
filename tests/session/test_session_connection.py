"""What a session does when its connection is lost, paused, ended in good order, or carries nonsense."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.config import Limits
from ipc_broker.errors import ConnectionLost, NameTaken, RemoteError
from ipc_broker.messages import Error, Invalid
from ipc_broker.session.streams import Incoming
from tests.memory import Bus, Client
from tests.messages import call, error, event, refused, register, result
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json, Message, frame, frame_of
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import start, subscribe_as, subscribed, subscribed_as, value

NOW = 1000.0
NULL = Raw(b"null")


def registered(name: str) -> Message:
    return {"Registered": {"object_name": name}}


# Lost


def test_a_connection_lost_before_hello_was_answered_is_told() -> None:
    broker = ScriptedBroker()
    broker.accept()
    broker.lose("refused")
    assert isinstance(broker.opened.error, ConnectionLost)
    assert broker.opened.error.message == "refused"
    broker.open()
    assert broker.session.ready


def test_a_lost_connection_ends_everything_that_waits(broker: ScriptedBroker) -> None:
    called, timed, asked, subscribing = Answer(), Answer(), Answer(), Answer()
    session = broker.session
    session.call("math", "add", NULL, called, NOW)
    session.call("math", "add", NULL, timed, NOW, 1.0)
    session.names.has("math", asked)
    session.subscribe("sensor", "temperature", RecordingSink(), subscribing)
    session.serving.expose("math", "exclusive", 0)
    broker.lose("the broker went away")
    for answer in (called, timed, asked, subscribing):
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.message == "the broker went away"
    assert session.calls_in_flight == 0
    assert session.queued == 0
    assert session.next_deadline() is None
    assert not session.ready
    assert session.losses == 1
    assert broker.server.interruptions == 1
    assert broker.registrations() == []
    session.handle_timer(NOW + 100)


def test_a_lost_connection_that_is_lost_again_changes_nothing(broker: ScriptedBroker) -> None:
    broker.lose()
    broker.lose()
    broker.session.receive_data(b"late bytes")
    assert broker.session.data_to_send() == b""


def test_a_new_connection_registers_and_subscribes_before_anything_else_is_sent(broker: ScriptedBroker) -> None:
    broker.session.serving.expose("math", "shared", 2)
    broker.give(registered("math"))
    subscribed(broker)
    broker.registrations()
    broker.lose()
    broker.open()
    broker.session.call("text", "upper", NULL, Answer(), NOW)
    first, second, third = broker.sent()
    assert first["RegisterObject"] == {"object_name": "math", "mode": "shared", "concurrency": 2}
    assert second == subscribe_as(1, seen=0)
    assert third["Call"]["object_name"] == "text"
    broker.give(registered("math"))
    assert broker.registrations() == [("math", None)]


def test_a_name_that_was_taken_meanwhile_is_told_after_the_new_connection(broker: ScriptedBroker) -> None:
    broker.session.serving.expose("math", "exclusive", 0)
    broker.give(registered("math"))
    broker.registrations()
    broker.lose()
    broker.open()
    broker.give(refused("RegisterObject", "math", "name_taken", "the name 'math' is taken by connection 9"))
    [(name, failure)] = broker.registrations()
    assert name == "math"
    assert isinstance(failure, NameTaken)


def test_ids_and_answers_of_an_old_connection_meet_no_new_call(broker: ScriptedBroker) -> None:
    old = broker.session.call("math", "add", NULL, Answer(), NOW)
    broker.lose()
    broker.open()
    answer = Answer()
    new = broker.session.call("math", "add", NULL, answer, NOW)
    assert new != old
    broker.give(result(old, "math", "old"))
    assert not answer.done()
    assert broker.session.late_answers == 1


def test_a_call_of_an_old_connection_is_not_cancelled_at_the_new_one(broker: ScriptedBroker) -> None:
    old = broker.session.call("math", "add", NULL, Answer(), NOW)
    broker.lose()
    broker.session.cancel(old)
    broker.open()
    broker.session.cancel(old)
    broker.session.give_credit(old, 1000)
    assert broker.sent() == []


def test_half_a_frame_of_an_old_connection_is_forgotten(broker: ScriptedBroker) -> None:
    broker.session.receive_data(b"\x00\x00\x00\x10{")
    broker.lose()
    broker.open()
    assert broker.session.ready


def test_a_seed_broker_after_ours_is_spoken_to_as_such() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack")
    broker.session.serving.expose("math", "exclusive", 0)
    broker.sent()
    broker.lose()
    assert broker.session.codec.name == "json"
    broker.open_seed()
    assert broker.session.welcome is None
    assert broker.sent() == [register("math")]
    assert broker.session.call("text", "upper", NULL, Answer(), NOW).startswith("nonce.")


# Paused


def test_the_broker_may_ask_for_a_pause(broker: ScriptedBroker) -> None:
    seen: list[bool] = []
    broker.session.on_pause = lambda: seen.append(broker.session.paused)
    assert not broker.session.paused
    broker.give({"Pause": {}})
    assert broker.session.paused
    broker.give({"Pause": {}}, {"Resume": {}}, {"Resume": {}}, {"Pause": {}})
    assert seen == [True, False, True]


def test_a_pause_ends_with_the_connection(broker: ScriptedBroker) -> None:
    seen: list[bool] = []
    broker.give({"Pause": {}})
    broker.session.on_pause = lambda: seen.append(broker.session.paused)
    broker.lose()
    assert seen == [False]
    broker.lose()
    broker.open()
    assert seen == [False]
    assert not broker.session.paused


def test_a_pause_without_anybody_to_tell_is_kept(broker: ScriptedBroker) -> None:
    broker.give({"Pause": {}})
    assert broker.session.paused


# In good order


def test_goodbye_is_said_to_a_broker_that_knows_it(broker: ScriptedBroker, seed_broker: ScriptedBroker) -> None:
    broker.session.say_goodbye()
    assert broker.sent() == [{"Goodbye": {}}]
    seed_broker.session.say_goodbye()
    assert seed_broker.sent() == []
    broker.lose()
    broker.session.say_goodbye()
    broker.accept()
    broker.session.say_goodbye()
    assert broker.sent() == []


def test_after_the_brokers_goodbye_answers_still_come_and_nothing_else_is_asked(broker: ScriptedBroker) -> None:
    answer, goodbyes = Answer(), list[str]()
    broker.session.on_goodbye = goodbyes.append
    call_id = broker.session.call("math", "add", NULL, answer, NOW)
    broker.give({"Goodbye": {"reason": "it stops"}})
    assert goodbyes == ["it stops"]
    assert broker.session.opened
    assert not broker.session.ready
    with pytest.raises(ConnectionLost) as raised:
        broker.session.call("math", "add", NULL, Answer(), NOW)
    assert raised.value.delivered == "no"
    broker.give(result(call_id, "math", 1))
    assert answer.value == 1
    assert broker.notices == []
    broker.lose()
    broker.open()
    assert broker.session.ready


# Nonsense


def test_what_cannot_be_read_is_a_notice_and_touches_nothing_else(broker: ScriptedBroker) -> None:
    answer = Answer()
    call_id = broker.session.call("math", "add", NULL, answer, NOW)
    broker.session.receive_data(frame_of(b"garbage") + frame(event("a", "b")) + frame(result(call_id, "math", 1)))
    assert answer.value == 1
    [notice] = broker.notices
    assert isinstance(notice, Invalid)
    broker.session.on_notice = None
    broker.session.receive_data(frame_of(b"garbage"))
    broker.give(error(None, "rob", "nobody listens"))


def test_an_answer_that_cannot_be_read_ends_the_call_that_waits_for_it(broker: ScriptedBroker) -> None:
    answer, gone = Answer(), Answer()
    for reply in (answer, gone):
        call_id = broker.session.call("math", "add", NULL, reply, NOW, 1.0)
        gone.cancelled = reply is gone
        broker.session.receive_data(frame_of(b'{"Result":{"call_id":"%b","object_name":1}}' % call_id.encode()))
    assert isinstance(answer.error, RemoteError)
    assert "'math.add' answered cannot be read" in answer.error.message
    assert broker.session.calls_in_flight == 0
    assert broker.session.next_deadline() is None
    assert len(broker.notices) == 2


def test_an_item_that_cannot_be_read_ends_the_stream_and_stops_its_worker(broker: ScriptedBroker) -> None:
    stream = Incoming(broker.session, "logs", "tail")
    stream.open(NULL, NOW, None, None)
    broker.sent()
    broker.give({"Item": {"call_id": stream.call_id, "value": 1}})
    for _ in range(2):
        broker.session.receive_data(frame_of(b'{"Item":{"call_id":"%b"}}' % stream.call_id.encode()))
    assert stream.take() is not None
    assert isinstance(stream.error, RemoteError)
    assert broker.sent() == [{"Cancel": {"call_id": stream.call_id}}]


def test_a_call_that_cannot_be_read_is_answered_with_an_error(broker: ScriptedBroker) -> None:
    broker.session.receive_data(frame_of(b'{"Call":{"call_id":"1.1","object_name":"math","method":1,"args":1}}'))
    [message] = broker.sent()
    assert (message["Error"]["call_id"], message["Error"]["code"]) == ("1.1", "invalid_args")
    assert broker.server.calls == []
    assert len(broker.notices) == 1


def test_an_error_that_belongs_to_no_question_is_a_notice(broker: ScriptedBroker) -> None:
    broker.give(error(None, "rob", "only the broker publishes as 'rob'"))
    [notice] = broker.notices
    assert isinstance(notice, Error)
    assert notice.object_name == "rob"


HUGE = 2**53 - 1

UNASKED: list[Message] = [
    result("7.99", "math", 1),
    {"Result": {"call_id": "7.99", "object_name": "math", "value": 1, "ended": True}},
    result("", "math", 1),
    error("7.99", "math", "no"),
    {"Item": {"call_id": "7.99", "value": 1}},
    {"Credit": {"call_id": "7.99", "bytes": HUGE}},
    {"Credit": {"call_id": "7.99", "bytes": 0}},
    {"Cancel": {"call_id": "7.99"}},
    registered("math"),
    {"HasObjectResult": {"object_name": "math", "exists": True}},
    {"Subscribed": {"object_name": "sensor", "topic": "temperature"}},
    subscribed_as(99, missed=HUGE),
    {"Missed": {"subscription": 99, "count": HUGE}},
    {"Missed": {"subscription": 0, "count": 0}},
    event("sensor", "temperature", 1),
    {"Event": {"subscription": -1, "object_name": "sensor", "topic": "temperature", "args": 1}},
    {"CallerGone": {"prefix": "12."}},
    {"Caller": {"prefix": "", "name": "x"}},
    {"Resume": {}},
    refused("Subscribe", "sensor", "overloaded", "no more"),
    refused("RegisterObject", "math", "name_taken", "taken"),
    refused("", "", "", ""),
]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("message", UNASKED, ids=lambda message: next(iter(message)))
def test_what_nobody_asked_for_does_no_harm(message: Message, encoding: str) -> None:
    broker = ScriptedBroker()
    broker.open(encoding=encoding)
    broker.give(message, message)
    sink, answer = start(broker)
    broker.give(subscribed_as(1), value(2, 1))
    assert answer.result is None
    assert sink.seen == [2]


@pytest.mark.parametrize("fields", [{"bytes": -1}, {"bytes": 2**53}, {"bytes": 1.5}, {"bytes": None}, {}])
def test_credit_that_is_no_number_of_bytes_reaches_no_server(broker: ScriptedBroker, fields: dict[str, Json]) -> None:
    broker.give({"Credit": {"call_id": "1", **fields}})
    assert broker.server.credits == []
    assert len(broker.notices) == 1


# With the real router


def test_a_worker_serves_again_after_a_new_connection(bus: Bus) -> None:
    worker, caller = Client(bus), Client(bus)
    worker.serve("math")
    worker.link.disconnect()
    assert "math" not in bus.router.names
    worker.connect()
    assert worker.server.registrations == [("math", None)]
    answer = caller.call("math", "add")
    worker.answer(3)
    bus.settle()
    assert answer.value == 3


def test_a_slow_subscriber_pauses_whoever_publishes_to_it(bus: Bus) -> None:
    bus = Bus(Limits(backlog=100_000))
    publisher, subscriber = Client(bus), Client(bus)
    sink = subscriber.subscribe("sensor", "temperature")
    sink.takes = False
    for _ in range(800):
        publisher.publish("sensor", "temperature", "x" * 1000)
        bus.settle()
        if publisher.session.paused:
            break
    assert publisher.session.paused
    answer = publisher.call("rob", "ping")
    bus.settle()
    assert answer.value == "pong"
    sink.takes = True
    sink.take_all()
    bus.settle()
    assert not publisher.session.paused


def test_nothing_is_left_in_the_router_when_sessions_have_gone(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    client.call("math", "add", timeout=5.0)
    client.subscribe("sensor", "*")
    client.session.publisher.set_will("lamp", "state", 1, Answer(), bus.now, retain=False)
    bus.settle()
    client.link.disconnect()
    worker.link.disconnect()
    bus.assert_empty()


def test_a_call_made_by_a_peer_while_the_connection_is_lost_is_not_answered(broker: ScriptedBroker) -> None:
    broker.give(call("1", "math", "add"))
    [(given, connection)] = broker.server.calls
    broker.lose()
    broker.session.serving.answer(given, connection, NULL)
    broker.accept()
    broker.session.serving.answer(given, connection, NULL)
    assert broker.sent() == []
