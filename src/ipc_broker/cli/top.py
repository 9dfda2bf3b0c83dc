"""`rob top`: who does how much, second by second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf
from time import monotonic, sleep

from msgspec.structs import asdict
from rich.live import Live
from rich.text import Text

from ..errors import ConnectionLost, DeadlineExceeded
from ..observation import Measurement
from ..sync import Client
from .connecting import ask_only_ours, checked_address, connected, json_line
from .failures import CountNotReached
from .output import write_result
from .quantities import counted
from .rates import ObjectRates, Rates, rates_between
from .render import render_line
from .tables import screen
from .terminal import ANY_WIDTH, Terminal
from .words import Request

INTERVAL = 1.0
"""Seconds."""

LEAST = 0.1
"""Seconds for a measurement at the very end of the time."""

REMEMBERED = 20
"""Intervals that each object's bars are for."""


def top(request: Request) -> None:
    """Until Ctrl-C, the timeout, or until so many intervals are over. Raises CountNotReached."""
    address = checked_address(request)
    interval = request.interval or INTERVAL
    with connected(address, request) as client:
        ask_only_ours(client, "measure")
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
                console.print(screen(_title(client), measurement, rates, ANY_WIDTH, None, {}))
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
            room = console.width, console.height - 1
            live.update(screen(_title(client), measurement, rates, *room, history), refresh=True)


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
    end = due + request.timeout if request.timeout is not None else inf
    given = 0
    while due <= end:
        sleep(max(due - monotonic(), 0.0))
        try:
            left = None if end == inf else max(end - monotonic(), LEAST)
            after = client.call("rob", "measure", timeout=left, returns=Measurement)
        except ConnectionLost:
            before = None
            continue  # the next call waits for the next connection
        except DeadlineExceeded:  # for want of a connection
            break
        if before is not None and (rates := rates_between(before, after)) is not None:
            yield after, rates
            given += 1
            if given == request.count:
                return
        before = after
        due = max(due + interval, monotonic())
    if request.count is not None:
        message = f"{given} of {counted(request.count, 'interval')} were over within {request.timeout:g} s"
        raise CountNotReached(message)


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
