"""The kinds of work that every peer does, and what is measured of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..figures import Figure
from ..processes import BenchmarkFailed
from . import cost
from .orders import Called, Calls, Idle, InFlight, Publish, Received, Sent, Subscribe
from .peer import Ability
from .roles import IN_FLIGHT
from .turn import Turn

COUNT = 100_000
"""Calls for which CPU seconds are told."""

CLIENTS = 16
IDLE, HOLDERS = 1000, 4
"""Connections, and the processes that hold them: a client library may not manage a thousand in one."""

SIZES = {64: "64 B", 4096: "4 KiB", 1024 * 1024: "1 MiB"}
PLAIN = 8
"""Bytes of an event that is nothing but its number."""

MOST_BYTES = 256 * 1024 * 1024
MOST_EVENTS = 2_000_000
"""Of one measurement: what a peer does not hold back must fit into memory."""

BURST, BURST_SIZE, BURST_PACE = 20_000, 500, 10_000.0
"""Events, bytes of each, and how many a second the subscriber takes."""

HALF = 4
"""Of eight publishers or subscribers, which live in two processes: more would measure how the kernel switches."""


@dataclass(frozen=True)
class Work:
    """`needs` of a peer; `fresh`: of a server that has done nothing yet; `wide` as in `Place`."""

    name: str
    figures: tuple[Figure, ...]
    measure: Callable[[Turn, float], dict[str, float]]
    needs: Ability | None = None
    fresh: bool = False
    wide: bool = True


def works(*, quick: bool) -> list[Work]:
    return [
        _sequential("blocking"),
        _sequential("asyncio"),
        _in_flight(),
        _clients(4 if quick else CLIENTS),
        *(_echo(size) for size in SIZES),
        _events("events-1-1", "events/s, 1 to 1", ["t"], [["t"]]),
        _events("events-1-8", "deliveries/s, 1 to 8", ["t"], [["t"] * HALF] * 2),
        _events("events-8-8", "deliveries/s, 8 to 8 topics", list("abcdefgh"), [list("abcd"), list("efgh")]),
        *(_one_way(size) for size in SIZES),
        _idle(20 if quick else IDLE),
        _burst(1000 if quick else BURST),
    ]


def _calls(turn: Turn, seconds: float, client: Literal["blocking", "asyncio"], size: int = 0) -> Calls:
    return Calls(turn.address, client, seconds, str(turn.line().path), size)


def _latency(called: Called) -> tuple[float, float]:
    if called.latencies is None:
        raise BenchmarkFailed("a client that calls one after the other gave no latencies")
    return called.latencies.p50, called.latencies.p99


def _sequential(client: Literal["blocking", "asyncio"]) -> Work:
    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        called, cpu = turn.measure(_calls(turn, seconds, client))
        p50, p99 = _latency(called)
        return {f"{client}-p50": p50, f"{client}-p99": p99, f"{client}-cpu": cpu * COUNT}

    figures = (
        Figure(f"{client}-p50", f"{client} client p50, us", "p50"),
        Figure(f"{client}-p99", f"{client} client p99, us", "p99"),
        Figure(f"{client}-cpu", f"{client} client, CPU s for {COUNT:,} calls"),
    )
    return Work(client, figures, measure, needs=client)


def _in_flight() -> Work:
    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        called, cpu = turn.measure(InFlight(turn.address, seconds, str(turn.line().path)))
        return {"in-flight": called.count / called.seconds, "in-flight-cpu": cpu * COUNT}

    figures = (
        Figure("in-flight", f"calls/s, {IN_FLIGHT} in flight", "rate"),
        Figure("in-flight-cpu", f"{IN_FLIGHT} in flight, CPU s for {COUNT:,} calls"),
    )
    return Work("in-flight", figures, measure, needs="in-flight")


def _clients(count: int) -> Work:
    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        called, cpu = turn.measure_all([_calls(turn, seconds, turn.peer.one_at_a_time) for _ in range(count)])
        return {"clients": sum(each.count / each.seconds for each in called), "clients-cpu": cpu * COUNT}

    figures = (
        Figure("clients", f"calls/s of {count} client processes", "rate"),
        Figure("clients-cpu", f"{count} client processes, CPU s for {COUNT:,} calls"),
    )
    return Work("clients", figures, measure)


def _echo(size: int) -> Work:
    name = f"echo-{size}"

    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        called, _ = turn.measure(_calls(turn, seconds, turn.peer.one_at_a_time, size))
        return {name: _latency(called)[0]}

    return Work(name, (Figure(name, f"{SIZES[size]} echoed, p50, us"),), measure, needs="echo")


def _deliveries(
    turn: Turn, order: Publish, subscribers: list[list[str]], pace: float = 0.0
) -> tuple[Sent, list[Received]]:
    """Publishers of up to `HALF` topics in each process."""
    longest = order.seconds + (BURST / pace if pace else 0.0)
    with turn.line() as line:
        takers = [turn.start(Subscribe(turn.address, topics, pace)) for topics in subscribers]
        groups = [order.topics[at : at + HALF] for at in range(0, len(order.topics), HALF)]
        publishers = [
            turn.start(Publish(order.address, topics, order.seconds, order.most // len(groups), order.size, order.line))
            for topics in groups
        ]
        turn.ready(*takers)
        line.release()
        sent = [turn.told(publisher, Sent) for publisher in publishers]
        received = [each for taker in takers for each in turn.result(taker, longest, list[Received])]
        for publisher in publishers:
            turn.processes.stop(publisher)
    if wrong := sum(each.disordered for each in received):
        raise BenchmarkFailed(f"{wrong} events came after a later one")
    return Sent(sum(each.count for each in sent), min(each.began for each in sent)), received


def _events(name: str, title: str, topics: list[str], subscribers: list[list[str]]) -> Work:
    copies = sum(map(len, subscribers)) // len(topics)

    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        order = Publish(turn.address, topics, seconds, MOST_EVENTS // copies, PLAIN, str(turn.line().path))
        sent, received = _deliveries(turn, order, subscribers)
        count = sum(each.count for each in received)
        took = max(each.ended for each in received) - sent.began
        return {name: count / took, f"{name}-lost": 100 * (1 - count / (sent.count * copies))}

    figures = Figure(name, title, "rate"), Figure(f"{name}-lost", f"{title}: lost, %")
    return Work(name, figures, measure, needs="events")


def _one_way(size: int) -> Work:
    name = f"one-way-{size}"

    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        order = Publish(turn.address, ["t"], seconds, min(MOST_EVENTS, MOST_BYTES // size), size, str(turn.line().path))
        sent, [received] = _deliveries(turn, order, [["t"]])
        took = received.ended - sent.began
        return {name: received.count * size / took / 1e6, f"{name}-lost": 100 * (1 - received.count / sent.count)}

    title = f"{SIZES[size]} events, MB/s"
    return Work(name, (Figure(name, title), Figure(f"{name}-lost", f"{title}: lost, %")), measure, needs="events")


def _idle(count: int) -> Work:
    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        client = turn.peer.one_at_a_time
        opened = min(count, turn.peer.most_connections)
        at_start = cost.memory(turn.servers)
        alone, _ = turn.measure(_calls(turn, seconds, client))
        before = cost.memory(turn.servers)
        holders = [turn.start(Idle(turn.address, client, opened // HOLDERS)) for _ in range(HOLDERS)]
        turn.ready(*holders)
        grown = cost.memory(turn.servers) - before
        beside, _ = turn.measure(_calls(turn, seconds, client))
        return {
            "server-memory": at_start / 2**20,
            "idle-memory": grown / opened / 2**10,
            "idle-latency": _latency(beside)[0] / _latency(alone)[0],
        }

    figures = (
        Figure("server-memory", "server's memory at the start, MiB"),
        Figure("idle-memory", f"server's memory for each of {count:,} idle connections, KiB"),
        Figure("idle-latency", f"call p50 beside {count:,} idle connections, x without"),
    )
    return Work("idle", figures, measure, needs="idle", fresh=True)


def _burst(count: int) -> Work:
    def measure(turn: Turn, seconds: float) -> dict[str, float]:
        order = Publish(turn.address, ["t"], BURST / BURST_PACE + seconds, count, BURST_SIZE, str(turn.line().path))
        sent, [received] = _deliveries(turn, order, [["t"]], BURST_PACE)
        if sent.count != count:
            raise BenchmarkFailed(f"only {sent.count:,} of {count:,} events were published in time")
        return {"burst": float(received.count)}

    title = f"of {count:,} events to a slow subscriber, arrived"
    return Work("burst", (Figure("burst", title),), measure, needs="events", fresh=True, wide=False)
