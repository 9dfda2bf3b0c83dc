from __future__ import annotations

from typing import get_args

import pytest

from ipc_broker.cli.words import COMMANDS, LOG_LEVELS, OPTIONS, Request, UsageError, read_words
from ipc_broker.config import LogLevel


def read(line: str) -> Request:
    return read_words(line.split())


def error_of(*argv: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_words(argv)
    return caught.value


def test_a_command_its_names_and_the_rest() -> None:
    request = read("call math add {ii} a 10 b 32")
    assert request.command is COMMANDS["call"]
    assert request.names == ["math", "add"]
    assert request.rest == ["{ii}", "a", "10", "b", "32"]
    assert (request.json, request.address, request.timeout, request.count) == (False, None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "--json --timeout 2.5 --address /x.sock call math add a=1",
        "call --json math --timeout=2.5 add --address=/x.sock a=1",
        "call math add a=1 --address /x.sock --timeout 2.5 --json",
    ],
)
def test_options_stand_anywhere(line: str) -> None:
    request = read(line)
    assert (request.json, request.timeout, request.address) == (True, 2.5, "/x.sock")
    assert (request.names, request.rest) == (["math", "add"], ["a=1"])


@pytest.mark.parametrize("word", ["-5", "-1.5e3", "-", "-x", "", "@file", "{i", "a=--json"])
def test_what_begins_with_no_two_dashes_is_a_word(word: str) -> None:
    assert read_words(["call", "math", "add", "s", word]).rest == ["s", word]


def test_after_two_dashes_everything_is_a_word() -> None:
    request = read("send log line --json s -- --timeout")
    assert (request.rest, request.json) == (["s", "--timeout"], True)
    assert read("-- list").command is COMMANDS["list"]


def test_the_last_of_two_equal_options_counts() -> None:
    assert read("list --timeout 1 --timeout 2").timeout == 2.0


def test_some_options_go_with_some_commands_only() -> None:
    assert read("listen sensor temperature --count 3").count == 3
    assert str(error_of("call", "math", "add", "--count", "3")) == (
        "--count goes with `rob listen`, `rob monitor`, `rob top`, `rob record` only"
    )
    assert str(error_of("list", "--speed", "3")) == "--speed goes with `rob replay` only"


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast", ""])
def test_a_speed_is_a_number_above_zero(speed: str) -> None:
    assert read("replay tape --speed 0.5").speed == 0.5
    assert "--speed takes a number above 0" in str(error_of("replay", "tape", "--speed", speed))


@pytest.mark.parametrize("line", ["--help", "-h", "call --help", "call math --help", "listen a b c d --help"])
def test_help_needs_no_complete_line(line: str) -> None:
    assert read(line).help


def test_version() -> None:
    assert read("--version").version
    assert read("call --version").version


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "", "86401"])
def test_a_timeout_is_some_seconds(seconds: str) -> None:
    message = str(error_of("list", "--timeout", seconds))
    assert "--timeout" in message
    assert repr(seconds) in message


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", "", "1" * 30, "²"])
def test_a_count_is_a_whole_number(count: str) -> None:
    assert "--count" in str(error_of("listen", "a", "b", "--count", count))


def test_log_levels_are_those_of_the_broker() -> None:
    assert tuple(LOG_LEVELS) == get_args(LogLevel)
    assert read("list --log-level trace").log_level == "trace"
    assert "did you mean debug?" in str(error_of("list", "--log-level", "debg"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], f"say what to do: {', '.join(COMMANDS)}"),
        (["lisen", "a", "b"], "there is no command 'lisen'; did you mean listen?"),
        (["frobnicate"], "there is no command 'frobnicate'"),
        (["call"], "OBJECT is missing"),
        (["call", "math"], "METHOD is missing"),
        (["send", "sensor"], "TOPIC is missing"),
        (["listen", "sensor", "a", "b"], "too many words, from 'b' on"),
        (["ping", "now"], "too many words, from 'now' on"),
        (["list", "--jsn"], "there is no option --jsn; did you mean --json?; behind -- everything is a word"),
        (["list", "--json=yes"], "--json takes no value"),
        (["list", "--timeout"], "--timeout needs a value: --timeout SECONDS"),
    ],
)
def test_wrong_usage_is_named(argv: list[str], expected: str) -> None:
    assert str(error_of(*argv)) == expected


def test_an_error_knows_its_command() -> None:
    assert error_of("listen", "sensor").command is COMMANDS["listen"]
    assert error_of("lisen").command is None


def test_the_tables_name_each_other() -> None:
    assert {name for option in OPTIONS.values() for name in option.only} <= COMMANDS.keys()
    assert OPTIONS["count"] in COMMANDS["listen"].options
    assert OPTIONS["count"] not in COMMANDS["call"].options
    assert COMMANDS["call"].usage == "rob call OBJECT METHOD [SIGNATURE] [ARGS...]"
    assert COMMANDS["ping"].usage == "rob ping"
