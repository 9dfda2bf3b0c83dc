"""The running call, as its method sees it."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from msgspec import Raw

from ipc_broker.context import CurrentCall, current_call, set_current_call
from ipc_broker.messages import Call


def call(number: int) -> Call:
    return Call(f"id-{number}", "math", f"method-{number}", Raw(b"null"))


def seen(number: int) -> CurrentCall:
    return CurrentCall("math", f"method-{number}", f"id-{number}")


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(LookupError, match="only inside a method that answers a call"):
        current_call()


def test_inside_it_is_the_one_that_was_set() -> None:
    context = contextvars.copy_context()
    context.run(set_current_call, call(1))
    assert context.run(current_call) == seen(1)
    with pytest.raises(LookupError):
        current_call()


def test_tasks_that_run_at_the_same_time_see_their_own() -> None:
    async def method(number: int) -> CurrentCall:
        set_current_call(call(number))
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
        set_current_call(call(1))
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    contextvars.copy_context().run(start)
    assert isinstance(found[0], LookupError)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(seen(1), "object", "other")  # noqa: B010 - an assignment would not pass the type checker
