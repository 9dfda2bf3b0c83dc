"""`rob bench`: how fast this broker is on this machine, measured from the outside within a few seconds."""

from __future__ import annotations

import asyncio
import os
import secrets
from time import perf_counter

from msgspec import Struct
from msgspec.structs import asdict

from .. import Client, connect, sync
from ..errors import IPCError
from .bench_peer import READY, TOPIC
from .children import Child, ChildFailed
from .connecting import checked_address, connected, json_line
from .output import write_note, write_result
from .quantities import duration
from .serving import run
from .terminal import Span, Terminal
from .words import Request

SECONDS = 1.0
"""For each of the three measurements, unless something else is asked for."""

IN_FLIGHT = 100
WARM_UP = 100


class Figures(Struct, frozen=True):
    """`ping_p50` and `ping_p99` are seconds for a round trip to the broker; the rest are numbers a second."""

    ping_p50: float
    ping_p99: float
    calls: float
    events: float


def bench(request: Request) -> None:
    seconds = request.interval or SECONDS
    measuring = _Measuring(checked_address(request), seconds, request.patience)
    with connected(measuring.address, request) as client:
        if not request.json:
            write_note(f"measuring {measuring.address} for {duration(3 * seconds)} or a little more")
        figures = measuring.figures(client)
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


class _Measuring:
    """Each measurement takes so many `seconds`, and an answer `patience` at most."""

    def __init__(self, address: str, seconds: float, patience: float) -> None:
        self.address = address
        self._seconds = seconds
        self._patience = patience
        self._name = f"bench.{secrets.token_hex(4)}"
        """The object that a process of its own serves meanwhile."""

    def figures(self, client: sync.Client) -> Figures:
        pings = self._pings(client)
        peer = ["-m", f"{__package__}.bench_peer", self.address, self._name]
        try:
            with Child("the other end of the benchmark", peer, os.environ) as child:
                child.wait_for_line(READY, self._patience)
                calls, events = run(self._rates())
        except ChildFailed as error:
            raise IPCError(str(error)) from error
        return Figures(pings[len(pings) // 2], pings[len(pings) * 99 // 100], calls, events)

    def _pings(self, client: sync.Client) -> list[float]:
        """How long round trips took, the quickest first."""
        for _ in range(WARM_UP):
            client.call("rob", "ping", timeout=self._patience)
        samples: list[float] = []
        end = perf_counter() + self._seconds
        while (started := perf_counter()) < end:
            client.call("rob", "ping", timeout=self._patience)
            samples.append(perf_counter() - started)
        return sorted(samples)

    async def _rates(self) -> tuple[float, float]:
        """Calls and events a second."""
        async with connect(self.address, name="rob bench") as client:
            return await self._calls(client), await self._events(client)

    async def _calls(self, client: Client) -> float:
        answered = 0
        end = perf_counter() + self._seconds

        async def call() -> None:
            nonlocal answered
            while perf_counter() < end:
                await client.call(self._name, "add", {"a": 1, "b": 2}, timeout=self._patience)
                answered += 1

        started = perf_counter()
        await asyncio.gather(*(call() for _ in range(IN_FLIGHT)))
        return answered / (perf_counter() - started)

    async def _events(self, client: Client) -> float:
        """Until the last has arrived."""
        published = 0
        started = perf_counter()
        while perf_counter() - started < self._seconds:
            for _ in range(IN_FLIGHT):
                await client.publish(self._name, TOPIC, published)
            published += IN_FLIGHT
        await client.call(self._name, "received", {"count": published}, timeout=self._patience)
        return published / (perf_counter() - started)
