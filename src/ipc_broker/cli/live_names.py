"""What the broker knows at this moment: what an object offers, and what was probably meant by a name that is not there."""

from __future__ import annotations

from ..description import Interface, MethodDescription, ObjectDescription
from ..errors import CallError, NoSuchMethod, NoSuchObject, PermissionDenied, RemoteError
from ..sync import Client
from .words import closest

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from ..observation import TopicState

SUGGESTING = 1.0
"""Seconds that finding a name to suggest may take."""


def description_of(client: Client, object_name: str, timeout: float) -> ObjectDescription | None:
    """None where the broker cannot or may not tell. Raises NoSuchObject, DeadlineExceeded, ConnectionLost."""
    if client.broker is None:
        return None
    try:
        return client.call("rob", "describe", {"object": object_name}, timeout=timeout, returns=ObjectDescription)
    except NoSuchObject as error:
        error.object = object_name  # it was `rob` that was asked about it
        raise
    except (NoSuchMethod, PermissionDenied, RemoteError):
        return None


def method_in(interface: Interface, object_name: str, name: str) -> MethodDescription:
    """Raises NoSuchMethod."""
    method = interface.methods.get(name)
    if method is None:
        near = closest(name, interface.methods)
        hint = f"did you mean {near}?" if near else f"it has: {', '.join(sorted(interface.methods)) or 'none'}"
        message = f"'{object_name}' has no method '{name}'; {hint}"
        raise NoSuchMethod(message, object=object_name, method=name, delivered="no")
    return method


def with_suggestion(client: Client, error: NoSuchObject, object_name: str) -> NoSuchObject:
    """The same error, which also says what was probably meant."""
    near = suggested_object(client, object_name) if error.object == object_name else ""
    if near not in ("", object_name):  # which its methods may call
        error.args = (f"{error}; did you mean {near}?",)
    return error


def suggested_object(client: Client, object_name: str) -> str:
    """ "" for none."""
    try:
        return closest(object_name, client.objects(timeout=SUGGESTING))
    except CallError:
        return ""


def topics_of(client: Client, object_name: str, timeout: float) -> list[TopicState]:
    """Those of an object, "" for all; none where the broker cannot or may not tell."""
    from ..observation import TopicState  # calls do without

    if client.broker is None:
        return []
    try:
        arguments = {"object": object_name}
        return client.call("rob", "topics", arguments, timeout=timeout, returns=list[TopicState])
    except (NoSuchMethod, PermissionDenied, RemoteError):
        return []
