"""What a broker and its peers leave behind: nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import ipc_broker
from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import CALCULATOR, PATIENCE, broker_at, environment
from tests.end_to_end.processes import seed_worker_at, subscriber_at, until, worker_at
from tests.seed.client import SeedClient
from tests.seed.frames import frame_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets(pid: int) -> int:
    """Without what a loop opens once, and keeps."""
    count = 0
    for one in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # it was closed meanwhile
            count += os.readlink(f"/proc/{pid}/fd/{one}").startswith("socket:")
    return count


def children() -> set[int]:
    """The processes that this one has started and not waited for."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in listed.read_text().split()}


def test_the_broker_returns_to_where_it_was(address: str) -> None:
    with broker_at(address, "--limit-resume", "0.1") as broker:
        with connect(address):  # the first connection, with which the broker's loop opens a spare descriptor for good
            before = descriptors(broker.pid) - 1
        use_in_every_way(address)
        until(lambda: descriptors(broker.pid) == before, f"the broker holds {before} descriptors again")
        until(lambda: _connections(address) == 1, "all have gone")
        with connect(address) as client:
            until(
                lambda: client.call("rob", "stats")["subscriptions"] == 0, "nothing is kept for those that were killed"
            )
            stats = client.call("rob", "stats")
        assert (stats["objects"], stats["calls_in_flight"]) == (0, 0)
        assert broker.stop() == 0
        if address.startswith("unix"):
            assert os.listdir(Path(address.removeprefix("unix://")).parent) == []


def _connections(address: str) -> int:
    with connect(address) as client:
        count: int = client.call("rob", "stats")["connections"]
        return count


def use_in_every_way(address: str) -> None:
    with worker_at(address) as worker, seed_worker_at(address, "seed") as seed_worker:
        for number in range(20):
            with connect(address) as client, client.subscribe("sensor", "heat"):
                assert client.call("math", "add", [number, 1]) == {"sum": number + 1}
                assert client.call("seed", "add", [number, 1]) == {"sum": number + 1}
                client.publish("sensor", "heat", number)
            with SeedClient(address) as seed:
                seed.subscribe("sensor", "heat")
                seed.send({"Call": {"call_id": "1", "object_name": "gate", "method": "wait", "args": [1000]}})
            with SeedClient(address) as bad:
                bad.send_bytes(frame_of(b"nonsense") + b"\xff\xff\xff\xff")
        asyncio.run(_use(address))
        worker.kill()
        seed_worker.kill()
    with subscriber_at(address, 10) as subscriber:
        subscriber.kill()


async def _use(address: str) -> None:
    for number in range(10):
        async with ipc_broker.connect(address) as client, client.subscribe("sensor", "heat") as events:
            await client.publish("sensor", "heat", number)
            assert (await events.get(PATIENCE)).topic == "heat"
            calls = [asyncio.ensure_future(client.call("gate", "wait", [1000])) for _ in range(10)]
            await client.drain()
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)


def test_a_worker_returns_to_where_it_was(address: str) -> None:
    with broker_at(address) as broker, worker_at(address) as worker:
        sockets_before = sockets(worker.pid)
        for _ in range(3):
            call_often(address)
            # A direct connection is gone with its client.
            until(lambda: sockets(worker.pid) == sockets_before, "the worker holds its connection to the broker only")
        before = descriptors(worker.pid)
        broker.kill()
        broker.stop()
        with broker_at(address), connect(address) as client:
            client.wait_for("math", PATIENCE)
            until(lambda: descriptors(worker.pid) == before, "the worker holds one connection again")


def call_often(address: str) -> None:
    with connect(address) as client:
        for number in range(100):
            assert client.call("math", "add", [number, 2]) == {"sum": number + 2}


def test_no_process_and_no_descriptor_of_ours_is_left(local_address: str) -> None:
    before = children(), descriptors(os.getpid())
    with broker_at(local_address):
        use_in_every_way(local_address)
    assert children() == before[0]
    until(lambda: descriptors(os.getpid()) == before[1], "this process holds as many descriptors as before")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_worker_leaves_its_names_and_ends_well(local_bus: str, signal_number: int) -> None:
    with (
        Child("calculator", ["-W", "error", CALCULATOR, local_bus], environment()) as worker,
        connect(local_bus) as client,
    ):
        client.wait_for("math", PATIENCE)
        worker.send_signal(signal_number)
        assert worker.wait(PATIENCE) == 0
        assert worker.said == []
        until(lambda: not client.has("math"), "the name is free")
