"""The floor as a row of the tables: what four hops over plain Unix sockets take (`benchmarks/floor.py`)."""

from __future__ import annotations

from ..figures import Round, samples_of
from ..latency import Latencies
from .results import FLOOR, PeerResults
from .works import Work

LANGUAGE = "{} program of four hops over plain Unix sockets, with nothing done at either end"
"""What stands in the page as the floor's settings; a language is put in."""

ONLY = "the floor is one round trip after the other"


def floor_results(language: str, works: list[Work]) -> PeerResults:
    return PeerResults(
        FLOOR,
        "floor",
        settings=[LANGUAGE.format(f"a {language}")],
        promise="It is no bus: it shows what the machine takes for the sockets alone.",
        lacks={work.name: ONLY for work in works if work.name != "blocking"},
    )


def floor_round(works: list[Work], base: Latencies) -> Round:
    """As far as the floor has figures for these works."""
    values = {"blocking-p50": base.p50, "blocking-p99": base.p99}
    figures = [figure for work in works for figure in work.figures if figure.name in values]
    return {figure.name: samples_of(figure, [values[figure.name]], base) for figure in figures}
