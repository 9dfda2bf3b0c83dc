from __future__ import annotations

import pytest
from msgspec import UNSET, Raw, UnsetType

from ipc_broker.errors import (
    CallCancelled,
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchMethod,
    NoSuchObject,
    Overloaded,
    PermissionDenied,
    RemoteError,
    TooLarge,
    WorkerLost,
)
from ipc_broker.messages import Error
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import ENCODINGS, JSON, MSGPACK
from ipc_broker.session.replies import (
    PendingCall,
    PendingCalls,
    Question,
    Questions,
    deadline_exceeded,
    exception_of,
    name_taken,
)
from tests.recording import Answer

NOW = 1000.0


@pytest.fixture
def calls() -> PendingCalls:
    return PendingCalls()


def add(calls: PendingCalls, call_id: str, timeout: float | None = None) -> Answer:
    answer = Answer()
    calls.add(call_id, answer, "math", "add", NOW, timeout)
    return answer


def a_call() -> PendingCall:
    return PendingCall(Answer(), "math", "add", None, None, False)


def mapped(message: str = "what happened", *, code: str = "", delivered: str = "") -> CallError:
    """The exception for an `Error` with these fields."""
    return exception_of(Error("1", "math", message, code=code, delivered=delivered), a_call(), JSON)


# Calls


def test_a_call_is_taken_once(calls: PendingCalls) -> None:
    answer = add(calls, "1")
    call = calls.take("1")
    assert call is not None
    assert (call.reply, call.object_name, call.method) == (answer, "math", "add")
    assert calls.take("1") is None
    assert len(calls.waiting) == 0


def test_only_the_calls_whose_time_has_come_expire(calls: PendingCalls) -> None:
    soon, later, never = add(calls, "1", 1.0), add(calls, "2", 2.0), add(calls, "3")
    first = calls.next_deadline()
    assert first is not None
    assert NOW + 1.0 <= first <= NOW + 1.1
    calls.expire(first - 0.001)
    assert not soon.done()
    calls.expire(first)
    assert isinstance(soon.error, DeadlineExceeded)
    assert soon.error.message == "'math' did not answer 'add' within 1 s"
    assert not later.done()
    calls.expire(NOW + 100)
    assert isinstance(later.error, TimeoutError)
    assert not never.done()
    assert calls.next_deadline() is None
    assert len(calls.waiting) == 1


def test_an_answered_call_leaves_no_deadline(calls: PendingCalls) -> None:
    add(calls, "1", 1.0)
    calls.take("1")
    assert calls.next_deadline() is None
    calls.expire(NOW + 100)


def test_a_lost_connection_ends_every_call_and_leaves_no_deadline(calls: PendingCalls) -> None:
    answers = [add(calls, "1", 1.0), add(calls, "2")]
    unsent = add(calls, "4")
    cancelled = add(calls, "3", 1.0)
    cancelled.cancelled = True
    calls.lose("the broker went away", {"4", "5"})
    assert isinstance(unsent.error, ConnectionLost)
    assert unsent.error.delivered == "no"
    for answer in answers:
        assert isinstance(answer.error, ConnectionLost)
        assert isinstance(answer.error, ConnectionError)
        assert answer.error.message == "the broker went away"
        assert (answer.error.object, answer.error.method, answer.error.delivered) == ("math", "add", "maybe")
    assert len(calls.waiting) == 0
    assert calls.next_deadline() is None


def test_a_call_without_a_clock_has_no_deadline(calls: PendingCalls) -> None:
    answer = Answer()
    calls.add("1", answer, "math", "add", None, 1.0)
    assert calls.next_deadline() is None
    calls.expire(NOW + 100)
    assert not answer.done()


def test_a_deadline_that_passes_after_the_connection_was_lost_does_no_harm(calls: PendingCalls) -> None:
    add(calls, "1", 1.0)
    calls.lose("the broker went away", ())
    calls.expire(NOW + 100)
    answer = add(calls, "1", 200.0)
    calls.expire(NOW + 150)
    assert not answer.done()


def test_a_call_that_was_cancelled_is_left_alone(calls: PendingCalls) -> None:
    answer = add(calls, "1", 1.0)
    answer.cancelled = True
    calls.expire(NOW + 2)
    assert len(calls.waiting) == 0


# Errors


@pytest.mark.parametrize(
    ("code", "kind", "delivered"),
    [
        ("no_such_object", NoSuchObject, "no"),
        ("no_such_method", NoSuchMethod, "yes"),
        ("invalid_args", InvalidArgs, "yes"),
        ("deadline_exceeded", DeadlineExceeded, "maybe"),
        ("cancelled", CallCancelled, "yes"),
        ("worker_lost", WorkerLost, "maybe"),
        ("remote_error", RemoteError, "yes"),
        ("permission_denied", PermissionDenied, "no"),
        ("overloaded", Overloaded, "no"),
        ("too_large", TooLarge, "no"),
        ("disconnected", ConnectionLost, "maybe"),
    ],
)
def test_each_code_of_the_wire_has_its_exception(code: str, kind: type[CallError], delivered: str) -> None:
    error = mapped(code=code)
    assert type(error) is kind
    assert (error.code, error.message, error.object, error.method) == (code, "what happened", "math", "add")
    assert error.delivered == delivered
    assert mapped(code=code, delivered="maybe").delivered == "maybe"


def test_the_code_of_a_newer_peer_is_kept() -> None:
    error = mapped(code="from_the_future")
    assert type(error) is CallError
    assert error.code == "from_the_future"


@pytest.mark.parametrize("codec", ENCODINGS.values(), ids=ENCODINGS)
def test_a_remote_error_carries_the_exceptions_name_and_data(codec: Codec) -> None:
    data = codec.encode_payload({"a": [1, None]})
    error = exception_of(Error("1", "math", "no", code="remote_error", type="ValueError", data=data), a_call(), codec)
    assert isinstance(error, RemoteError)
    assert (error.type, error.data) == ("ValueError", {"a": [1, None]})


@pytest.mark.parametrize(
    ("codec", "data"),
    [(JSON, b"1e999"), (JSON, b"[" * 10_000 + b"]" * 10_000), (MSGPACK, b"\xa1\xff"), (MSGPACK, b"\x91")],
)
def test_data_that_cannot_be_read_is_no_reason_to_lose_the_error(codec: Codec, data: bytes) -> None:
    error = exception_of(Error("1", "math", "no", code="remote_error", data=Raw(data)), a_call(), codec)
    assert isinstance(error, RemoteError)
    assert error.message == "no"
    assert "unreadable" in str(error.data)


def test_a_name_that_is_taken_comes_with_its_owner() -> None:
    for codec in ENCODINGS.values():
        data = codec.encode_payload({"owner": "calculator", "pid": 7})
        error = name_taken(Error(None, "math", "taken", code="name_taken", data=data), codec)
        assert (error.message, error.owner, error.pid) == ("taken", "calculator", 7)


@pytest.mark.parametrize("data", [UNSET, Raw(b"[]"), Raw(b"1e999"), Raw(b"{}")])
def test_a_name_that_is_taken_may_come_without_its_owner(data: Raw | UnsetType) -> None:
    error = name_taken(Error(None, "math", "taken", code="name_taken", data=data), JSON)
    assert (error.message, error.owner, error.pid) == ("taken", "", None)


def test_an_error_of_a_seed_program_has_no_code() -> None:
    error = mapped("division by zero")
    assert isinstance(error, RemoteError)
    assert (error.message, error.type, error.delivered) == ("division by zero", "", "yes")
    assert isinstance(mapped("No such object 'math'"), NoSuchObject)
    assert isinstance(mapped("No such object 'text'"), RemoteError)


def test_a_deadline_is_named_in_seconds() -> None:
    assert deadline_exceeded("math", "add", 0.25).message == "'math' did not answer 'add' within 0.25 s"


# Questions

MATH, TEXT = ("HasObjectResult", "math"), ("HasObjectResult", "text")
SENSOR_A, SENSOR_B = ("Subscribed", "sensor", "a"), ("Subscribed", "sensor", "b")


@pytest.fixture
def questions() -> Questions:
    return Questions()


def ask(questions: Questions, question: Question) -> Answer:
    answer = Answer()
    questions.ask(question, answer)
    return answer


def test_questions_of_one_name_are_answered_in_the_order_they_were_asked(questions: Questions) -> None:
    first, second = ask(questions, MATH), ask(questions, MATH)
    questions.settle(MATH, True)
    assert first.result is True
    assert not second.done()
    questions.settle(MATH, False)
    assert second.result is False
    questions.settle(MATH, True)
    assert not questions.join(MATH, Answer())


def test_questions_of_other_names_wait_on(questions: Questions) -> None:
    math, text = ask(questions, MATH), ask(questions, TEXT)
    questions.settle(TEXT, True)
    assert not math.done()
    assert text.result is True
    assert MATH in questions
    assert TEXT not in questions


def test_a_cancelled_question_takes_its_own_answer_and_not_the_next_ones(questions: Questions) -> None:
    cancelled, second = ask(questions, MATH), ask(questions, MATH)
    cancelled.cancelled = True
    questions.settle(MATH, False)
    assert not second.done()
    questions.settle(MATH, True)
    assert second.result is True


def test_a_question_that_nobody_waits_for_takes_its_own_answer_and_not_the_next_ones(questions: Questions) -> None:
    questions.ask(SENSOR_A)
    second = ask(questions, SENSOR_A)
    questions.settle(SENSOR_A)
    assert not second.done()
    questions.settle(SENSOR_A)
    assert second.result is None


def test_whoever_joins_gets_the_answer_of_the_question_that_was_sent_last(questions: Questions) -> None:
    first, second, joined = ask(questions, SENSOR_A), ask(questions, SENSOR_A), Answer()
    assert questions.join(SENSOR_A, joined)
    questions.settle(SENSOR_A)
    assert first.done()
    assert not second.done()
    assert not joined.done()
    questions.settle(SENSOR_A)
    assert second.result is None
    assert joined.result is None


def test_a_question_that_nobody_waits_for_can_be_joined_until_it_is_answered(questions: Questions) -> None:
    questions.ask(SENSOR_A)
    joined, other, late = Answer(), Answer(), Answer()
    assert questions.join(SENSOR_A, joined)
    assert not questions.join(SENSOR_B, other)
    questions.settle(SENSOR_A)
    assert joined.result is None
    assert not questions.join(SENSOR_A, late)
    assert not other.done()
    assert not late.done()


def test_a_failure_ends_all_who_wait_for_one_question_and_no_other(questions: Questions) -> None:
    first, cancelled, joined, second = ask(questions, SENSOR_A), Answer(), Answer(), Answer()
    assert questions.join(SENSOR_A, cancelled)
    assert questions.join(SENSOR_A, joined)
    questions.ask(SENSOR_A, second)
    other = ask(questions, SENSOR_B)
    cancelled.cancelled = True
    failure = Overloaded("too many")
    questions.fail(SENSOR_A, failure)
    assert first.error is joined.error is failure
    assert not second.done()
    questions.settle(SENSOR_A)
    assert second.result is None
    assert not other.done()


def test_an_answer_that_nobody_asked_for_does_no_harm(questions: Questions) -> None:
    waiting = ask(questions, MATH)
    questions.settle(TEXT, True)
    questions.fail(TEXT, Overloaded("too many"))
    assert not waiting.done()


def test_a_lost_connection_ends_every_question(questions: Questions) -> None:
    answers = [ask(questions, question) for question in (MATH, MATH, TEXT)]
    joined, cancelled = Answer(), ask(questions, TEXT)
    assert questions.join(MATH, joined)
    cancelled.cancelled = True
    questions.lose("the broker went away")
    for answer in [*answers, joined]:
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.message == "the broker went away"
    for question in (MATH, TEXT):
        assert not questions.join(question, Answer())
        assert question not in questions
