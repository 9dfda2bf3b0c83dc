"""What every command does that speaks to a broker: check the words, connect, tell."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from time import perf_counter

from ..address import resolve_address
from ..errors import NoSuchMethod
from ..messages import MAX_NAME
from ..sync import Client, connect
from .output import write_note
from .render import render_json, render_message
from .words import Request, UsageError

CONNECT_TIMEOUT = 5.0


def checked_names(request: Request) -> tuple[str, str]:
    """The command's two required words as names that can be sent. Raises UsageError."""
    assert request.command is not None
    for what, name in zip(request.command.words, request.names, strict=True):
        check_name(what, name)
    first, second = request.names
    return first, second


def check_name(what: str, name: str) -> None:
    """Raises UsageError where the name, which is called `what`, cannot be sent."""
    if not name:
        raise UsageError(f"{what} is empty")
    if len(name) > MAX_NAME:
        raise UsageError(f"{what} is longer than {MAX_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not valid UTF-8: {name!r}") from None


def checked_address(request: Request) -> str:
    """Raises ConfigError."""
    return str(resolve_address(request.address, os.environ))


def connected(address: str, request: Request) -> closing[Client]:
    """For `with`, which closes at once: what has to be routed before must be drained. Raises ConnectFailed."""
    started = perf_counter()
    client = connect(address, timeout=min(CONNECT_TIMEOUT, request.patience), name="rob")
    if request.log_level is None:
        client.link.tidings.log = partial(note, as_json=request.json)
    if request.log_level in ("trace", "debug"):
        import logging

        milliseconds = (perf_counter() - started) * 1000
        logging.getLogger("ipc_broker").debug("connected to %s in %.1f ms: %s", address, milliseconds, client.broker)
    return closing(client)


def ask_only_ours(client: Client, method: str) -> None:
    """Raises NoSuchMethod where the broker's own object cannot have the method: it is the Rust crate's."""
    if client.broker is None:
        message = f"the broker at {client.address} is the Rust crate's: it does not tell what happens on the bus"
        raise NoSuchMethod(message, object="rob", method=method, delivered="no")


def note(level: str, message: str, *, as_json: bool) -> None:
    """What is not the result but has to be said, as that the broker has gone: a line, or a document, on stderr."""
    write_note(json_line({level: message}).rstrip() if as_json else f"rob: {render_message(message)}")


def json_line(document: object) -> str:
    return render_json(document) + "\n"
