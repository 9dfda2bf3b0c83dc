"""Subscribers that are processes, and are frozen or killed while publishers wait for them."""

from __future__ import annotations

import signal
import sys

import pytest

from ipc_broker.sync import Client, connect
from tests.cli.programs import PATIENCE, broker_at
from tests.end_to_end.processes import subscriber_at, until, worker_at
from tests.seed.client import SeedClient
from tests.sync.bus import InThread

FOR_EVER = ("--limit-backlog", "100000", "--limit-stall", "3600")
"""Publishers wait for as long as the subscriber is there."""


def publish_all(address: str, kind: str, count: int) -> None:
    if kind == "seed":
        with SeedClient(address, timeout=PATIENCE) as seed:
            for number in range(count):
                seed.publish("sensor", "heat", [number, "x" * 1000])
            assert "Result" in seed.call("rob", "ping")  # all before has been routed
        return
    with connect(address) as client:
        for number in range(count):
            client.publish("sensor", "heat", [number, "x" * 1000])


def waits_and_lags(watcher: Client) -> tuple[int, int]:
    stats = watcher.call("rob", "stats")
    return stats["publishers_paused"], stats["subscriptions_lagging"]


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
@pytest.mark.parametrize("publisher", ["ours", "seed"])
def test_a_subscriber_that_is_killed_lets_its_publishers_go_on_at_once(local_address: str, publisher: str) -> None:
    """Nothing else would: the limit is an hour. Another subscriber gets all of the burst."""
    with (
        broker_at(local_address, *FOR_EVER),
        subscriber_at(local_address, 1_000_000) as frozen,
        subscriber_at(local_address, 5000) as other,
        connect(local_address) as watcher,
        worker_at(local_address),
    ):
        if sys.platform != "win32":
            frozen.send_signal(signal.SIGSTOP)
        publishing = InThread(lambda: publish_all(local_address, publisher, 5000))
        until(lambda: waits_and_lags(watcher) == (1, 0), "the publisher waits")
        for number in range(100):
            assert watcher.call("math", "add", [number, 1], timeout=PATIENCE) == {"sum": number + 1}
        until(lambda: waits_and_lags(watcher) == (1, 0), "the publisher still waits")
        frozen.kill()
        publishing.result(PATIENCE)
        other.wait_for_line("5000 events came in order, 0 did not", PATIENCE)
        until(lambda: waits_and_lags(watcher) == (0, 0), "nobody waits any more")
        assert watcher.call("rob", "stats")["totals"]["dropped"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_a_frozen_subscriber_is_counted_until_it_goes_on_or_is_gone(local_address: str) -> None:
    options = ("--limit-backlog", "100000", "--limit-stall", "0.2")
    with (
        broker_at(local_address, *options) as broker,
        subscriber_at(local_address, 1_000_000) as one,
        subscriber_at(local_address, 1_000_000) as two,
        connect(local_address) as watcher,
    ):
        for frozen in (one, two):
            if sys.platform != "win32":
                frozen.send_signal(signal.SIGSTOP)
        publish_all(local_address, "ours", 2000)
        assert waits_and_lags(watcher) == (0, 2)
        if sys.platform != "win32":
            one.send_signal(signal.SIGCONT)
        until(lambda: waits_and_lags(watcher) == (0, 1), "one has caught up")
        broker.wait_for_line(
            f"'slow' (process {one.pid}), subscribed to 'sensor' 'heat', takes events again; it missed", PATIENCE
        )
        two.kill()
        until(lambda: waits_and_lags(watcher) == (0, 0), "the other is gone")
        one.kill()
