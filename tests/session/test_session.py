"""Calls and answers of a session whose broker is played by the test, or is the real router (`Bus`)."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchMethod,
    NoSuchObject,
    RemoteError,
    TooLarge,
    WorkerLost,
)
from ipc_broker.messages import MAX_NAME, Error, Invalid
from ipc_broker.protocol.connection import State
from ipc_broker.protocol.framing import HEADER_SIZE
from ipc_broker.protocol.payload import encode_payload
from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, event, result
from tests.recording import Answer
from tests.seed.frames import Json, frame, frame_of
from tests.session.scripted import WELCOME, ScriptedBroker

NOW = 1000.0
NULL = Raw(b"null")


def make_call(broker: ScriptedBroker, timeout: float | None = None) -> tuple[str, Answer]:
    answer = Answer()
    return broker.session.call("math", "add", Raw(b"[1]"), answer, NOW, timeout), answer


# hello


def test_hello_is_the_first_message_and_nothing_else_is_sent_before_its_answer() -> None:
    broker = ScriptedBroker()
    broker.session.expose("math")
    hello = broker.accept()
    assert hello["Call"]["object_name"] == "rob"
    assert hello["Call"]["method"] == "hello"
    assert hello["Call"]["args"] == {
        "encodings": ["json"],
        "features": ["multiplex"],
        "max_frame": 65_536,
        "name": "client",
        "pid": 99,
    }
    assert not broker.session.ready
    with pytest.raises(ConnectionLost) as raised:
        make_call(broker)
    assert raised.value.delivered == "no"
    with pytest.raises(ConnectionLost):
        broker.session.publish("sensor", "temperature", NULL)
    assert broker.sent() == []


def test_the_welcome_gives_the_prefix_of_all_call_ids(broker: ScriptedBroker) -> None:
    session = broker.session
    assert session.ready
    assert session.welcome is broker.opened.result is not None
    assert session.connection is not None
    assert session.connection.state is State.EXTENDED
    ids = [make_call(broker)[0] for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(call_id.startswith("7.") for call_id in ids)


@pytest.mark.parametrize("answer", [result("?", "rob"), error("?", "rob", "No such object 'rob'")])
def test_null_and_an_error_keep_the_seeds_protocol(answer: dict[str, dict[str, Json]]) -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    next(iter(answer.values()))["call_id"] = hello["Call"]["call_id"]
    broker.give(answer)
    assert broker.session.ready
    assert broker.session.welcome is None
    assert broker.opened.result is None
    assert broker.session.connection is not None
    assert broker.session.connection.state is State.SEED
    call_id, reply = make_call(broker)
    assert call_id.startswith("nonce.")
    broker.give(result(call_id, "math", 42))
    assert reply.value == 42


@pytest.mark.parametrize("value", [{}, [], "hello", {**WELCOME, "prefix": 1}])
def test_an_answer_to_hello_that_makes_no_sense_keeps_the_seeds_protocol(value: Json) -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    broker.give(result(str(hello["Call"]["call_id"]), "rob", value))
    assert broker.session.ready
    assert broker.session.welcome is None


def test_a_welcome_before_an_oversize_frame_in_the_same_bytes_does_no_harm() -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    welcome = frame(result(str(hello["Call"]["call_id"]), "rob", WELCOME))
    broker.session.receive_data(welcome + (65_537).to_bytes(4, "big"))
    [notice] = broker.notices
    assert isinstance(notice, Invalid)
    assert notice.fatal


def test_a_connection_lost_before_hello_was_answered_is_told() -> None:
    broker = ScriptedBroker()
    broker.accept()
    broker.lose("refused")
    assert isinstance(broker.opened.error, ConnectionLost)
    assert broker.opened.error.message == "refused"
    broker.open()
    assert broker.session.ready


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


# Calls that we make


def test_answers_in_any_order_reach_their_calls(broker: ScriptedBroker) -> None:
    (first_id, first), (second_id, second) = make_call(broker), make_call(broker)
    assert broker.sent() == [call(first_id, "math", "add", [1]), call(second_id, "math", "add", [1])]
    assert broker.session.calls_in_flight == 2
    broker.give(result(second_id, "math", "second"), result(first_id, "math", "first"))
    assert (first.value, second.value) == ("first", "second")
    assert broker.session.calls_in_flight == 0


def test_an_error_becomes_its_exception(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    message = error(call_id, "math", "no such method")
    message["Error"] |= {"code": "no_such_method", "delivered": "yes", "type": "", "new": 1}
    broker.give(message)
    assert isinstance(answer.error, NoSuchMethod)
    assert (answer.error.object, answer.error.method) == ("math", "add")


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


def test_a_forgotten_calls_answer_is_dropped_and_counted(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker, timeout=1.0)
    broker.session.forget(call_id)
    assert broker.session.next_deadline() is None
    broker.give(result(call_id, "math"))
    assert not answer.done()
    assert broker.session.late_answers == 1


def test_a_cancelled_reply_is_left_alone(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    answer.cancelled = True
    broker.give(result(call_id, "math"))
    assert broker.session.late_answers == 0


def test_a_second_answer_to_hello_is_only_late(broker: ScriptedBroker) -> None:
    broker.give(result("nonce1", "rob", {**WELCOME, "prefix": "8."}))
    assert make_call(broker)[0].startswith("7.")
    assert broker.session.late_answers == 1


def test_a_call_or_event_over_the_agreed_frame_limit_raises_and_is_not_sent() -> None:
    broker, limit = ScriptedBroker(), 1000
    broker.open(max_frame=limit)
    with pytest.raises(TooLarge, match=r"'math.add' takes \d+ bytes, over the limit of 1000 bytes") as raised:
        broker.session.call("math", "add", encode_payload("x" * limit), Answer(), NOW)
    assert (raised.value.object, raised.value.method, raised.value.delivered) == ("math", "add", "no")
    assert broker.session.calls_in_flight == 0
    with pytest.raises(TooLarge, match=r"'temperature' of 'sensor' takes \d+ bytes, over the limit of 1000 bytes"):
        broker.session.publish("sensor", "temperature", encode_payload("x" * limit))
    assert broker.sent() == []


def test_a_call_of_exactly_the_frame_limit_is_sent(broker: ScriptedBroker) -> None:
    _, _ = make_call(broker)
    [sample] = broker.sent()
    room = 65_536 - (len(frame(sample)) - HEADER_SIZE) + len("[1]") - 2
    broker.session.call("math", "add", encode_payload("x" * room), Answer(), NOW)
    assert broker.session.queued == 65_536 + HEADER_SIZE
    with pytest.raises(TooLarge):
        broker.session.call("math", "add", encode_payload("x" * (room + 1)), Answer(), NOW)


def test_the_frame_limit_of_an_earlier_broker_does_not_stay() -> None:
    broker = ScriptedBroker()
    broker.open(max_frame=1000)
    broker.lose()
    broker.open_seed()
    broker.session.call("math", "add", encode_payload("x" * 2000), Answer(), NOW)
    assert len(broker.sent()) == 1


def test_names_over_the_length_limit_are_refused_before_they_are_sent(broker: ScriptedBroker) -> None:
    long, session, answer = "n" * (MAX_NAME + 1), broker.session, Answer()
    with pytest.raises(InvalidArgs):
        session.call(long, "add", NULL, answer, NOW)
    with pytest.raises(InvalidArgs):
        session.call("math", long, NULL, answer, NOW)
    with pytest.raises(InvalidArgs):
        session.publish("sensor", long, NULL)
    with pytest.raises(InvalidArgs):
        session.has(long, answer)
    with pytest.raises(InvalidArgs):
        session.expose(long)
    assert broker.sent() == []
    assert not session.exposed


# Calls that we answer


@pytest.fixture
def serving(broker: ScriptedBroker) -> ScriptedBroker:
    """One whose session was given the call "1"."""
    broker.session.expose("math")
    broker.give({"Registered": {"object_name": "math"}}, call("1", "math", "add", [1, 2]))
    broker.sent()
    return broker


def test_a_call_of_an_exposed_object_is_given_to_the_server(serving: ScriptedBroker) -> None:
    [(given, connection)] = serving.server.calls
    assert (given.call_id, given.method, bytes(given.args)) == ("1", "add", b"[1,2]")
    serving.session.answer(given, connection, encode_payload(3))
    assert serving.sent() == [result("1", "math", 3)]


def test_a_failure_carries_code_type_and_that_it_was_delivered(serving: ScriptedBroker) -> None:
    serving.session.fail(*serving.server.calls[0], "remote_error", "no", type="ValueError")
    expected = error("1", "math", "no")
    expected["Error"] |= {"code": "remote_error", "type": "ValueError", "delivered": "yes"}
    assert serving.sent() == [expected]


def test_a_call_of_any_object_is_the_servers_and_without_a_server_an_error(serving: ScriptedBroker) -> None:
    serving.give(call("2", "text", "upper"))
    assert [given.call_id for given, _ in serving.server.calls] == ["1", "2"]
    serving.session.server = None
    serving.give(call("3", "text", "upper"))
    [message] = serving.sent()
    assert (message["Error"]["call_id"], message["Error"]["code"]) == ("3", "no_such_object")


def test_a_result_over_the_frame_limit_becomes_an_error(serving: ScriptedBroker) -> None:
    serving.session.answer(*serving.server.calls[0], encode_payload("x" * 65_536))
    [message] = serving.sent()
    assert message["Error"]["code"] == "too_large"
    assert "'math.add' takes 6" in str(message["Error"]["message"])


def test_an_error_always_fits_into_the_smallest_frame_limit_and_can_be_said() -> None:
    broker, limit, longest = ScriptedBroker(), 32_768, "\x01" * MAX_NAME
    broker.open(max_frame=limit)
    for number in range(4):
        broker.give(call(f"{number}{longest}"[:MAX_NAME], longest, longest))
    texts = ["x" * 1_000_000, "\x01" * 1_000_000, "\ud800" * 100, "\N{GRINNING FACE}" * 100_000]
    for (given, connection), text in zip(broker.server.calls, texts, strict=True):
        broker.session.fail(given, connection, "remote_error", text, type="\x01" * 100_000)
    sizes = [len(frame(message)) - HEADER_SIZE for message in broker.sent()]
    assert len(sizes) == 4
    assert max(sizes) <= limit


def test_answers_for_an_old_connection_are_dropped(serving: ScriptedBroker) -> None:
    given, connection = serving.server.calls[0]
    serving.lose()
    assert serving.server.interruptions == 1
    serving.session.answer(given, connection, NULL)
    serving.open()
    serving.sent()
    serving.session.answer(given, connection, NULL)
    serving.session.fail(given, connection, "remote_error", "no")
    assert serving.sent() == []


def test_a_call_that_cannot_be_read_reaches_nobody_else(broker: ScriptedBroker) -> None:
    call_id, answer = make_call(broker)
    broker.session.receive_data(frame_of(b"garbage") + frame(event("a", "b")) + frame(result(call_id, "math", 1)))
    assert answer.value == 1
    [notice] = broker.notices
    assert isinstance(notice, Invalid)


def test_an_error_that_belongs_to_no_question_is_a_notice(broker: ScriptedBroker) -> None:
    broker.give(error(None, "rob", "only the broker publishes as 'rob'"))
    [notice] = broker.notices
    assert isinstance(notice, Error)
    assert notice.object_name == "rob"


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
    worker.answer("late")
    bus.settle()
    assert client.session.late_answers == 1
    second = client.call("math", "add", timeout=2.0)
    worker.answer("in time")
    bus.settle()
    assert second.value == "in time"


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


def test_a_session_answers_two_seed_callers_with_one_id_of_the_longest_kind(bus: Bus) -> None:
    worker, callers = Client(bus), [RawPeer(bus), RawPeer(bus)]
    worker.serve("math")
    longest = "i" * MAX_NAME
    for caller in callers:
        caller.send(call(longest, "math", "add"))
        bus.settle()
    while worker.server.calls:
        worker.answer(1)
    for caller in callers:
        [answer] = caller.receive()
        assert next(iter(answer.values()))["call_id"] == longest
    assert worker.notices == []
