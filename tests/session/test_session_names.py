"""What a session exposes and asks for, and what it does after a lost connection."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.config import Limits
from ipc_broker.errors import ConnectionLost, InvalidArgs, IPCError, NameTaken, Overloaded, WorkerLost
from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, refused, register, result, subscribe
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Message
from tests.session.scripted import ScriptedBroker

NOW = 1000.0


def registered(name: str) -> Message:
    return {"Registered": {"object_name": name}}


def exists(name: str, answer: bool) -> Message:
    return {"HasObjectResult": {"object_name": name, "exists": answer}}


# Questions


def test_questions_are_answered_by_name_in_order(broker: ScriptedBroker) -> None:
    answers = [Answer() for _ in range(3)]
    for name, answer in zip(("math", "text", "math"), answers, strict=True):
        broker.session.has(name, answer)
    assert broker.sent() == [{"HasObject": {"object_name": name}} for name in ("math", "text", "math")]
    broker.give(exists("math", False), exists("text", True), exists("math", True))
    assert [answer.result for answer in answers] == [False, True, True]


# Names


def test_an_exposed_object_is_registered_and_the_server_is_told(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    assert broker.sent() == [register("math")]
    assert broker.registrations() == []
    broker.give(registered("math"))
    assert broker.registrations() == [("math", None)]


def test_a_name_that_is_taken_is_told_with_its_owner(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    broker.session.expose("text")
    broker.give(refused("RegisterObject", "math", "name_taken", "the name 'math' is taken by 'calculator' (process 7)"))
    broker.give(registered("text"))
    (name, failure), text = broker.registrations()
    assert name == "math"
    assert isinstance(failure, NameTaken)
    assert failure.message == "the name 'math' is taken by 'calculator' (process 7)"
    assert text == ("text", None)


def test_a_refused_registration_is_told_whatever_the_reason(broker: ScriptedBroker) -> None:
    for code in ("overloaded", "invalid_args", "permission_denied", "from_the_future", ""):
        broker.session.expose(f"object {code}")
        broker.give(refused("RegisterObject", f"object {code}", code, f"refused: {code}"))
        [(name, failure)] = broker.registrations()
        assert name == f"object {code}"
        assert isinstance(failure, IPCError)
        assert not isinstance(failure, NameTaken)
        assert failure.message == f"refused: {code}"
    assert broker.notices == []


def test_a_refusal_of_something_else_leaves_a_registration_that_is_on_its_way_alone(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    elsewhere = [
        refused("Publish", "math", "overloaded", "no more"),
        refused("Subscribe", "math", "overloaded", "no more"),
        refused("RegisterObject", "text", "name_taken", "taken"),
        refused("FromTheFuture", "math", "name_taken", "taken"),
        error(None, "math", "of the seed's broker"),
    ]
    broker.give(*elsewhere)
    assert broker.registrations() == []
    assert len(broker.notices) == len(elsewhere)
    broker.give(registered("math"))
    assert broker.registrations() == [("math", None)]


def test_a_registration_and_a_subscription_of_one_name_are_told_apart_when_refused(broker: ScriptedBroker) -> None:
    answer = Answer()
    broker.session.subscribe("math", "changed", RecordingSink(), answer)
    broker.session.expose("math")
    broker.give(refused("RegisterObject", "math", "overloaded", "no more names"))
    [(name, failure)] = broker.registrations()
    assert name == "math"
    assert isinstance(failure, Overloaded)
    assert not answer.done()
    broker.give(refused("Subscribe", "math", "overloaded", "no more subscriptions"))
    assert answer.error.message == "no more subscriptions"


def test_a_withdrawn_object_is_unregistered_and_a_late_call_still_gets_an_answer(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    broker.give(registered("math"))
    broker.sent()
    answer = Answer()
    broker.session.withdraw("math", answer, NOW)
    [message] = broker.sent()
    assert message["Call"]["method"] == "unregister"
    assert message["Call"]["args"] == {"object_name": "math", "keep_calls": False}
    broker.give(call("1", "math", "add"))
    [(given, connection)] = broker.server.calls
    broker.session.fail(given, connection, "no_such_object", "No such object 'math'")
    assert broker.sent()[0]["Error"]["call_id"] == "1"
    broker.give(result(str(message["Call"]["call_id"]), "rob", True))
    assert answer.done()
    broker.lose()
    broker.open()
    assert broker.sent() == []


def test_withdrawing_without_connection_or_from_a_seed_broker_is_done_at_once() -> None:
    broker = ScriptedBroker()
    broker.open_seed()
    broker.session.expose("math")
    broker.session.expose("text")
    broker.sent()
    answers = [Answer(), Answer()]
    broker.session.withdraw("math", answers[0], NOW)
    broker.lose()
    broker.session.withdraw("text", answers[1], NOW)
    assert all(answer.done() for answer in answers)
    broker.open_seed()
    assert broker.sent() == []


# A lost connection


def test_a_lost_connection_ends_everything_that_waits(broker: ScriptedBroker) -> None:
    called, timed, asked, subscribing = Answer(), Answer(), Answer(), Answer()
    session = broker.session
    session.call("math", "add", Raw(b"null"), called, NOW)
    session.call("math", "add", Raw(b"null"), timed, NOW, 1.0)
    session.has("math", asked)
    session.subscribe("sensor", "temperature", RecordingSink(), subscribing)
    session.expose("math")
    broker.lose("the broker went away")
    for answer in (called, timed, asked, subscribing):
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.message == "the broker went away"
    assert session.calls_in_flight == 0
    assert session.queued == 0
    assert session.next_deadline() is None
    assert not session.ready
    assert broker.server.interruptions == 1
    assert broker.registrations() == []
    session.handle_timer(NOW + 100)


def test_a_lost_connection_that_is_lost_again_changes_nothing(broker: ScriptedBroker) -> None:
    broker.lose()
    broker.lose()
    broker.session.receive_data(b"late bytes")
    assert broker.session.data_to_send() == b""


def test_a_new_connection_registers_and_subscribes_before_anything_else_is_sent(broker: ScriptedBroker) -> None:
    sink = RecordingSink()
    broker.session.expose("math")
    broker.session.subscribe("sensor", "temperature", sink, Answer())
    broker.give(registered("math"), {"Subscribed": {"object_name": "sensor", "topic": "temperature"}})
    broker.registrations()
    broker.lose()
    broker.open()
    broker.session.call("text", "upper", Raw(b"null"), Answer(), NOW)
    first, second, third = broker.sent()
    assert (first, second) == (register("math"), subscribe("sensor", "temperature"))
    assert third["Call"]["object_name"] == "text"
    assert sink.seen == ["interrupted"]
    broker.give(registered("math"))
    assert broker.registrations() == [("math", None)]


def test_a_name_that_was_taken_meanwhile_is_told_after_the_new_connection(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    broker.give(registered("math"))
    broker.registrations()
    broker.lose()
    broker.open()
    broker.give(refused("RegisterObject", "math", "name_taken", "the name 'math' is taken by connection 9"))
    [(name, failure)] = broker.registrations()
    assert name == "math"
    assert isinstance(failure, NameTaken)


def test_ids_and_answers_of_an_old_connection_meet_no_new_call(broker: ScriptedBroker) -> None:
    old = broker.session.call("math", "add", Raw(b"null"), Answer(), NOW)
    broker.lose()
    broker.open()
    answer = Answer()
    new = broker.session.call("math", "add", Raw(b"null"), answer, NOW)
    assert new != old
    broker.give(result(old, "math", "old"))
    assert not answer.done()
    assert broker.session.late_answers == 1


def test_half_a_frame_of_an_old_connection_is_forgotten(broker: ScriptedBroker) -> None:
    broker.session.receive_data(b"\x00\x00\x00\x10{")
    broker.lose()
    broker.open()
    assert broker.session.ready


def test_a_seed_broker_after_ours_is_spoken_to_as_such(broker: ScriptedBroker) -> None:
    broker.session.expose("math")
    broker.sent()
    broker.lose()
    broker.open_seed()
    assert broker.session.welcome is None
    assert broker.sent() == [register("math")]
    assert broker.session.call("text", "upper", Raw(b"null"), Answer(), NOW).startswith("nonce.")


# With the real router


def test_the_second_to_expose_a_name_is_told_who_has_it(bus: Bus) -> None:
    owner, second = Client(bus, "calculator"), Client(bus)
    owner.serve("math")
    second.session.expose("math")
    bus.settle()
    [(name, failure)] = second.server.registrations
    assert name == "math"
    assert isinstance(failure, NameTaken)
    assert "'calculator'" in failure.message


def test_the_empty_name_cannot_be_exposed(broker: ScriptedBroker) -> None:
    with pytest.raises(InvalidArgs) as raised:
        broker.session.expose("")
    assert raised.value.delivered == "no"
    assert broker.sent() == []
    assert not broker.session.exposed


def test_the_brokers_own_name_cannot_be_had(bus: Bus) -> None:
    client = Client(bus)
    client.session.expose("rob")
    bus.settle()
    [(name, failure)] = client.server.registrations
    assert name == "rob"
    assert isinstance(failure, NameTaken)


def test_the_routers_limit_of_names_reaches_the_server() -> None:
    bus = Bus(Limits(names=1))
    client = Client(bus)
    client.serve("math")
    client.session.expose("text")
    bus.settle()
    [(name, failure)] = client.server.registrations
    assert name == "text"
    assert isinstance(failure, Overloaded)


def test_a_worker_serves_again_after_a_new_connection(bus: Bus) -> None:
    worker, caller = Client(bus), RawPeer(bus)
    worker.serve("math")
    worker.link.disconnect()
    assert "math" not in bus.router.names
    worker.connect()
    assert worker.server.registrations == [("math", None)]
    caller.send(call("1", "math", "add"))
    worker.answer(3)
    assert caller.receive() == [result("1", "math", 3)]


def test_a_withdrawn_object_is_free_and_its_calls_have_ended(bus: Bus) -> None:
    worker, caller, answer = Client(bus), Client(bus), Answer()
    worker.serve("math")
    waiting = caller.call("math", "add")
    bus.settle()
    worker.session.withdraw("math", answer, bus.now)
    bus.settle()
    assert answer.value is True
    assert isinstance(waiting.error, WorkerLost)
    Client(bus).serve("math")
    worker.answer("late")
    bus.settle()
    bus.assert_no_call_is_left()


def test_a_withdrawn_object_may_still_answer_the_calls_it_keeps(bus: Bus) -> None:
    worker, next_worker, caller = Client(bus), Client(bus), Client(bus)
    worker.serve("math")
    waiting = caller.call("math", "add")
    bus.settle()
    worker.session.withdraw("math", Answer(), bus.now, keep_calls=True)
    bus.settle()
    assert not waiting.done()
    next_worker.serve("math")
    worker.answer("from the first")
    bus.settle()
    assert waiting.value == "from the first"
    bus.assert_no_call_is_left()


def test_a_worker_that_withdrew_and_kept_its_calls_ends_them_when_it_is_lost(bus: Bus) -> None:
    worker, caller = Client(bus), Client(bus)
    worker.serve("math")
    waiting = caller.call("math", "add")
    bus.settle()
    worker.session.withdraw("math", Answer(), bus.now, keep_calls=True)
    bus.settle()
    worker.link.disconnect()
    assert isinstance(waiting.error, WorkerLost)
    bus.assert_no_call_is_left()
