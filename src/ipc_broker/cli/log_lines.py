"""The broker's log, on stderr: as text for people, or as one JSON object a line; with priorities where journald reads it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from msgspec.json import encode

from ..config import LogFormat
from .render import render_line
from .words import LOG_LEVELS

TEXT = "%(asctime)s %(levelname)-7s %(message)s"

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
"""Of syslog, for levels from there on; below is 7, debugging."""


class TextLines(logging.Formatter):
    """A message is one line, whatever names it tells: a peer chooses its own, and could write lines of ours with them."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = render_line(record.message)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """`level`, `message`, `logger` and `time` (RFC 3339, in UTC); with an exception also `exception`, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": record.levelname.lower(),
            # A file's name may have bytes that are no text.
            "message": record.getMessage().encode(errors="backslashreplace").decode(),
            "logger": record.name,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return encode(line).decode()


class WithPriority(logging.Formatter):
    """What another formatter makes of it, each line with the prefix by which journald knows how bad it is."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))


def formatter_for(style: LogFormat, *, to_journal: bool) -> logging.Formatter:
    formatter = JsonLines() if style == "json" else TextLines()
    return WithPriority(formatter) if to_journal else formatter


def is_journal(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether the stream is the one that systemd has connected to its journal (JOURNAL_STREAM): it may lead elsewhere by now."""
    told = environ.get("JOURNAL_STREAM", "")
    if stream is None or not told:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


def log_to_stderr(level: str, style: LogFormat) -> None:
    """`level` is one of LOG_LEVELS. On `trace` the libraries underneath log too."""
    logging.addLevelName(LOG_LEVELS["trace"], "TRACE")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter_for(style, to_journal=is_journal(sys.stderr, os.environ)))
    root = logging.getLogger()
    root.addHandler(handler)
    own = logging.getLogger("ipc_broker")
    own.setLevel(LOG_LEVELS[level])
    root.setLevel(LOG_LEVELS[level] if level == "trace" else max(LOG_LEVELS[level], logging.WARNING))
