"""Addresses of brokers that are processes of their own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.cli.programs import broker_at
from tests.end_to_end.processes import free_port

TRANSPORTS = ["tcp"] if sys.platform == "win32" else ["unix", "tcp"]


@pytest.fixture
def folder() -> Iterator[str]:
    """A short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder:
        yield folder


@pytest.fixture(params=TRANSPORTS)
def address(request: pytest.FixtureRequest, folder: str) -> str:
    """An address of each kind, where nothing listens."""
    return f"tcp://127.0.0.1:{free_port()}" if request.param == "tcp" else f"unix://{folder}/bus.sock"


@pytest.fixture
def local_address(folder: str) -> str:
    """One address where nothing listens."""
    return f"tcp://127.0.0.1:{free_port()}" if sys.platform == "win32" else f"unix://{folder}/bus.sock"


@pytest.fixture
def bus(address: str) -> Iterator[str]:
    """The address of a broker."""
    with broker_at(address):
        yield address


@pytest.fixture
def local_bus(local_address: str) -> Iterator[str]:
    """The address of a broker, of one kind only."""
    with broker_at(local_address):
        yield local_address
