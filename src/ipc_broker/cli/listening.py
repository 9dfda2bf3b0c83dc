"""`rob listen`."""

from __future__ import annotations

from time import monotonic

from ..events import Event, Gap
from ..sync import Subscription
from .connecting import checked_address, checked_names, connected, json_line
from .failures import CountNotReached
from .output import write_note, write_result
from .render import render_name, render_text
from .words import Request


def listen(request: Request) -> None:
    """Raises CountNotReached."""
    object_name, topic = checked_names(request)
    with connected(checked_address(request), request) as client:
        try:
            events = client.subscribe(object_name, topic)
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
        write_result(shown(event, as_json=request.json))
        printed += isinstance(event, Event)


def shown(event: Event | Gap, *, as_json: bool) -> str:
    if isinstance(event, Event):
        if as_json:
            return json_line({"object": event.object, "topic": event.topic, "value": event.value})
        return render_text(event.value)
    if as_json:
        return json_line({"object": event.object, "topic": event.topic, "missed": event.missed})
    return f"\nMissed:\n{'an unknown number of events' if event.missed is None else _events(event.missed)}\n"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
