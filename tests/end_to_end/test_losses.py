"""Processes that are killed: whoever waits for them learns it at once."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import ExitStack

import pytest

import ipc_broker
from ipc_broker import Event, Gap, errors
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at
from tests.end_to_end.processes import our_program, until, worker_at
from tests.seed.client import SeedClient
from tests.sync.bus import InThread

FOR_EVER = 3600.0


def test_every_caller_of_a_killed_worker_learns_it_at_once(bus: str) -> None:
    async def call_often() -> list[BaseException | None]:
        async with ipc_broker.connect(bus) as client:
            calls = (client.call("gate", "wait", [104], timeout=FOR_EVER, returns=type(None)) for _ in range(100))
            return await asyncio.gather(*calls, return_exceptions=True)

    with worker_at(bus) as worker, connect(bus) as client, SeedClient(bus, timeout=PATIENCE) as seed:
        blocking = [InThread(lambda: client.call("gate", "wait", [104], timeout=FOR_EVER)) for _ in range(3)]
        together = InThread(lambda: asyncio.run(call_often()))
        seed.send({"Call": {"call_id": "1", "object_name": "gate", "method": "wait", "args": [104]}})
        worker.wait_for_line("104 calls wait", PATIENCE)
        killed = time.monotonic()
        worker.kill()
        found = [*together.result(), *(one.error() for one in blocking)]
        assert len(found) == 103
        for error in found:
            assert isinstance(error, errors.WorkerLost)
            assert (error.code, error.object, error.method) == ("worker_lost", "gate", "wait")
            assert error.delivered == "maybe"
        answer = seed.read_message()["Error"]
        assert answer["call_id"] == "1"
        assert "gate" in str(answer["message"])
        assert time.monotonic() - killed < PATIENCE
        with pytest.raises(errors.NoSuchObject):
            client.call("gate", "wait", [1])
        assert client.call("rob", "stats")["calls_in_flight"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_the_calls_of_a_frozen_worker_end(local_address: str) -> None:
    with (
        broker_at(local_address, "--limit-heartbeat", "1") as broker,
        worker_at(local_address) as worker,
        connect(local_address) as client,
    ):
        waiting = InThread(lambda: client.call("gate", "wait", [1], timeout=FOR_EVER))
        worker.wait_for_line("1 calls wait", PATIENCE)
        if sys.platform != "win32":
            worker.send_signal(signal.SIGSTOP)
            try:
                assert isinstance(waiting.error(), errors.WorkerLost)
                broker.wait_for_line("nothing has come from it for 1 s", PATIENCE)
            finally:
                worker.send_signal(signal.SIGCONT)
            client.wait_for("math", PATIENCE)
            assert client.object("math").add(a=1, b=2) == {"sum": 3}


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
def test_a_client_of_a_frozen_broker_learns_it(local_address: str) -> None:
    async def call_for_ever() -> None:
        async with ipc_broker.connect(local_address) as client:
            calling = asyncio.ensure_future(client.call("gate", "wait", [1], timeout=None))
            await asyncio.to_thread(worker.wait_for_line, "1 calls wait", PATIENCE)
            if sys.platform != "win32":
                broker.send_signal(signal.SIGSTOP)
                try:
                    with pytest.raises(errors.ConnectionLost, match="nothing has come from it for 1 s"):
                        await asyncio.wait_for(calling, PATIENCE)
                finally:
                    broker.send_signal(signal.SIGCONT)
                assert await client.call("rob", "ping") == "pong"

    with broker_at(local_address, "--limit-heartbeat", "1") as broker, worker_at(local_address) as worker:
        asyncio.run(call_for_ever())


def test_a_worker_takes_the_place_of_a_killed_one(local_bus: str) -> None:
    with worker_at(local_bus) as worker, connect(local_bus) as client:
        worker.kill()
        worker.stop()
        until(lambda: not client.has("math"), "the broker has seen the end of the worker")
        waiting = InThread(lambda: client.wait_for("math", timeout=PATIENCE))
        with worker_at(local_bus):
            waiting.result()
            assert client.object("math").add(a=1, b=2) == {"sum": 3}


def test_a_broker_that_is_killed_and_comes_back(address: str) -> None:
    """The worker and both clients find the new one; calls in flight have ended, subscriptions go on."""

    async def go_on(brokers: ExitStack) -> None:
        broker = brokers.enter_context(broker_at(address))
        worker = brokers.enter_context(worker_at(address))
        blocking = connect(address)
        events = blocking.subscribe("sensor", "heat")
        async with ipc_broker.connect(address) as client, client.subscribe("sensor", "heat") as own:
            getting = InThread(lambda: [events.get(PATIENCE) for _ in range(2)])
            waiting = InThread(lambda: blocking.call("gate", "wait", [2], timeout=FOR_EVER))
            in_flight = asyncio.ensure_future(client.call("gate", "wait", [2], timeout=FOR_EVER))
            await asyncio.to_thread(worker.wait_for_line, "2 calls wait", PATIENCE)
            broker.kill()
            broker.stop()
            with pytest.raises(errors.ConnectionLost):
                await in_flight
            assert isinstance(await asyncio.to_thread(waiting.error), errors.ConnectionLost)
            brokers.enter_context(broker_at(address))
            async with asyncio.timeout(PATIENCE):
                await client.wait_for("math")
                assert await client.call("math", "add", [1, 2]) == {"sum": 3}
                assert await asyncio.to_thread(blocking.call, "math", "add", [3, 4]) == {"sum": 7}
                await client.publish("sensor", "heat", "again")
                expected = [Gap("sensor", "heat", missed=None), Event("sensor", "heat", "again")]
                assert [await own.get() for _ in range(2)] == expected
                assert await asyncio.to_thread(getting.result) == expected
        blocking.close()

    with ExitStack() as brokers:
        asyncio.run(go_on(brokers))


def test_a_broker_that_is_stopped_says_good_bye_to_all(address: str) -> None:
    with broker_at(address, "--grace", "0.1") as broker, worker_at(address):
        client = connect(address)
        waiting = InThread(lambda: client.call("gate", "wait", [1], timeout=FOR_EVER))
        until(lambda: client.call("rob", "stats")["calls_in_flight"] == 1, "the call is in flight")
        assert broker.stop() == 0
        assert isinstance(waiting.error(), errors.ConnectionLost | errors.WorkerLost)
        with pytest.raises(errors.DeadlineExceeded, match="there was no connection"):
            client.call("math", "add", [1, 2], timeout=0.2)
        client.close()
        with pytest.raises(errors.ConnectFailed):
            connect(address)


def test_a_worker_that_starts_before_its_broker(local_address: str) -> None:
    with our_program("worker_process.py", local_address) as worker:
        worker.wait_for_line("waiting for it", PATIENCE)
        with broker_at(local_address), connect(local_address) as client:
            worker.wait_for_line("registered", PATIENCE)
            assert client.call("math", "mul", [6, 7]) == {"product": 42}
