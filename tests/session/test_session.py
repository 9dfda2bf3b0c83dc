"""Calls of a session whose broker is played by the test, or is the real router (`Bus`)."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.errors import (
    CallError,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchMethod,
    NoSuchObject,
    RemoteError,
    TooLarge,
    WorkerLost,
)
from ipc_broker.messages import MAX_NAME
from ipc_broker.protocol.encodings import JSON
from ipc_broker.protocol.framing import HEADER_SIZE
from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, result
from tests.recording import Answer
from tests.seed.frames import Json, Message, frame
from tests.session.scripted import ScriptedBroker

NOW = 1000.0
NULL = Raw(b"null")


def make_call(broker: ScriptedBroker, timeout: float | None = None) -> tuple[str, Answer]:
    answer = Answer()
    return broker.session.call("math", "add", Raw(b"[1]"), answer, NOW, timeout), answer


def failed(call_id: str, **fields: Json) -> Message:
    message = error(call_id, "math", "what happened")
    message["Error"] |= fields
    return message


# Calls and answers


def test_answers_in_any_order_reach_their_calls(broker: ScriptedBroker) -> None:
    (first_id, first), (second_id, second) = make_call(broker), make_call(broker)
    assert broker.sent() == [call(first_id, "math", "add", [1]), call(second_id, "math", "add", [1])]
    assert broker.session.calls_in_flight == 2
    broker.give(result(second_id, "math", "second"), result(first_id, "math", "first"))
    assert (first.value, second.value) == ("first", "second")
    assert broker.session.calls_in_flight == 0


def test_a_cancelled_reply_is_left_alone(broker: ScriptedBroker) -> None:
    for answer in (result, lambda call_id, name: error(call_id, name, "no")):
        call_id, reply = make_call(broker)
        reply.cancelled = True
        broker.give(answer(call_id, "math"))
    assert broker.session.late_answers == 0
    assert broker.session.calls_in_flight == 0


def test_an_answer_that_ends_a_stream_is_to_a_plain_call_its_value(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    message = result(call_id, "math", 3)
    message["Result"]["ended"] = True
    broker.give(message)
    assert answer.value == 3


def test_an_item_for_a_call_that_is_no_stream_is_dropped_and_counted(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    broker.give({"Item": {"call_id": call_id, "value": 1}}, {"Item": {"call_id": "7.99", "value": 1}})
    assert broker.session.late_answers == 2
    assert not answer.done()
    broker.give(result(call_id, "math", 2))
    assert answer.value == 2


def test_the_shell_is_woken_when_there_is_something_to_send(broker: ScriptedBroker) -> None:
    broker.woken = 0
    make_call(broker)
    make_call(broker)
    assert broker.woken == 1
    assert broker.session.queued > 0
    assert len(broker.sent()) == 2
    assert broker.session.queued == 0
    make_call(broker)
    assert broker.woken == 2


# Limits


def test_a_call_over_the_agreed_frame_limit_raises_and_is_not_sent() -> None:
    broker, limit = ScriptedBroker(), 1000
    broker.open(max_frame=limit)
    for headers in (None, {"tenant": "a"}):
        with pytest.raises(TooLarge, match=r"'math.add' takes \d+ bytes, over the limit of 1000 bytes") as raised:
            broker.session.call("math", "add", JSON.encode_payload("x" * limit), Answer(), NOW, 1.0, headers=headers)
        assert (raised.value.object, raised.value.method, raised.value.delivered) == ("math", "add", "no")
    assert broker.session.calls_in_flight == 0
    assert broker.session.next_deadline() is None
    assert broker.sent() == []


def test_a_call_of_exactly_the_frame_limit_is_sent(broker: ScriptedBroker) -> None:
    make_call(broker)
    [sample] = broker.sent()
    room = 65_536 - (len(frame(sample)) - HEADER_SIZE) + len("[1]") - 2
    broker.session.call("math", "add", JSON.encode_payload("x" * room), Answer(), NOW)
    assert broker.session.queued == 65_536 + HEADER_SIZE
    with pytest.raises(TooLarge):
        broker.session.call("math", "add", JSON.encode_payload("x" * (room + 1)), Answer(), NOW)


def test_the_frame_limit_of_an_earlier_broker_does_not_stay() -> None:
    broker = ScriptedBroker()
    broker.open(max_frame=1000)
    broker.lose()
    broker.open_seed()
    broker.session.call("math", "add", JSON.encode_payload("x" * 2000), Answer(), NOW)
    assert len(broker.sent()) == 1


@pytest.mark.parametrize("headers", [None, {"tenant": "a"}])
def test_names_over_the_length_limit_are_refused_before_they_are_sent(
    broker: ScriptedBroker, headers: dict[str, str] | None
) -> None:
    long, session, answer = "n" * (MAX_NAME + 1), broker.session, Answer()
    with pytest.raises(InvalidArgs):
        session.call(long, "add", NULL, answer, NOW, headers=headers)
    with pytest.raises(InvalidArgs):
        session.call("math", long, NULL, answer, NOW, headers=headers)
    with pytest.raises(InvalidArgs):
        session.names.has(long, answer)
    assert broker.sent() == []
    assert session.calls_in_flight == 0


# Deadlines


@pytest.mark.parametrize(
    ("timeout", "milliseconds"), [(30.0, 30_000), (1.001, 1001), (0.0004, 1), (0.0, 1), (-1.0, 1), (1e20, 2**53 - 1)]
)
def test_a_timeout_travels_in_milliseconds_and_is_one_at_least(
    broker: ScriptedBroker, timeout: float, milliseconds: int
) -> None:
    make_call(broker, timeout)
    broker.session.call("math", "add", NULL, Answer(), NOW, timeout, headers={"tenant": "a"})
    assert [message["Call"]["timeout_ms"] for message in broker.sent()] == [milliseconds] * 2


def test_a_call_that_waits_for_ever_says_nothing_of_time(broker: ScriptedBroker) -> None:
    make_call(broker, None)
    [message] = broker.sent()
    assert "timeout_ms" not in message["Call"]


def test_a_seed_broker_is_told_no_timeout_and_the_session_counts_it_all_the_same(seed_broker: ScriptedBroker) -> None:
    _, answer = make_call(seed_broker, 1.0)
    [message] = seed_broker.sent()
    assert list(message["Call"]) == ["call_id", "object_name", "method", "args"]
    seed_broker.session.handle_timer(NOW + 1.1)
    assert isinstance(answer.error, DeadlineExceeded)


def test_a_shell_that_counts_by_itself_gets_no_deadline_and_the_broker_its_timeout(broker: ScriptedBroker) -> None:
    for timeout in (2.0, float("inf")):
        broker.session.call("math", "add", NULL, Answer(), None, timeout)
    assert broker.session.next_deadline() is None
    assert [message["Call"]["timeout_ms"] for message in broker.sent()] == [2000, 2**53 - 1]


def test_a_deadline_ends_the_call_and_its_late_answer_is_counted(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker, timeout=1.0)
    _, other = make_call(broker)
    deadline = broker.session.next_deadline()
    assert deadline is not None
    broker.session.handle_timer(NOW + 0.99)
    assert not answer.done()
    broker.session.handle_timer(deadline)
    assert isinstance(answer.error, DeadlineExceeded)
    assert broker.session.next_deadline() is None
    broker.give(result(call_id, "math"), error(call_id, "math", "late"))
    assert broker.session.late_answers == 2
    assert not other.done()


# Cancellation


def test_a_caller_that_gives_up_tells_the_broker_and_a_late_answer_is_counted(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker, timeout=1.0)
    broker.sent()
    broker.session.cancel(call_id)
    broker.session.cancel(call_id)
    assert broker.sent() == [{"Cancel": {"call_id": call_id}}]
    assert broker.session.next_deadline() is None
    assert broker.session.calls_in_flight == 0
    broker.give(result(call_id, "math"))
    assert not answer.done()
    assert broker.session.late_answers == 1


def test_a_call_that_has_ended_is_not_cancelled(broker: ScriptedBroker) -> None:
    call_id, _ = make_call(broker)
    broker.give(result(call_id, "math"))
    broker.sent()
    broker.session.cancel(call_id)
    assert broker.sent() == []


def test_only_a_broker_that_knows_cancel_is_told() -> None:
    old, seed = ScriptedBroker(), ScriptedBroker()
    old.open(features=["multiplex"])
    seed.open_seed()
    for broker in (old, seed):
        call_id, _ = make_call(broker)
        broker.sent()
        broker.session.cancel(call_id)
        assert broker.sent() == []
        broker.give(result(call_id, "math"))
        assert broker.session.late_answers == 1


# Headers


def test_headers_travel_with_the_call(broker: ScriptedBroker) -> None:
    session = broker.session
    session.call("math", "add", NULL, Answer(), NOW, headers={"tenant": "ä"})
    session.call("math", "add", NULL, Answer(), NOW, headers={})
    with_headers, without = broker.sent()
    assert with_headers["Call"]["headers"] == {"tenant": "ä"}
    assert "headers" not in without["Call"]


@pytest.mark.parametrize("headers", [{"tenant": "\ud800"}, {"\ud800": "a"}, {"tenant": object()}])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str], encoding: str) -> None:
    broker = ScriptedBroker()
    broker.open(encoding=encoding)
    with pytest.raises(InvalidArgs, match="headers") as raised:
        broker.session.call("math", "add", NULL, Answer(), NOW, 1.0, headers=headers)
    assert raised.value.delivered == "no"
    assert broker.sent() == []
    assert broker.session.calls_in_flight == 0
    assert broker.session.next_deadline() is None


# Errors


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_error_becomes_its_exception_with_all_that_it_carries(encoding: str) -> None:
    broker = ScriptedBroker()
    broker.open(encoding=encoding)
    call_id, answer = make_call(broker)
    data: Json = {"limit": 3, "path": ["a", None]}
    broker.give(failed(call_id, code="remote_error", type="ValueError", data=data, delivered="maybe", new=1))
    raised = answer.error
    assert isinstance(raised, RemoteError)
    assert (raised.message, raised.object, raised.method) == ("what happened", "math", "add")
    assert (raised.type, raised.data, raised.delivered) == ("ValueError", data, "maybe")


def test_an_errors_code_chooses_its_class(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    broker.give(failed(call_id, code="no_such_method"))
    assert type(answer.error) is NoSuchMethod
    assert answer.error.data is None
    assert answer.error.delivered == "yes"


# With the real router


def test_a_call_through_the_router_ends_with_its_result_or_its_error(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    answers = [client.call("math", "add", number) for number in range(3)]
    worker.answer({"sum": 1})
    worker.fail("remote_error", "cannot add", type="ValueError")
    worker.fail("no_such_method", "'math' has no method 'add'")
    bus.settle()
    assert answers[0].value == {"sum": 1}
    assert isinstance(answers[1].error, RemoteError)
    assert (answers[1].error.type, answers[1].error.message) == ("ValueError", "cannot add")
    assert isinstance(answers[2].error, NoSuchMethod)
    missing = client.call("ghost", "x")
    bus.settle()
    assert isinstance(missing.error, NoSuchObject)
    assert missing.error.delivered == "no"
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("encodings", [("msgpack",), ("json",)])
def test_an_errors_data_arrives_whatever_the_two_ends_speak(bus: Bus, encodings: tuple[str, ...]) -> None:
    worker, client = Client(bus), Client(bus, encodings=encodings)
    worker.serve("math")
    answer = client.call("math", "add")
    worker.fail("remote_error", "no", data={"limit": 3})
    bus.settle()
    assert isinstance(answer.error, RemoteError)
    assert answer.error.data == {"limit": 3}


def test_a_lost_worker_ends_the_calls_it_held(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    answer = client.call("math", "add")
    bus.settle()
    worker.link.disconnect()
    assert isinstance(answer.error, WorkerLost)
    assert answer.error.delivered == "maybe"


def test_a_deadline_passes_by_the_clock_and_the_connection_serves_on(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    answer = client.call("math", "add", timeout=2.0)
    bus.advance(1.9)
    assert not answer.done()
    bus.advance(0.2)
    assert isinstance(answer.error, DeadlineExceeded)
    assert worker.server.cancelled == [worker.server.calls[0][0].call_id]
    worker.answer("late")
    bus.settle()
    second = client.call("math", "add", timeout=2.0)
    worker.answer("in time")
    bus.settle()
    assert second.value == "in time"
    bus.assert_no_call_is_left()


def test_a_caller_that_gives_up_reaches_the_worker(bus: Bus) -> None:
    worker, client, answer = Client(bus), Client(bus), Answer()
    worker.serve("math")
    call_id = client.session.call("math", "add", client.session.codec.null, answer, bus.now)
    bus.settle()
    client.session.cancel(call_id)
    bus.settle()
    assert worker.server.cancelled == [call_id]
    worker.answer("late")
    bus.settle()
    assert not answer.done()
    bus.assert_no_call_is_left()


def test_headers_and_timeout_arrive_at_the_worker(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    client.session.call("math", "add", client.session.codec.null, Answer(), bus.now, 2.5, headers={"tenant": "a"})
    bus.settle()
    [(given, _)] = worker.server.calls
    assert (given.headers, given.timeout_ms) == ({"tenant": "a"}, 2500)


def test_a_session_may_call_itself(bus: Bus) -> None:
    client = Client(bus)
    client.serve("math")
    answer = client.call("math", "add", 1)
    client.answer(2)
    bus.settle()
    assert answer.value == 2


def test_a_seed_workers_error_reaches_a_session_as_a_remote_error(bus: Bus) -> None:
    worker, client = RawPeer(bus, "math"), Client(bus)
    answer = client.call("math", "add")
    [message] = worker.receive()
    worker.send(error(str(message["Call"]["call_id"]), "math", "no"))
    bus.settle()
    assert type(answer.error) is RemoteError
    assert isinstance(answer.error, CallError)
    assert answer.error.message == "no"
