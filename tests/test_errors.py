import copy
import pickle
import re
from collections.abc import Callable

import pytest

from ipc_broker import errors
from ipc_broker.errors import CallError, IPCError, RemoteError, call_error

# The table of error codes that users see, with what is known of the worker when nobody says more.
CODES: list[tuple[str, type[CallError], str]] = [
    ("no_such_object", errors.NoSuchObject, "no"),
    ("no_such_method", errors.NoSuchMethod, "yes"),
    ("invalid_args", errors.InvalidArgs, "yes"),
    ("deadline_exceeded", errors.DeadlineExceeded, "maybe"),
    ("cancelled", errors.CallCancelled, "yes"),
    ("worker_lost", errors.WorkerLost, "maybe"),
    ("remote_error", errors.RemoteError, "yes"),
    ("permission_denied", errors.PermissionDenied, "no"),
    ("overloaded", errors.Overloaded, "no"),
    ("too_large", errors.TooLarge, "no"),
    ("activation_failed", errors.ActivationFailed, "no"),
    ("disconnected", errors.ConnectionLost, "maybe"),
]
# What each is besides, for those who catch Python's own exceptions.
ALSO: dict[type[IPCError], type[Exception]] = {
    errors.ConfigError: ValueError,
    errors.ConnectFailed: ConnectionError,
    errors.UntrustedBroker: ConnectionError,
    errors.ListenFailed: OSError,
    errors.InterfaceMismatch: TypeError,
    errors.DeadlineExceeded: TimeoutError,
    errors.ConnectionLost: ConnectionError,
}
EVERY_CLASS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, IPCError)]


def test_every_exception_has_the_one_root() -> None:
    exceptions = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert exceptions == EVERY_CLASS
    assert EVERY_CLASS[0] is IPCError


def test_the_tree_in_the_module_docstring_is_complete() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^(│?[ ]*[├└]── )(\w+)(?: +\((\w+)\))?", errors.__doc__, re.MULTILINE)
    assert {name for _, name, _ in drawn} == {kind.__name__ for kind in EVERY_CLASS} - {"IPCError"}
    for branch, name, also in drawn:
        kind = getattr(errors, name)
        assert kind.__bases__[0] is (IPCError if branch.startswith(("├", "└")) else CallError), name
        assert also == (ALSO[kind].__name__ if kind in ALSO else ""), name


@pytest.mark.parametrize(("kind", "also"), ALSO.items())
def test_python_s_own_handlers_catch_it(kind: type[IPCError], also: type[Exception]) -> None:
    with pytest.raises(also, match="it went wrong"):
        raise kind("it went wrong")


def test_no_other_class_is_one_of_python_s_own() -> None:
    for kind in EVERY_CLASS:
        assert issubclass(kind, ValueError | TypeError | OSError) == (kind in ALSO), kind


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_str_and_message_are_what_was_said(kind: type[IPCError]) -> None:
    error = kind("No such object 'ghost'")
    assert (str(error), error.message) == ("No such object 'ghost'",) * 2


def test_an_error_without_text_has_an_empty_message() -> None:
    assert IPCError().message == ""


@pytest.mark.parametrize(("code", "kind", "delivered"), CODES)
def test_a_code_of_the_wire_becomes_its_class(code: str, kind: type[CallError], delivered: str) -> None:
    error = call_error(code, "why")
    assert type(error) is kind
    assert (error.code, error.message, error.delivered) == (code, "why", delivered)
    assert (error.object, error.method, error.data) == (None, None, None)
    assert type(kind("why")) is kind
    assert kind("why").code == code


def test_every_call_error_has_a_code_of_its_own() -> None:
    assert {kind for _, kind, _ in CODES} | {CallError} == {kind for kind in EVERY_CLASS if issubclass(kind, CallError)}


def test_an_unknown_code_is_kept_and_changes_no_other_error() -> None:
    error = call_error("quota_of_tomorrow", "no more", object="math", method="add", data=[1], delivered="no")
    assert type(error) is CallError
    assert error.code == "quota_of_tomorrow"
    assert (error.object, error.method, error.data, error.delivered) == ("math", "add", [1], "no")
    assert CallError("x").code == "error"


@pytest.mark.parametrize("delivered", ["no", "maybe", "yes"])
@pytest.mark.parametrize(("code", "kind"), [(code, kind) for code, kind, _ in CODES])
def test_what_the_wire_says_of_the_delivery_outweighs_the_default(
    code: str, kind: type[CallError], delivered: str
) -> None:
    assert call_error(code, "why", delivered=delivered).delivered == delivered
    assert kind("why", delivered=delivered).delivered == delivered


@pytest.mark.parametrize(("code", "default"), [(code, default) for code, _, default in CODES])
def test_an_empty_delivery_is_none_at_all(code: str, default: str) -> None:
    assert call_error(code, "why", delivered="").delivered == default


def test_a_remote_error_names_the_exception_there() -> None:
    error = call_error("remote_error", "division by zero", type="ZeroDivisionError")
    assert isinstance(error, RemoteError)
    assert error.type == "ZeroDivisionError"
    assert RemoteError("division by zero").type == ""


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("code", [*[code for code, _, _ in CODES], "quota_of_tomorrow"])
def test_pickling_and_copying_a_call_error_keeps_all_of_it(code: str, copied: Callable[[CallError], CallError]) -> None:
    error = call_error(
        code, "why", object="math", method="add", data={"at": [1]}, delivered="maybe", type="ZeroDivisionError"
    )
    twin = copied(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert str(twin) == "why"
    assert twin.args == error.args
    assert vars(twin) == vars(error)
    assert (twin.code, twin.data, twin.delivered) == (code, {"at": [1]}, "maybe")


@pytest.mark.parametrize("kind", [kind for kind in EVERY_CLASS if not issubclass(kind, CallError)])
def test_pickling_keeps_the_other_errors_too(kind: type[IPCError]) -> None:
    twin = pickle.loads(pickle.dumps(kind("why")))
    assert type(twin) is kind
    assert twin.message == "why"
