"""Processes that share memory for what is large: whichever of them is killed, nothing is left of it with the others."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ipc_broker.cli.children import Child
from ipc_broker.errors import CallError
from ipc_broker.sync import Client, connect
from tests.cli.programs import PATIENCE, broker_at, environment
from tests.end_to_end.processes import subscriber_at, until, worker_at

if sys.platform != "linux":
    pytest.skip("only Linux has memory that leaves nothing behind", allow_module_level=True)

LARGE = "x" * 400_000
FOR_EVER = 1_000_000


def shared(pid: int | str = "self") -> int:
    """Pieces of memory that the process shares."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").count("memfd:ipc-broker")


def in_dev_shm() -> set[str]:
    return set(os.listdir("/dev/shm"))


def kill(child: Child) -> None:
    child.kill()
    child.wait(PATIENCE)


def echo_until_shared(client: Client, worker: Child) -> None:
    """Calls directly with what is large, until the worker has memory of this process, and of the broker's connection none."""

    def is_shared() -> bool:
        assert client.call("echo", "back", [LARGE]) == LARGE
        return shared(worker.pid) > 0 and "echo" in client.link.session.directs._paths

    until(is_shared, "large calls are lent")


def publish_until_shared(client: Client, subscriber: Child, broker: Child) -> None:
    numbers = iter(range(FOR_EVER))

    def is_shared() -> bool:
        client.publish("sensor", "heat", [next(numbers), LARGE])
        return shared(subscriber.pid) > 0 and shared(broker.pid) >= 2

    until(is_shared, "large events are lent")


def test_a_worker_that_is_killed(local_address: str) -> None:
    before = in_dev_shm()
    with broker_at(local_address) as broker, worker_at(local_address) as worker, connect(local_address) as client:
        echo_until_shared(client, worker)
        held = shared()
        assert held >= 1
        kill(worker)
        with pytest.raises(CallError):
            client.call("echo", "back", [LARGE], timeout=1)
        until(lambda: shared() == shared(broker.pid) <= 1, "only what the broker shares with this process is left")
        assert in_dev_shm() == before


def test_a_subscriber_that_is_killed(local_address: str) -> None:
    with (
        broker_at(local_address) as broker,
        subscriber_at(local_address, FOR_EVER) as subscriber,
        connect(local_address) as client,
    ):
        publish_until_shared(client, subscriber, broker)
        kill(subscriber)
        until(lambda: shared(broker.pid) == 1, "the broker shares memory with the publisher alone")
        client.publish("sensor", "heat", [0, LARGE])
        assert client.call("rob", "ping") is not None
        assert shared() == 1


def test_a_publisher_that_is_killed(local_address: str) -> None:
    """It is a child of this process, killed while it publishes; what it has published arrives."""
    publisher = (
        "import sys, itertools\n"
        "from ipc_broker.sync import connect\n"
        "with connect(sys.argv[1]) as client:\n"
        "    for number in itertools.count():\n"
        "        client.publish('sensor', 'heat', [number, 'x' * 400_000])\n"
        "        print('published', number, flush=True) if number % 20 == 0 else None\n"
    )
    with (
        broker_at(local_address) as broker,
        connect(local_address) as client,
        client.subscribe("sensor", "heat") as events,
    ):
        with Child("publisher", ["-c", publisher, local_address], environment()) as publishing:
            for number in range(100):
                event = events.get(timeout=10)
                assert getattr(event, "value", None) == [number, LARGE]
            assert shared(broker.pid) == 2
            kill(publishing)
        number = 100
        with suppress(TimeoutError):
            while True:
                event = events.get(timeout=0.5)
                assert getattr(event, "value", None) == [number, LARGE]
                number += 1
        until(lambda: shared(broker.pid) == 1, "the broker shares memory with the subscriber alone")


def test_a_broker_that_is_killed(local_address: str) -> None:
    with ExitStack() as others:
        with broker_at(local_address) as broker:
            worker = others.enter_context(worker_at(local_address))
            client = others.enter_context(connect(local_address))
            echo_until_shared(client, worker)
            assert shared(broker.pid) >= 1, "the first calls went through the broker"
            kill(broker)
        until(lambda: shared(worker.pid) == 0, "the worker shares nothing any more")
        with broker_at(local_address):
            assert client.call("echo", "back", [1], timeout=10) == 1
            assert shared() == 0, "what was shared before is left"
            assert client.call("echo", "back", [LARGE], timeout=10) == LARGE
