"""What a method can learn about the call it answers, and what the calls that it makes inherit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from typing import TypeVar

from msgspec import Struct

from .errors import DeadlineExceeded
from .messages import Call, Caller

T = TypeVar("T")


class CurrentCall(Struct, frozen=True):
    """The call that is being answered.

    `deadline` is when its caller stops waiting, in seconds of `time.monotonic`, None for never. `caller` is None where the
    broker does not tell who calls, as the Rust crate's.
    """

    object: str
    method: str
    call_id: str
    deadline: float | None = None
    headers: Mapping[str, str] = {}
    caller: Caller | None = None


class RunningCall(Struct, frozen=True):
    """What whoever runs a method keeps for it."""

    call: Call
    deadline: float | None
    caller_of: Callable[[str], Caller | None]

    @property
    def headers(self) -> Mapping[str, str]:
        headers = self.call.headers
        return headers if isinstance(headers, dict) else {}


_running: ContextVar[RunningCall | None] = ContextVar("ipc_broker.current_call", default=None)

running_call = _running.get
"""None outside of a method."""

set_running_call = _running.set
"""For whoever runs a method, in that method's own context."""


def outside_of_calls(function: Callable[[], T]) -> T:
    """Runs it as if no call were being answered: for what goes on when the method that began it has ended."""
    context = copy_context()
    context.run(_running.set, None)
    return context.run(function)


def current_call() -> CurrentCall:
    """The call whose method is running. Raises LookupError outside of one."""
    running = _running.get()
    if running is None:
        raise LookupError("current_call() works only inside a method that answers a call")
    call = running.call
    caller = running.caller_of(call.call_id)
    return CurrentCall(call.object_name, call.method, call.call_id, running.deadline, running.headers, caller)


def inherit(
    timeout: float | None, headers: Mapping[str, str] | None, now: Callable[[], float], object_name: str, method: str
) -> tuple[float | None, Mapping[str, str] | None]:
    """What a call made now is given: within a method no more time than that has left, and its headers.

    Raises DeadlineExceeded when that has none left.
    """
    running = running_call()
    if running is None:
        return timeout, headers
    if running.deadline is not None:
        left = running.deadline - now()
        if left <= 0:
            call = running.call
            what = f"'{object_name}.{method}'"
            message = f"{what} was not called: the time of '{call.object_name}.{call.method}', which calls it, is over"
            raise DeadlineExceeded(message, delivered="no")
        timeout = left if timeout is None else min(timeout, left)
    if running.headers:
        headers = {**running.headers, **(headers or {})}
    return timeout, headers
