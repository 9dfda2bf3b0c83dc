"""The processes of a soak, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Empty, Queue
from time import monotonic

from tests.cli.programs import environment

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
STOP_TIMEOUT = 10.0


class SoakFailed(Exception):
    """A process ended, or said nothing, where the run cannot go on without it."""


class Process:
    """`python` with these arguments, in a session of its own: Ctrl-C does not reach it, and its children end with it."""

    def __init__(self, name: str, arguments: list[str], environ: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.noise: list[str] = []
        """Lines that nobody has waited for: warnings, tracebacks."""
        self._lines: Queue[str | None] = Queue()
        self._asked = False
        path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env=environment(PYTHONPATH=path, **environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, start: str, timeout: float = PATIENCE) -> str:
        """What stands behind `start` in the next line that begins so. Raises SoakFailed."""
        deadline = monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - monotonic(), 0.0))
            except Empty:
                raise SoakFailed(f"{self.name} did not say {start.strip()!r} within {timeout:g} s") from None
            if line is None:
                said = "".join(f"\n   {one}" for one in self.noise[-20:]) or " nothing"
                raise SoakFailed(f"{self.name} ended before it said {start.strip()!r}; it said:{said}")
            if line.startswith(start):
                return line[len(start) :]
            self.noise.append(line)

    def lines(self, start: str) -> Iterator[str]:
        """One such line, and all further ones that have come. Raises SoakFailed."""
        yield self.line(start)
        while not self._lines.empty():
            yield self.line(start)

    def ask_to_stop(self) -> None:
        """Once: a second signal would meet a process that is about to end and does not heed it any more."""
        if not self._asked and self._process.poll() is None:
            self._asked = True
            self._process.terminate()

    def wait(self) -> int:
        """The exit status of a process that ends by itself."""
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """The exit status. What it has started ends too. May be called again."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError):  # as it should be: nobody of its session is left
                os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self._reader.join()
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.noise.append(line)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def memory(pid: int) -> tuple[int, int]:
    """Bytes: resident, and anonymous; pages of files come and go with what else the machine does, and are no leak."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    resident, anonymous, swapped = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "VmSwap"))
    return resident, anonymous + swapped


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
