"""Processes that a program starts for a while: it waits for what they say, and ends them whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from queue import Empty, Queue
from time import monotonic
from types import FrameType
from typing import Self

STOP_TIMEOUT = 10.0
"""Seconds until a process that was asked to stop is killed."""


class ChildFailed(Exception):
    """A process ended, or stayed silent, instead of saying what was waited for; the message has all that it said."""


class Child:
    """A Python process, given what stands behind `python`; for `with`, which stops it. Its stderr joins its stdout.

    It works in the folder `cwd`, None for this process's. Only for the main thread.
    """

    def __init__(
        self, name: str, arguments: list[str], environ: Mapping[str, str], cwd: str | os.PathLike[str] | None = None
    ) -> None:
        self.name = name
        self.said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        try:
            with _signals_wait():
                self._process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    env=environ,
                    cwd=cwd,
                )
                self._reader = threading.Thread(target=self._read, daemon=True)
                self._reader.start()
        except (KeyboardInterrupt, SystemExit):  # the block is never entered
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def wait_for_line(self, text: str, timeout: float) -> str:
        """The next line with `text` in it, without its newline. Raises ChildFailed."""
        for line in self._lines_until(timeout, f"a line with {text!r}"):
            if text in line:
                return line
        raise self.failure(f"ended before it said {text!r}")

    def wait(self, timeout: float) -> int:
        """The exit status of a process that ends by itself. Raises ChildFailed."""
        for _ in self._lines_until(timeout, "its end"):
            pass
        return self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Without asking."""
        self._process.kill()

    def stop(self) -> int:
        """The exit status. May be called again."""
        with _signals_wait():
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    self._process.kill()
            status = self._process.wait()
            self._reader.join()
        return status

    def failure(self, how: str) -> ChildFailed:
        """For raising: `how` it failed, and what it said."""
        with contextlib.suppress(Empty):
            while (line := self._lines.get_nowait()) is not None:
                self.said.append(line)
            self._lines.put(None)
        said = "".join(f"\n   {line}" for line in self.said) or " nothing"
        return ChildFailed(f"{self.name} {how}; it said:{said}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _lines_until(self, timeout: float, what: str) -> Iterator[str]:
        deadline = monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - monotonic(), 0.0))
            except Empty:
                raise self.failure(f"gave no sign of {what} within {timeout:g} s") from None
            if line is None:
                self._lines.put(None)  # for whoever waits for the end again
                return
            self.said.append(line)
            yield line


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and the other handled signals come when the block is left: no process is half started or half stopped."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    # The process must not inherit what is blocked, so they are caught.
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        numbers.append(signal.SIGHUP)
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrived in came:
            signal.raise_signal(arrived)
