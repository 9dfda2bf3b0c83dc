"""The report: a table for the eye, JSON for everything else."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from ipc_broker.version import VERSION

from .figures import Round, Summary

COLUMNS = ("figure", "median", "spread", "x floor", "goal", "reached")
NUMBERS = ("median", "spread", "x floor")


class Environment(Struct, frozen=True):
    """Where it was measured; `load` is how many processes wanted a CPU in the minute before."""

    python: str
    ipc_broker: str
    msgspec: str
    uvloop: str
    platform: str
    cpus: int
    load: float | None
    floor: str

    @classmethod
    def here(cls, floor: str) -> Environment:
        return cls(
            python=f"{platform.python_implementation()} {platform.python_version()}",
            ipc_broker=VERSION,
            msgspec=version("msgspec"),
            uvloop=version("uvloop"),
            platform=platform.platform(),
            cpus=os.cpu_count() or 1,
            load=_load(),
            floor=floor,
        )

    def __str__(self) -> str:
        busy = f", load {self.load} before the start" if self.load is not None else ""
        return (
            f"{self.python}, msgspec {self.msgspec}, uvloop {self.uvloop}, {self.platform}, {self.cpus} CPUs{busy}; "
            f"floor in {self.floor}"
        )


class Report(Struct, frozen=True):
    """All that `bench.json` holds. `skipped`: what was not measured, and why."""

    finished: datetime
    environment: Environment
    seconds: float
    summaries: list[Summary]
    rounds: list[Round]
    skipped: dict[str, str]

    @classmethod
    def of(
        cls,
        environment: Environment,
        seconds: float,
        summaries: list[Summary],
        rounds: list[Round],
        skipped: dict[str, str],
    ) -> Report:
        return cls(datetime.now(UTC), environment, seconds, summaries, rounds, skipped)

    def write(self, file: Path) -> None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")

    def show(self) -> None:
        """On stdout, in colour when a person looks."""
        rows = [_row(summary) for summary in self.summaries]
        if sys.stdout.isatty():
            _show_rich(rows)
        else:
            _show_plain(rows)
        for name, reason in self.skipped.items():
            print(f"{name} was not measured: {reason}")
        rounds = "one round" if len(self.rounds) == 1 else f"{len(self.rounds)} rounds"
        print(f"Medians of {rounds} of {self.seconds:g} s a figure; spread: from the lowest to the highest.")
        print(self.environment)


def _load() -> float | None:
    if sys.platform == "win32":
        return None
    return round(os.getloadavg()[0], 2)


def _row(summary: Summary) -> tuple[str, ...]:
    figure = summary.figure
    reached = {True: "yes", False: "no", None: ""}[summary.reached]
    return (
        figure.title,
        _number(summary.median),
        f"{(summary.high - summary.low) / summary.median:.0%}" if summary.median else "",
        _number(summary.ratio) if summary.ratio is not None else "",
        str(figure.goal) if figure.goal is not None else "",
        reached,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _show_plain(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [COLUMNS, *rows]) for column in range(len(COLUMNS))]
    for row in [COLUMNS, tuple("-" * width for width in widths), *rows]:
        cells = zip(COLUMNS, row, widths, strict=True)
        print(
            "  ".join(
                cell.rjust(width) if name in NUMBERS else cell.ljust(width) for name, cell, width in cells
            ).rstrip()
        )


def _show_rich(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    colours = {"yes": "green", "no": "red", "": None}
    for *cells, reached in rows:
        table.add_row(*cells, reached, style=colours[reached])
    Console().print(table)
