from __future__ import annotations

import contextvars
import logging
from typing import Any

import pytest
from msgspec import UNSET, Raw, UnsetType

from ipc_broker import CallContextFilter
from ipc_broker.context import RunningCall, set_running_call
from ipc_broker.messages import Call, Caller

OUTSIDE: dict[str, Any] = {
    "ipc_object": "",
    "ipc_method": "",
    "ipc_call_id": "",
    "ipc_caller": "",
    "ipc_caller_pid": None,
    "ipc_caller_uid": None,
    "ipc_deadline": None,
    "ipc_headers": {},
}


def told(
    caller: Caller | None = None, deadline: float | None = None, headers: dict[str, str] | UnsetType = UNSET
) -> dict[str, Any]:
    """What a record that is written within a call is told."""
    call = RunningCall(Call("4.1", "math", "add", Raw(b"null"), headers=headers), deadline, lambda _: caller)
    context = contextvars.copy_context()
    context.run(set_running_call, call)
    return context.run(told_here)


def told_here() -> dict[str, Any]:
    record = logging.LogRecord("name", logging.INFO, __file__, 1, "text", (), None)
    assert CallContextFilter().filter(record) is True
    return {name: value for name, value in vars(record).items() if name.startswith("ipc_")}


def test_outside_of_a_call_there_is_nothing_to_tell() -> None:
    assert told_here() == OUTSIDE


def test_within_a_call_a_record_has_all_of_it() -> None:
    caller = Caller("4.", name="thermostat", uid=1000, pid=4711)
    assert told(caller, 1002.5, {"tenant": "a"}) == {
        "ipc_object": "math",
        "ipc_method": "add",
        "ipc_call_id": "4.1",
        "ipc_caller": "'thermostat' (process 4711)",
        "ipc_caller_pid": 4711,
        "ipc_caller_uid": 1000,
        "ipc_deadline": 1002.5,
        "ipc_headers": {"tenant": "a"},
    }
    assert told() == OUTSIDE | {"ipc_object": "math", "ipc_method": "add", "ipc_call_id": "4.1"}


@pytest.mark.parametrize(
    ("caller", "text"),
    [
        (Caller("4."), ""),
        (Caller("4.", name="thermostat"), "'thermostat'"),
        (Caller("4.", pid=4711), "process 4711"),
    ],
)
def test_a_caller_of_whom_little_is_known(caller: Caller, text: str) -> None:
    assert told(caller)["ipc_caller"] == text
