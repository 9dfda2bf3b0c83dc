"""Broker, worker, both clients and `rob` as real processes on Windows, over a named pipe and over TCP."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import ipc_broker.sync
from ipc_broker import Event, Gap, connect, errors

if sys.platform != "win32":
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere

BROKER = ("-m", "ipc_broker")
ROB = ("-c", "import sys; from ipc_broker.cli.rob import main; sys.exit(main())")
CALCULATOR = str(Path(__file__).with_name("calculator.py"))
LONG = "Ünïcödé " * 5_000  # 60,000 bytes
MUCH = bytes(range(256)) * 4096  # 1 MiB, far more than a pipe holds


def pipe_address() -> str:
    return f"pipe://ipc_broker_test_{uuid.uuid4().hex}"


def tcp_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Process:
    """A Python process whose output is collected while it runs; all pipes, because Wine's Python needs them."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        self.popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        self.errors: list[str] = []
        assert self.popen.stderr is not None
        self.collector = threading.Thread(target=self.errors.extend, args=(self.popen.stderr,), daemon=True)
        self.collector.start()

    def wait(self) -> tuple[int, str, str]:
        """The exit status, stdout and stderr of a process that ends by itself."""
        assert self.popen.stdout is not None
        output = self.popen.stdout.read()
        status = self.popen.wait(30)
        self.popen.stdout.close()
        self.collector.join(30)
        assert self.popen.stderr is not None
        self.popen.stderr.close()
        return status, output, "".join(self.errors)

    def end(self) -> str:
        """End a process that would go on, and return what it wrote to stderr."""
        self.popen.terminate()
        return self.wait()[2]


def rob(address: str, *words: str) -> tuple[int, str, str]:
    return Process(*ROB, *words, "--address", address).wait()


def wait_until_it_listens(address: str, process: Process) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with ipc_broker.sync.connect(address, timeout=5):
                return
        except errors.ConnectFailed:
            assert process.popen.poll() is None, process.wait()
            assert time.monotonic() < deadline, f"no broker at {address} within 30 s: {process.errors}"
            time.sleep(0.05)


def assert_no_complaints(log: str) -> None:
    """Neither asyncio nor the interpreter had to report an error of ours; a worker does log what a method raises."""
    for complaint in ("Exception in callback", "Exception ignored", "never retrieved", "Warning", "Fatal"):
        assert complaint not in log, log


@contextmanager
def broker_at(address: str) -> Iterator[Process]:
    # Nobody tells there whose a TCP connection is; what tokens are for has tests of its own.
    broker = Process(*BROKER, "--listen", address, *(["--insecure"] if address.startswith("tcp:") else []))
    try:
        wait_until_it_listens(address, broker)
        yield broker
    finally:
        log = broker.end()
    assert_no_complaints(log)


@contextmanager
def worker_at(address: str) -> Iterator[None]:
    worker = Process(CALCULATOR, address)
    try:
        with ipc_broker.sync.connect(address) as client:
            client.wait_for("math", timeout=30)
        yield
    finally:
        log = worker.end()
    assert_no_complaints(log)


@pytest.fixture(scope="module", params=[pipe_address, tcp_address], ids=["pipe", "tcp"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a broker listens that a calculator is registered with."""
    address: str = request.param()
    with broker_at(address), worker_at(address):
        yield address


def test_asyncio_client_calls(address: str) -> None:
    async def scenario() -> None:
        async with connect(address) as client:
            assert await client.call("math", "add", {"a": 10, "b": 32}) == {"sum": 42}
            math = client.object("math")
            assert await math.mul(a=6, b=7) == {"product": 42}
            assert await math.echo(LONG) == LONG
            assert await math.echo(MUCH) == MUCH
            answers = await asyncio.gather(*(math.add(number, 1) for number in range(500)))
            assert answers == [{"sum": number + 1} for number in range(500)]
            assert await client.has("math")
            assert set(await client.objects()) == {"math", "rob"}

    asyncio.run(scenario())


def test_asyncio_client_errors(address: str) -> None:
    async def scenario() -> None:
        async with connect(address) as client:
            with pytest.raises(errors.NoSuchObject, match="nowhere"):
                await client.call("nowhere", "add")
            with pytest.raises(errors.NoSuchMethod, match="divide"):
                await client.call("math", "divide")
            with pytest.raises(errors.InvalidArgs, match=r"\$"):
                await client.call("math", "add", {"a": "ten", "b": 32})
            with pytest.raises(errors.RemoteError, match="on purpose") as failed:
                await client.call("math", "fail")
            assert failed.value.type == "ArithmeticError"
            with pytest.raises(errors.DeadlineExceeded):
                await client.call("math", "sleep", [2.0], timeout=0.2)
            assert await client.call("math", "add", [1, 2]) == {"sum": 3}

    asyncio.run(scenario())


def value_of(event: Event | Gap) -> object:
    assert isinstance(event, Event)
    return event.value


def test_asyncio_client_events(address: str) -> None:
    async def scenario() -> None:
        async with connect(address) as subscriber, connect(address) as publisher:
            async with subscriber.subscribe("sensor", "count") as events:
                for number in range(1_000):
                    await publisher.publish("sensor", "count", number)
                await publisher.drain()
                received = [value_of(await events.get(timeout=10)) for _ in range(1_000)]
            assert received == list(range(1_000))

    asyncio.run(scenario())


def test_blocking_client_calls(address: str) -> None:
    with ipc_broker.sync.connect(address) as client:
        assert client.call("math", "add", {"a": 10, "b": 32}) == {"sum": 42}
        assert client.object("math").mul(a=6, b=7) == {"product": 42}
        assert client.object("math").echo(LONG) == LONG
        assert client.object("math").echo(MUCH) == MUCH
        with pytest.raises(errors.NoSuchObject):
            client.call("nowhere", "add")
        with pytest.raises(errors.DeadlineExceeded):
            client.call("math", "sleep", [2.0], timeout=0.2)
        assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_blocking_client_shared_by_threads(address: str) -> None:
    with ipc_broker.sync.connect(address) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: client.call("math", "add", [number, 1]), range(200)))
    assert answers == [{"sum": number + 1} for number in range(200)]


def test_blocking_client_events(address: str) -> None:
    with (
        ipc_broker.sync.connect(address) as client,
        ipc_broker.sync.connect(address) as publisher,
        client.subscribe("sensor", "level") as events,
    ):
        with pytest.raises(TimeoutError):
            events.get(timeout=0.1)
        for number in range(1_000):
            publisher.publish("sensor", "level", number)
        assert [value_of(events.get(timeout=10)) for _ in range(1_000)] == list(range(1_000))
        assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_asyncio_client_streams(address: str) -> None:
    async def scenario() -> None:
        async with connect(address) as client:
            assert [number async for number in client.stream("math", "count", [5_000])] == list(range(5_000))
            count = 0
            async with client.stream("math", "run", [10_000]) as items:
                async for item in items:
                    assert item == b"x" * 10_000
                    count += 1
                    if count == 200:  # some windows
                        break
            assert await client.call("math", "add", [1, 2]) == {"sum": 3}

    asyncio.run(scenario())


def test_blocking_client_streams(address: str) -> None:
    with ipc_broker.sync.connect(address) as client:
        assert list(client.stream("math", "count", [5_000])) == list(range(5_000))
        for count, item in enumerate(client.stream("math", "run", [10_000])):
            assert item == b"x" * 10_000
            if count == 200:
                break
        with pytest.raises(errors.DeadlineExceeded):
            list(client.stream("math", "run", [10], timeout=0.2))
        assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_more_events_than_a_slow_subscriber_is_sent_at_once(address: str) -> None:
    """The publisher has to wait for the subscriber's credits, which go over the same pipe as what it publishes."""
    count = 2_000
    with ipc_broker.sync.connect(address) as client, client.subscribe("sensor", "much") as events:

        def publish() -> None:
            for number in range(count):
                client.publish("sensor", "much", [number, "x" * 2_000])

        with ThreadPoolExecutor() as threads:
            publishing = threads.submit(publish)
            for number in range(count):
                value = value_of(events.get(timeout=10))
                assert isinstance(value, list)
                assert value[0] == number
            publishing.result(10)


def test_retained_events_and_wills(address: str) -> None:
    with ipc_broker.sync.connect(address) as client, ipc_broker.sync.connect(address) as mortal:
        client.publish("status", "kept", {"is": b"kept"}, retain=True, ack=True)
        with client.subscribe("status", "*") as events:
            assert events.get(timeout=10) == Event("status", "kept", {"is": b"kept"}, retained=True)
            mortal.set_will("status", "mortal", "gone")
            mortal.close()
            with pytest.raises(TimeoutError):
                events.get(timeout=0.2)
        client.clear("status", "kept")


def test_rob_call(address: str) -> None:
    expected = "\nResult:\nMap:\n   sum :: 42\n"
    status, output, log = rob(address, "call", "math", "add", "{ii}", "a", "10", "b", "32")
    assert (status, output) == (0, expected), log
    status, output, log = rob(address, "call", "math", "add", "a=10", "b=32", "--json")
    assert (status, json.loads(output)) == (0, {"sum": 42}), log


def test_rob_says_what_failed(address: str) -> None:
    status, output, log = rob(address, "call", "nowhere", "add")
    assert (status, output) == (1, "")
    assert "No such object 'nowhere'" in log
    status, output, log = rob(address, "call", "math", "add", "{i", "a")
    assert (status, output) == (2, "")
    assert log


def test_rob_list_and_ping(address: str) -> None:
    status, output, log = rob(address, "list")
    assert status == 0, log
    assert {"math", "rob"} <= set(output.replace('"', " ").split())
    status, _, log = rob(address, "ping")
    assert status == 0, log


def test_rob_listen_shows_what_rob_send_sends(address: str) -> None:
    with ipc_broker.sync.connect(address) as client:

        def subscriptions() -> int:
            count: int = client.call("rob", "stats")["subscriptions"]
            return count

        before = subscriptions()
        listener = Process(
            *ROB, "listen", "sensor", "temperature", "--count", "1", "--timeout", "30", "--address", address
        )
        deadline = time.monotonic() + 30
        while subscriptions() == before:
            assert listener.popen.poll() is None, listener.wait()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    status, _, log = rob(address, "send", "sensor", "temperature", "s", "25.6°C")
    assert status == 0, log
    status, output, log = listener.wait()
    assert status == 0, log
    assert "Result:" in output
    assert '"25.6°C"' in output


@pytest.mark.parametrize("make_address", [pipe_address, tcp_address], ids=["pipe", "tcp"])
def test_without_a_broker(make_address: Callable[[], str]) -> None:
    address = make_address()
    with pytest.raises(errors.ConnectFailed):
        ipc_broker.sync.connect(address, timeout=10)
    with pytest.raises(errors.ConnectFailed):
        asyncio.run(connect_once(address))
    status, output, log = rob(address, "call", "math", "add")
    assert (status, output) == (3, ""), log
    assert len(log.strip().splitlines()) == 1


async def connect_once(address: str) -> None:
    client = await connect(address, timeout=10)
    await client.close()


@pytest.mark.parametrize("make_address", [pipe_address, tcp_address], ids=["pipe", "tcp"])
def test_a_second_broker_refuses_to_start(make_address: Callable[[], str]) -> None:
    address = make_address()
    with broker_at(address) as first:
        status, _, log = Process(*BROKER, "--listen", address).wait()
        assert status != 0
        assert address.rpartition("/")[2] in log
        assert_no_complaints(log)
        assert first.popen.poll() is None


@pytest.mark.parametrize("make_address", [pipe_address, tcp_address], ids=["pipe", "tcp"])
def test_a_lost_broker_ends_the_calls_and_all_find_the_next(make_address: Callable[[], str]) -> None:
    address = make_address()
    with broker_at(address) as first, worker_at(address), ThreadPoolExecutor() as threads:
        client, idle = ipc_broker.sync.connect(address), ipc_broker.sync.connect(address)
        events = client.subscribe("sensor", "heat")
        call = threads.submit(client.call, "math", "sleep", [20.0])
        with pytest.raises(TimeoutError):
            call.result(0.5)
        first.popen.terminate()
        with pytest.raises(errors.ConnectionLost):
            call.result(10)
        first.popen.wait(10)
        with broker_at(address):
            client.wait_for("math", timeout=20)
            assert client.call("math", "add", [1, 2]) == {"sum": 3}
            assert events.get(10) == Gap("sensor", "heat", None)
            idle.publish("sensor", "heat", 1)  # it notices only now that its broker has gone
            assert events.get(10) == Event("sensor", "heat", 1)
            assert idle.call("math", "add", [3, 4]) == {"sum": 7}
            client.close()
            idle.close()
