"""The fixtures that pytest has wherever this package is installed.

Every run of pytest there loads this module: it imports nothing of the package until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import BackgroundBroker, MemoryBroker


@pytest.fixture
def ipc_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundBroker]:
    """A real broker on a temporary socket, in a thread: `.address`, `.serve(name, obj)`, `.kill(name)`, `.restart()`.

    `BROKER_ADDR` is set, so that `connect()` and `Worker()` find it, also in other processes.
    """
    from .testing import BackgroundBroker

    with BackgroundBroker() as broker:
        monkeypatch.setenv("BROKER_ADDR", broker.address)
        yield broker


@pytest.fixture
def memory_broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """A broker within the test's event loop: `async with memory_broker:` starts it, and stops its clock.

    No sockets; `.clock.advance(seconds)` moves the time; `.kill`, `.stall`, `.drop` and `.delay` are faults of a peer, by its
    name. `BROKER_ADDR` is set, so that `connect()` and `Worker()` find it.
    """
    from .testing import MemoryBroker

    broker = MemoryBroker()
    monkeypatch.setenv("BROKER_ADDR", broker.address)
    return broker
