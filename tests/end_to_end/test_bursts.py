"""More events than a subscriber can take at once."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time

import pytest

import ipc_broker
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at
from tests.end_to_end.processes import subscriber_at, worker_at
from tests.seed.client import SeedClient
from tests.sync.bus import InThread, take


async def publish(address: str, values: range) -> None:
    async with ipc_broker.connect(address) as client:
        for value in values:
            await client.publish("sensor", "heat", value)


def test_a_burst_from_a_blocking_publisher_arrives_whole(bus: str) -> None:
    with subscriber_at(bus, 20_000, 0.005) as subscriber, connect(bus) as publisher:
        for number in range(20_000):
            publisher.publish("sensor", "heat", number)
        publisher.drain()
        subscriber.wait_for_line("20000 events came in order", PATIENCE)


def test_a_burst_from_a_seed_publisher_arrives_whole(local_bus: str) -> None:
    with subscriber_at(local_bus, 20_000, 0.005) as subscriber, SeedClient(local_bus, timeout=PATIENCE) as publisher:
        for number in range(20_000):
            publisher.publish("sensor", "heat", number)
        subscriber.wait_for_line("20000 events came in order", PATIENCE)


def test_a_burst_to_a_seed_subscriber_arrives_whole(local_bus: str) -> None:
    with SeedClient(local_bus, timeout=PATIENCE) as subscriber:
        subscriber.subscribe("sensor", "heat")
        publishing = InThread(lambda: asyncio.run(publish(local_bus, range(20_000))))
        assert [subscriber.next_event()["args"] for _ in range(20_000)] == list(range(20_000))
        publishing.result()


def test_a_burst_that_the_broker_cannot_hold_arrives_whole(local_address: str) -> None:
    """The subscriber pauses for 1 s in all; the broker may keep no more than 1 MiB of about 13."""
    with (
        broker_at(local_address, "--limit-backlog", str(1 << 20)),
        subscriber_at(local_address, 200_000, 0.001) as subscriber,
    ):
        asyncio.run(publish(local_address, range(200_000)))
        subscriber.wait_for_line("200000 events came in order", PATIENCE)
        with connect(local_address) as client:
            assert client.call("rob", "stats")["totals"]["dropped"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_a_frozen_subscriber_stops_nobody_else(address: str) -> None:
    options = ("--limit-backlog", "100000", "--limit-stall", "0.3")
    with (
        broker_at(address, *options) as broker,
        subscriber_at(address, 1_000_000) as frozen,
        worker_at(address),
        connect(address) as publisher,
        connect(address) as other,
        other.subscribe("sensor", "heat") as events,
        connect(address) as caller,
    ):
        ended = threading.Event()

        def call_on() -> float:
            """The longest time that a call took."""
            longest = 0.0
            while not ended.is_set():
                started = time.monotonic()
                assert caller.call("math", "add", [1, 2]) == {"sum": 3}
                longest = max(longest, time.monotonic() - started)
                ended.wait(0.005)
            return longest

        if sys.platform != "win32":
            frozen.send_signal(signal.SIGSTOP)
        try:
            calling = InThread(call_on)
            taking = InThread(lambda: take(events, 1000))
            for number in range(1000):
                publisher.publish("sensor", "heat", [number, "x" * 5000])
            publisher.drain()
            values = taking.result()
            ended.set()
            assert [value[0] for value in values] == list(range(1000))
            assert calling.result() < 0.3, "calls waited for the frozen subscriber"
            broker.wait_for_line("nobody waits for it any more", PATIENCE)
            assert other.call("rob", "stats")["totals"]["dropped"] > 0
        finally:
            ended.set()
            frozen.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_a_frozen_subscriber_that_goes_on_gets_events_again(local_address: str) -> None:
    options = ("--limit-backlog", "100000", "--limit-stall", "0.1")
    with (
        broker_at(local_address, *options) as broker,
        subscriber_at(local_address, 1_000_000) as frozen,
        connect(local_address) as publisher,
    ):
        if sys.platform != "win32":
            frozen.send_signal(signal.SIGSTOP)
            try:
                for number in range(500):
                    publisher.publish("sensor", "heat", number)
                    publisher.publish("sensor", "heat", "x" * 5000)
                publisher.drain()
                broker.wait_for_line("nobody waits for it any more", PATIENCE)
            finally:
                frozen.send_signal(signal.SIGCONT)
        broker.wait_for_line("takes events again", PATIENCE)
        frozen.wait_for_line("1 was expected, but", PATIENCE)


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_a_frozen_broker_is_noticed_by_the_timeouts_alone(local_address: str) -> None:
    with broker_at(local_address) as broker, worker_at(local_address), connect(local_address) as client:
        if sys.platform != "win32":
            broker.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(ipc_broker.DeadlineExceeded):
                    client.call("math", "add", [1, 2], timeout=0.1)
            finally:
                broker.send_signal(signal.SIGCONT)
        assert client.call("math", "add", [1, 2]) == {"sum": 3}
