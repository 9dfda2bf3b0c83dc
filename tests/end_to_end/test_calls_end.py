"""Processes on both sides of a call that are killed or frozen: the call ends, and the broker keeps nothing of it."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from ipc_broker import errors
from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, ROB, broker_at, environment
from tests.end_to_end.processes import client_at, until, worker_at
from tests.messages import call
from tests.seed.client import SeedClient
from tests.seed.stream import ConnectionEnded

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")


def no_call_is_left(address: str) -> None:
    with connect(address) as client:
        counted = ("calls_in_flight", "calls_waiting")
        until(lambda: not any(client.call("rob", "stats")[name] for name in counted), "no call is left")


def freeze(process: Child) -> None:
    if sys.platform != "win32":
        process.send_signal(signal.SIGSTOP)


def test_a_worker_that_is_killed_before_its_first_call(local_bus: str) -> None:
    """Whether the broker has seen its end when the call comes, or not: the call ends at once."""
    with connect(local_bus) as client:
        for _ in range(3):
            with worker_at(local_bus) as worker:
                worker.kill()
                began = time.monotonic()
                with pytest.raises((errors.NoSuchObject, errors.WorkerLost)) as caught:
                    client.call("math", "add", [1, 2], timeout=PATIENCE)
                assert caught.value.delivered == ("no" if isinstance(caught.value, errors.NoSuchObject) else "maybe")
                assert time.monotonic() - began < PATIENCE / 2
            until(lambda: not client.has("math"), "the broker has seen the end of the worker")
    no_call_is_left(local_bus)


@needs_signals
def test_a_worker_that_is_frozen_before_its_first_call(local_address: str) -> None:
    with (
        broker_at(local_address, "--limit-heartbeat", "1"),
        worker_at(local_address) as worker,
        connect(local_address) as client,
    ):
        freeze(worker)
        with pytest.raises(errors.WorkerLost) as caught:
            client.call("math", "add", [1, 2], timeout=PATIENCE)
        assert caught.value.delivered == "maybe"
        with pytest.raises(errors.NoSuchObject):
            client.call("math", "add", [1, 2])
        worker.kill()
        no_call_is_left(local_address)


@needs_signals
def test_a_call_of_a_frozen_worker_ends_with_its_deadline_without_heartbeats(local_address: str) -> None:
    with (
        broker_at(local_address, "--limit-heartbeat", "0"),
        worker_at(local_address) as worker,
        connect(local_address) as client,
    ):
        freeze(worker)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            client.call("math", "add", [1, 2], timeout=0.2)
        assert caught.value.delivered == "maybe"
        worker.kill()
        until(lambda: not client.has("math"), "the broker has seen the end of the worker")
        no_call_is_left(local_address)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_caller_that_is_killed_or_stopped(local_bus: str, end: str) -> None:
    with worker_at(local_bus) as worker, connect(local_bus) as client:
        words = [*ROB, "call", "gate", "wait", "(i)", "1", "--timeout", "3600", "--address", local_bus]
        with Child("rob call", words, environment()) as caller:
            worker.wait_for_line("1 calls wait", PATIENCE)
            assert client.call("rob", "stats")["calls_in_flight"] == 1
            if end == "kill":
                caller.kill()
            else:
                caller.stop()
            no_call_is_left(local_bus)
        assert client.call("math", "add", [1, 2]) == {"sum": 3}


@needs_signals
def test_a_caller_that_is_frozen(local_address: str) -> None:
    """A client of asyncio answers heartbeats: without them its calls are cancelled, and its stream is closed."""
    with (
        broker_at(local_address, "--limit-heartbeat", "1") as broker,
        worker_at(local_address) as worker,
        client_at("asyncio", local_address, 10**9) as caller,
    ):
        freeze(caller)
        broker.wait_for_line("nothing has come from it for 1 s", PATIENCE)
        worker.wait_for_line("the stream was given up", PATIENCE)
        no_call_is_left(local_address)
        caller.kill()


def test_a_seed_caller_that_is_half_closed(bus: str) -> None:
    """It gets the answers to all that it has asked, also the errors; then the broker closes the connection."""
    with worker_at(bus), SeedClient(bus, timeout=PATIENCE) as caller:
        for number in range(100):
            caller.send(call(str(number), "math" if number % 2 else "nobody", "add", [number, 1]))
        caller.end_sending()
        answers = [caller.read_message() for _ in range(100)]
        assert {str(next(iter(one.values()))["call_id"]) for one in answers} == {str(number) for number in range(100)}
        assert sum("Result" in one for one in answers) == 50
        with pytest.raises(ConnectionEnded):
            caller.read_frame()
        no_call_is_left(bus)
