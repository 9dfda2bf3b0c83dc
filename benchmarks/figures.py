"""What is measured, what it should reach, and what comes of several rounds."""

from __future__ import annotations

from statistics import median
from typing import Literal

from msgspec import Struct

from .latency import Latencies


class Goal(Struct, frozen=True):
    """A bound on a figure's median, or on the median of its ratio to the floor."""

    kind: Literal["at most", "at least"]
    bound: float
    of: Literal["value", "ratio"] = "value"

    def reached(self, value: float, ratio: float | None) -> bool:
        measured = value if self.of == "value" else ratio
        if measured is None:
            raise ValueError("a goal for the ratio to the floor stands beside a figure without one")
        return measured <= self.bound if self.kind == "at most" else measured >= self.bound

    def __str__(self) -> str:
        bound = f"{self.bound:,.0f}" if self.bound >= 1000 else f"{self.bound:g}"
        return f"{'<=' if self.kind == 'at most' else '>='} {bound}" + (" x floor" if self.of == "ratio" else "")


class Figure(Struct, frozen=True):
    """One number of the report; `title` names its unit too.

    Its ratio to the floor: of a time, to the same percentile of the floor's round trip; of a rate, to the round trips
    that the floor makes in a second (by its p50). Without `floor` it has none.
    """

    name: str
    title: str
    floor: Literal["p50", "p99", "rate"] | None = None
    goal: Goal | None = None

    def ratio(self, value: float, floor: Latencies) -> float | None:
        match self.floor:
            case "p50":
                return value / floor.p50
            case "p99":
                return value / floor.p99
            case "rate":
                return value * floor.p50 / 1e6
            case None:
                return None


class Samples(Struct, frozen=True):
    """What one round measured for one figure: a single number, or several of equal weight."""

    values: list[float]
    ratios: list[float]


Round = dict[str, Samples]
"""Keyed by the figures' names."""


class Summary(Struct, frozen=True):
    """A figure over all rounds; `low` and `high` are the smallest and the largest value."""

    figure: Figure
    median: float
    low: float
    high: float
    ratio: float | None
    reached: bool | None


def samples_of(figure: Figure, values: list[float], floor: Latencies) -> Samples:
    ratios = [ratio for value in values if (ratio := figure.ratio(value, floor)) is not None]
    return Samples(values, ratios)


def summarise(figure: Figure, rounds: list[Round]) -> Summary:
    values = [value for each in rounds for value in each[figure.name].values]
    ratios = [ratio for each in rounds for ratio in each[figure.name].ratios]
    value, ratio = median(values), median(ratios) if ratios else None
    reached = figure.goal.reached(value, ratio) if figure.goal is not None else None
    return Summary(figure, value, min(values), max(values), ratio, reached)
