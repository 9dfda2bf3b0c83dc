"""Every exception of the package.

IPCError
├── ConfigError          (ValueError)       a setting or an address makes no sense
├── ConnectFailed        (ConnectionError)  no broker answered at the address
├── UntrustedBroker      (ConnectionError)  the broker at the address is a stranger's
├── ListenFailed         (OSError)          the broker cannot listen at the address
├── ClientClosed                            the client was closed before it was used
├── NameTaken                               somebody else owns the object's name
├── InterfaceMismatch    (TypeError)        a class does not fit the object that it is to type
└── CallError                               a call ended without a result; `code` says why
    ├── NoSuchObject                        no_such_object
    ├── NoSuchMethod                        no_such_method
    ├── InvalidArgs                         invalid_args
    ├── DeadlineExceeded (TimeoutError)     deadline_exceeded
    ├── CallCancelled                       cancelled
    ├── WorkerLost                          worker_lost
    ├── RemoteError                         remote_error
    ├── PermissionDenied                    permission_denied
    ├── Overloaded                          overloaded
    ├── TooLarge                            too_large
    ├── ActivationFailed                    activation_failed
    └── ConnectionLost   (ConnectionError)  disconnected
"""

from __future__ import annotations

from typing import Any, ClassVar


class IPCError(Exception):
    """The root of all that this package raises."""

    @property
    def message(self) -> str:
        """What happened, to what, and what to do about it."""
        return str(self.args[0]) if self.args else ""


class ConfigError(IPCError, ValueError):
    """A setting, an address or an option makes no sense."""


class ConnectFailed(IPCError, ConnectionError):
    """No broker could be reached at the address."""


class UntrustedBroker(IPCError, ConnectionError):
    """What listens at the address is not ours, root's, or that of somebody we trust; nothing was sent to it."""


class ListenFailed(IPCError, OSError):
    """The broker cannot listen at an address."""


class ClientClosed(IPCError):
    """The client was closed; open a new one."""


class NameTaken(IPCError):
    """The object's name belongs to another connection; the message names its owner.

    `owner` is the name that the owner's program gave itself, "" when none; `pid` its process, None when unknown.
    """

    def __init__(self, message: str, *, owner: str = "", pid: int | None = None) -> None:
        super().__init__(message)
        self.owner = owner
        self.pid = pid


class InterfaceMismatch(IPCError, TypeError):
    """A class does not fit the object that it is to type, or nobody can tell whether it does.

    `problems` are what does not fit, each in a few words; none where the object's worker has not told what it offers.
    """

    def __init__(self, message: str, *, object: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.object = object
        self.problems = problems


class CallError(IPCError):
    """A call ended without a result.

    `code` is one of the table above (or one that a newer peer uses), `object` and `method` say what was called,
    `data` is what the worker attached, or None. `delivered` tells whether the worker got the call: "no", "maybe" or "yes".
    """

    code: str = "error"
    default_delivered: ClassVar[str] = "maybe"

    def __init__(
        self,
        message: str,
        *,
        object: str | None = None,
        method: str | None = None,
        data: Any = None,
        delivered: str | None = None,
    ) -> None:
        super().__init__(message)
        self.object = object
        self.method = method
        self.data = data
        self.delivered = delivered or self.default_delivered


class NoSuchObject(CallError):
    """Nobody registered the object."""

    code = "no_such_object"
    default_delivered = "no"


class NoSuchMethod(CallError):
    """The object has no such public method."""

    code = "no_such_method"
    default_delivered = "yes"


class InvalidArgs(CallError):
    """The arguments do not fit the method's type hints, or cannot be sent at all."""

    code = "invalid_args"
    default_delivered = "yes"


class DeadlineExceeded(CallError, TimeoutError):
    """No answer came in time."""

    code = "deadline_exceeded"


class CallCancelled(CallError):
    """The worker cancelled the call."""

    code = "cancelled"
    default_delivered = "yes"


class WorkerLost(CallError):
    """The worker's connection ended before it answered."""

    code = "worker_lost"


class RemoteError(CallError):
    """The method raised; `type` is the name of the exception there, "" when unknown."""

    code = "remote_error"
    default_delivered = "yes"
    type: str = ""


class PermissionDenied(CallError):
    """The broker's policy forbids the call."""

    code = "permission_denied"
    default_delivered = "no"


class Overloaded(CallError):
    """A limit was reached; the message names it."""

    code = "overloaded"
    default_delivered = "no"


class TooLarge(CallError):
    """A frame is over the limit; the message has its size and the limit."""

    code = "too_large"
    default_delivered = "no"


class ActivationFailed(CallError):
    """The service that should serve the object did not start."""

    code = "activation_failed"
    default_delivered = "no"


class ConnectionLost(CallError, ConnectionError):
    """The connection to the broker ended."""

    code = "disconnected"


_BY_CODE: dict[str, type[CallError]] = {
    kind.code: kind
    for kind in (
        NoSuchObject,
        NoSuchMethod,
        InvalidArgs,
        DeadlineExceeded,
        CallCancelled,
        WorkerLost,
        RemoteError,
        PermissionDenied,
        Overloaded,
        TooLarge,
        ActivationFailed,
        ConnectionLost,
    )
}


def call_error(
    code: str,
    message: str,
    *,
    object: str | None = None,
    method: str | None = None,
    data: Any = None,
    delivered: str | None = None,
    type: str = "",
) -> CallError:
    """The exception for an error `code` of the wire; an unknown code gives a plain `CallError` that carries it."""
    kind = _BY_CODE.get(code, CallError)
    error = kind(message, object=object, method=method, data=data, delivered=delivered)
    if kind is CallError:
        error.code = code
    if isinstance(error, RemoteError):
        error.type = type
    return error
