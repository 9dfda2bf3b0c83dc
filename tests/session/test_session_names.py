"""The names that a session exposes and asks for."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.errors import InvalidArgs, IPCError, NameTaken, Overloaded, WorkerLost
from ipc_broker.messages import MAX_NAME
from ipc_broker.session import Session
from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, refused, register, result
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Message
from tests.session.scripted import ScriptedBroker

NOW = 1000.0


def registered(name: str) -> Message:
    return {"Registered": {"object_name": name}}


def expose(session: Session, name: str, mode: str = "exclusive", concurrency: int = 0) -> None:
    session.serving.expose(name, mode, concurrency)


def exists(name: str, answer: bool) -> Message:
    return {"HasObjectResult": {"object_name": name, "exists": answer}}


# Questions


def test_questions_are_answered_by_name_in_order(broker: ScriptedBroker) -> None:
    answers = [Answer() for _ in range(3)]
    for name, answer in zip(("math", "text", "math"), answers, strict=True):
        broker.session.names.has(name, answer)
    assert broker.sent() == [{"HasObject": {"object_name": name}} for name in ("math", "text", "math")]
    broker.give(exists("math", False), exists("text", True), exists("math", True))
    assert [answer.result for answer in answers] == [False, True, True]


# Names


def test_an_exposed_object_is_registered_and_the_server_is_told(broker: ScriptedBroker) -> None:
    expose(broker.session, "math")
    assert broker.sent() == [register("math")]
    assert broker.registrations() == []
    broker.give(registered("math"))
    assert broker.registrations() == [("math", None)]


def test_mode_and_concurrency_travel_and_the_usual_ones_are_left_out(broker: ScriptedBroker) -> None:
    expose(broker.session, "math", "shared", 4)
    expose(broker.session, "text", "standby")
    first, second = broker.sent()
    assert first["RegisterObject"] == {"object_name": "math", "mode": "shared", "concurrency": 4}
    assert second["RegisterObject"] == {"object_name": "text", "mode": "standby"}


def test_without_a_server_a_registration_is_nobodys_news(broker: ScriptedBroker) -> None:
    expose(broker.session, "math")
    expose(broker.session, "text")
    broker.session.serving.server = None
    broker.give(registered("math"), refused("RegisterObject", "text", "name_taken", "taken"))
    assert broker.registrations() == []
    assert broker.notices == []


def test_names_that_cannot_be_sent_are_not_exposed(broker: ScriptedBroker) -> None:
    for name in ("", "n" * (MAX_NAME + 1), "\ud800"):
        with pytest.raises(InvalidArgs) as raised:
            expose(broker.session, name)
        assert raised.value.delivered == "no"
    assert broker.sent() == []
    assert not broker.session.serving.exposed


def test_a_name_that_is_taken_is_told_with_its_owner(broker: ScriptedBroker) -> None:
    expose(broker.session, "math")
    expose(broker.session, "text")
    refusal = refused("RegisterObject", "math", "name_taken", "the name 'math' is taken by 'calculator' (process 7)")
    refusal["Error"]["data"] = {"owner": "calculator", "pid": 7}
    broker.give(refusal, registered("text"))
    (name, failure), text = broker.registrations()
    assert name == "math"
    assert isinstance(failure, NameTaken)
    assert failure.message == "the name 'math' is taken by 'calculator' (process 7)"
    assert (failure.owner, failure.pid) == ("calculator", 7)
    assert text == ("text", None)


def test_a_refused_registration_is_told_whatever_the_reason(broker: ScriptedBroker) -> None:
    for code in ("overloaded", "invalid_args", "permission_denied", "from_the_future", ""):
        expose(broker.session, f"object {code}")
        broker.give(refused("RegisterObject", f"object {code}", code, f"refused: {code}"))
        [(name, failure)] = broker.registrations()
        assert name == f"object {code}"
        assert isinstance(failure, IPCError)
        assert not isinstance(failure, NameTaken)
        assert failure.message == f"refused: {code}"
    assert broker.notices == []


def test_a_refusal_of_something_else_leaves_a_registration_that_is_on_its_way_alone(broker: ScriptedBroker) -> None:
    expose(broker.session, "math")
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
    expose(broker.session, "math")
    broker.give(refused("RegisterObject", "math", "overloaded", "no more names"))
    [(name, failure)] = broker.registrations()
    assert name == "math"
    assert isinstance(failure, Overloaded)
    assert not answer.done()
    refusal = refused("Subscribe", "math", "overloaded", "no more subscriptions")
    refusal["Error"]["subscription"] = 1
    broker.give(refusal)
    assert answer.error.message == "no more subscriptions"


def test_a_withdrawn_object_is_unregistered_and_a_late_call_still_gets_an_answer(broker: ScriptedBroker) -> None:
    expose(broker.session, "math")
    broker.give(registered("math"))
    broker.sent()
    answer = Answer()
    broker.session.withdraw("math", answer, NOW)
    [message] = broker.sent()
    assert message["Call"]["method"] == "unregister"
    assert message["Call"]["args"] == {"object_name": "math", "keep_calls": False}
    broker.give(call("1", "math", "add"))
    [(given, connection)] = broker.server.calls
    broker.session.serving.fail(given, connection, "no_such_object", "No such object 'math'")
    assert broker.sent()[0]["Error"]["call_id"] == "1"
    broker.give(result(str(message["Call"]["call_id"]), "rob", True))
    assert answer.done()
    broker.lose()
    broker.open()
    assert broker.sent() == []


def test_withdrawing_without_connection_or_from_a_seed_broker_is_done_at_once() -> None:
    broker = ScriptedBroker()
    broker.open_seed()
    expose(broker.session, "math")
    expose(broker.session, "text")
    broker.sent()
    answers = [Answer(), Answer()]
    broker.session.withdraw("math", answers[0], NOW)
    broker.lose()
    broker.session.withdraw("text", answers[1], NOW)
    assert all(answer.done() for answer in answers)
    broker.open_seed()
    assert broker.sent() == []


# With the real router


def test_the_second_to_expose_a_name_is_told_who_has_it(bus: Bus) -> None:
    owner, second = Client(bus, "calculator", pid=7), Client(bus)
    owner.serve("math")
    expose(second.session, "math")
    bus.settle()
    [(name, failure)] = second.server.registrations
    assert name == "math"
    assert isinstance(failure, NameTaken)
    assert (failure.owner, failure.pid) == ("calculator", 7)
    assert "'calculator'" in failure.message


def test_a_shared_and_a_standby_registration_are_accepted(bus: Bus) -> None:
    for mode in ("shared", "standby"):
        first, second = Client(bus), Client(bus)
        first.serve(mode, "exclusive" if mode == "standby" else mode)
        second.serve(mode, mode)
    first.link.disconnect()
    caller = RawPeer(bus)
    caller.send(call("1", "standby", "add"))
    second.answer(1)
    assert caller.receive() == [result("1", "standby", 1)]


def test_the_brokers_own_name_cannot_be_had(bus: Bus) -> None:
    client = Client(bus)
    expose(client.session, "rob")
    bus.settle()
    [(name, failure)] = client.server.registrations
    assert name == "rob"
    assert isinstance(failure, NameTaken)


def test_the_routers_limit_of_names_reaches_the_server() -> None:
    bus = Bus(Limits(names=1))
    client = Client(bus)
    client.serve("math")
    expose(client.session, "text")
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
    answer.codec = worker.session.codec
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
