"""stdout for results, stderr for everything else, UTF-8 on both whatever the system thinks."""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper

from .words import LOG_LEVELS


class OutputClosed(Exception):
    """Whoever read stdout reads no more, as `head` does."""


class OutputFailed(Exception):
    """A result could not be written to stdout."""


def use_utf8() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None where a program has no console
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def utf8_words() -> list[str]:
    """The words behind the program's name. Python decodes them as the locale says, which need not be UTF-8."""
    words = sys.argv[1:]
    if sys.getfilesystemencoding() == "utf-8":
        return words
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in words]


def write_result(text: str) -> None:
    """One piece of stdout, out at once. Raises OutputClosed, OutputFailed."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        raise stdout_failed(error) from error


def stdout_failed(error: OSError) -> OutputClosed | OutputFailed:
    """For whoever wrote to stdout, which takes nothing any more."""
    _abandon_stdout()
    # Windows calls a closed pipe an invalid argument.
    if error.errno in (errno.EPIPE, errno.EINVAL):
        return OutputClosed()
    return OutputFailed(f"cannot write the result: {error.strerror or error}")


def write_note(text: str) -> None:
    """One line of stderr. Nobody may be reading it; what is done goes on."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            sys.stderr = None


def _abandon_stdout() -> None:
    """What could not be written is not tried again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def log_to_stderr(level: str) -> None:
    """`level` is one of LOG_LEVELS. On `trace` the libraries underneath log too."""
    import logging

    logging.addLevelName(LOG_LEVELS["trace"], "TRACE")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    own = logging.getLogger("ipc_broker")
    own.setLevel(LOG_LEVELS[level])
    root.setLevel(LOG_LEVELS[level] if level == "trace" else max(LOG_LEVELS[level], logging.WARNING))
