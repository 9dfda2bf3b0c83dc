"""More events than a subscriber can take at once."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time

import pytest

import ipc_broker
from ipc_broker import Event
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
        subscriber.wait_for_line("20000 events came in order, 0 did not", PATIENCE)


def test_a_burst_from_a_seed_publisher_arrives_whole(local_bus: str) -> None:
    with subscriber_at(local_bus, 20_000, 0.005) as subscriber, SeedClient(local_bus, timeout=PATIENCE) as publisher:
        for number in range(20_000):
            publisher.publish("sensor", "heat", number)
        subscriber.wait_for_line("20000 events came in order, 0 did not", PATIENCE)


def test_a_burst_to_a_seed_subscriber_arrives_whole(local_bus: str) -> None:
    with SeedClient(local_bus, timeout=PATIENCE) as subscriber:
        subscriber.subscribe("sensor", "heat")
        publishing = InThread(lambda: asyncio.run(publish(local_bus, range(20_000))))
        assert [subscriber.next_event()["args"] for _ in range(20_000)] == list(range(20_000))
        publishing.result()


@pytest.mark.parametrize("publisher", ["asyncio", "blocking"])
def test_a_burst_that_the_broker_cannot_hold_arrives_whole(local_address: str, publisher: str) -> None:
    """The subscriber pauses for 1 s in all; the broker may keep no more than 1 MiB of about 13."""
    with (
        broker_at(local_address, "--limit-backlog", str(1 << 20)),
        subscriber_at(local_address, 200_000, 0.001) as subscriber,
    ):
        if publisher == "asyncio":
            asyncio.run(publish(local_address, range(200_000)))
        else:
            with connect(local_address) as client:
                for number in range(200_000):
                    client.publish("sensor", "heat", number)
        subscriber.wait_for_line("200000 events came in order, 0 did not", PATIENCE)
        with connect(local_address) as client:
            assert client.call("rob", "stats")["totals"]["dropped"] == 0


def test_bursts_of_several_publishers_who_subscribe_too_arrive_whole(local_address: str) -> None:
    """Each is told to pause for all others, and goes on taking meanwhile; what each of them sends keeps its order."""
    count, names = 3000, ("asyncio", "blocking", "second")

    def check(values: list[list[object]]) -> None:
        for name in names:
            assert [number for publisher, number, _ in values if publisher == name] == list(range(count)), name

    async def take_part() -> None:
        async with ipc_broker.connect(local_address) as client, client.subscribe("sensor", "heat") as events:

            async def publish_all() -> None:
                for number in range(count):
                    await client.publish("sensor", "heat", ["asyncio", number, "x" * 500])

            await asyncio.to_thread(subscribed.wait)
            publishing = asyncio.ensure_future(publish_all())
            values = []
            for _ in range(len(names) * count):
                event = await events.get(PATIENCE)
                assert isinstance(event, Event), event
                values.append(event.value)
            await publishing
            check(values)

    def take_part_blocking(name: str) -> None:
        with connect(local_address) as client, client.subscribe("sensor", "heat") as events:

            def publish_all() -> None:
                for number in range(count):
                    client.publish("sensor", "heat", [name, number, "x" * 500])

            subscribed.wait()
            publishing = InThread(publish_all)
            check(take(events, len(names) * count))
            publishing.result()

    subscribed = threading.Barrier(len(names))
    with broker_at(local_address, "--limit-backlog", "100000", "--limit-stall", "20"):
        parts = [InThread(lambda: asyncio.run(take_part()))]
        parts += [InThread(lambda name=name: take_part_blocking(name)) for name in names[1:]]  # type: ignore[misc]
        for part in parts:
            part.result(PATIENCE)


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
def test_a_frozen_subscriber_that_goes_on_learns_exactly_what_it_missed(address: str) -> None:
    options = ("--limit-backlog", "100000", "--limit-stall", "0.1")
    with (
        broker_at(address, *options) as broker,
        subscriber_at(address, 1001) as frozen,
        connect(address) as publisher,
    ):
        if sys.platform != "win32":
            frozen.send_signal(signal.SIGSTOP)
            try:
                for number in range(1000):
                    publisher.publish("sensor", "heat", [number, "x" * 5000])
                publisher.drain()
                broker.wait_for_line("nobody waits for it any more", PATIENCE)
                dropped = publisher.call("rob", "stats")["totals"]["dropped"]
                assert dropped > 0
            finally:
                frozen.send_signal(signal.SIGCONT)
            frozen.wait_for_line(f"missed {dropped}", PATIENCE)
            broker.wait_for_line(f"takes events again; it missed {dropped}", PATIENCE)
            publisher.publish("sensor", "heat", 1000)
            frozen.wait_for_line(f"{1001 - dropped} events came in order, {dropped} did not", PATIENCE)


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
