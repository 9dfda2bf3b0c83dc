"""The words after OBJECT METHOD, where the method's parameters are known -> its arguments.

Words are given as in Python: by place first, then by name, `NAME=WORD`. What a word stands for is said by the type of its
parameter. All that is wrong is said at once, and before anything is called.
"""

from __future__ import annotations

from .fitting import Fitting, Misfit, read_bytes
from .words import UsageError, closest

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..description import MethodDescription, Parameter, Schema


class WrongArguments(UsageError):
    """All that is wrong, with semicolons between."""


def split_words(
    words: Sequence[str], is_name: Callable[[str], bool] = str.isidentifier
) -> tuple[list[str], dict[str, str]]:
    """Those by place, and those by name: `NAME=WORD`, where it `is_name`. Raises UsageError."""
    placed: list[str] = []
    named: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{_shown(word)} is not valid UTF-8 text") from None
        if equals and is_name(name):
            if name in named:
                raise UsageError(f"the key {_shown(name)} is given twice")
            named[name] = text
        elif named:
            raise UsageError(
                f"{_shown(word)} is not KEY=VALUE, as the words before it are: every word behind them must be"
            )
        else:
            placed.append(word)
    return placed, named


def typed_arguments(
    method: MethodDescription,
    definitions: Mapping[str, Schema],
    words: Sequence[str],
    *,
    read: Callable[[str], bytes] = read_bytes,
) -> list[Any] | dict[str, Any] | None:
    """A map by name; a list where there are no names to go by; None for nothing. Raises WrongArguments."""
    binding = _Binding(method.parameters, Fitting(definitions, read))
    placed, named = split_words(words, binding.is_name)
    binding.bind(placed, named)
    return binding.arguments()


class _Binding:
    def __init__(self, parameters: Sequence[Parameter], fitting: Fitting) -> None:
        self._parameters = {one.name: one for one in parameters if one.kind not in ("list", "map")}
        self._places = [one for one in self._parameters.values() if one.kind != "keyword"]
        self._rest = next((one for one in parameters if one.kind == "list"), None)
        self._more = next((one for one in parameters if one.kind == "map"), None)
        self._fitting = fitting
        self._given: dict[str, Any] = {}
        self._further: list[Any] = []
        self._wrong: list[str] = []

    def is_name(self, word: str) -> bool:
        return word in self._parameters or word.isidentifier() or (self._more is not None and word != "")

    def bind(self, placed: Sequence[str], named: Mapping[str, str]) -> None:
        """Raises WrongArguments."""
        for index, word in enumerate(placed):
            if index < len(self._places):
                parameter = self._places[index]
                self._given[parameter.name] = self._fit(parameter.name, word, parameter.schema)
            elif self._rest is not None:
                self._further.append(self._fit(f"{self._rest.name}[{len(self._further)}]", word, self._rest.schema))
            else:
                self._wrong.append(f"{_shown(word)} is too much: {self._room()}")
                break
        for name, word in named.items():
            self._bind_name(name, word)
        missing = [one.name for one in self._parameters.values() if one.required and one.name not in self._given]
        if missing:
            self._wrong.append(f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        if self._wrong:
            raise WrongArguments("; ".join(self._wrong))

    def _bind_name(self, name: str, word: str) -> None:
        parameter = self._parameters.get(name)
        if parameter is not None and parameter.kind == "positional":
            self._given.setdefault(name, None)  # it is not missing, too
            self._wrong.append(f"{name} can be given by its place only")
        elif parameter is not None and name in self._given:
            self._wrong.append(f"{name} is given twice, by its place and by its name")
        elif parameter is not None:
            self._given[name] = self._fit(name, word, parameter.schema)
        elif self._more is not None:
            self._given[name] = self._fit(name, word, self._more.schema)
        else:
            near = closest(name, self._parameters)
            self._wrong.append(f"there is no {_shown(name)}{f' (did you mean {near}?)' if near else ''}")

    def _fit(self, name: str, word: str, schema: Schema) -> Any:
        try:
            return self._fitting.word(word, schema)
        except Misfit as misfit:
            self._wrong.append(f"{name}: {misfit}")
            return None

    def _room(self) -> str:
        if not self._places:
            return "it takes nothing" if not self._parameters else "it takes arguments by name only"
        return f"it takes {len(self._places)} by place"

    def arguments(self) -> list[Any] | dict[str, Any] | None:
        """What is sent. Raises WrongArguments for what can be sent neither as a map nor as a list."""
        by_place = {one.name for one in self._places if one.kind == "positional"} & self._given.keys()
        if not self._further and not by_place:
            return self._given or None
        sent = []
        for one in self._places:
            if one.name not in self._given:
                break
            sent.append(self._given.pop(one.name))
        if self._given:
            raise WrongArguments("these arguments cannot be sent: give all by place, or all by name")
        return sent + self._further


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")
