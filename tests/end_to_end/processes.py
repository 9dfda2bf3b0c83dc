"""Brokers, workers and subscribers, each a process that ends with the test."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ipc_broker.cli.children import Child
from tests.cli.programs import PATIENCE, environment

_ROOT = str(Path(__file__).parents[2])
_HERE = Path(__file__).parent


@contextmanager
def seed_worker_at(address: str, *names: str) -> Iterator[Child]:
    """The stand-in for the Rust crate's worker, registered."""
    arguments = ["-W", "error", "-m", "tests.seed.worker", address, *names]
    with Child("seed worker", arguments, environment(PYTHONPATH=_ROOT)) as worker:
        worker.wait_for_line("registered", PATIENCE)
        yield worker


@contextmanager
def worker_at(*address: str, **environ: str) -> Iterator[Child]:
    """Our worker, registered."""
    with our_program("worker_process.py", *address, **environ) as worker:
        worker.wait_for_line("registered", PATIENCE)
        yield worker


@contextmanager
def client_at(kind: str, address: str, count: int) -> Iterator[Child]:
    """A client, "blocking" or "asyncio", with a will; it takes so many items of a stream."""
    with our_program("client_process.py", kind, address, str(count)) as client:
        client.wait_for_line("streaming", PATIENCE)
        yield client


@contextmanager
def subscriber_at(address: str, count: int, pause: float = 0.0) -> Iterator[Child]:
    """A slow subscriber, subscribed."""
    with our_program("subscriber_process.py", address, str(count), str(pause)) as subscriber:
        subscriber.wait_for_line("subscribed", PATIENCE)
        yield subscriber


def our_program(name: str, *arguments: str, **environ: str) -> Child:
    return Child(name, ["-W", "error", str(_HERE / name), *arguments], environment(**environ))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], object], what: str) -> None:
    """Returns when the condition holds; it is asked again and again."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.02)
