"""An object elsewhere as an object here: its methods as methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .values import DEFAULT_TIMEOUT

Remote = Callable[..., Any]
"""`call` or `stream` of a client."""


class ObjectProxy:
    """An object somewhere on the bus; its attributes are its methods. What they return, `call` decides."""

    def __init__(self, call: Remote, name: str) -> None:
        self._call = call
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def remote(*positional: Any, **named: Any) -> Any:
            if positional and named:
                raise TypeError(f"{self._name}.{method}: give all arguments by position or all by name")
            return self._call(self._name, method, list(positional) if positional else named or None)

        self.__dict__[method] = remote  # the next use finds it without coming here
        return remote

    def __repr__(self) -> str:
        return f"<ObjectProxy {self._name!r}>"


def with_timeout(call: Remote, timeout: float | None) -> Remote:
    """`call` as a proxy makes all its calls."""
    return call if timeout == DEFAULT_TIMEOUT else partial(call, timeout=timeout)


def with_headers(remote: Remote, headers: Mapping[str, str] | None) -> Remote:
    return partial(remote, headers=dict(headers)) if headers else remote
