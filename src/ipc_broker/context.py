"""What a method can learn about the call it answers."""

from __future__ import annotations

from contextvars import ContextVar

from msgspec import Struct

from .messages import Call


class CurrentCall(Struct, frozen=True):
    """The call that is being answered."""

    object: str
    method: str
    call_id: str


_current: ContextVar[Call] = ContextVar("ipc_broker.current_call")

set_current_call = _current.set
"""For whoever runs a method, in that method's own context."""


def current_call() -> CurrentCall:
    """The call whose method is running. Raises LookupError outside of one."""
    try:
        call = _current.get()
    except LookupError:
        raise LookupError("current_call() works only inside a method that answers a call") from None
    return CurrentCall(call.object_name, call.method, call.call_id)
