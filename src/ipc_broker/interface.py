"""A Python object as others see it: its public methods, and how the arguments on the wire become theirs.

A map holds named arguments, a list positional ones, null none; anything else is one argument. They are checked against
the type hints and converted to them by msgspec, which also words the errors.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from .hints import item_hint, type_hints
from .protocol.codec import Codec
from .protocol.encodings import JSON

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
Decode = Callable[[bytes | Raw], Any]

_astuple = msgspec.structs.astuple

_INLINE = "__ipc_broker_inline__"


def inline(function: Function) -> Function:
    """Marks a quick `def` method: it runs on the event loop instead of in a thread, and must not block."""
    setattr(function, _INLINE, True)
    return function


class SharedObject(abc.ABC):
    """The dynamic form of an object: every call comes to `call`, whatever its method."""

    @abc.abstractmethod
    async def call(self, method: str, args: Any) -> Any:
        """`args` as they came: a map, a list, None, or one value. Raise `LookupError` for a method that there is not."""


class Method:
    """One method that others can call. `is_async` ones run on the loop, as `inline` ones do; the rest in a thread.

    A generator function `is_stream`: its caller gets the items one by one.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_async_stream = inspect.isasyncgenfunction(function)
        self.is_stream = self.is_async_stream or inspect.isgeneratorfunction(function)
        self.inline = bool(getattr(function, _INLINE, False))
        self.signature = inspect.signature(function)
        hints = type_hints(function)
        self.hints = {name: hints.get(name, Any) for name in self.signature.parameters}
        returns = hints.get("return", Any)
        self.returns = item_hint(returns) if self.is_stream else returns
        """The hint of what it returns; of a stream, of an item."""
        parameters = self.signature.parameters.values()
        self._variable = any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)
        self._keyword_only = tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)
        # For each encoding how arguments by name and by position are decoded.
        self._decoders: dict[str, tuple[Decode, Decode]] = {}
        if not self._variable:
            positional = [one for one in parameters if one.kind is not one.KEYWORD_ONLY]
            self._count = len(positional)
            self._named = self._struct(list(parameters), array_like=False)
            self._positional = self._struct(positional, array_like=True)
            self._decoders_for(JSON)  # which raises where a type cannot be checked

    def arguments(self, args: Raw, codec: Codec) -> Arguments:
        """Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError where they do not fit."""
        if self._variable:
            return self._bind(codec.decode_any(args))
        decode_named, decode_positional = self._decoders.get(codec.name) or self._decoders_for(codec)
        shape = codec.shape(args)
        if shape == "map":
            values = _astuple(decode_named(args))
            if self._keyword_only:
                return values[: self._count], dict(zip(self._keyword_only, values[self._count :], strict=True))
            return values, {}
        values = _astuple(decode_positional(args if shape == "list" else codec.as_list(bytes(args))))
        if self._keyword_only:
            # Given by position they can only have their defaults, which Python fills in itself.
            self._require_defaults()
        return values, {}

    def _decoders_for(self, codec: Codec) -> tuple[Decode, Decode]:
        decoders = self._decoders[codec.name] = codec.decoder(self._named), codec.decoder(self._positional)
        return decoders

    def _struct(self, parameters: list[inspect.Parameter], *, array_like: bool) -> type[msgspec.Struct]:
        fields: list[tuple[str, Any, Any]] = []
        for one in parameters:
            has_default = one.default is not one.empty
            # A factory, so that a mutable default is the very object Python would use.
            given = msgspec.field(default_factory=partial(_same, one.default)) if has_default else msgspec.field()
            fields.append((one.name, self.hints[one.name], given))
        return msgspec.defstruct(
            self.name, fields, array_like=array_like, forbid_unknown_fields=True, kw_only=True, module=__name__
        )

    def _bind(self, value: Any) -> Arguments:
        """For *args and **kwargs, which have no fixed shape."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        if isinstance(value, dict):
            named = value
        elif value is not None:
            positional = value if isinstance(value, list) else [value]
        try:
            self.signature.bind(*positional, **named)
        except TypeError as error:
            raise msgspec.ValidationError(str(error)) from error
        parameters = self.signature.parameters.values()
        by_place = [one for one in parameters if one.kind not in (one.KEYWORD_ONLY, one.VAR_KEYWORD)]
        for index, given in enumerate(positional):
            parameter = by_place[min(index, len(by_place) - 1)]
            positional[index] = _convert(given, self.hints[parameter.name], f"$[{index}]")
        rest = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD), None)
        for name, given in named.items():
            hint = self.hints.get(name, self.hints[rest] if rest else Any)
            named[name] = _convert(given, hint, f"$.{name}")
        return tuple(positional), named

    def _require_defaults(self) -> None:
        for name in self._keyword_only:
            if self.signature.parameters[name].default is inspect.Parameter.empty:
                raise msgspec.ValidationError(f"Object missing required field `{name}`, which must be given by name")

    def __repr__(self) -> str:
        return f"<Method {self.name}{self.signature}>"


def methods_of(target: object) -> dict[str, Method]:
    """The public methods of an object: functions of its class or its own whose names begin with no underscore.

    Raises TypeError for a type hint that cannot be checked, and for a class with methods that need an instance.
    """
    names = [name for name in dir(target) if not name.startswith("_")]
    methods: dict[str, Method] = {}
    for name in names:
        found = inspect.getattr_static(target, name)
        if inspect.isfunction(found) and isinstance(target, type):
            label = target.__name__
            raise TypeError(f"{label} is a class, and {label}.{name} needs an instance; serve one, as {label}()")
        if isinstance(found, staticmethod | classmethod) or inspect.isfunction(found) or inspect.isbuiltin(found):
            methods[name] = method_of(name, getattr(target, name), target)
    return methods


def method_of(name: str, function: Callable[..., Any], owner: object) -> Method:
    """Raises TypeError for a type hint that cannot be checked."""
    try:
        return Method(name, function)
    except (TypeError, ValueError) as error:
        reason = f"cannot expose {type(owner).__name__}.{name}: {error}; begin its name with _ to keep it private"
        raise TypeError(reason) from error


def _convert(value: Any, hint: Any, path: str) -> Any:
    """Raises msgspec.ValidationError with the path from the whole of the arguments."""
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        reason, _, below = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{reason} - at `{path}{below or '`'}") from error


def _same(value: Any) -> Any:
    return value
