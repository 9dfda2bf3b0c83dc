"""A peer's turn in a round: its server and its worker, and who measures them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from ..processes import Processes
from . import cost
from .line import StartingLine
from .orders import READY, Called, Calls, InFlight, Order, Serve
from .peer import Peer
from .place import Place

T = TypeVar("T")


class Turn:
    """Within the block the peer's server runs, and its worker serves. `wide` as in `Place`."""

    def __init__(self, peer: Peer, processes: Processes, folder: Path, *, wide: bool) -> None:
        self.peer = peer
        self.processes = processes
        self.folder = folder
        self._place = Place(processes, folder, wide)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        served = self.peer.start(self._place)
        self.address = served.address
        self._started += served.brokers
        workers = []
        if self.peer.ends.serve is not None:
            worker = self.start(Serve(self.address))
            self.processes.wait_line(worker, READY.encode())
            workers.append(worker)
        self.servers = served.brokers or workers
        """Whose memory each connection costs: the broker, or the worker where there is none."""
        self.serving = [*served.brokers, *workers]

    def _stop(self) -> None:
        for process in reversed(self._started):
            self.processes.stop(process)
        self._started.clear()

    def start(self, order: Order) -> subprocess.Popen[bytes]:
        """It is ended with the turn, if it still runs."""
        process = self._place.start_role(self.peer.module, msgspec.json.encode(order).decode())
        self._started.append(process)
        return process

    def ready(self, *processes: subprocess.Popen[bytes]) -> None:
        for process in processes:
            self.processes.wait_line(process, READY.encode())

    def line(self) -> StartingLine:
        return StartingLine(self.folder / "line")

    def told(self, process: subprocess.Popen[bytes], kind: type[T]) -> T:
        """What a process says that goes on."""
        return msgspec.json.decode(self.processes.line(process), type=kind)

    def result(self, process: subprocess.Popen[bytes], seconds: float, kind: type[T]) -> T:
        return msgspec.json.decode(self.processes.output(process, seconds), type=kind)

    def measure(self, order: Calls | InFlight) -> tuple[Called, float]:
        """What one client measured, and the CPU seconds of all processes for each call."""
        [called], cpu = self.measure_all([order])
        return called, cpu

    def measure_all(self, orders: Sequence[Calls | InFlight]) -> tuple[list[Called], float]:
        """At once."""
        with self.line() as line:
            clients = [self.start(order) for order in orders]
            self.ready(*clients)
            before = cost.cpu_seconds(self.serving) if sys.platform == "linux" else 0.0
            line.release()
            called = [self.result(client, order.seconds, Called) for client, order in zip(clients, orders, strict=True)]
            used = cost.cpu_seconds(self.serving) - before if sys.platform == "linux" else 0.0
        count = sum(each.count for each in called)
        return called, (used + sum(each.cpu for each in called)) / count
