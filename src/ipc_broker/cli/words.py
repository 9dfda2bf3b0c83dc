"""What can be typed after `rob`, and how it is read.

The two tables say it once: reading and help both come from them. Nothing is imported here that takes long, since the
start-up of a call is counted in milliseconds.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported for the same reason
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOG_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}
"""The words for a log level, and what they are for `logging`."""

DEFAULT_TIMEOUT = 30.0
LONGEST_WAIT = 86_400.0
"""Seconds: a day."""


class Option:
    """`--NAME VALUE`, or a flag when `value` is empty. `only` are the commands that it goes with, none stands for all.

    Of several the last counts, unless there may be `many`.
    """

    __slots__ = ("help", "many", "name", "only", "value")

    def __init__(self, name: str, value: str, help: str, *, only: tuple[str, ...] = (), many: bool = False) -> None:
        self.name = name
        self.value = value
        self.help = help
        self.only = only
        self.many = many


class Command:
    """`words` must be given, in this order, and the options of `needs`; `rest` says what may follow, "" for nothing.

    `help` is a few words; what there is to say besides stands in `details.py`.
    """

    __slots__ = ("help", "name", "needs", "rest", "words")

    def __init__(self, name: str, words: tuple[str, ...], rest: str, help: str, *, needs: str = "") -> None:
        self.name = name
        self.words = words
        self.rest = rest
        self.help = help
        self.needs = needs

    @property
    def usage(self) -> str:
        return " ".join(word for word in ("rob", self.name, *self.words, self.needs, self.rest) if word)

    @property
    def options(self) -> list[Option]:
        return [option for option in OPTIONS.values() if not option.only or self.name in option.only]


_CALL_ARGUMENTS = "[SIGNATURE] [ARGS...]"

COMMANDS = {
    command.name: command
    for command in (
        Command("call", ("OBJECT", "METHOD"), _CALL_ARGUMENTS, "call a method and print what it returns or streams"),
        Command("send", ("OBJECT", "TOPIC"), _CALL_ARGUMENTS, "publish an event; ends once the broker has it"),
        Command("listen", ("OBJECT", "TOPIC"), "", "print events as they come"),
        Command("list", (), "", "print the names of all objects"),
        Command("tree", (), "[OBJECT...]", "see all objects with their methods and topics"),
        Command("describe", ("OBJECT",), "[METHOD]", "see who serves an object, and what its methods take and give"),
        Command("stubs", ("OBJECT",), "", "write the Python class that types calls of an object"),
        Command("wait", ("OBJECT",), "[OBJECT...]", "wait until somebody serves the objects"),
        Command("monitor", (), "[OBJECT [METHOD]]", "watch calls, answers and events as they happen"),
        Command("top", (), "", "see who does how much, second by second"),
        Command("why", (), "", "find out what is stuck, who is slow and who has gone"),
        Command("serve", ("TARGET",), "", "serve package.module:Class to all others", needs="--name NAME"),
        Command("record", ("FILE",), "[OBJECT [METHOD]]", "write calls, answers and events into a file"),
        Command("replay", ("FILE",), "", "publish the events of a recording again"),
        Command("mock", ("FILE",), "", "answer calls as they were answered in a recording"),
        Command("services", (), "", "see what is started on demand, and what has become of it"),
        Command("start", ("OBJECT",), "", "start the service of an object without calling it"),
        Command("stop", ("OBJECT",), "", "stop the service of an object, until it is called again"),
        Command("ping", (), "", "measure a round trip to the broker"),
        Command("bench", (), "", "measure how fast the broker is on this machine"),
        Command("completion", ("SHELL",), "", "print what makes bash, zsh or fish complete rob's words"),
        Command("demo", (), "", "watch a broker, a worker, a call and an event"),
    )
}

OPTIONS = {
    option.name: option
    for option in (
        Option("address", "ADDRESS", "where the broker listens (default: BROKER_ADDR, else the usual socket or pipe)"),
        Option("json", "", "print one JSON document a line, and errors as JSON"),
        Option(
            "timeout",
            "SECONDS",
            f"how long it may take (default: {DEFAULT_TIMEOUT:g}; until Ctrl-C where that ends it)",
        ),
        Option("stream", "", "expect a stream, for as long as it goes on; Ctrl-C ends it", only=("call",)),
        Option("header", "KEY=VALUE", "send this along; may be given several times", only=("call",), many=True),
        Option("blocking", "", "for the blocking client: def instead of async def", only=("stubs",)),
        Option("retain", "", "keep the value for those who subscribe later", only=("send",)),
        Option("count", "N", "end after N of what is printed", only=("listen", "monitor", "top", "record")),
        Option("group", "NAME", "share the events: of a group's members one gets each", only=("listen",)),
        Option("only", "KINDS", "calls or events only, ...: some kinds, with commas between them", only=("monitor",)),
        Option("full", "", "show payloads whole, however long they are", only=("monitor",)),
        Option("all", "", "show all that happens, not only 1,000 a second", only=("monitor",)),
        Option("interval", "SECONDS", "how long each measurement takes (default: 1)", only=("top", "bench")),
        Option("name", "NAME", "the name to serve the object under", only=("serve",)),
        Option("mode", "MODE", "exclusive, shared or standby (default: exclusive)", only=("serve",)),
        Option("concurrency", "N", "take at most N calls at once", only=("serve",)),
        Option("reload", "", "serve it anew when its sources change", only=("serve",)),
        Option("speed", "X", "play X times as fast (default: 1)", only=("replay",)),
        Option("delay", "", "let answers take as long as they took", only=("mock",)),
        Option("log-level", "LEVEL", f"{', '.join(LOG_LEVELS)} (default: BROKER_DEBUG, else warn)"),
        Option("version", "", "print the version"),
        Option("help", "", "print this help"),
    )
}


class UsageError(Exception):
    """What was typed makes no sense. The message says where, what was expected and what was given; it may span lines.

    `command` is the command it was about, None when that is not known (or not yet). `usage` is what to show of it
    instead of how it is used.
    """

    command: Command | None = None
    usage: str = ""


class Request:
    """One command line, read and checked. `command` is None only with `help` or `version`.

    `rest` holds the words behind the required ones; `timeout` is in seconds, None when nothing was said.
    """

    __slots__ = (
        "address",
        "all",
        "blocking",
        "command",
        "concurrency",
        "count",
        "delay",
        "full",
        "group",
        "headers",
        "help",
        "interval",
        "json",
        "log_level",
        "mode",
        "name",
        "names",
        "only",
        "reload",
        "rest",
        "retain",
        "speed",
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
        self.blocking = "blocking" in given
        self.full = "full" in given
        self.all = "all" in given
        self.only = given.get("only", "")
        self.name = given.get("name", "")
        self.mode = given.get("mode", "")
        self.reload = "reload" in given
        self.delay = "delay" in given
        self.timeout = _seconds(given, "timeout")
        self.interval = _seconds(given, "interval")
        self.speed = _factor(given["speed"]) if "speed" in given else None
        self.count = _count(given, "count")
        self.concurrency = _count(given, "concurrency")
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
                hint = did_you_mean(name, OPTIONS, "--")
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
        raise UsageError(f"there is no command {name!r}{did_you_mean(name, COMMANDS)}")
    return command


def _check_fit(command: Command, words: Sequence[str], given: Iterable[str]) -> None:
    for name in given:
        only = OPTIONS[name].only
        if only and command.name not in only:
            raise UsageError(f"--{name} goes with {', '.join(f'`rob {one}`' for one in only)} only")
    if "help" in given or "version" in given:
        return
    if len(words) < len(command.words):
        raise UsageError(f"{command.words[len(words)]} is missing")
    if len(words) > len(command.words) and not command.rest:
        raise UsageError(f"too many words, from {words[len(command.words)]!r} on")


def _seconds(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        seconds = float(given[name])
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_WAIT:  # NaN too
        raise UsageError(f"--{name} takes seconds, more than 0 and at most {LONGEST_WAIT:.0f}; given {given[name]!r}")
    return seconds


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if not 0 < factor < 1e9:
        raise UsageError(f"--speed takes a number above 0, as 0.5 or 10; given {text!r}")
    return factor


def _header(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--header takes KEY=VALUE; given {text!r}")
    return key, value


def _count(given: Mapping[str, str], name: str) -> int | None:
    if name not in given:
        return None
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise UsageError(f"--{name} takes a whole number from 1 on; given {text!r}")
    return int(text)


def log_level(text: str, source: str) -> str:
    if text not in LOG_LEVELS:
        hint = did_you_mean(text, LOG_LEVELS)
        raise UsageError(f"{source} takes one of {', '.join(LOG_LEVELS)}; given {text!r}{hint}")
    return text


def did_you_mean(given: str, known: Iterable[str], prefix: str = "") -> str:
    near = closest(given, known)
    return f"; did you mean {prefix}{near}?" if near else ""


def closest(given: str, known: Iterable[str]) -> str:
    """The one that was probably meant, "" for none."""
    import difflib  # only for who mistyped

    return next(iter(difflib.get_close_matches(given, list(known), n=1)), "")
