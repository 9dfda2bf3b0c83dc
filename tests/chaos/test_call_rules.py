"""The checker finds every kind of wrong end of a call, and takes the right ones."""

from __future__ import annotations

import pytest

from tests.chaos.story import Story
from tests.chaos.traces import GaveUp


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_call_that_ends_as_it_should(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.returns("1", 10.2)
    assert story.kinds() == []


def test_a_call_that_hangs(story: Story) -> None:
    story.calls("1", 10.0)
    assert story.kinds() == ["late"]


def test_a_call_that_has_no_end_though_its_time_is_not_over(story: Story) -> None:
    story.calls("1", 58.0)
    assert story.kinds() == ["no end"]


def test_a_call_of_a_killed_caller_needs_no_end(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.does("kill", "caller#1", 11.0)
    assert story.kinds() == []


def test_a_call_that_was_overdue_when_its_caller_was_killed(story: Story) -> None:
    story.calls("1", 10.0)
    story.does("kill", "caller#1", 20.0)
    assert story.kinds() == ["late"]


def test_a_call_that_ends_late(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.returns("1", 15.5)
    assert story.kinds() == ["late"]


def test_time_for_which_the_caller_is_frozen_does_not_count(story: Story) -> None:
    story.calls("1", 10.0)
    story.does("freeze", "caller#1", 10.1)
    story.does("thaw", "caller#1", 14.1)
    story.runs("1", 10.1)
    story.returns("1", 15.5)
    assert story.kinds() == []


@pytest.mark.parametrize(
    "wrong", [{"value": 41}, {"echo": "2"}, {"by": "worker#2"}], ids=["value", "another's", "another worker"]
)
def test_a_wrong_result(story: Story, wrong: dict[str, str]) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.returns("1", 10.2, **wrong)  # type: ignore[arg-type]  # one of each type
    assert story.kinds() == ["wrong result"]


def test_a_result_of_a_call_that_nobody_has_run(story: Story) -> None:
    story.calls("1", 10.0)
    story.returns("1", 10.2)
    assert story.kinds() == ["wrong result"]


def test_a_call_that_is_run_twice(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.runs("1", 10.2)
    story.says("caller#1", GaveUp(at=10.3, id="1"))
    assert story.kinds() == ["ran twice"]


def test_a_call_that_ends_twice(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.returns("1", 10.2)
    story.returns("1", 10.3)
    assert story.kinds() == ["ended twice"]


def test_a_call_that_nobody_has_made(story: Story) -> None:
    story.runs("1", 10.1)
    assert story.kinds() == ["unknown call"]


def test_what_is_said_not_to_be_delivered_was_not_run(story: Story) -> None:
    story.calls("1", 10.0)
    story.runs("1", 10.1)
    story.fails("1", 13.0, "deadline_exceeded", "no")
    assert story.kinds() == ["ran all the same"]


@pytest.mark.parametrize(
    ("code", "delivered"), [("no_such_object", "maybe"), ("worker_lost", "yes"), ("disconnected", "yes")]
)
def test_a_delivery_that_does_not_fit(story: Story, code: str, delivered: str) -> None:
    story.does("kill", "worker#1", 10.0)
    story.does("cut", "caller#1", 10.0)
    story.calls("1", 10.1)
    story.fails("1", 10.2, code, delivered)
    assert story.kinds() == ["wrong delivery"]


def test_an_error_that_is_none_of_the_table(story: Story) -> None:
    story.calls("1", 10.0)
    story.fails("1", 10.2, "error", "maybe")
    assert story.kinds() == ["unknown error"]


@pytest.mark.parametrize(
    ("code", "delivered"),
    [
        ("no_such_object", "no"),
        ("no_such_method", "yes"),
        ("worker_lost", "maybe"),
        ("cancelled", "yes"),
        ("disconnected", "maybe"),
        ("overloaded", "no"),
        ("deadline_exceeded", "maybe"),
    ],
)
def test_an_error_though_nothing_has_happened(story: Story, code: str, delivered: str) -> None:
    story.calls("1", 25.0, timeout=20.0)
    story.fails("1", 45.0, code, delivered)
    assert story.kinds() == ["wrong error"]


def test_a_method_that_raises_has_been_run(story: Story) -> None:
    story.calls("1", 10.0)
    story.fails("1", 10.2, "remote_error", "yes")
    assert set(story.kinds()) == {"wrong error"}


@pytest.mark.parametrize(("code", "delivered"), [("worker_lost", "maybe"), ("no_such_object", "no")])
def test_errors_that_a_killed_worker_brings(story: Story, code: str, delivered: str) -> None:
    story.calls("1", 9.9)
    story.does("kill", "worker#1", 10.0)
    story.fails("1", 10.1, code, delivered)
    assert story.kinds() == []


def test_the_object_is_there_again_with_its_next_worker(story: Story) -> None:
    story.does("kill", "worker#1", 10.0)
    story.starts("worker#2", 10.5)
    story.calls("1", 11.4)
    story.fails("1", 11.5, "no_such_object", "no")
    assert story.kinds() == []
    story.calls("2", 11.6)
    story.fails("2", 11.7, "no_such_object", "no")
    assert story.kinds() == ["wrong error"]


def test_a_broker_that_comes_back_takes_no_objects_away(story: Story) -> None:
    story.does("kill", "broker#1", 10.0)
    story.starts("broker#2", 11.0)
    story.calls("1", 9.9)
    story.fails("1", 10.1, "disconnected", "maybe")
    assert story.kinds() == []
    story.calls("2", 11.1)
    story.fails("2", 11.2, "no_such_object", "no")
    assert story.kinds() == ["wrong error"]


def test_a_deadline_that_has_not_passed(story: Story) -> None:
    story.does("freeze", "worker#1", 10.0)
    story.calls("1", 10.1)
    story.fails("1", 12.0, "deadline_exceeded", "maybe")
    assert story.kinds() == ["wrong error"]
    story.calls("2", 10.1)
    story.fails("2", 13.1, "deadline_exceeded", "maybe")
    assert story.kinds() == ["wrong error"]


def test_lines_may_be_full(story: Story) -> None:
    story.calls("1", 10.0, object="queue")
    story.fails("1", 10.1, "overloaded", "no")
    assert story.kinds() == []
