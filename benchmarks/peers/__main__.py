"""Measures this bus beside what else a Python program may pick: `python -m benchmarks.peers`, from the repository's root.

`make bench-peers` runs it in an environment that has the peers' packages. In every round each peer does each work in
turn, over a server of its own, so that what else the machine does meets all alike. A peer that is not installed is
reported as absent; one that breaks fails alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from ..figures import Round, samples_of
from ..floor import Floor
from ..latency import Latencies
from ..processes import BenchmarkFailed, Processes
from ..report import Environment
from ..stopping import end_by_signals
from . import bare, cost, dbus, dbus_broker, grpc, mqtt, nats, ours, page, pipes, pyro, redis, rpyc, zenoh, zeromq
from .floors import floor_results, floor_round
from .peer import Peer
from .results import FLOOR, Measured, PeerResults, Results, without_command
from .turn import Turn
from .works import Work, works

PEERS: list[Peer] = [
    each.PEER for each in (ours, bare, zeromq, nats, redis, mqtt, dbus, dbus_broker, zenoh, grpc, pyro, rpyc, pipes)
]


class Options(argparse.Namespace):
    rounds: int
    seconds: float
    quick: bool
    only: list[str]
    peers: list[str]
    json: Path
    page: Path | None
    read: bool


def parse(arguments: list[str]) -> Options:
    names = [work.name for work in works(quick=True)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds a figure and round (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.1 s a figure: does it run at all?")
    parser.add_argument("--only", action="append", choices=names, default=[], help="this work; may be repeated")
    parser.add_argument(
        "--peers", nargs="+", choices=[FLOOR, *(peer.name for peer in PEERS)], default=[], help="these only"
    )
    parser.add_argument("--json", type=Path, default=Path("peers.json"), help="file to write (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="Markdown file to write too; its plots go to a folder beside it")
    parser.add_argument("--read", action="store_true", help="measure nothing: take what the --json file holds")
    options = parser.parse_args(arguments, namespace=Options())
    if options.quick:
        options.rounds, options.seconds = 1, 0.1
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    return options


class Bench:
    """All rounds of all peers."""

    def __init__(self, options: Options, processes: Processes, folder: Path) -> None:
        self._options = options
        self._processes = processes
        self._folder = folder
        self._works = [work for work in works(quick=options.quick) if not options.only or work.name in options.only]
        self._peers = [peer for peer in PEERS if not options.peers or peer.name in options.peers]

    def run(self) -> Results:
        options = self._options
        floor = Floor(self._processes, self._folder)
        environment = Environment.here(floor.language)
        shown = [floor_results(floor.language, self._works)] if not options.peers or FLOOR in options.peers else []
        present: list[tuple[Peer, PeerResults]] = []
        for peer in self._peers:
            results = PeerResults.of(peer, cost.missing() or peer.missing())
            shown.append(results)
            if results.absent:
                print(f"{peer.title} is absent: {results.absent}", file=sys.stderr)
            else:
                present.append((peer, results))
        for number in range(1, options.rounds + 1):
            base = floor.measure(options.seconds)
            if shown and shown[0].name == FLOOR:
                shown[0].rounds.append(floor_round(self._works, base))
            for peer, results in present:
                print(f"round {number} of {options.rounds}: {peer.title}", file=sys.stderr)
                results.rounds.append(self._round(peer, results, base))
        measured = [Measured(work.name, list(work.figures)) for work in self._works]
        return Results.of(environment, options.rounds, options.seconds, measured, shown)

    def _round(self, peer: Peer, results: PeerResults, base: Latencies) -> Round:
        measured: Round = {}
        together: list[Work] = []
        alone: list[Work] = []
        for work in self._works:
            if work.needs is not None and (reason := peer.lacks.get(work.needs)):
                results.lacks[work.name] = reason
            else:
                (alone if work.fresh else together).append(work)
        for group in (together, *([work] for work in alone)):
            self._measure(peer, group, results, measured, base)
        return measured

    def _measure(self, peer: Peer, group: list[Work], results: PeerResults, measured: Round, base: Latencies) -> None:
        """One server for all of the group, and another for those that are left where one of them broke."""
        left = list(group)
        while left:
            try:
                with Turn(peer, self._processes, self._folder, wide=left[0].wide) as turn:
                    while left:
                        values = left[0].measure(turn, self._options.seconds)
                        measured.update(
                            {each.name: samples_of(each, [values[each.name]], base) for each in left[0].figures}
                        )
                        del left[0]
            except (BenchmarkFailed, OSError, msgspec.MsgspecError) as error:
                print(f"{peer.title}: {left[0].name} failed: {error}", file=sys.stderr)
                results.failed[left[0].name] = without_command(str(error))
                del left[0]


def main() -> int:
    if sys.platform == "win32":
        print("the benchmarks measure Unix sockets: run them on Linux or macOS", file=sys.stderr)
        return 1
    options = parse(sys.argv[1:])
    if options.read:
        results = Results.read(options.json)
    else:
        end_by_signals()
        with tempfile.TemporaryDirectory(prefix="ipc-peers-") as folder, Processes() as processes:
            results = Bench(options, processes, Path(folder)).run()
        results.write(options.json)
    results.show()
    if options.page is not None:
        page.write(results, options.page)
        print(f"Written to {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
