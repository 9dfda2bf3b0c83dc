"""`rob describe` and `rob stubs`: what an object offers, for people and as Python."""

from __future__ import annotations

from msgspec import to_builtins
from msgspec.structs import replace

from ..description import ObjectDescription
from ..errors import IPCError, NoSuchObject
from ..sync import Client
from .connecting import check_name, checked_address, connected, json_line
from .live_names import method_in, with_suggestion
from .output import write_result
from .words import Request, UsageError

WIDEST = 100
"""Cells of a line of code where nobody says how many there are."""


def describe(request: Request) -> None:
    from .description_lines import object_lines
    from .terminal import Terminal

    if len(request.rest) > 1:
        raise UsageError(f"too many words, from {request.rest[1]!r} on")
    object_name, method = request.names[0], next(iter(request.rest), "")
    check_name("OBJECT", object_name)
    with connected(checked_address(request), request) as client:
        description = _described(client, object_name, request)
    if method and description.interface is not None:
        one = method_in(description.interface, object_name, method)
        if request.json:
            interface = replace(description.interface, methods={method: one})
            description = replace(description, interface=interface)
    elif method:
        raise IPCError(_opaque(object_name))
    if request.json:
        write_result(json_line(to_builtins(description)))
        return
    terminal = Terminal()
    lines = object_lines(description, method, min(terminal.width or WIDEST, WIDEST))
    write_result("".join(map(terminal.shown, lines)))


def stubs(request: Request) -> None:
    from .stubs import stubs_of

    object_name = request.names[0]
    check_name("OBJECT", object_name)
    with connected(checked_address(request), request) as client:
        interface = _described(client, object_name, request).interface
    if interface is None:
        raise IPCError(_opaque(object_name))
    source, name = stubs_of(object_name, interface, blocking=request.blocking)
    write_result(json_line({"object": object_name, "class": name, "source": source}) if request.json else source)


def _described(client: Client, object_name: str, request: Request) -> ObjectDescription:
    try:
        return client.describe(object_name, timeout=request.patience)
    except NoSuchObject as error:
        raise with_suggestion(client, error, object_name) from error.__cause__


def _opaque(object_name: str) -> str:
    return (
        f"nobody can tell what '{object_name}' offers: it is opaque, its worker tells nothing of its methods, "
        "as those of the Rust crate and a SharedObject do"
    )
