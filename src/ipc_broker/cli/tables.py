"""What `rob top` shows: tables of objects, connections and slow subscribers under some lines of totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, JustifyMethod, RenderableType
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
_GAP = 2
"""Cells between two columns."""
_WISHED, _NARROWEST = 24, 8
"""Cells that names are cut to before a column goes, and at most."""


def screen(
    title: str, measurement: Measurement, rates: Rates, width: int, height: int | None, history: History
) -> Group:
    """`height` is how many lines there are, None for any number; what does not fit is counted."""
    behind = measurement.behind
    heads = totals(title, measurement, rates)
    parts: list[RenderableType] = [*heads]
    # Of the lines below the totals and the tables' heads, those who are slow get theirs first.
    room = None if height is None else max(height - len(heads) - 3 - 3 - (3 if behind else 0), 3)
    slow_lines = len(behind) if room is None else min(len(behind), max(room // 3, 1))
    if room is not None:
        room -= slow_lines
    wished = len(measurement.connections)
    object_lines = len(rates.objects) if room is None else min(len(rates.objects), max(room // 2, room - wished))
    connection_lines = wished if room is None else min(wished, room - object_lines)
    parts += [Text(), objects_table(rates.objects[:object_lines], width, history)]
    parts += _rest(len(rates.objects), object_lines, "object")
    parts += [Text(), connections_table(measurement.connections[:connection_lines], width)]
    parts += _rest(measurement.connections_total, connection_lines, "connection")
    if behind:
        parts += [Text(), behind_table(behind[:slow_lines], width)]
        parts += _rest(len(behind), slow_lines, "slow subscriber")
    return Group(*parts)


def _rest(total: int, shown: int, what: str) -> list[RenderableType]:
    return [Text(f"and {counted(total - shown, f'more {what}')}", "dim")] if total > shown else []


def totals(title: str, measurement: Measurement, rates: Rates) -> list[Text]:
    about = (
        counted(measurement.objects_total, "object"),
        counted(measurement.connections_total, "connection"),
        f"{counted(measurement.calls_in_flight, 'call')} in flight",
    )
    does = (
        f"{rate(rates.calls)} calls/s",
        f"{rate(rates.errors)} errors/s",
        f"{rate(rates.published)} events/s",
        f"{rate(rates.delivered)} delivered/s",
    )
    lines = [
        Text.assemble((render_line(title), "bold"), (f" · up {age(measurement.time)}", "dim")),
        Text(" · ".join(about)),
        Text(" · ".join(does)),
    ]
    if rates.dropped:
        lines[-1].append(f" · {counted(rates.dropped, 'event')} dropped", "bold red")
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def objects_table(objects: list[ObjectRates], width: int, history: History) -> Table:
    """With the last intervals of each, when there were some."""
    rows = [
        {
            "object": Text(render_name(one.object), "bold" if one.calls or one.events or one.in_flight else "dim"),
            "calls/s": _number(rate(one.calls)),
            "p50": _latency(one.p50),
            "p99": _latency(one.p99),
            "in flight": _number(f"{one.in_flight:,}"),
            "waiting": _number(f"{one.waiting:,}", "yellow"),
            "errors/s": _number(rate(one.errors), "bold red"),
            "events/s": _number(rate(one.events)),
            "calls and events": Text(spark(history.get(one.object, ())), "green"),
        }
        for one in objects
    ]
    titles = ["object", "calls/s", "p50", "p99", "in flight", "waiting", "errors/s", "events/s", "calls and events"]
    return _table(
        titles if history else titles[:-1],
        rows,
        width,
        text=("object", "calls and events"),
        may_go=("calls and events", "waiting", "errors/s", "p50"),
    )


def connections_table(connections: list[ConnectionState], width: int) -> Table:
    rows = []
    for one in connections:
        who = Text(described(one))
        if one.paused:
            who.append(" paused", "yellow")
        rows.append(
            {
                "connection": who,
                "protocol": Text(one.protocol, "dim"),
                "connected": Text(age(one.age), "dim"),
                "calls": _number(f"{one.calls:,}"),
                "serving": _number(f"{one.serving:,}"),
                "objects": _number(f"{one.objects:,}"),
                "subscriptions": _number(f"{one.subscriptions:,}"),
                "outbox": Text(size(one.outbox), "yellow") if one.outbox else _NONE,
            }
        )
    titles = ["connection", "protocol", "connected", "calls", "serving", "objects", "subscriptions", "outbox"]
    text = ("connection", "protocol")
    return _table(titles, rows, width, text=text, may_go=("protocol", "objects", "connected", "subscriptions"))


def behind_table(behind: list[SubscriptionState], width: int) -> Table:
    styles = {"behind": "", "full": "yellow", "lagging": "bold red"}
    rows = [
        {
            "slow subscriber": Text(render_line(one.peer)),
            "object": Text(render_name(one.object)),
            "topic": Text(render_name(one.topic)),
            "state": Text(one.state, styles[one.state]),
            "since": Text(age(one.age)) if one.age else _NONE,
            "waiting": Text(size(one.backlog)) if one.backlog else _NONE,
            "dropped": _number(f"{one.missed:,}", "bold red"),
        }
        for one in behind
    ]
    text = ("slow subscriber", "object", "topic", "state")
    return _table([*text, "since", "waiting", "dropped"], rows, width, text=text, may_go=("since",))


def described(one: ConnectionState) -> str:
    """As the broker describes peers elsewhere."""
    who = f"'{render_line(one.name)}'" if one.name else f"connection {one.id}"
    where = f"process {one.pid}" if one.pid is not None else render_line(one.address)
    return f"{who} ({where})" if where else who


def spark(values: Sequence[float]) -> str:
    """A bar for each, the highest as high as a line."""
    highest = max(values, default=0.0) or 1.0
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1))] for value in values)


def _table(
    titles: list[str], rows: list[dict[str, Text]], width: int, *, text: Sequence[str], may_go: Sequence[str]
) -> Table:
    """`text` are the columns that are no numbers. Where there is too little room those that `may_go` do, then names are cut."""
    widths = {title: max([len(title), *(row[title].cell_len for row in rows)]) for title in titles}
    names = [title for title in text if title not in may_go]
    for title in may_go:
        if _total({title: min(cells, _WISHED) if title in names else cells for title, cells in widths.items()}) > width:
            widths.pop(title, None)
    while _total(widths) > width:
        widest = max(names, key=lambda title: widths[title])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold cyan", pad_edge=False)
    for title, cells in widths.items():
        justify: JustifyMethod = "left" if title in text else "right"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", width=cells)
    for row in rows:
        table.add_row(*(row[title] for title in widths))
    return table


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _number(text: str, style: str = "") -> Text:
    return _NONE if text == "0" else Text(text, style)


def _latency(seconds: float | None) -> Text:
    return _NONE if seconds is None else Text(duration(seconds))
