"""The command lines as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ipc_broker.cli.children import Child
from ipc_broker.sync import connect

PATIENCE = 30.0
ROB = ("-W", "error", "-m", "ipc_broker.cli.rob")
BROKER = ("-W", "error", "-m", "ipc_broker")
CALCULATOR = str(Path(__file__).with_name("calculator.py"))


class Ended(NamedTuple):
    status: int
    output: str
    errors: str


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would change how our programs behave."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BROKER_", "IPC_BROKER_")) and name not in ("NO_COLOR", "FORCE_COLOR")
    }
    return own | changes


def rob(*words: str, address: str | None = None, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ended:
    """`rob` with these words, and `--address` behind them."""
    where = () if address is None else ("--address", address)
    return run(*ROB, *words, *where, stdin=stdin, environ=environ)


def run(*arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ended:
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=stdin.encode(),
        capture_output=True,
        env=environment() if environ is None else environ,
        timeout=PATIENCE,
    )
    output, errors = (text.decode().replace("\r\n", "\n") for text in (ended.stdout, ended.stderr))
    return Ended(ended.returncode, output, errors)


class Listener:
    """`rob listen`, subscribed."""

    def __init__(self, process: subprocess.Popen[str], note: str) -> None:
        self.process = process
        self.note = note
        assert process.stdout is not None
        self.output: IO[str] = process.stdout

    def ended(self) -> Ended:
        output, errors = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, output, errors)


@contextmanager
def rob_listen(address: str, *words: str) -> Iterator[Listener]:
    with subprocess.Popen(
        [sys.executable, *ROB, "listen", *words, "--address", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    ) as process:
        try:
            assert process.stderr is not None
            yield Listener(process, process.stderr.readline())
        finally:
            process.kill()


def start_broker(*options: str, **environ: str) -> Child:
    """`ipc-broker`; it is not said that it listens already."""
    return Child("ipc-broker", [*BROKER, *options], environment(**environ))


@contextmanager
def broker_at(address: str, *options: str) -> Iterator[Child]:
    """`ipc-broker`, listening."""
    with start_broker("--listen", address, *options) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        yield broker


@contextmanager
def calculator_at(address: str) -> Iterator[None]:
    """A worker that serves `math`, registered."""
    with Child("calculator", ["-W", "error", CALCULATOR, address], environment()), connect(address) as client:
        client.wait_for("math", PATIENCE)
        yield
