"""The processes of a benchmark, none of which outlives it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ipc_broker.errors import ConnectFailed
from ipc_broker.sync import connect

ROOT = Path(__file__).resolve().parent.parent

PATIENCE = 30.0
"""Seconds that a process may take besides the time it measures: to start, to connect, to take what is on its way."""


class BenchmarkFailed(Exception):
    """Something broke: a process failed, an answer was wrong, an event was missing."""


class Processes:
    """Starts processes; those that still run are ended, the last first, when the block is left."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._running:
            self.stop(self._running[-1])

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Its stdin and stdout are pipes. Ctrl-C does not reach it: it is ended from here."""
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._running.append(process)
        return process

    def run(self, command: Sequence[str], seconds: float) -> bytes:
        """What it printed, once it has ended; it measures for `seconds`."""
        return self.output(self.start(command), seconds)

    def output(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        """What a process printed that ends by itself."""
        try:
            printed, _ = process.communicate(timeout=seconds + PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkFailed(f"{_shown(process)} did not end within {error.timeout:g} s") from error
        finally:
            self.stop(process)
        if process.returncode:
            raise BenchmarkFailed(f"{_shown(process)} failed with status {process.returncode}; see its message above")
        return printed

    def wait_line(self, process: subprocess.Popen[bytes], expected: bytes) -> None:
        """Until the process has printed this line; a process must limit by itself how long that takes."""
        line = self.line(process)
        if line != expected:
            raise BenchmarkFailed(f"{_shown(process)} said {line!r} where {expected!r} was due; see its message above")

    def line(self, process: subprocess.Popen[bytes]) -> bytes:
        """The next that the process prints, and goes on; the same holds as for `wait_line`."""
        assert process.stdout is not None
        if not (line := process.stdout.readline()):
            raise BenchmarkFailed(f"{_shown(process)} ended too early; see its message above")
        return line.strip()

    def tell(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ends it if it still runs. May be called again."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if process in self._running:
            self._running.remove(process)


class Bus:
    """A broker on a Unix socket in `folder`, and a worker that serves `math`, each a process."""

    def __init__(self, processes: Processes, folder: Path, *options: str) -> None:
        """`options` are the broker's."""
        self.processes = processes
        self.folder = folder
        self.address = f"unix://{folder}/bus.sock"
        broker = start_broker(processes, self.address, *options)
        self._running = [start_worker(processes, self.address), broker]

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """It uses the bus, and is stopped with it: before the broker, whose loss it would complain of."""
        self._running.insert(0, process)

    def stop(self) -> None:
        """Before the processes are left, which would also end it."""
        for process in self._running:
            self.processes.stop(process)


def start_worker(processes: Processes, address: str) -> subprocess.Popen[bytes]:
    """It serves `math` when this returns."""
    worker = processes.start([sys.executable, "-m", "benchmarks.calls", "worker", address])
    with connect(address) as client:
        try:
            client.wait_for("math", timeout=PATIENCE)
        except TimeoutError as error:
            raise BenchmarkFailed(f"the worker did not start: {error}") from error
    return worker


def start_broker(processes: Processes, address: str, *options: str) -> subprocess.Popen[bytes]:
    """It listens when this returns."""
    broker = processes.start([sys.executable, "-m", "ipc_broker", "--listen", address, "--log-level", "warn", *options])
    wait_until_it_listens(broker, address)
    return broker


def wait_until_it_listens(broker: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connect(address).close()
            return
        except ConnectFailed as error:
            if broker.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkFailed(f"the broker did not start ({_shown(broker)}): {error}") from error
        time.sleep(0.01)


def command_environment() -> dict[str, str]:
    """This environment, byte code cached as it is for everybody who has not forbidden it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _shown(process: subprocess.Popen[bytes]) -> str:
    arguments = process.args
    return shlex.join(str(word) for word in arguments) if isinstance(arguments, list) else str(arguments)
