"""How a command line may go on: what the shells ask while somebody types.

Names come from the bus, so that anybody may have chosen them: only those are offered that no shell reads as something else.
"""

from __future__ import annotations

from .schema import alternatives, kind_of, values_of
from .signature import begins_with_signature
from .words import COMMANDS, LOG_LEVELS, OPTIONS, Command

TYPE_CHECKING = False  # `typing` is not imported: somebody waits for every keystroke
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from ..description import Interface, Parameter, Schema

    class Live(Protocol):
        """What a broker knows at this moment; nothing of it where there is no broker."""

        def objects(self) -> list[str]: ...
        def interface(self, object_name: str) -> Interface | None: ...
        def topics(self, object_name: str) -> list[tuple[str, str]]:
            """Objects and topics of theirs; those of all objects for ""."""
            ...


SHELLS = ("bash", "zsh", "fish")
MODES = ("exclusive", "shared", "standby")
KINDS = ("call", "answer", "event", "object", "connection", "item", "result", "error", "cancel")

_VALUES = {"log-level": tuple(LOG_LEVELS), "mode": MODES}
_REST = {
    "describe": ("METHOD",),
    "monitor": ("OBJECT", "METHOD OR TOPIC"),
    "record": ("OBJECT", "METHOD OR TOPIC"),
}
"""What may stand behind the required words, where there is an end to it."""

_SAFE = frozenset("-_.,/@+:=")


class Candidate:
    """A whole word, and a few words about it; what ends with `=` goes on."""

    __slots__ = ("about", "word")

    def __init__(self, word: str, about: str = "") -> None:
        self.word = word
        self.about = about


class Line:
    """The words before the one that is being typed, read as far as they make sense."""

    def __init__(self, words: Sequence[str]) -> None:
        self.given: dict[str, str] = {}
        self.words: list[str] = []
        self.open = ""
        """The option whose value comes next."""
        self.options_ended = False
        for word in words:
            if self.open:
                self.given[self.open] = word
                self.open = ""
            elif self.options_ended or not word.startswith("--"):
                self.words.append(word)
            elif word == "--":
                self.options_ended = True
            else:
                name, equals, value = word[2:].partition("=")
                self.given[name] = value
                if name in OPTIONS and OPTIONS[name].value and not equals:
                    self.open = name
        self.command = COMMANDS.get(self.words[0]) if self.words else None


def candidates(line: Line, current: str, live: Live) -> list[Candidate] | None:
    """For the word `current`, which may be empty; None stands for names of files."""
    typing_option = False
    if line.open:
        found: Iterable[Candidate] | None = _values(line.open, current, "")
    elif current.startswith("-") and not line.options_ended:
        name, equals, value = current.removeprefix("--").partition("=")
        found = _values(name, value, f"--{name}=") if equals else _options(line)
        typing_option = True
    elif not line.words:
        found = (Candidate(command.name, command.help) for command in COMMANDS.values())
    elif line.command is None:
        found = ()
    else:
        found = _words(line, line.command, current, live)
    if found is None:
        return None
    fitting = [one for one in found if one.word.startswith(current) and is_safe(one.word)]
    return [one for one in fitting if typing_option or not one.word.startswith("-")]


def is_safe(word: str) -> bool:
    return bool(word) and word.isprintable() and all(char.isalnum() or char in _SAFE for char in word)


def _options(line: Line) -> Iterable[Candidate]:
    options = OPTIONS.values() if line.command is None else line.command.options
    for option in options:
        if (option.many or option.name not in line.given) and (line.command is not None or not option.only):
            yield Candidate(f"--{option.name}", option.help)


def _values(name: str, current: str, prefix: str) -> Iterable[Candidate]:
    if name == "only":
        before = current[: current.rfind(",") + 1]
        return [Candidate(f"{prefix}{before}{kind}") for kind in KINDS if kind not in before.split(",")]
    return [Candidate(f"{prefix}{value}") for value in _VALUES.get(name, ())]


def _words(line: Line, command: Command, current: str, live: Live) -> Iterable[Candidate] | None:
    given = line.words[1:]
    kinds = [*command.words, *_REST.get(command.name, ())]
    if command.name in ("tree", "wait"):
        return [one for one in _objects(command, live) if one.word not in given]
    if len(given) >= len(kinds):
        return _arguments(given, current, live) if command.name == "call" else ()
    match kinds[len(given)]:
        case "OBJECT":
            return _objects(command, live)
        case "METHOD":
            return _methods(given[-1], live)
        case "TOPIC":
            return _topics(given[-1], live)
        case "METHOD OR TOPIC":
            return [*_methods(given[-1], live), *_topics(given[-1], live)]
        case "SHELL":
            return map(Candidate, SHELLS)
        case "FILE":
            return None
    return ()


def _objects(command: Command, live: Live) -> list[Candidate]:
    names = dict.fromkeys(live.objects())
    if command.name in ("send", "listen", "monitor", "record", "tree"):
        names |= dict.fromkeys(object_name for object_name, _ in live.topics(""))
    return [Candidate(name) for name in names]


def _methods(object_name: str, live: Live) -> list[Candidate]:
    interface = live.interface(object_name)
    methods = {} if interface is None else interface.methods
    return [Candidate(name, next(iter(one.doc.splitlines()), "")) for name, one in methods.items()]


def _topics(object_name: str, live: Live) -> list[Candidate]:
    return [Candidate(topic) for _, topic in live.topics(object_name)]


def _arguments(given: Sequence[str], current: str, live: Live) -> Iterable[Candidate]:
    object_name, method, *words = given
    if begins_with_signature(words):
        return
    interface = live.interface(object_name)
    described = None if interface is None else interface.methods.get(method)
    if interface is None or described is None:
        return
    named = {word.partition("=")[0] for word in words if "=" in word}
    places = [one for one in described.parameters if one.kind in ("", "positional")]
    placed = places[: sum("=" not in word for word in words)]
    for one in described.parameters:
        if one.name in named or one in placed or one.kind in ("list", "map"):
            continue
        values = _values_of(one, interface.definitions)
        if not named and one is next(iter(places[len(placed) :]), None):
            # What would be read as a signature is not offered.
            yield from (Candidate(value, one.name) for value in values if words or not begins_with_signature([value]))
        if one.kind == "positional":
            continue
        if current.startswith(f"{one.name}="):
            yield from (Candidate(f"{one.name}={value}") for value in values)
        else:
            yield Candidate(f"{one.name}=", _about(one))


def _values_of(parameter: Parameter, definitions: dict[str, Schema]) -> list[str]:
    found: list[str] = []
    for one in alternatives(parameter.schema, definitions):
        if kind_of(one) == "boolean":
            found += ["true", "false"]
        found += [value for value in values_of(one) if isinstance(value, str)]
        found += [str(value) for value in values_of(one) if type(value) is int]
    return found


def _about(parameter: Parameter) -> str:
    from .type_text import TypeText

    return TypeText().of(parameter.schema) + ("" if parameter.required else ", may be left out")
