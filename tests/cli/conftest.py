"""A broker and a worker, each a process, once for each module."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.programs import broker_at, calculator_at, shop_at


@pytest.fixture(scope="module")
def bus() -> Iterator[str]:
    """The address of a broker with a worker that serves `math` and `echo`."""
    with _free_address() as address, broker_at(address), calculator_at(address):
        yield address


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The address of a broker with a worker that serves `shop` and `opaque`."""
    with _free_address() as address, broker_at(address), shop_at(address):
        yield address


@pytest.fixture
def address() -> Iterator[str]:
    """An address where nothing listens."""
    with _free_address() as address:
        yield address


@contextmanager
def _free_address() -> Iterator[str]:
    if sys.platform == "win32":
        yield f"pipe://ipc_broker_test_{uuid.uuid4().hex}"
    else:
        # Not pytest's own folders: the path of a socket must be short.
        with tempfile.TemporaryDirectory(prefix="rob-test-") as folder:
            yield f"unix://{folder}/bus.sock"
