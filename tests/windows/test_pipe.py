"""The blocking pipe transport against a Proactor pipe server in another thread."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

if sys.platform == "win32":
    from ipc_broker.sync.pipe import PipeTransport
else:
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere

MEBIBYTE = bytes(range(256)) * 4096


class Served(asyncio.Protocol):
    """One connection at the server's end; what it reads goes into ``received``, the end of the stream as ``b""``."""

    def __init__(self) -> None:
        self.received: queue.Queue[bytes] = queue.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.put(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.received.put(b"")

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.received.get(timeout=10)
            assert part, f"the connection ended after {len(data)} of {count} bytes"
            data += part
        return data


class Server:
    """A pipe server whose loop runs in a thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.ProactorEventLoop()
        self.accepted: queue.Queue[Served] = queue.Queue()
        self.connections: list[Served] = []
        self.thread = threading.Thread(target=self.loop.run_forever)

    def make_protocol(self) -> Served:
        served = Served()
        self.connections.append(served)
        self.loop.call_soon(self.accepted.put, served)  # by then the transport has called connection_made
        return served

    def start(self) -> None:
        self.thread.start()
        # The loop takes any protocol; its published types know of streams alone.
        factory = cast("Callable[[], asyncio.StreamReaderProtocol]", self.make_protocol)
        serving = self.loop.start_serving_pipe(factory, rf"\\.\pipe\{self.name}")
        (self.listener,) = asyncio.run_coroutine_threadsafe(serving, self.loop).result(10)

    def do(self, action: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(action)

    def accept(self) -> Served:
        return self.accepted.get(timeout=10)

    def stop(self) -> None:
        self.do(self.listener.close)
        for served in self.connections:
            self.do(served.transport.abort)
            while served.received.get(timeout=10):
                pass
        self.do(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(f"ipc_broker_test_{uuid.uuid4().hex}")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[PipeTransport]:
    client = PipeTransport.connect(server.name, 5)
    yield client
    client.close()


def receive(client: PipeTransport, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = client.recv(10)
        assert part, f"the connection ended after {len(data)} of {count} bytes"
        data += part
    return data


def test_bytes_arrive_in_both_directions(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    client.send(b"ping", 5)
    assert served.read(4) == b"ping"
    server.do(lambda: served.transport.write(b"pong"))
    assert client.recv(5) == b"pong"


def test_a_pipe_that_nobody_serves_is_reported_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(FileNotFoundError):
        PipeTransport.connect(f"ipc_broker_test_{uuid.uuid4().hex}", 30)
    assert time.monotonic() - started < 5


def test_a_read_that_times_out_loses_nothing(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    for timeout in (0, 0.05, 0.05):
        with pytest.raises(TimeoutError):
            client.recv(timeout)
    server.do(lambda: served.transport.write(b"late"))
    assert client.recv(5) == b"late"
    server.do(lambda: served.transport.write(b"waited for without limit"))
    assert client.recv(None) == b"waited for without limit"


def test_a_time_out_of_nothing_polls(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    server.do(lambda: served.transport.write(b"there"))
    deadline = time.monotonic() + 5
    while True:
        try:
            data = client.recv(0)
            break
        except TimeoutError:
            assert time.monotonic() < deadline
    assert data == b"there"


def test_a_thread_writes_while_another_reads(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(client.recv, 10)
        client.send(b"written meanwhile", 5)
        assert served.read(17) == b"written meanwhile"
        assert not reader.done()
        server.do(lambda: served.transport.write(b"answer"))
        assert reader.result(10) == b"answer"


def test_a_mebibyte_in_both_directions_at_once(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(receive, client, len(MEBIBYTE))
        server.do(lambda: served.transport.write(MEBIBYTE))
        client.send(MEBIBYTE, 10)
        assert served.read(len(MEBIBYTE)) == MEBIBYTE
        assert reader.result(10) == MEBIBYTE


def test_a_write_that_nobody_reads_times_out_and_loses_nothing(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    paused = threading.Event()
    server.do(served.transport.pause_reading)
    server.do(paused.set)
    assert paused.wait(5)
    with pytest.raises(TimeoutError, match="could not be written"):
        client.send(MEBIBYTE, 0.2)
    for timeout in (0, -1):
        with pytest.raises(TimeoutError):
            client.send(b"behind it", timeout)
    with pytest.raises(TimeoutError):
        client.send(b"", 0)
    server.do(served.transport.resume_reading)
    client.send(b"last", 10)
    data = MEBIBYTE + b"behind it" * 2 + b"last"
    assert served.read(len(data)) == data


def test_a_small_write_goes_out_at_once(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    client.send(b"at once", 0)
    client.send(b"", 0)
    assert served.read(7) == b"at once"


def test_the_servers_close_ends_the_stream_after_the_last_byte(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    server.do(lambda: served.transport.write(b"last"))
    server.do(served.transport.close)
    assert receive(client, 4) == b"last"
    assert client.recv(5) == b""
    assert client.recv(5) == b""
    with pytest.raises(OSError, match=r"\[WinError"):
        client.send(b"too late", 5)


def test_a_read_in_progress_sees_the_servers_close(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    with pytest.raises(TimeoutError):
        client.recv(0)
    server.do(served.transport.abort)
    assert client.recv(5) == b""


def test_close_ends_a_read_in_another_thread(server: Server, client: PipeTransport) -> None:
    server.accept()
    with pytest.raises(TimeoutError):
        client.recv(0)  # from here on a read is pending
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(client.recv, None)
        with pytest.raises(TimeoutError):
            reader.result(0.1)
        client.close()
        with pytest.raises(ConnectionAbortedError, match="closed by this program"):
            reader.result(5)


def test_close_ends_a_write_in_another_thread(server: Server, client: PipeTransport) -> None:
    served = server.accept()
    server.do(served.transport.pause_reading)
    with ThreadPoolExecutor() as threads:
        writer = threads.submit(client.send, MEBIBYTE * 4, None)
        with pytest.raises(TimeoutError):
            writer.result(0.3)
        client.close()
        with pytest.raises(ConnectionAbortedError, match="closed by this program"):
            writer.result(5)
    server.do(served.transport.resume_reading)


def test_a_closed_transport_says_so(server: Server, client: PipeTransport) -> None:
    server.accept()
    client.close()
    client.close()
    with pytest.raises(ConnectionAbortedError):
        client.recv(0)
    with pytest.raises(ConnectionAbortedError):
        client.send(b"x", 0)


def test_a_busy_pipe_is_waited_for(server: Server) -> None:
    clients: list[PipeTransport] = []
    with ThreadPoolExecutor(8) as threads:
        clients += threads.map(lambda _: PipeTransport.connect(server.name, 10), range(24))
    for client in clients:
        client.send(b"x", 5)
    assert sorted(server.accept().read(1) for _ in clients) == [b"x"] * 24
    for client in clients:
        client.close()
