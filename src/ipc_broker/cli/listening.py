"""`rob listen`."""

from __future__ import annotations

from time import monotonic

from ..events import Event, Gap
from ..sync import Subscription
from .connecting import checked_address, checked_names, connected, json_line
from .failures import CountNotReached
from .output import write_note, write_result
from .render import render_name, render_tree
from .words import Request


def listen(request: Request) -> None:
    """Raises CountNotReached."""
    object_name, topic = checked_names(request)
    with connected(checked_address(request), request) as client:
        try:
            events = client.subscribe(object_name, topic, group=request.group)
            if request.json:
                write_note(json_line({"listening": {"object": object_name, "topic": topic}}).rstrip())
            else:
                how = "Ctrl-C ends" if request.count is None else f"{_events(request.count)}, or Ctrl-C, ends"
                write_note(f"listening to {render_name(object_name)} {render_name(topic)}; {how}")
            _print_events(events, request)
        except KeyboardInterrupt:
            return


def _print_events(events: Subscription, request: Request) -> None:
    deadline = None if request.timeout is None else monotonic() + request.timeout
    printed = 0
    named = any(wild in name for name in request.names for wild in ("*", ">"))
    while request.count is None or printed < request.count:
        remaining = None if deadline is None else deadline - monotonic()
        try:
            if remaining is not None and remaining <= 0:
                raise TimeoutError
            event = events.get(remaining)
        except TimeoutError:
            if request.count is None:
                return
            raise CountNotReached(f"{printed} of {_events(request.count)} came within {request.timeout:g} s") from None
        write_result(shown(event, as_json=request.json, named=named))
        printed += isinstance(event, Event)


def shown(event: Event | Gap, *, as_json: bool, named: bool = False) -> str:
    """`named` says where it comes from too: with wildcards nobody else does."""
    if as_json:
        about: dict[str, object] = {"object": event.object, "topic": event.topic}
        if isinstance(event, Gap):
            return json_line(about | {"missed": event.missed})
        return json_line(about | {"value": event.value} | ({"retained": True} if event.retained else {}))
    where = f" {render_name(event.object)} {render_name(event.topic)}" if named else ""
    if isinstance(event, Gap):
        return f"\nMissed{where}:\n{'an unknown number of events' if event.missed is None else _events(event.missed)}\n"
    kept = " (retained)" if event.retained else ""
    return f"\nResult{where}{kept}:\n{render_tree(event.value)}\n"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
