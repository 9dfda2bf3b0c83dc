"""The command line: the whole process of `rob call`, beside one that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .figures import Figure, Goal
from .processes import PATIENCE, BenchmarkFailed, Bus, command_environment

ROB = Path(sys.executable).parent / "rob"


class CommandLine:
    """`rob call` and `python -c pass` of this interpreter in turn, `pairs` times a round."""

    name = "rob"

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._pass = Figure("python-pass", "python -c pass, ms")
        self._rob = Figure("rob-call", "rob call, ms")
        self._ratio = Figure("rob", "rob call, x python", goal=Goal("at most", 5))
        self.figures = (self._pass, self._rob, self._ratio)

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here; empty when it can."""
        if find_spec("ipc_broker.cli.rob") is None:
            return "ipc_broker.cli.rob does not exist yet"
        return "" if ROB.exists() else f"there is no {ROB.name} beside {sys.executable}; install the package"

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        call = [str(ROB), "call", "--address", bus.address, "math", "add", "{ii}", "a", "10", "b", "32"]
        idle = [sys.executable, "-c", "pass"]
        self._time(call, expected=b"42")  # writes byte code that is not cached yet
        pairs = [(self._time(idle), self._time(call, expected=b"42")) for _ in range(self._pairs)]
        return {
            self._pass.name: [idle_ms for idle_ms, _ in pairs],
            self._rob.name: [call_ms for _, call_ms in pairs],
            self._ratio.name: [call_ms / idle_ms for idle_ms, call_ms in pairs],
        }

    def _time(self, command: Sequence[str], expected: bytes = b"") -> float:
        """Milliseconds from start to end; what it prints must hold `expected`."""
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, env=command_environment(), timeout=PATIENCE, check=False)
        took = (time.perf_counter() - started) * 1e3
        if done.returncode or expected not in done.stdout:
            raise BenchmarkFailed(f"{' '.join(command)} ended with status {done.returncode} and said {done.stdout!r}")
        return took
