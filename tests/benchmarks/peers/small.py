"""Results as small as they can be, of a run that never was."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks.figures import Figure, Round, samples_of
from benchmarks.latency import Latencies
from benchmarks.peers.results import Measured, PeerResults, Results
from benchmarks.report import Environment

BASE = Latencies(1000, p50=50.0, p99=100.0)
P50 = Figure("blocking-p50", "blocking client p50, us", "p50")
EVENTS = Figure("events-1-1", "events/s, 1 to 1", "rate")
LOST = Figure("events-1-1-lost", "events/s, 1 to 1: lost, %")


def round_of(**values: float) -> Round:
    """Keyed by the name of a figure, with underscores."""
    figures = {figure.name: figure for figure in (P50, EVENTS, LOST)}
    names = {name: name.replace("_", "-") for name in values}
    return {names[name]: samples_of(figures[names[name]], [value], BASE) for name, value in values.items()}


def results() -> Results:
    """Ours, a peer that loses events and has no blocking client, one without events, and one that is not installed."""
    environment = Environment("CPython 3.11.7", "0.1.0", "0.22", "0.23", "Linux-6.1-x86_64", 2, 0.5, "C")
    peers = [
        PeerResults("floor", "floor", rounds=[round_of(blocking_p50=50.0)], lacks={"events-1-1": "it has none"}),
        PeerResults(
            "ours",
            "ipc-broker",
            versions={"ipc-broker": "0.1.0"},
            settings=["as it comes"],
            promise="Nothing is lost.",
            rounds=[
                round_of(blocking_p50=70.0, events_1_1=600_000.0, events_1_1_lost=0.0),
                round_of(blocking_p50=90.0, events_1_1=500_000.0, events_1_1_lost=0.0),
                round_of(blocking_p50=75.0, events_1_1=550_000.0, events_1_1_lost=0.0),
            ],
        ),
        PeerResults(
            "loser",
            "Loser",
            rounds=[round_of(events_1_1=700_000.0, events_1_1_lost=12.5)],
            lacks={"blocking": "it has an asyncio client only"},
        ),
        PeerResults(
            "direct",
            "Direct | fast",
            brokered=False,
            rounds=[round_of(blocking_p50=40.0)],
            failed={"events-1-1": "a process ended too early"},
        ),
        PeerResults("gone", "Gone", absent="gone-py is not installed"),
    ]
    works = [Measured("blocking", [P50]), Measured("events-1-1", [EVENTS, LOST])]
    return Results(datetime(2026, 1, 2, tzinfo=UTC), environment, "a processor", 3, 0.5, works, peers)
