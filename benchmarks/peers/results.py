"""What `peers.json` holds: everything that was measured, and why the rest was not."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from msgspec import Struct

from ipc_broker.version import VERSION

from ..figures import Figure, Round, Summary, summarise
from ..report import Environment
from .peer import Peer
from .place import find_program

FLOOR = "floor"
DASH = "\u2013"


class PeerResults(Struct):
    """Of one peer. `absent`: why nothing was measured. `lacks`: by the name of a work, why it has none of it; `failed`
    likewise, what broke."""

    name: str
    title: str
    versions: dict[str, str] = {}
    settings: list[str] = []
    promise: str = ""
    brokered: bool = True
    absent: str = ""
    rounds: list[Round] = []
    lacks: dict[str, str] = {}
    failed: dict[str, str] = {}

    @classmethod
    def of(cls, peer: Peer, absent: str) -> PeerResults:
        versions = {} if absent else _versions(peer)
        return cls(peer.name, peer.title, versions, list(peer.settings), peer.promise, peer.brokered, absent)

    def summary(self, figure: Figure) -> Summary | None:
        """None where no round has it."""
        measured = [each for each in self.rounds if figure.name in each]
        return summarise(figure, measured) if measured else None


class Measured(Struct, frozen=True):
    """A kind of work with its figures."""

    name: str
    figures: list[Figure]


class Results(Struct, frozen=True):
    finished: datetime
    environment: Environment
    processor: str
    rounds: int
    seconds: float
    works: list[Measured]
    peers: list[PeerResults]

    @classmethod
    def of(
        cls, environment: Environment, rounds: int, seconds: float, works: list[Measured], peers: list[PeerResults]
    ) -> Results:
        return cls(datetime.now(UTC), environment, _processor(), rounds, seconds, works, peers)

    @classmethod
    def read(cls, file: Path) -> Results:
        return msgspec.json.decode(file.read_bytes(), type=cls)

    def write(self, file: Path) -> None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def show(self) -> None:
        """On stdout: for each figure its median for each peer, the best first where that is known."""
        for work in self.works:
            for figure in work.figures:
                print(f"\n{figure.title}")
                for peer in self.peers:
                    print(f"  {peer.title:28}{self._cell(peer, work, figure)}")
        for peer in self.peers:
            for name, reason in peer.failed.items():
                print(f"\n{peer.title}: {name} failed: {reason}")
        print(f"\nMedians of {self.rounds} rounds of {self.seconds:g} s; in brackets the lowest and the highest.")
        print(self.environment)

    def _cell(self, peer: PeerResults, work: Measured, figure: Figure) -> str:
        if (summary := peer.summary(figure)) is None:
            return f"{DASH}  {reason_for(peer, work.name)}"
        ratio = f"  {summary.ratio:.2f} x floor" if summary.ratio is not None else ""
        return f"{number(summary.median):>12}  [{number(summary.low)} .. {number(summary.high)}]{ratio}"


def reason_for(peer: PeerResults, work: str) -> str:
    """Why a peer has no figure of this work."""
    if peer.absent:
        return f"absent: {peer.absent}"
    if work in peer.failed:
        return f"failed: {peer.failed[work]}"
    return peer.lacks.get(work, "not measured")


def without_command(message: str) -> str:
    """A failure's message for a page: the command that failed, with the temporary files it names, is on stderr."""
    end = max(message.rfind("}'"), message.rfind("]"))
    return f"a process {message[end + 2 :].strip()}".partition(";")[0] if end >= 0 else message


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _versions(peer: Peer) -> dict[str, str]:
    found = {"ipc-broker": VERSION} if peer.name == "ours" else {}
    for each in peer.distributions:
        try:
            found[each] = version(each)
        except PackageNotFoundError:
            found[each] = "?"
    for name, command in peer.programs.items():
        found[name] = _version_of(command)
    return found


def _version_of(command: tuple[str, ...]) -> str:
    """The first word with a digit of what the command prints first."""
    program = find_program(command[0])
    if program is None:
        return "?"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=10, check=False)
    words = (done.stdout or done.stderr).partition("\n")[0].split()
    return next((word.removeprefix("v=") for word in words if any(map(str.isdigit, word))), "?").rstrip(",")


def _processor() -> str:
    if sys.platform == "linux":
        for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine() or f"{os.cpu_count()} CPUs"
