"""What can be typed after `rob`, and how it is read.

The two tables say it once: reading and help both come from them. Nothing is imported here that takes long, since the
start-up of a call is counted in milliseconds.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported for the same reason
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOG_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}
"""The words for a log level, and what they are for `logging`."""

DEFAULT_TIMEOUT = 30.0
LONGEST_WAIT = 86_400.0
"""Seconds: a day."""


class Option:
    """`--NAME VALUE`, or a flag when `value` is empty. `only` is the one command that it goes with.

    Of several the last counts, unless there may be `many`.
    """

    __slots__ = ("help", "many", "name", "only", "value")

    def __init__(self, name: str, value: str, help: str, *, only: str = "", many: bool = False) -> None:
        self.name = name
        self.value = value
        self.help = help
        self.only = only
        self.many = many


class Command:
    """`words` must be given, in this order; `rest` says what may follow them, "" for nothing.

    `details` are lines for help, at most 80 characters long.
    """

    __slots__ = ("details", "help", "name", "rest", "words")

    def __init__(self, name: str, words: tuple[str, ...], rest: str, help: str, details: str = "") -> None:
        self.name = name
        self.words = words
        self.rest = rest
        self.help = help
        self.details = details

    @property
    def usage(self) -> str:
        return " ".join(word for word in ("rob", self.name, *self.words, self.rest) if word)

    @property
    def options(self) -> list[Option]:
        return [option for option in OPTIONS.values() if option.only in ("", self.name)]


_ARGUMENTS = """\
What is sent is one of
  KEY=VALUE...        a map                    rob {name} a=10 b=32
  SIGNATURE WORD...   what the signature says  rob {name} {{ii}} a 10 b 32
  nothing             null                     rob {name}

Symbols of a signature:
  s  string                     b  true or false
  i  64-bit integer             n  null; takes no word
  f  number                     j  JSON
  (...)  list                   {{...}}  map: a key, then a value, for each symbol

Where the symbol is s or j the word - reads standard input, @FILE reads a file,
and @@ begins a literal @. Negative numbers are words as they stand; after --
everything is a word.
"""

_LISTENING = """\
In OBJECT and TOPIC, which are words between dots, * stands for any one word and
> at the end for all the rest: rob listen 'sensor.*' '>'

With --count it ends after so many events, with --timeout after that time. With
both, the exit status is 1 when too few came in time.
"""

_DEMO = """\
It starts a broker of its own on a temporary socket (or at --address), a worker
and a subscriber, shows what they say, and leaves nothing behind.
"""

_CALL_ARGUMENTS = "[SIGNATURE] [ARGS...]"

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "call",
            ("OBJECT", "METHOD"),
            _CALL_ARGUMENTS,
            "call a method and print what it returns or streams",
            _ARGUMENTS.format(name="call math add"),
        ),
        Command(
            "send",
            ("OBJECT", "TOPIC"),
            _CALL_ARGUMENTS,
            "publish an event; ends once the broker has it",
            _ARGUMENTS.format(name="send math done"),
        ),
        Command(
            "listen",
            ("OBJECT", "TOPIC"),
            "",
            "print events as they come, until Ctrl-C",
            _LISTENING,
        ),
        Command("list", (), "", "print the names of all objects"),
        Command("ping", (), "", "measure a round trip to the broker"),
        Command(
            "demo",
            (),
            "",
            "watch a broker, a worker, a call and an event",
            _DEMO,
        ),
    )
}

OPTIONS = {
    option.name: option
    for option in (
        Option("address", "ADDRESS", "where the broker listens (default: BROKER_ADDR, else the usual socket or pipe)"),
        Option("json", "", "print one JSON document a line, and errors as JSON"),
        Option("timeout", "SECONDS", f"how long it may take (default: {DEFAULT_TIMEOUT:g}; listen: for ever)"),
        Option("stream", "", "expect a stream, for as long as it goes on; Ctrl-C ends it", only="call"),
        Option("header", "KEY=VALUE", "send this along; may be given several times", only="call", many=True),
        Option("retain", "", "keep the value for those who subscribe later", only="send"),
        Option("count", "N", "end after N events", only="listen"),
        Option("group", "NAME", "share the events: of a group's members one gets each", only="listen"),
        Option("log-level", "LEVEL", f"{', '.join(LOG_LEVELS)} (default: BROKER_DEBUG, else warn)"),
        Option("version", "", "print the version"),
        Option("help", "", "print this help"),
    )
}


class UsageError(Exception):
    """What was typed makes no sense. The message says where, what was expected and what was given; it may span lines.

    `command` is the command it was about, None when that is not known (or not yet).
    """

    command: Command | None = None


class Request:
    """One command line, read and checked. `command` is None only with `help` or `version`.

    `rest` holds the words behind the required ones; `timeout` is in seconds, None when nothing was said.
    """

    __slots__ = (
        "address",
        "command",
        "count",
        "group",
        "headers",
        "help",
        "json",
        "log_level",
        "names",
        "rest",
        "retain",
        "stream",
        "timeout",
        "version",
    )

    def __init__(
        self, command: Command | None, words: Sequence[str], given: dict[str, str], headers: Sequence[str]
    ) -> None:
        self.command = command
        self.stream = "stream" in given
        self.headers = dict(map(_header, headers))
        self.retain = "retain" in given
        self.group = given.get("group", "")
        self.help = "help" in given
        self.version = "version" in given
        self.json = "json" in given
        self.address = given.get("address")
        self.timeout = _seconds(given["timeout"]) if "timeout" in given else None
        self.count = _count(given["count"]) if "count" in given else None
        self.log_level = log_level(given["log-level"], "--log-level") if "log-level" in given else None
        required = len(command.words) if command is not None else 0
        self.names = words[:required]
        self.rest = words[required:]

    @property
    def patience(self) -> float:
        """Seconds that an answer may take."""
        return DEFAULT_TIMEOUT if self.timeout is None else self.timeout


def read_words(argv: Sequence[str]) -> Request:
    """Raises UsageError."""
    command = None
    try:
        given, words, headers = _take_options(argv)
        if words and words[0] == "-h":
            given["help"] = ""
            words = []
        if words:
            command = _command(words.pop(0))
            _check_fit(command, words, given)
        elif "help" not in given and "version" not in given:
            raise UsageError(f"say what to do: {', '.join(COMMANDS)}")
        return Request(command, words, given, headers)
    except UsageError as error:
        error.command = command
        raise


def _take_options(argv: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """What the options were given, the words, and what the one option was given that there may be many of."""
    given: dict[str, str] = {}
    many: list[str] = []
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word == "--":
            words.extend(rest)
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = OPTIONS.get(name)
            if option is None:
                hint = _did_you_mean(name, OPTIONS, "--")
                raise UsageError(f"there is no option --{name}{hint}; behind -- everything is a word")
            if option.value and not equals:
                following = next(rest, None)
                if following is None:
                    raise UsageError(f"--{name} needs a value: --{name} {option.value}")
                value = following
            elif equals and not option.value:
                raise UsageError(f"--{name} takes no value")
            given[name] = value
            if option.many:
                many.append(value)
        else:
            words.append(word)
    return given, words, many


def _command(name: str) -> Command:
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"there is no command {name!r}{_did_you_mean(name, COMMANDS)}")
    return command


def _check_fit(command: Command, words: Sequence[str], given: Iterable[str]) -> None:
    for name in given:
        only = OPTIONS[name].only
        if only not in ("", command.name):
            raise UsageError(f"--{name} goes with `rob {only}` only")
    if "help" in given or "version" in given:
        return
    if len(words) < len(command.words):
        raise UsageError(f"{command.words[len(words)]} is missing")
    if len(words) > len(command.words) and not command.rest:
        raise UsageError(f"too many words, from {words[len(command.words)]!r} on")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_WAIT:  # NaN too
        raise UsageError(f"--timeout takes seconds, more than 0 and at most {LONGEST_WAIT:.0f}; given {text!r}")
    return seconds


def _header(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--header takes KEY=VALUE; given {text!r}")
    return key, value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise UsageError(f"--count takes a whole number from 1 on; given {text!r}")
    return int(text)


def log_level(text: str, source: str) -> str:
    if text not in LOG_LEVELS:
        hint = _did_you_mean(text, LOG_LEVELS)
        raise UsageError(f"{source} takes one of {', '.join(LOG_LEVELS)}; given {text!r}{hint}")
    return text


def _did_you_mean(given: str, known: Iterable[str], prefix: str = "") -> str:
    import difflib  # only for who mistyped

    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
