"""What a broker takes of memory: at its start, and for each connection that says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from ipc_broker import connect

from .figures import Figure, Goal
from .processes import Bus, start_broker

CONNECTIONS = 1000


class Idle:
    """Of resident memory, as /proc tells it."""

    name = "idle"
    figures = (
        Figure("broker-start", "broker's memory at its start, MiB", goal=Goal("at most", 40)),
        Figure("idle-connection", "the same for each idle connection, KiB", goal=Goal("at most", 6)),
    )

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here; "" when it can."""
        return "" if sys.platform == "linux" else "it reads /proc, which only Linux has"

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        with tempfile.TemporaryDirectory(dir=bus.folder) as folder:
            address = f"unix://{folder}/bus.sock"
            broker = start_broker(bus.processes, address)
            began = _resident(broker.pid)
            grown = asyncio.run(_grown(address, broker.pid))
            bus.processes.stop(broker)
        return {"broker-start": [began / 2**20], "idle-connection": [grown / CONNECTIONS / 2**10]}


async def _grown(address: str, pid: int) -> float:
    """Bytes for the second half of twice as many connections: the first makes room for things that are there once."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            await stack.enter_async_context(connect(address))
        before = _resident(pid)
        for _ in range(CONNECTIONS):
            await stack.enter_async_context(connect(address))
        return _resident(pid) - before


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("proc_pid_status(5) has VmRSS")
