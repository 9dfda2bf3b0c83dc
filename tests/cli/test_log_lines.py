"""The broker's log as text, as JSON, and as journald reads it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from ipc_broker.cli.log_lines import formatter_for, is_journal
from ipc_broker.config import LogFormat


def record(level: int = logging.INFO, message: str = "listens on %s", *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("ipc_broker", level, "broker.py", 1, message, arguments, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def test_json_is_one_object_a_line() -> None:
    line = formatter_for("json", to_journal=False).format(record(logging.WARNING, "two\nlines of %s", "é"))
    assert json.loads(line) == {
        "level": "warning",
        "message": "two\nlines of é",
        "logger": "ipc_broker",
        "time": "2023-11-14T22:13:20.250+00:00",
    }
    assert "\n" not in line


def test_json_has_the_traceback_of_an_exception() -> None:
    line = formatter_for("json", to_journal=False).format(failed("it failed"))
    assert json.loads(line)["exception"].endswith("ValueError: no disk")
    assert "\n" not in line


def test_text_is_as_ever() -> None:
    line = formatter_for("text", to_journal=False).format(record(logging.INFO, "listens"))
    assert line.endswith(" INFO    listens")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    ("level", "prefix"),
    [(5, "<7>"), (10, "<7>"), (20, "<6>"), (30, "<4>"), (40, "<3>"), (50, "<2>")],
)
def test_the_journal_is_told_how_bad_it_is(style: LogFormat, level: int, prefix: str) -> None:
    inner = formatter_for(style, to_journal=False).format(record(level))
    assert formatter_for(style, to_journal=True).format(record(level)) == prefix + inner


def failed(message: str) -> logging.LogRecord:
    made = record(logging.ERROR, message)
    try:
        raise ValueError("no disk")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_each_line_of_a_traceback_is_told_to_the_journal() -> None:
    lines = formatter_for("text", to_journal=True).format(failed("it failed")).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


@pytest.mark.parametrize("to_journal", [False, True])
@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("char", ["\n", "\r", "\x1b", "\x85", "\u2028", "\udcff"])
def test_a_name_writes_no_lines_of_ours(style: LogFormat, char: str, to_journal: bool) -> None:
    lines = formatter_for(style, to_journal=to_journal).format(record(logging.INFO, "serves %s", f"x{char}2026 ERROR"))
    assert len(lines.split("\n")) == 1
    assert lines.encode().decode().count("<6>") == to_journal
    if style == "text":
        assert lines.isprintable()
    else:
        assert json.loads(lines.removeprefix("<6>"))["message"].endswith("2026 ERROR")


def test_the_journal_is_where_systemd_says(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = (tmp_path / "log").stat()
        assert is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}), "it is closed"
    assert not is_journal(None, {"JOURNAL_STREAM": "1:1"})
