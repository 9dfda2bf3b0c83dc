"""What went wrong, told on stderr and by the exit status: the one place where `rob` turns errors into words."""

from __future__ import annotations

from ..errors import CallError, ConfigError, ConnectFailed, InvalidArgs, IPCError, RemoteError, UntrustedBroker
from .output import OutputFailed, write_note
from .words import Command, UsageError

FAILED, WRONG_USAGE, NO_BROKER = 1, 2, 3


class CannotLoad(Exception):
    """What `rob serve` was to serve could not be had; the message says why, and where in its code if it is there."""


class NoRecording(Exception):
    """The file is none that `rob record` has written; the message has its name and the line."""


class CountNotReached(Exception):
    """Fewer came in time than were asked for."""


def report(error: Exception, command: Command | None, *, as_json: bool) -> int | None:
    """Gives the exit status; None, and tells nothing, for an error that nobody foresaw.

    `command` is what was asked for, None when that is not known.
    """
    match error:
        case UsageError():
            code, status = "usage", WRONG_USAGE
        case CannotLoad():
            code, status = "cannot_load", WRONG_USAGE
        case NoRecording():
            code, status = "no_recording", WRONG_USAGE
        case ConfigError():
            code, status = "config", WRONG_USAGE
        case ConnectFailed():
            code, status = "connect_failed", NO_BROKER
        case UntrustedBroker():
            code, status = "untrusted_broker", NO_BROKER
        case CallError():
            code, status = error.code, FAILED
        case TimeoutError() | CountNotReached():
            code, status = "timeout", FAILED
        case OutputFailed():
            code, status = "output", FAILED
        case IPCError():
            code, status = "error", FAILED
        case _:
            return None
    if as_json:
        from .render import render_json

        write_note(render_json({"code": code, "message": str(error), **_details(error)}))
    else:
        from .render import render_line, render_message

        write_note(f"rob: {render_message(_line(error))}")
        if isinstance(error, UsageError):
            write_note(f"usage: {render_line(error.usage)}" if error.usage else _usage(command))
    return status


def _line(error: Exception) -> str:
    if isinstance(error, RemoteError) and error.type:
        return f"{error.object}.{error.method} raised {error.type}: {error} ({error.code})"
    if isinstance(error, InvalidArgs) and error.delivered == "yes" and error.method:
        return f"{error.object}.{error.method}: {error} ({error.code})"
    return f"{error} ({error.code})" if isinstance(error, CallError) else str(error)


def _details(error: Exception) -> dict[str, object]:
    if isinstance(error, UsageError) and error.usage:
        return {"usage": error.usage}
    if not isinstance(error, CallError):
        return {}
    details = {"object": error.object, "method": error.method, "data": error.data, "delivered": error.delivered}
    return details | {"type": error.type} if isinstance(error, RemoteError) else details


def _usage(command: Command | None) -> str:
    if command is None:
        return "usage: rob COMMAND [WORDS...] [OPTIONS]; `rob --help` says more"
    return f"usage: {command.usage} [OPTIONS]; `rob {command.name} --help` says more"
