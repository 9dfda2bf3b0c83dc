"""As many connections as must always be possible, and what publishers leave with the kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at, environment
from tests.end_to_end.processes import subscriber_at, until, worker_at

CONNECTIONS = 10_000
GROWTH = 8 * 1024 * 1024
"""Bytes that a process may differ by which does the same for the second time."""

PUBLISH_AND_DIE = """
import os, sys
from ipc_broker.sync import connect
client = connect(sys.argv[1])
for number in range(int(sys.argv[2])):
    client.publish("sensor", "heat", number)
os._exit(0)
"""


def descriptors(process: Child) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def resident(process: Child) -> int:
    """Bytes of memory that the process takes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


if sys.platform != "win32":
    import resource

    @contextmanager
    def many_descriptors() -> Iterator[int]:
        """This process may open as many as the system allows it, which is how many."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            yield hard
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @contextmanager
    def crowd(address: str, size: int) -> Iterator[None]:
        """So many connections that say nothing."""
        with ExitStack() as sockets:
            for _ in range(size):
                one = sockets.enter_context(socket.socket(socket.AF_UNIX))
                one.connect(address.removeprefix("unix://"))  # without a timeout: it waits for a place in the queue
            yield

else:

    def many_descriptors() -> AbstractContextManager[int]:
        raise NotImplementedError

    def crowd(address: str, size: int) -> AbstractContextManager[None]:
        raise NotImplementedError


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_ten_thousand_connections_at_once_disturb_nobody_and_leave_nothing(local_address: str) -> None:
    with (
        many_descriptors() as allowed,
        broker_at(local_address) as broker,
        worker_at(local_address),
        connect(local_address) as client,
    ):
        size = min(CONNECTIONS, allowed - 500)
        before = descriptors(broker)
        taken: list[int] = []
        for _ in range(2):
            with crowd(local_address, size):
                until(lambda: client.call("rob", "stats")["connections"] == size + 2, "all are connected")
                for number in range(100):
                    assert client.call("math", "add", [number, 1], timeout=PATIENCE) == {"sum": number + 1}
            until(lambda: client.call("rob", "stats")["connections"] == 2, "all have gone")
            until(lambda: descriptors(broker) == before, f"the broker holds {before} descriptors again")
            taken.append(resident(broker))
        assert taken[1] - taken[0] < GROWTH
        assert client.call("rob", "stats")["totals"]["refused_connections"] == 0


def test_what_the_blocking_client_has_published_survives_its_process(bus: str) -> None:
    """`publish` returned, so that the kernel has the bytes: no drain and no goodbye are needed for them to arrive."""
    with subscriber_at(bus, 3000) as subscriber:
        words = [sys.executable, "-W", "error", "-c", PUBLISH_AND_DIE, bus, "3000"]
        subprocess.run(words, env=environment(), check=True, timeout=PATIENCE)
        subscriber.wait_for_line("3000 events came in order, 0 did not", PATIENCE)
