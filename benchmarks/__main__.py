"""Measures the bus against the floor of plain sockets: `python -m benchmarks`, from the repository's root.

In every round the floor and each benchmark are measured in turn, so that what else the machine does meets all alike.
A goal that is missed is told, not punished: the exit status is 1 only when something broke.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from .bare import Bare
from .calls import CallsInFlight, SequentialCalls
from .commands import CommandLine
from .crowd import Crowd
from .events import Events
from .faults import Faults
from .figures import Figure, Round, samples_of, summarise
from .floor import P50, P99, Floor
from .idle import Idle
from .patterns import Patterns
from .payloads import Payloads
from .processes import BenchmarkFailed, Bus, Processes
from .report import Environment, Report
from .restricted import Restricted
from .scale import Scale
from .stopping import end_by_signals
from .watching import Watching

PAIRS = 15
"""Runs of `rob call` that a report needs at least."""


class Benchmark(Protocol):
    """One kind of work. `name` is what `--only` takes; `measure` gives numbers for each of `figures`."""

    @property
    def name(self) -> str: ...
    @property
    def figures(self) -> tuple[Figure, ...]: ...
    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]: ...


class Options(argparse.Namespace):
    rounds: int
    seconds: float
    quick: bool
    only: list[str]
    json: Path


def benchmarks(rounds: int, *, quick: bool) -> list[Benchmark]:
    return [
        SequentialCalls("blocking", goal=1.5),
        SequentialCalls("asyncio", goal=1.8),
        CallsInFlight(),
        Crowd(),
        Bare(),
        Events(subscribers=(1,), goal=600_000),
        Events(subscribers=(4, 4), goal=1_500_000),
        Payloads("large", "1 MiB payloads, MB/s both ways"),
        Payloads("stream", "items/s of a stream"),
        Patterns(),
        Scale(),
        Idle(),
        Restricted(),
        Watching(),
        CommandLine(pairs=3 if quick else max(5, -(-PAIRS // rounds))),
        Faults(quick=quick),
    ]


def parse(arguments: list[str]) -> Options:
    names = [each.name for each in benchmarks(1, quick=True)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds a figure and round (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.2 s a figure: does it run at all?")
    parser.add_argument("--only", action="append", choices=names, default=[], help="this benchmark; may be repeated")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="file to write (default: %(default)s)")
    options = parser.parse_args(arguments, namespace=Options())
    if options.quick:
        options.rounds, options.seconds = 1, 0.2
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    return options


def measure(options: Options) -> Report:
    chosen = [
        each
        for each in benchmarks(options.rounds, quick=options.quick)
        if not options.only or each.name in options.only
    ]
    skipped: dict[str, str] = {}
    for kind in (CommandLine, Faults, Idle, Restricted, Watching):
        if (reason := kind.missing()) and any(each.name == kind.name for each in chosen):
            skipped[kind.name] = reason
            chosen = [each for each in chosen if each.name != kind.name]
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="ipc-broker-bench-") as folder, Processes() as processes:
        floor = Floor(processes, Path(folder))
        environment = Environment.here(floor.language)
        bus = Bus(processes, Path(folder))
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", file=sys.stderr)
            rounds.append(_round(floor, bus, chosen, options.seconds))
    figures = [P50, P99, *(figure for each in chosen for figure in each.figures)]
    return Report.of(environment, options.seconds, [summarise(figure, rounds) for figure in figures], rounds, skipped)


def _round(floor: Floor, bus: Bus, chosen: list[Benchmark], seconds: float) -> Round:
    base = floor.measure(seconds)
    measured = {P50.name: samples_of(P50, [base.p50], base), P99.name: samples_of(P99, [base.p99], base)}
    for benchmark in chosen:
        values = benchmark.measure(bus, seconds)
        measured |= {figure.name: samples_of(figure, values[figure.name], base) for figure in benchmark.figures}
    return measured


def main() -> int:
    if sys.platform == "win32":
        print("the benchmarks measure Unix sockets: run them on Linux or macOS", file=sys.stderr)
        return 1
    options = parse(sys.argv[1:])
    end_by_signals()
    try:
        report = measure(options)
    except BenchmarkFailed as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    report.write(options.json)
    report.show()
    print(f"Written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
