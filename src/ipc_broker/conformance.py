"""Whether an object offers what a class says of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from .compatibility import changes
from .description import Interface, MethodDescription, ObjectDescription
from .errors import InterfaceMismatch
from .remote import class_of, remote_methods
from .schemas import interface_of


def require_conformance(api: Any, described: ObjectDescription) -> None:
    """Raises InterfaceMismatch unless calls that fit the class `api` fit the object, as far as both say."""
    kind = class_of(api)
    if described.interface is None:
        message = (
            f"nobody can tell whether '{described.object}' is what {kind.__name__} says: its worker has not told what it "
            "offers, as those of the Rust crate and a SharedObject do not; type it without check=True"
        )
        raise InterfaceMismatch(message, object=described.object)
    expected = interface_of(kind, remote_methods(api))
    problems = tuple(
        change.text for change in changes(_as_sent(expected), described.interface) if not change.compatible
    )
    if problems:
        message = f"compared with {kind.__name__}, '{described.object}' has changed: {'; '.join(problems)}"
        raise InterfaceMismatch(message, object=described.object, problems=problems)


def _as_sent(interface: Interface) -> Interface:
    """As calls typed by a class come: arguments that have a name go by name, in whatever order the class says."""
    return replace(interface, methods={name: _named(method) for name, method in interface.methods.items()})


def _named(method: MethodDescription) -> MethodDescription:
    if any(one.kind in ("positional", "list") for one in method.parameters):
        return method
    parameters = (replace(one, kind="keyword") if not one.kind else one for one in method.parameters)
    return replace(method, parameters=tuple(parameters))
