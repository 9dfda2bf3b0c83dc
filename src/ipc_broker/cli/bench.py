"""`rob bench`: how fast this broker is on this machine, measured from the outside within a few seconds."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from msgspec import Struct
from msgspec.structs import asdict

from .. import Client, sync
from .. import connect as connect_asyncio
from .bench_peer import READY, TOPIC
from .children import Child
from .connecting import checked_address, connected, json_line
from .output import write_note, write_result
from .quantities import duration
from .serving import run
from .terminal import Span, Terminal
from .words import Request

SECONDS = 1.0
"""For each of the three figures."""

IN_FLIGHT = 100
WARM_UP = 100
PATIENCE = 10.0


class Figures(Struct, frozen=True):
    """`ping_p50` and `ping_p99` are seconds for a round trip to the broker; the rest are numbers a second."""

    ping_p50: float
    ping_p99: float
    calls: float
    events: float


def bench(request: Request) -> None:
    address = checked_address(request)
    with connected(address, request) as client:
        if not request.json:
            write_note(f"measuring {address} for {duration(3 * SECONDS)} or a little more")
        pings = _pings(client)
        with _peer(address) as name:
            calls, events = run(_rates(address, name))
    figures = Figures(pings[len(pings) // 2], pings[len(pings) * 99 // 100], calls, events)
    if request.json:
        write_result(json_line(asdict(figures)))
    else:
        terminal = Terminal()
        write_result("".join(map(terminal.shown, table_of(figures))))


def table_of(figures: Figures) -> list[list[Span]]:
    rows = [
        ("round trip to the broker, half of them within", duration(figures.ping_p50)),
        ("round trip to the broker, 99 % within", duration(figures.ping_p99)),
        (f"calls a second, {IN_FLIGHT} in flight", f"{figures.calls:,.0f}"),
        ("events a second, to one subscriber", f"{figures.events:,.0f}"),
    ]
    widest = max(len(value) for _, value in rows)
    return [[Span(f"{title:<46}"), Span(f"{value:>{widest}}", "bold")] for title, value in rows]


def _pings(client: sync.Client) -> list[float]:
    """How long round trips took, the quickest first."""
    for _ in range(WARM_UP):
        client.call("rob", "ping", timeout=PATIENCE)
    samples: list[float] = []
    end = perf_counter() + SECONDS
    while (started := perf_counter()) < end:
        client.call("rob", "ping", timeout=PATIENCE)
        samples.append(perf_counter() - started)
    return sorted(samples)


@contextmanager
def _peer(address: str) -> Iterator[str]:
    """The name of the object that a process of its own serves meanwhile."""
    name = f"bench.{secrets.token_hex(4)}"
    with Child(
        "the other end of the benchmark", ["-m", f"{__package__}.bench_peer", address, name], os.environ
    ) as peer:
        peer.wait_for_line(READY, PATIENCE)
        yield name


async def _rates(address: str, name: str) -> tuple[float, float]:
    """Calls and events a second."""
    async with connect_asyncio(address, name="rob bench") as client:
        return await _calls(client, name), await _events(client, name)


async def _calls(client: Client, name: str) -> float:
    answered = 0
    end = perf_counter() + SECONDS

    async def call() -> None:
        nonlocal answered
        while perf_counter() < end:
            await client.call(name, "add", {"a": 1, "b": 2}, timeout=PATIENCE)
            answered += 1

    started = perf_counter()
    await asyncio.gather(*(call() for _ in range(IN_FLIGHT)))
    return answered / (perf_counter() - started)


async def _events(client: Client, name: str) -> float:
    """Until the last has arrived."""
    published = 0
    started = perf_counter()
    while perf_counter() - started < SECONDS:
        for _ in range(IN_FLIGHT):
            await client.publish(name, TOPIC, published)
        published += IN_FLIGHT
    await client.call(name, "received", {"count": published}, timeout=PATIENCE)
    return published / (perf_counter() - started)
