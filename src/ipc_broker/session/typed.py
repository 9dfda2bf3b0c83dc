"""Objects elsewhere as the classes that describe them: arguments are checked here, results are converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..protocol.encodings import JSON
from ..remote import RemoteMethod, class_of, method_names, method_of_function, remote_method
from .proxies import Remote


class TypedProxy:
    """An object somewhere on the bus, with the public methods of `api`, a class or Protocol.

    A method whose hint is an iterator, or that is a generator function, gives a stream. The class's own code never runs.
    """

    def __init__(self, call: Remote, stream: Remote, name: str, api: Any) -> None:
        """Raises TypeError when `api` is no class."""
        class_of(api)
        self._call = call
        self._stream = stream
        self._name = name
        self._api = api

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = remote_method(self._api, name)
        if method is None:
            raise AttributeError(_missing(self._api, name))
        remote = bound(method, self._call, self._stream, self._name)
        self.__dict__[name] = remote  # the next use finds it without coming here
        return remote

    def __dir__(self) -> list[str]:
        return method_names(self._api)

    def __repr__(self) -> str:
        return f"<TypedProxy {self._name!r} {class_of(self._api).__name__}>"


def bound_function(function: Any, call: Remote, stream: Remote, object_name: str) -> Callable[..., Any]:
    """The method `function`, taken from its class, of the object. Raises TypeError when it is none."""
    return bound(method_of_function(function), call, stream, object_name)


def bound(method: RemoteMethod, call: Remote, stream: Remote, object_name: str) -> Callable[..., Any]:
    """Raises TypeError for a result that msgspec cannot check."""
    _require_checkable(method)
    make, name, arguments, returns = stream if method.is_stream else call, method.name, method.arguments, method.returns

    def remote(*positional: Any, **named: Any) -> Any:
        return make(object_name, name, arguments(positional, named), returns=returns)

    remote.__name__, remote.__qualname__, remote.__doc__ = name, method.label, method.function.__doc__
    remote.__signature__ = method.signature  # type: ignore[attr-defined]  # where inspect and help() look
    return remote


def _require_checkable(method: RemoteMethod) -> None:
    try:
        JSON.decoder(method.returns)
    except (TypeError, ValueError) as error:
        reason = (
            f"what {method.label} returns cannot be checked: {error}; call() without `returns` takes it as it comes"
        )
        raise TypeError(reason) from error


def _missing(api: Any, name: str) -> str:
    import difflib  # only for who mistyped

    known = method_names(api)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it has: {', '.join(known) or 'none'}"
    return f"{class_of(api).__name__} has no method '{name}'; {hint}"
