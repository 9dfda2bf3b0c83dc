"""`rob`: reads the words and runs the command.

A command is imported when it is asked for, since the start-up of `rob call` is counted in milliseconds.
"""

from __future__ import annotations

import os
import sys

from .output import OutputClosed, log_to_stderr, use_utf8, utf8_words, write_result
from .words import Request, UsageError, log_level, read_words

TYPE_CHECKING = False  # `typing` is not imported for the same reason
if TYPE_CHECKING:
    from typing import Any

DONE, INTERRUPTED = 0, 130


def main() -> int:
    """Gives the exit status."""
    use_utf8()
    argv = utf8_words()
    command = None
    try:
        if argv[:1] == ["__complete"]:
            return _complete(argv[1:])
        request = read_words(argv)
        command = request.command
        return _run(request)
    except OutputClosed:
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        _import_msgspec()
        from .failures import report

        if isinstance(error, UsageError):
            command = command or error.command
        status = report(error, command, as_json="--json" in argv)
        if status is None:
            raise
        return status


def _run(request: Request) -> int:
    command = request.command
    if request.version:
        from ..version import VERSION

        write_result(f"rob {VERSION}\n")
        return DONE
    if request.help or command is None:
        from .help import help_text

        write_result(help_text(command))
        return DONE
    _start_logging(request)
    if command.name == "demo":
        from .demo import run_demo

        return run_demo(request)
    if command.name == "serve":  # with whatever the classes it serves need
        from .serving import serve

        serve(request)
        return DONE
    _import_msgspec()
    match command.name:
        case "monitor":
            from .monitoring import monitor as run
        case "top":
            from .top import top as run
        case "why":
            from .why import why as run
        case "record":
            from .capturing import record as run
        case "replay":
            from .replaying import replay as run
        case "mock":
            from .mocking import mock as run
        case "bench":
            from .bench import bench as run
        case "tree":
            from .trees import tree as run
        case "describe":
            from .describing import describe as run
        case "stubs":
            from .describing import stubs as run
        case "wait":
            from .awaiting import wait as run
        case "completion":
            from .completion import completion as run
        case "call":
            from .calling import call as run
        case "send":
            from .calling import send as run
        case "listen":
            from .listening import listen as run
        case "services":
            from .services import services as run
        case "start":
            from .services import start as run
        case "stop":
            from .services import stop as run
        case "list":
            from .calling import list_objects as run
        case "ping":
            from .calling import ping as run
        case _:
            raise AssertionError(f"the command {command.name!r} is in the table only")
    run(request)
    return DONE


def _complete(words: list[str]) -> int:
    """For the scripts of `rob completion`."""
    _import_msgspec()
    from .completion import complete

    return complete(words)


def _import_msgspec() -> None:
    """Imports msgspec without typing_extensions, which takes a third of the time and which `rob` does not need.

    msgspec uses it where it is installed and `typing` otherwise. Not for commands that load other people's classes,
    since their type hints may come from typing_extensions.
    """
    modules: dict[str, Any] = sys.modules
    if "typing_extensions" not in modules:
        modules["typing_extensions"] = None  # means: not installed
        try:
            import msgspec  # noqa: F401
        finally:
            del modules["typing_extensions"]


def _start_logging(request: Request) -> None:
    variable = os.environ.get("BROKER_DEBUG")
    if request.log_level is None and variable:
        request.log_level = log_level(variable, "BROKER_DEBUG in the environment")
    if request.log_level is not None:
        log_to_stderr(request.log_level)


if __name__ == "__main__":
    sys.exit(main())
