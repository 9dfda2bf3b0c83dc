"""What processes use, as Linux tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from subprocess import Popen

PROC = Path("/proc")


def missing() -> str:
    """Why it can't be told here; empty when it can."""
    return "" if sys.platform == "linux" else "it reads /proc, which only Linux has"


def cpu_seconds(processes: Iterable[Popen[bytes]]) -> float:
    """User and system, of all these processes and their children, since they were started."""
    if sys.platform == "win32":
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in _family(processes)) / ticks


def memory(processes: Iterable[Popen[bytes]]) -> int:
    """Bytes that are in use by these processes and their children, and shared with nobody."""
    total = 0
    for pid in _family(processes):
        for row in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if row.startswith("Private_"):
                total += int(row.split()[1]) * 1024
    return total


def _family(processes: Iterable[Popen[bytes]]) -> list[int]:
    pids = [process.pid for process in processes]
    for pid in pids:  # which grows meanwhile
        for thread in (PROC / str(pid) / "task").iterdir():
            pids += map(int, (thread / "children").read_text().split())
    return pids


def _stat(pid: int) -> list[str]:
    """What stands behind the process's name, which may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
