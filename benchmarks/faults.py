"""Figures under faults: bursts, a frozen subscriber, a killed worker, a broker that is killed and started again."""

from __future__ import annotations

import sys
from typing import Protocol

from .bursts import Burst, Frozen
from .figures import Figure
from .losses import KilledWorker, RestartedBroker
from .processes import Bus


class Fault(Protocol):
    """It takes the time that it takes, however many seconds a figure should be measured."""

    @property
    def figures(self) -> tuple[Figure, ...]: ...
    def measure(self, bus: Bus) -> dict[str, list[float]]: ...


class Faults:
    """All of them, in turn; `quick` with fewer events, calls and peers. Each has a broker of its own where that suffers."""

    name = "faults"

    def __init__(self, *, quick: bool) -> None:
        self._faults: list[Fault] = [
            *(Burst(count) for count in ((2_000, 20_000) if quick else (20_000, 200_000))),
            Frozen(stall=0.3 if quick else 2.0),
            KilledWorker(100 if quick else 1000),
            RestartedBroker(1 if quick else 8),
        ]
        self.figures = tuple(figure for fault in self._faults for figure in fault.figures)

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here; empty when it can."""
        return "" if sys.platform == "linux" else "it reads /proc, which only Linux has"

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        return {name: values for fault in self._faults for name, values in fault.measure(bus).items()}
