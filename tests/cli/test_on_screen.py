"""What somebody sees who sits in front of a terminal."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo terminals like these", allow_module_level=True)

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, ROB, environment

ALTERNATE_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class Screen:
    """All that the process has written since it began."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self._process = process
        self._master = master
        self.written = ""

    def wait_for(self, text: str) -> None:
        deadline = monotonic() + PATIENCE
        while text not in self.written:
            assert self._read(max(deadline - monotonic(), 0.0)), f"{text!r} did not come, but {self.written!r}"

    def ended(self) -> int:
        """The exit status; what was written until then has been read."""
        while self._read(PATIENCE):
            pass
        return self._process.wait(PATIENCE)

    def interrupt(self) -> int:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        return self.ended()

    def _read(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # which Linux says when the process has ended
            return False
        self.written += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def rob_on_screen(address: str, *words: str, **environ: str) -> Iterator[Screen]:
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, *ROB, *words, "--address", address],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm", COLUMNS="80", LINES="24", **environ),
        )
    finally:
        os.close(slave)
    with process:
        try:
            yield Screen(process, master)
        finally:
            process.kill()
            os.close(master)


def test_top_has_the_screen_until_ctrl_c(bus: str) -> None:
    with rob_on_screen(bus, "top", "--interval", "0.05") as screen:
        screen.wait_for("calls/s")
        screen.wait_for("math")
        screen.wait_for("\x1b[1;36mconnection")
        assert screen.interrupt() == 0
    assert screen.written.index(ALTERNATE_SCREEN) < screen.written.index("math") < screen.written.index(USUAL_SCREEN)
    assert "KeyboardInterrupt" not in screen.written


def test_with_a_count_the_last_of_top_stays(bus: str) -> None:
    with rob_on_screen(bus, "top", "--interval", "0.05", "--count", "2") as screen:
        assert screen.ended() == 0
    assert ALTERNATE_SCREEN not in screen.written
    assert "math" in screen.written


@pytest.mark.parametrize("no_colour", [{}, {"NO_COLOR": "1"}])
def test_monitor_has_colours_and_lines_as_wide_as_the_terminal(bus: str, no_colour: dict[str, str]) -> None:
    with connect(bus) as client, rob_on_screen(bus, "monitor", "wide", "--count", "1", **no_colour) as screen:
        screen.wait_for("ends")
        client.publish("wide", "value", "[bold]" + "x" * 100)
        assert screen.ended() == 0
    line = screen.written.splitlines()[1]
    assert "[bold]" in line
    assert "…" in line
    if no_colour:
        assert "\x1b" not in line
        assert len(line) == 80
    else:
        assert "\x1b[1;32mwide value\x1b[0m" in line


def test_why_has_colours(bus: str) -> None:
    with rob_on_screen(bus, "why") as screen:
        assert screen.ended() == 0
    assert "\x1b[32mNothing is stuck: " in screen.written
