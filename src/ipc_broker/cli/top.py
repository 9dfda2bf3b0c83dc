"""`rob top`: who does how much, second by second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, sleep

from msgspec.structs import asdict
from rich.live import Live
from rich.text import Text

from ..errors import ConnectionLost
from ..observation import Measurement
from ..sync import Client
from .connecting import checked_address, connected, json_line
from .output import write_result
from .rates import ObjectRates, Rates, rates_between
from .render import render_line
from .tables import screen
from .terminal import Terminal
from .words import Request

INTERVAL = 1.0
"""Seconds."""

REMEMBERED = 20
"""Intervals that each object's bars are for."""


def top(request: Request) -> None:
    """Until Ctrl-C, or until so many intervals are over."""
    address = checked_address(request)
    interval = request.interval or INTERVAL
    with connected(address, request) as client:
        try:
            if request.json:
                for measurement, rates in _intervals(client, request, interval):
                    write_result(json_line(_document(measurement, rates)))
            else:
                _show(client, request, interval)
        except KeyboardInterrupt:
            return


def _show(client: Client, request: Request, interval: float) -> None:
    terminal = Terminal()
    console = terminal.console
    if not terminal.is_terminal:
        for measurement, rates in _intervals(client, request, interval):
            with console.capture() as captured:
                console.print(screen(_title(client), measurement, rates, None, {}))
            write_result("\n".join(line.rstrip() for line in captured.get().split("\n")) + "\n")
        return
    waiting = Text(f"{_title(client)}\nmeasuring for {interval:g} s; Ctrl-C ends", "dim")
    # With a count, what was shown last stays.
    with Live(waiting, console=console, screen=request.count is None, auto_refresh=False) as live:
        live.refresh()

        def note(level: str, message: str) -> None:
            live.update(Text(render_line(message), "bold yellow"), refresh=True)

        client.link.tidings.log = note
        history: dict[str, deque[float]] = {}
        for measurement, rates in _intervals(client, request, interval):
            _remember(rates, history)
            live.update(screen(_title(client), measurement, rates, console.height - 1, history), refresh=True)


def _remember(rates: Rates, history: dict[str, deque[float]]) -> None:
    did = {one.object: one.calls + one.events for one in rates.objects}
    for name in history.keys() - did.keys():
        del history[name]
    for name, value in did.items():
        history.setdefault(name, deque(maxlen=REMEMBERED)).append(value)


def _intervals(client: Client, request: Request, interval: float) -> Iterator[tuple[Measurement, Rates]]:
    """A measurement for each interval, and what has happened in it. A broker that comes back is measured anew."""
    before: Measurement | None = None
    due = monotonic()
    given = 0
    while request.count is None or given < request.count:
        try:
            after = client.call("rob", "measure", timeout=None, returns=Measurement)
        except ConnectionLost:
            before = None
            continue  # the next call waits for the next connection
        rates = None if before is None else rates_between(before, after)
        if rates is not None:
            yield after, rates
            given += 1
            if given == request.count:
                return
        before = after
        due = max(due + interval, monotonic())
        sleep(max(due - monotonic(), 0.0))


def _title(client: Client) -> str:
    broker = client.broker
    version = f"ipc-broker {broker.version} (process {broker.pid})" if broker is not None else "the broker"
    return f"{version} at {client.address}"


def _document(measurement: Measurement, rates: Rates) -> dict[str, object]:
    """Rates are numbers a second, to three decimals; latencies are seconds."""
    return {
        "time": measurement.time,
        "seconds": round(rates.seconds, 6),
        "calls_per_second": round(rates.calls, 3),
        "errors_per_second": round(rates.errors, 3),
        "published_per_second": round(rates.published, 3),
        "delivered_per_second": round(rates.delivered, 3),
        "dropped": rates.dropped,
        "calls_in_flight": measurement.calls_in_flight,
        "objects_total": measurement.objects_total,
        "connections_total": measurement.connections_total,
        "objects": list(map(_object_document, rates.objects)),
        "connections": list(map(asdict, measurement.connections)),
        "behind": list(map(asdict, measurement.behind)),
    }


def _object_document(rates: ObjectRates) -> dict[str, object]:
    return {
        "object": rates.object,
        **{f"{name}_per_second": round(getattr(rates, name), 3) for name in ("calls", "errors", "events")},
        "p50": None if rates.p50 is None else round(rates.p50, 9),
        "p99": None if rates.p99 is None else round(rates.p99, 9),
        "in_flight": rates.in_flight,
        "waiting": rates.waiting,
    }
