"""Processes that are killed in the middle of a stream, and the wills of clients."""

from __future__ import annotations

import asyncio

import pytest

import ipc_broker
from ipc_broker import Event, errors
from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE
from tests.end_to_end.processes import client_at, until, worker_at
from tests.seed.client import SeedClient
from tests.sync.bus import InThread

KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])
METHODS = pytest.mark.parametrize("method", ["run", "run_in_thread"])


async def take_all(address: str, method: str) -> list[int]:
    numbers: list[int] = []
    async with ipc_broker.connect(address) as client:
        try:
            async for number, _ in client.stream("tape", method, {"size": 1000}):
                numbers.append(number)
        except errors.WorkerLost:
            return numbers
    raise AssertionError("the stream came to an end")


@METHODS
def test_consumers_of_a_killed_worker_get_what_came_and_then_the_error(bus: str, method: str) -> None:
    with worker_at(bus) as worker, connect(bus) as client:
        together = InThread(lambda: asyncio.run(take_all(bus, method)))
        numbers: list[int] = []

        def take() -> None:
            with client.stream("tape", method, {"size": 1000}) as items:
                for number, _ in items:
                    numbers.append(number)
                    if number == 2000:  # far behind the first window
                        worker.kill()

        with pytest.raises(errors.WorkerLost) as caught:
            take()
        assert (caught.value.object, caught.value.method) == ("tape", method)
        assert caught.value.delivered == "maybe"
        assert numbers == list(range(len(numbers)))
        others = together.result()
        assert others == list(range(len(others)))
        worker.stop()
        until(lambda: client.call("rob", "stats")["calls_in_flight"] == 0, "no call is left")
        with worker_at(bus):
            assert list(client.stream("tape", "count", [3])) == [0, 1, 2]


@KINDS
def test_the_stream_of_a_killed_client_is_given_up(bus: str, kind: str) -> None:
    with worker_at(bus) as worker, client_at(kind, bus, 10**9) as client:
        client.kill()
        worker.wait_for_line("the stream was given up", PATIENCE)
        with connect(bus) as other:
            until(lambda: other.call("rob", "stats")["calls_in_flight"] == 0, "no call is left")


@KINDS
def test_the_will_of_a_killed_client_is_published(bus: str, kind: str) -> None:
    with worker_at(bus), connect(bus) as watcher, watcher.subscribe("status", "*") as events, SeedClient(bus) as seed:
        seed.subscribe("status", "mortal")
        with client_at(kind, bus, 10**9) as client:
            client.kill()
            assert events.get(PATIENCE) == Event("status", "mortal", {"is": "gone"})
            assert seed.next_event()["args"] == {"is": "gone"}


@KINDS
def test_no_will_is_published_of_a_client_that_leaves_in_good_order(bus: str, kind: str) -> None:
    with worker_at(bus) as worker, connect(bus) as watcher, watcher.subscribe("status", "*") as events:
        with client_at(kind, bus, 500) as client:
            assert client.wait(PATIENCE) == 0
        worker.wait_for_line("the stream was given up", PATIENCE)
        until(lambda: watcher.call("rob", "stats")["connections"] == 2, "the client is gone")
        watcher.publish("status", "end", "end")
        assert events.get(PATIENCE) == Event("status", "end", "end")


def test_a_worker_that_is_killed_over_and_over(local_bus: str) -> None:
    """Whoever takes a stream learns each loss, and finds the next worker; nothing is left of those before."""

    def take_until_lost(client: ipc_broker.sync.Client, worker: Child) -> None:
        for number, _ in client.stream("tape", "run", {"size": 10}):
            if number == 10:
                worker.kill()

    with connect(local_bus) as client:
        for _ in range(3):
            with worker_at(local_bus) as worker, pytest.raises(errors.WorkerLost):
                take_until_lost(client, worker)
            until(lambda: not client.has("tape"), "the broker has seen the end of the worker")
        stats = client.call("rob", "stats")
        assert (stats["objects"], stats["calls_in_flight"], stats["connections"]) == (0, 0, 1)
