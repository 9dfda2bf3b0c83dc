"""The running call, as its method sees it, and what the calls that the method makes inherit."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping

import pytest
from msgspec import UNSET, Raw, UnsetType

from ipc_broker.context import CurrentCall, RunningCall, current_call, inherit, set_running_call
from ipc_broker.errors import DeadlineExceeded
from ipc_broker.messages import Call, Caller

NOW = 1000.0


def running(
    number: int = 1,
    deadline: float | None = None,
    headers: dict[str, str] | UnsetType = UNSET,
    callers: Mapping[str, Caller] = {},
) -> RunningCall:
    call = Call(f"id-{number}", "math", f"method-{number}", Raw(b"null"), headers=headers)
    return RunningCall(call, deadline, callers.get)


def seen(number: int) -> CurrentCall:
    return CurrentCall("math", f"method-{number}", f"id-{number}")


def within(call: RunningCall, function: Callable[[], object]) -> object:
    """What the function gives where the call runs."""
    context = contextvars.copy_context()
    context.run(set_running_call, call)
    return context.run(function)


# The call itself


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(LookupError, match="only inside a method that answers a call"):
        current_call()


def test_inside_it_is_the_one_that_was_set() -> None:
    assert within(running(1), current_call) == seen(1)
    with pytest.raises(LookupError):
        current_call()


def test_it_tells_deadline_headers_and_caller() -> None:
    caller = Caller("4.", name="dashboard", uid=1000, pid=7)
    call = running(1, NOW + 2, {"tenant": "a"}, {"id-1": caller})
    assert within(call, current_call) == CurrentCall("math", "method-1", "id-1", NOW + 2, {"tenant": "a"}, caller)


def test_without_them_there_are_no_deadline_no_headers_and_no_caller() -> None:
    call = within(running(1), current_call)
    assert isinstance(call, CurrentCall)
    assert (call.deadline, call.headers, call.caller) == (None, {}, None)


def test_the_caller_is_looked_up_when_it_is_asked_for() -> None:
    """Most methods never ask."""
    asked: list[str] = []

    def look(call_id: str) -> None:
        asked.append(call_id)

    call = RunningCall(Call("id-1", "math", "add", Raw(b"null")), None, look)
    within(call, lambda: None)
    assert asked == []
    within(call, current_call)
    assert asked == ["id-1"]


def test_tasks_that_run_at_the_same_time_see_their_own() -> None:
    async def method(number: int) -> CurrentCall:
        set_running_call(running(number))
        await asyncio.sleep(0)
        return await asyncio.create_task(helper())  # what a method starts belongs to its call

    async def helper() -> CurrentCall:
        await asyncio.sleep(0)
        return current_call()

    async def both() -> list[CurrentCall]:
        return list(await asyncio.gather(method(1), method(2)))

    assert asyncio.run(both()) == [seen(1), seen(2)]


def test_another_thread_sees_nothing_of_it() -> None:
    found: list[object] = []

    def look() -> None:
        try:
            found.append(current_call())
        except LookupError as error:
            found.append(error)

    def start() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    within(running(1), start)
    assert isinstance(found[0], LookupError)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(seen(1), "object", "other")  # noqa: B010 - an assignment would not pass the type checker


# What the calls made within it inherit


def inherited(
    call: RunningCall | None, timeout: float | None = None, headers: Mapping[str, str] | None = None
) -> tuple[float | None, Mapping[str, str] | None]:
    def made() -> object:
        return inherit(timeout, headers, lambda: NOW, "logs", "write")

    result = made() if call is None else within(call, made)
    assert isinstance(result, tuple)
    return result


def test_outside_of_a_call_nothing_is_inherited() -> None:
    assert inherited(None) == (None, None)
    headers = {"a": "b"}
    timeout, given = inherited(None, 2.0, headers)
    assert (timeout, given is headers) == (2.0, True)


@pytest.mark.parametrize(
    ("deadline", "timeout", "expected"),
    [
        (None, None, None),
        (None, 30.0, 30.0),
        (NOW + 2, None, 2.0),
        (NOW + 2, 30.0, 2.0),
        (NOW + 2, 0.5, 0.5),
    ],
)
def test_a_call_has_no_more_time_than_the_one_that_makes_it_has_left(
    deadline: float | None, timeout: float | None, expected: float | None
) -> None:
    assert inherited(running(1, deadline), timeout) == (expected, None)


@pytest.mark.parametrize("left", [0.0, -0.001, -60.0])
def test_without_time_left_no_call_is_made(left: float) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        inherited(running(1, NOW + left), 30.0)
    assert caught.value.message == ("'logs.write' was not called: the time of 'math.method-1', which calls it, is over")
    assert caught.value.delivered == "no"


@pytest.mark.parametrize(
    ("of_the_call", "given", "expected"),
    [
        (UNSET, None, None),
        ({}, None, None),
        (UNSET, {"a": "1"}, {"a": "1"}),
        ({"tenant": "x"}, None, {"tenant": "x"}),
        ({"tenant": "x"}, {}, {"tenant": "x"}),
        ({"tenant": "x"}, {"a": "1"}, {"tenant": "x", "a": "1"}),
        ({"tenant": "x", "a": "0"}, {"a": "1"}, {"tenant": "x", "a": "1"}),
    ],
)
def test_a_call_has_the_headers_of_the_one_that_makes_it_and_its_own_before_them(
    of_the_call: dict[str, str] | UnsetType, given: dict[str, str] | None, expected: dict[str, str] | None
) -> None:
    assert inherited(running(1, headers=of_the_call), None, given) == (None, expected)


def test_the_headers_of_the_running_call_stay_as_they_are() -> None:
    call = running(1, headers={"tenant": "x"})
    inherited(call, None, {"tenant": "y", "a": "1"})
    assert call.headers == {"tenant": "x"}
