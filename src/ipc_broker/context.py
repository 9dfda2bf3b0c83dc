"""What a method can learn about the call it answers."""

from __future__ import annotations

from contextvars import ContextVar

from msgspec import Struct


class CurrentCall(Struct, frozen=True):
    """The call that is being answered."""

    object: str
    method: str
    call_id: str


_current: ContextVar[CurrentCall] = ContextVar("ipc_broker.current_call")


def current_call() -> CurrentCall:
    """The call whose method is running. Raises LookupError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError("current_call() works only inside a method that answers a call") from None


def set_current_call(call: CurrentCall) -> None:
    """For whoever runs a method, in that method's own context."""
    _current.set(call)
