"""The page of the documents that shows the results, and its plots: made out of `peers.json`, never by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..figures import Figure, Summary
from .plots import Bar, bars
from .results import DASH, FLOOR, PeerResults, Results, number, reason_for

OURS, REFERENCES = "ours", (FLOOR, "bare")
NOTHING = DASH
RESULTS = "results.json"
LEAST_LOSS = 0.05
"""Percent of events from which on a loss is told."""


class Section(NamedTuple):
    """A heading with words below it, a plot for each of `plots`, and a table with a column for each of `columns`.

    Both are keyed by a figure's name and have a title; columns in `high` are better when higher.
    """

    heading: str
    words: str
    plots: dict[str, str]
    columns: dict[str, str]
    high: bool


SECTIONS = (
    Section(
        "One call after the other",
        "A worker's method adds two numbers; the caller waits for each answer. Microseconds, from call to result.",
        {
            "blocking-p50": "One call after the other, blocking client: p50, µs",
            "asyncio-p50": "One call after the other, asyncio client: p50, µs",
        },
        {
            "blocking-p50": "blocking p50, µs",
            "blocking-p99": "blocking p99, µs",
            "asyncio-p50": "asyncio p50, µs",
            "asyncio-p99": "asyncio p99, µs",
        },
        high=False,
    ),
    Section(
        "Many calls at once",
        "One client with 100 calls in flight, and 16 client processes with one call each. A client that "
        "blocks, where the peer has no asyncio client or a slower one, takes ten answers before it makes ten calls more.",
        {"in-flight": "100 calls in flight: calls/s", "clients": "16 client processes, one call each: calls/s"},
        {"in-flight": "100 in flight, calls/s", "clients": "16 processes, calls/s"},
        high=True,
    ),
    Section(
        "CPU seconds for 100,000 calls",
        "User and system, of all processes together: caller, broker and worker. On a busy machine this counts for more than "
        "latency.",
        {"blocking-cpu": "CPU seconds for 100,000 calls, blocking client"},
        {
            "blocking-cpu": "blocking, s",
            "asyncio-cpu": "asyncio, s",
            "in-flight-cpu": "100 in flight, s",
            "clients-cpu": "16 processes, s",
        },
        high=False,
    ),
    Section(
        "Events",
        "Of eight bytes, published as fast as the publisher can, each counted once for every subscriber that it reached. "
        "Eight subscribers or publishers live in two processes, four connections in each.",
        {
            "events-1-1": "Events, 1 publisher to 1 subscriber: events/s",
            "events-1-8": "Events, 1 publisher to 8 subscribers: deliveries/s",
        },
        {"events-1-1": "1 to 1, a second", "events-1-8": "1 to 8, a second", "events-8-8": "8 to 8 topics, a second"},
        high=True,
    ),
    Section(
        "Calls with payloads",
        "A method that gives back the bytes it was given, one call after the other: microseconds, p50.",
        {"echo-1048576": "1 MiB there and back: p50, µs"},
        {"echo-64": "64 B, µs", "echo-4096": "4 KiB, µs", "echo-1048576": "1 MiB, µs"},
        high=False,
    ),
    Section(
        "Events with payloads",
        "One publisher, one subscriber, MB/s of payload.",
        {"one-way-1048576": "Events of 1 MiB: MB/s"},
        {"one-way-64": "64 B, MB/s", "one-way-4096": "4 KiB, MB/s", "one-way-1048576": "1 MiB, MB/s"},
        high=True,
    ),
    Section(
        "Idle connections",
        "What the server's own memory is at the start and grows by for each of 1,000 idle connections, and how long a call "
        "takes beside them, measured in one go with and without. Without a broker it is the worker's memory.",
        {"idle-memory": "Server's memory for each idle connection, KiB"},
        {
            "server-memory": "at the start, MiB",
            "idle-memory": "each connection, KiB",
            "idle-latency": "call p50, x without",
        },
        high=False,
    ),
    Section(
        "A slow subscriber",
        "A burst of 20,000 events of 500 bytes to a subscriber that takes 10,000 a second, and blocks for 20 ms after each "
        "200; limits are those that the peer comes with. How many arrive?",
        {"burst": "Of a burst of 20,000 events to a slow subscriber, arrived"},
        {"burst": "arrived"},
        high=True,
    ),
)

INTRODUCTION = """\
<!-- Written by `make bench-peers`, like the plots: change `benchmarks/peers/page.py`, not this page. -->

# Side by side with others

The same work done by ipc-broker and by what else a Python program may pick, in one run on one machine. All of them are
measured by the same code, which is in `benchmarks/peers`: a peer's module there holds only what is its own. In every round
each peer has its turn, with servers of its own; the figures are medians, behind them stand the lowest and the highest.

The *floor* is a C program of four hops over plain Unix sockets, as a call through a broker takes, with nothing done at
either end. The *bare bus* is the least that a bus of uvloop and msgspec can be, without names, errors, limits or checks.
Neither is something to pick: they show what the machine makes of it. The best of what one could pick is in bold.

Pyro5, RPyC, gRPC and `multiprocessing.connection` have no broker: caller and worker are connected to each other, which
saves half of the way and asks them to know each other's address. Their bars are green; blue ones are of buses with a broker. The
broker of ipc-broker tells clients that call often their worker's address; what goes that way here are the calls, without
streams, and no event.
"""

REPEAT = """\
## Repeat it

<!-- only shown -->
```sh
make bench-peers                              # all, about a quarter of an hour
make bench-peers ARGS="--quick"               # does it run at all?
make bench-peers ARGS="--peers ours nats --only in-flight --rounds 5"
make bench-peers ARGS="--page docs/benchmarks.md"
```

It installs the peers' packages into an environment of their own, `build/peers`, and takes the servers that are there:
`apt-get install redis-server mosquitto dbus-daemon dbus-broker`. Whatever is missing is reported as absent.
"""

LIMITS = """\
## What this does not say

- Figures of another machine differ. How one peer relates to another changes less, but with more cores those gain that
  work in several threads: gRPC, Zenoh, NATS and ZeroMQ.
- Callers, servers and workers share the machine's few processors, and loads on it: see the spread.
- Everything is on one machine. NATS, Redis, MQTT, Zenoh and gRPC are made for networks too, and most of them can store
  messages, be clustered, or be used from other languages; nothing of that is measured.
- The clients are Python. Servers of C, Go and Rust serve clients of faster languages faster.
- Rates of events are of a publisher that does not wait. Where a peer drops what is too much, limits were lifted so that it
  need not, and what was lost nevertheless stands beside the figure.
- Guarantees differ, as said above. Whoever gives fewer has less to do.
"""


def write(results: Results, file: Path) -> None:
    """The page, and its plots and all figures into a folder beside it which has the page's name."""
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in plots(results).items():
        (folder / name).write_text(plot, encoding="utf-8")
    results.write(folder / RESULTS)
    file.write_text(page(results, folder.name), encoding="utf-8")


def plots(results: Results) -> dict[str, str]:
    """Keyed by file name; of all figures that somebody has."""
    made = {}
    for section in SECTIONS:
        for name, title in section.plots.items():
            rows = [
                Bar(peer.title, summary.median, _kind(peer))
                for peer in results.peers
                if (summary := _summary(results, peer, name)) is not None
            ]
            if rows:
                made[f"{name}.svg"] = bars(title, rows, low_is_good=not section.high)
    return made


def page(results: Results, folder: str) -> str:
    made = plots(results)
    parts = [INTRODUCTION, _machine(results), REPEAT]
    for section in SECTIONS:
        columns = {name: title for name, title in section.columns.items() if _figure(results, name) is not None}
        if columns:
            parts.append(f"## {section.heading}\n\n{section.words}\n")
            shown = [(f"{name}.svg", title) for name, title in section.plots.items() if f"{name}.svg" in made]
            parts += [f"![{title}]({folder}/{name})\n" for name, title in shown]
            parts.append(_table(results, columns, high=section.high))
    parts += [
        _empty(results),
        _peers(results),
        f"{LIMITS}- All figures of all rounds are in [{RESULTS}]({folder}/{RESULTS}).\n",
    ]
    return "\n".join(filter(None, parts))


def _machine(results: Results) -> str:
    environment = results.environment
    load = f", load {environment.load} before the start" if environment.load is not None else ""
    return (
        f"Measured on {results.finished:%Y-%m-%d}, {results.rounds} round{'s' * (results.rounds != 1)} of "
        f"{results.seconds:g} s a figure; "
        f"{environment.cpus} processors ({results.processor}){load}; {' '.join(environment.platform.split('-')[:2])}; "
        f"{environment.python}, msgspec {environment.msgspec}, uvloop {environment.uvloop}; the floor is written in "
        f"{environment.floor}.\nVersions of the peers stand [below](#what-was-compared).\n"
    )


def _kind(peer: PeerResults) -> str:
    if peer.name == OURS:
        return OURS
    if peer.name in REFERENCES:
        return "reference"
    return "broker" if peer.brokered else "direct"


def _figure(results: Results, name: str) -> Figure | None:
    return next((figure for work in results.works for figure in work.figures if figure.name == name), None)


def _summary(results: Results, peer: PeerResults, name: str) -> Summary | None:
    figure = _figure(results, name)
    return peer.summary(figure) if figure is not None else None


def _table(results: Results, columns: dict[str, str], *, high: bool) -> str:
    """Of the peers that have one of the figures."""
    rows: list[tuple[str, ...]] = []
    for peer in results.peers:
        cells = [_cell(results, peer, name, high=high) for name in columns]
        if any(cell != NOTHING for cell in cells):
            rows.append((peer.title, *cells))
    return _lines(("", *columns.values()), rows)


def _cell(results: Results, peer: PeerResults, name: str, *, high: bool) -> str:
    summary = _summary(results, peer, name)
    if summary is None:
        return NOTHING
    shown = number(summary.median)
    if summary.median == _best(results, name, high=high):
        shown = f"**{shown}**"
    spread = f" ({number(summary.low)}{DASH}{number(summary.high)})" if len(peer.rounds) > 1 else ""
    lost = _summary(results, peer, f"{name}-lost")
    told = f", {lost.median:.2g} % lost" if lost is not None and lost.median >= LEAST_LOSS else ""
    return f"{shown}{spread}{told}"


def _best(results: Results, name: str, *, high: bool) -> float | None:
    medians = [
        summary.median
        for peer in results.peers
        if peer.name not in REFERENCES and (summary := _summary(results, peer, name)) is not None
    ]
    return (max if high else min)(medians, default=None)


def _empty(results: Results) -> str:
    """Each reason once, with all that lacks for it."""
    rows = []
    for peer in results.peers:
        if peer.absent:
            rows.append((peer.title, "all", peer.absent))
            continue
        reasons: dict[str, list[str]] = {}
        for work in results.works:
            if work.name in peer.lacks or work.name in peer.failed:
                reasons.setdefault(reason_for(peer, work.name), []).append(work.name)
        rows += [(peer.title, _in_short(results, names), reason) for reason, names in reasons.items()]
    if not rows:
        return ""
    table = _lines(("", "not measured", "why"), rows)
    return f"## Why a figure is missing\n\nNames are those that `--only` takes.\n\n{table}"


def _in_short(results: Results, names: list[str]) -> str:
    """`echo-*` where it is all of them that lack; likewise for events."""
    short: list[str] = []
    for name in names:
        family = name.rstrip("-0123456789")
        whole = [work.name for work in results.works if work.name.startswith(f"{family}-")]
        shown = f"{family}-*" if len(whole) > 1 and set(whole) <= set(names) else name
        if shown not in short:
            short.append(shown)
    return ", ".join(short)


def _peers(results: Results) -> str:
    parts = ["## What was compared\n\nEach with the settings that its own documents recommend for speed.\n"]
    for peer in results.peers:
        versions = ", ".join(f"{name} {version}" for name, version in peer.versions.items())
        parts += [f"### {peer.title}\n", f"{peer.promise}\n"]
        parts += [f"Absent: {peer.absent}.\n"] if peer.absent else [f"{versions}.\n"] if versions else []
        parts.append("\n".join(f"- {_sentence(setting)}" for setting in peer.settings) + "\n")
    return "\n".join(parts)


def _lines(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"|{'|'.join(' --- ' for _ in head)}|"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"

    return "\n".join(lines()) + "\n"


def _sentence(text: str) -> str:
    found = re.match(r"[a-z]", text)
    return f"{text[0].upper()}{text[1:]}." if found else f"{text}."
