"""`rob wait`: returns when objects are served."""

from __future__ import annotations

from time import monotonic

from ..sync import Client
from .connecting import check_name, checked_address, connected, json_line
from .failures import CountNotReached
from .live_names import suggested_object
from .output import write_result
from .render import render_name
from .words import Request


def wait(request: Request) -> None:
    """Raises CountNotReached."""
    names = list(dict.fromkeys([*request.names, *request.rest]))
    for name in names:
        check_name("OBJECT", name)
    started = monotonic()
    deadline = started + request.patience
    with connected(checked_address(request), request) as client:
        missing: list[str] = []
        for name in names:
            if not _came(client, name, deadline):
                missing.append(name)
            elif request.json:
                write_result(json_line({"object": name, "seconds": round(monotonic() - started, 3)}))
            else:
                write_result(f"{render_name(name)} is served\n")
        if missing:
            raise CountNotReached(_told(client, missing, request.patience))


def _came(client: Client, name: str, deadline: float) -> bool:
    """When the time is over it counts whether it is there at that moment."""
    try:
        client.wait_for(name, max(deadline - monotonic(), 0.0))
    except TimeoutError:
        return False
    return True


def _told(client: Client, missing: list[str], seconds: float) -> str:
    names = ", ".join(f"'{name}'" for name in missing)
    near = suggested_object(client, missing[0]) if len(missing) == 1 else ""
    return f"nobody served {names} within {seconds:g} s{f'; did you mean {near}?' if near else ''}"
