"""The command lines as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.insecure import IN_ENVIRONMENT

PATIENCE = 30.0
ROB = ("-W", "error", "-m", "ipc_broker.cli.rob")
BROKER = ("-W", "error", "-m", "ipc_broker")
CALCULATOR = str(Path(__file__).with_name("calculator.py"))
SHOP = str(Path(__file__).with_name("shop.py"))


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
    # Whatever lies in the configuration folder of whoever runs the tests is not for these programs.
    return own | {"XDG_CONFIG_HOME": "/nowhere"} | changes


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


class Running:
    """`rob`, for as long as it runs; `note` is the first line that it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.output: IO[str] = process.stdout
        self.errors: IO[str] = process.stderr
        self.note = self.errors.readline()

    def interrupt(self) -> Ended:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> Ended:
        output, errors = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, output, errors)


@contextmanager
def rob_running(address: str, *words: str, cwd: Path | None = None) -> Iterator[Running]:
    """A command that says on stderr that it has begun."""
    with subprocess.Popen(
        [sys.executable, *ROB, *words, "--address", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
        cwd=cwd,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def rob_listen(address: str, *words: str) -> AbstractContextManager[Running]:
    """`rob listen`, subscribed."""
    return rob_running(address, "listen", *words)


def start_broker(*options: str, **environ: str) -> Child:
    """`ipc-broker`; it is not said that it listens already."""
    return Child("ipc-broker", [*BROKER, *options], environment(**IN_ENVIRONMENT, **environ))


@contextmanager
def broker_at(address: str, *options: str) -> Iterator[Child]:
    """`ipc-broker`, listening."""
    with start_broker("--listen", address, *options) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        yield broker


@contextmanager
def calculator_at(address: str) -> Iterator[None]:
    """A worker that serves `math`, registered."""
    with _worker_at(address, CALCULATOR, "math"):
        yield


@contextmanager
def shop_at(address: str) -> Iterator[None]:
    """A worker that serves `shop`, which has all types, and `opaque`, which tells of none; registered."""
    with _worker_at(address, SHOP, "shop"):
        yield


@contextmanager
def _worker_at(address: str, program: str, serves: str) -> Iterator[None]:
    with Child(serves, ["-W", "error", program, address], environment()), connect(address) as client:
        client.wait_for(serves, PATIENCE)
        yield
