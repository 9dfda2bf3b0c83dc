"""What `rob top` shows: tables of objects, connections and slow subscribers under a line of totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..observation import ConnectionState, Measurement, SubscriptionState
from .quantities import age, counted, duration, rate, size
from .rates import ObjectRates, Rates
from .render import render_line, render_name

History = Mapping[str, Sequence[float]]
"""By object, how much it did in the last intervals."""

_NONE = Text("-", "dim")
_BARS = "▁▂▃▄▅▆▇█"


def screen(title: str, measurement: Measurement, rates: Rates, height: int | None, history: History) -> Group:
    """`height` is how many lines there are, None for any number; what does not fit is counted."""
    behind = measurement.behind
    parts: list[RenderableType] = [*totals(title, measurement, rates)]
    # Of the lines below the totals and the tables' heads, those who are slow get theirs first.
    room = None if height is None else max(height - 2 - 3 - 3 - (3 if behind else 0), 3)
    slow_lines = len(behind) if room is None else min(len(behind), max(room // 3, 1))
    if room is not None:
        room -= slow_lines
    wished = len(measurement.connections)
    object_lines = len(rates.objects) if room is None else min(len(rates.objects), max(room // 2, room - wished))
    connection_lines = wished if room is None else min(wished, room - object_lines)
    parts += [Text(), objects_table(rates.objects[:object_lines], history)]
    parts += _rest(len(rates.objects), object_lines, "object")
    parts += [Text(), connections_table(measurement.connections[:connection_lines])]
    parts += _rest(measurement.connections_total, connection_lines, "connection")
    if behind:
        parts += [Text(), behind_table(behind[:slow_lines])]
        parts += _rest(len(behind), slow_lines, "slow subscriber")
    return Group(*parts)


def _rest(total: int, shown: int, what: str) -> list[RenderableType]:
    return [Text(f"and {counted(total - shown, f'more {what}')}", "dim")] if total > shown else []


def totals(title: str, measurement: Measurement, rates: Rates) -> tuple[Text, Text]:
    """Two lines."""
    about = (
        f"up {age(measurement.time)}",
        counted(measurement.objects_total, "object"),
        counted(measurement.connections_total, "connection"),
    )
    does = (
        f"{rate(rates.calls)} calls/s",
        f"{measurement.calls_in_flight:,} in flight",
        f"{rate(rates.errors)} errors/s",
        f"{rate(rates.published)} events/s",
        f"{rate(rates.delivered)} delivered/s",
    )
    first = Text.assemble((render_line(title), "bold"), (f" · {' · '.join(about)}", "dim"))
    second = Text(" · ".join(does))
    if rates.dropped:
        second.append(f" · {counted(rates.dropped, 'event')} dropped", "bold red")
    for line in (first, second):
        line.no_wrap, line.overflow = True, "ellipsis"
    return first, second


def objects_table(objects: list[ObjectRates], history: History) -> Table:
    """With the last intervals of each, when there were some."""
    table = _table("object", "calls/s", "p50", "p99", "in flight", "waiting", "errors/s", "events/s")
    if history:
        table.add_column("calls and events", no_wrap=True)
    for one in objects:
        busy = bool(one.calls or one.events or one.in_flight)
        table.add_row(
            Text(render_name(one.object), "bold" if busy else "dim"),
            _number(rate(one.calls)),
            _latency(one.p50),
            _latency(one.p99),
            _number(f"{one.in_flight:,}"),
            _number(f"{one.waiting:,}", "yellow"),
            _number(rate(one.errors), "bold red"),
            _number(rate(one.events)),
            *([Text(spark(history.get(one.object, ())), "green")] if history else ()),
        )
    return table


def connections_table(connections: list[ConnectionState]) -> Table:
    table = _table(
        "connection", "protocol", "connected", "calls", "serving", "objects", "subscriptions", "outbox", left=2
    )
    for one in connections:
        who = Text(described(one))
        if one.paused:
            who.append(" paused", "yellow")
        table.add_row(
            who,
            Text(one.protocol, "dim"),
            Text(age(one.age), "dim"),
            _number(f"{one.calls:,}"),
            _number(f"{one.serving:,}"),
            _number(f"{one.objects:,}"),
            _number(f"{one.subscriptions:,}"),
            Text(size(one.outbox), "yellow") if one.outbox else _NONE,
        )
    return table


def spark(values: Sequence[float]) -> str:
    """A bar for each, the highest as high as a line."""
    highest = max(values, default=0.0) or 1.0
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1))] for value in values)


def behind_table(behind: list[SubscriptionState]) -> Table:
    table = _table("slow subscriber", "object", "topic", "state", "since", "waiting", "dropped", left=4)
    for one in behind:
        style = {"behind": "", "full": "yellow", "lagging": "bold red"}[one.state]
        table.add_row(
            Text(render_line(one.peer)),
            Text(render_name(one.object)),
            Text(render_name(one.topic)),
            Text(one.state, style),
            Text(age(one.age)) if one.age else _NONE,
            Text(size(one.backlog)) if one.backlog else _NONE,
            _number(f"{one.missed:,}", "bold red"),
        )
    return table


def described(one: ConnectionState) -> str:
    """As the broker describes peers elsewhere."""
    who = f"'{render_line(one.name)}'" if one.name else f"connection {one.id}"
    where = f"process {one.pid}" if one.pid is not None else render_line(one.address)
    return f"{who} ({where})" if where else who


def _table(*columns: str, left: int = 1) -> Table:
    """Of the columns so many are text; the rest are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold cyan", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(
            column, justify="left" if place < left else "right", no_wrap=True, overflow="ellipsis", min_width=4
        )
    return table


def _number(text: str, style: str = "") -> Text:
    return _NONE if text == "0" else Text(text, style)


def _latency(seconds: float | None) -> Text:
    return _NONE if seconds is None else Text(duration(seconds))
