"""Type hints of functions: as far as they can be resolved, and what a stream of them holds."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable
from typing import Any

STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.Iterable,
)
"""What a method that streams returns."""

_UNRESOLVED = (NameError, AttributeError, TypeError, SyntaxError)


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """By parameter, and "return". What exists for type checkers only, or is no type, is Any; the hints beside it still count."""
    function = inspect.unwrap(function)
    try:
        return typing.get_type_hints(function, include_extras=True)
    except _UNRESOLVED:
        hints: dict[str, Any] = {}
        for name, hint in getattr(function, "__annotations__", {}).items():
            lone = type("_", (), {"__annotations__": {name: hint}})
            try:
                resolved = typing.get_type_hints(lone, getattr(function, "__globals__", {}), include_extras=True)
            except _UNRESOLVED:
                resolved = {name: Any}
            hints |= resolved
        return hints


def item_hint(hint: Any) -> Any:
    """Of `AsyncIterator[int]` and its like `int`; Any where it does not say."""
    inner = typing.get_args(hint)
    return inner[0] if inner and typing.get_origin(hint) in STREAMS else Any
