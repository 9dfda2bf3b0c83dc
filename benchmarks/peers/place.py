"""Where a peer's server runs: in a temporary folder, on a Unix socket there or on a free port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..processes import PATIENCE, BenchmarkFailed, Processes

LOOPBACK = "127.0.0.1"
LOOK_AGAIN = 0.01
"""Seconds between two attempts to connect to a server that starts."""


@dataclass(frozen=True)
class Served:
    """A peer's server: empty `brokers` where caller and worker talk to each other."""

    address: str
    brokers: list[subprocess.Popen[bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """`wide`: the server's limits on what waits for a slow subscriber are lifted, where they can be."""

    processes: Processes
    folder: Path
    wide: bool

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return self.processes.start(command)

    def start_role(self, module: str, order: str) -> subprocess.Popen[bytes]:
        return self.processes.start([sys.executable, "-m", module, order])

    def socket_path(self) -> Path:
        """Of a Unix socket that nobody listens on yet."""
        path = self.folder / "s"
        path.unlink(missing_ok=True)
        return path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
            return port

    def wait_until_it_listens(self, server: subprocess.Popen[bytes], where: Path | int) -> None:
        deadline = time.monotonic() + PATIENCE
        while not _listens(where):
            if server.poll() is not None:
                raise BenchmarkFailed(f"{server.args!r} ended with status {server.returncode} before it listened")
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{server.args!r} does not listen on {where} after {PATIENCE:g} s")
            time.sleep(LOOK_AGAIN)


def _listens(where: Path | int) -> bool:
    if sys.platform == "win32":
        raise BenchmarkFailed("the peers are measured over Unix sockets")
    family, target = (socket.AF_INET, (LOOPBACK, where)) if isinstance(where, int) else (socket.AF_UNIX, str(where))
    with socket.socket(family) as probe:
        return probe.connect_ex(target) == 0


def no_program(name: str, package: str) -> str:
    """Why a peer is absent whose program is not here; empty when it is."""
    if find_program(name) is not None:
        return ""
    return f"there is no {name}: install it by `apt-get install {package}`"


def find_program(name: str) -> str | None:
    """Beside this interpreter, as wheels put it, or on the path, that of daemons included."""
    beside = Path(sys.executable).parent / name
    return (
        str(beside) if beside.exists() else shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    )
