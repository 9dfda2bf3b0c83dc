"""A class or Protocol as those see it who call an object through it: what its methods take, and what comes back."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from .hints import STREAMS, item_hint, type_hints

_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)
_NEVER = (typing.NoReturn, typing.Never)


class RemoteMethod:
    """One method of a class, to be called elsewhere. Its `signature` and `hints` are those of a caller, without `self`.

    `returns` is the hint of what it returns or, when it `is_stream`, of an item.
    """

    def __init__(
        self, owner: str, name: str, function: Callable[..., Any], *, bound: bool, variables: Mapping[Any, Any]
    ) -> None:
        """`bound`: callers do not give its first parameter. `variables`: what stands for the type variables in its hints."""
        self.name = name
        self.label = f"{owner}.{name}"
        self.function = function
        hints = {place: _substituted(hint, variables) for place, hint in type_hints(function).items()}
        self.signature = _signature(function, bound, hints)
        self.hints = {place: hints.get(place, Any) for place in self.signature.parameters}
        returns = hints.get("return", Any)
        if typing.get_origin(returns) in _AWAITED:
            returns = typing.get_args(returns)[-1]
        self.is_stream = (
            inspect.isasyncgenfunction(function)
            or inspect.isgeneratorfunction(function)
            or (typing.get_origin(returns) or returns) in STREAMS
        )
        self.returns = item_hint(returns) if self.is_stream else Any if returns in _NEVER else returns
        parameters = self.signature.parameters.values()
        self._positional_only = {one.name for one in parameters if one.kind is one.POSITIONAL_ONLY}
        # What the short way of `arguments` compares.
        variable = any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)
        self._is_plain = not variable and not self._positional_only
        self._places = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        all_places = self._is_plain and not any(one.kind is one.KEYWORD_ONLY for one in parameters)
        self._all_places = len(self._places) if all_places else -1
        self._known = frozenset(self.signature.parameters)
        self._required = frozenset(one.name for one in parameters if one.default is one.empty)

    def __repr__(self) -> str:
        return f"<RemoteMethod {self.label}{self.signature}>"

    def arguments(self, positional: tuple[Any, ...], named: dict[str, Any]) -> list[Any] | dict[str, Any] | None:
        """What is sent of what a caller gave: a map by name, without defaults; None for nothing.

        A list where there are no names to go by: behind `*args`, and for what is positional only. Raises TypeError where
        Python would, and for what can be sent neither as a map nor as a list.
        """
        if not named and len(positional) == self._all_places:
            return dict(zip(self._places, positional, strict=False)) or None
        if self._is_plain:
            given = dict(zip(self._places, positional, strict=False))
            given.update(named)
            if len(given) == len(positional) + len(named) and self._required <= given.keys() <= self._known:
                return given or None
        try:
            bound = self.signature.bind(*positional, **named)
        except TypeError as error:
            raise TypeError(f"{self.label}(): {error}; it takes {self.signature}") from None
        return self._sent(bound) or None

    def _sent(self, bound: inspect.BoundArguments) -> list[Any] | dict[str, Any]:
        rest: tuple[Any, ...] = ()
        given = dict(bound.arguments)
        more: dict[str, Any] = {}
        for one in self.signature.parameters.values():
            if one.kind is one.VAR_POSITIONAL:
                rest = given.pop(one.name, ())
            elif one.kind is one.VAR_KEYWORD:
                more = given.pop(one.name, {})
        if not rest and not self._positional_only & given.keys():
            return given | more
        if not bound.kwargs:
            return list(bound.args)
        if rest or given.keys() & more.keys():
            raise TypeError(f"{self.label}(): these arguments cannot be sent: give all by position, or all by name")
        return given | more


def class_of(api: Any) -> type[Any]:
    """The class behind `api`, which may be a generic one: `Store[int]`. Raises TypeError for what is none."""
    kind = typing.get_origin(api) or api
    if not isinstance(kind, type):
        raise TypeError(f"an object is typed by a class or a Protocol, not by {api!r}")
    return kind


def method_names(api: Any) -> list[str]:
    """Those of its public methods, as a worker exposes them."""
    kind = class_of(api)
    return [name for name in dir(kind) if not name.startswith("_") and _is_method(inspect.getattr_static(kind, name))]


@lru_cache(maxsize=1024)
def remote_method(api: Any, name: str) -> RemoteMethod | None:
    """None where the class has no public method of that name."""
    kind = class_of(api)
    found = inspect.getattr_static(kind, name, None)
    if name.startswith("_") or not _is_method(found):
        return None
    variables = dict(zip(getattr(kind, "__parameters__", ()), typing.get_args(api), strict=False))
    bound = not isinstance(found, staticmethod | types.BuiltinFunctionType)
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    return RemoteMethod(kind.__name__, name, function, bound=bound, variables=variables)


def remote_methods(api: Any) -> dict[str, RemoteMethod]:
    """All of its public methods. Raises TypeError for what is no class."""
    methods = ((name, remote_method(api, name)) for name in method_names(api))
    return {name: method for name, method in methods if method is not None}


def method_of_function(function: Callable[..., Any]) -> RemoteMethod:
    """For `Calculator.add`, taken from its class. Raises TypeError for what takes no `self`."""
    if not inspect.isfunction(function) or next(iter(inspect.signature(function).parameters), "") != "self":
        raise TypeError(
            f"{function!r} is no method taken from its class, with `self` first, as Calculator.add is; "
            "what else an object has is called by call(), or typed by a Protocol"
        )
    owner = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return RemoteMethod(owner, function.__name__, function, bound=True, variables={})


def _is_method(found: object) -> bool:
    return isinstance(found, staticmethod | classmethod) or inspect.isfunction(found) or inspect.isbuiltin(found)


def _signature(function: Callable[..., Any], bound: bool, hints: Mapping[str, Any]) -> inspect.Signature:
    """With the hints as they are resolved: those of the source may be texts."""
    signature = inspect.signature(function)
    parameters = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in signature.parameters.values()]
    if bound and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    returns = hints.get("return", signature.return_annotation)
    return signature.replace(parameters=parameters, return_annotation=returns)


def _substituted(hint: Any, variables: Mapping[Any, Any]) -> Any:
    """`list[T]` as `list[int]`, where the class is used as `Store[int]`."""
    if not variables:
        return hint
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(variables.get(one, one) for one in inner)] if inner and typing.get_origin(hint) else hint
