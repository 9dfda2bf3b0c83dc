"""The broker's shell: listening and closing, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, Event, connect
from ipc_broker.aio.running import run_broker
from ipc_broker.config import Limits
from ipc_broker.errors import ConnectFailed, ConnectionLost, IPCError, ListenFailed, WorkerLost
from ipc_broker.observation import Record
from tests.aio.bus import RawPeer, broker_at, bus, plain_socket, serving, until
from tests.aio.objects import Calculator, Gate, entered, let_through
from tests.insecure import INSECURE
from tests.messages import publish, register, subscribe
from tests.seed.frames import Message, frame

HAS_MATH: Message = {"HasObject": {"object_name": "math"}}
NO_MATH: Message = {"HasObjectResult": {"object_name": "math", "exists": False}}
TCP = "tcp://127.0.0.1:0"
TWICE_THE_SAME_FIELD = b'{"HasObject":{"object_name":"a","object_name":"a"}}'  # to the seed alone it is no message


# Listening


async def test_it_listens_at_all_its_addresses_at_once(address: str) -> None:
    async with Broker(BrokerConfig(listen=(address, TCP), insecure=INSECURE)) as broker:
        local, tcp = broker.addresses
        assert tcp.startswith("tcp://127.0.0.1:")
        assert not tcp.endswith(":0")
        async with connect(local) as one, connect(tcp) as other, other.subscribe("a", "t") as events:
            await one.publish("a", "t", 1)
            assert await events.get(10) == Event("a", "t", 1)
    assert broker.addresses == []
    for where in (local, tcp):
        with pytest.raises(ConnectFailed):
            await connect(where)


async def test_it_listens_nowhere_when_one_address_fails(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        broker = Broker(BrokerConfig(listen=(address, taken)))
        with pytest.raises(ListenFailed, match=f"cannot listen on {taken}: .*is another broker running there"):
            await broker.start()
        assert broker.addresses == []
        await broker.close()
    with pytest.raises(ConnectFailed):
        await connect(address.replace(":0", ":1"))


async def test_a_live_socket_is_refused_and_its_broker_goes_on(address: str) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows' Python has no Unix sockets")
    async with broker_at(address), connect(address) as client:
        with pytest.raises(ListenFailed, match="listens there already; stop it or choose another address") as caught:
            async with broker_at(address):
                raise AssertionError("it started")
        if sys.platform == "linux":
            assert f"process {os.getpid()} (" in str(caught.value)
        assert await client.objects() == ["rob"]
        async with connect(address) as another:
            assert await another.objects() == ["rob"]


async def test_its_socket_is_private_and_goes_with_it(address: str) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows' Python has no Unix sockets")
    path = Path(address.removeprefix("unix://"))
    async with broker_at(address):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    async with broker_at(address), connect(address) as client:
        assert await client.objects() == ["rob"]


async def test_what_is_in_the_way_is_named(address: str) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows' Python has no Unix sockets")
    Path(address.removeprefix("unix://")).write_text("precious")
    with pytest.raises(ListenFailed, match="no socket; remove it or choose another"):
        await Broker(BrokerConfig(listen=(address,))).start()
    assert Path(address.removeprefix("unix://")).read_text() == "precious"


async def test_it_knows_who_its_peers_are(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0], name="thermostat"):
        [peer] = broker.router.peers
        assert peer.describe() == f"'thermostat' (process {os.getpid()})"
        if sys.platform == "linux":
            assert (peer.credentials.pid, peer.credentials.uid) == (os.getpid(), os.getuid())


async def test_it_knows_from_where_its_peers_come() -> None:
    """What speaks for a peer of TCP that has not said its name, in errors and in the log."""
    async with broker_at(TCP) as broker:
        where = broker.addresses[0]
        with plain_socket(where) as taken:
            taken.sendall(frame(register("math")))
            await until(lambda: len(broker.router.names))
            port = taken.getsockname()[1]
            async with RawPeer.at(where) as late:
                refused = (await late.ask(register("math")))["Error"]
        assert refused["message"] == f"the name 'math' is taken by connection 1 (127.0.0.1:{port})"


async def test_it_shows_its_state(address: str) -> None:
    gate = Gate()
    broker = Broker(BrokerConfig(listen=(address,), insecure=INSECURE))
    assert repr(broker) == "<Broker closed>"
    with pytest.raises(IPCError, match="the broker has not started"):
        broker.router  # noqa: B018 - looking at it is what is tried
    async with broker:
        where = broker.addresses[0]
        assert repr(broker) == f"<Broker {where} peers=0 objects=0 calls=0>"
        async with serving(where, gate=gate), connect(where) as client:
            running = asyncio.ensure_future(client.call("gate", "wait"))
            await entered(gate)
            assert repr(broker) == f"<Broker {where} peers=2 objects=1 calls=1>"
            let_through(gate)
            await running
    assert repr(broker) == "<Broker closed peers=0 objects=0 calls=0>"


async def test_serve_ends_with_stop(address: str) -> None:
    async with broker_at(address) as broker:
        serve = asyncio.ensure_future(broker.serve())
        await asyncio.sleep(0)
        assert not serve.done()
        broker.stop()
        await serve


async def test_run_broker_tells_when_it_is_ready_and_ends_with_a_signal(address: str) -> None:
    ready: asyncio.Future[Broker] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(run_broker(BrokerConfig(listen=(address,), insecure=INSECURE), ready))
    broker = await ready
    async with connect(broker.addresses[0]) as client:
        assert await client.objects() == ["rob"]
    signal.raise_signal(signal.SIGTERM)
    await running
    assert broker.addresses == []


# Closing


async def test_calls_in_flight_end_within_the_grace(address: str) -> None:
    gate = Gate()
    async with broker_at(address, grace=20) as broker:
        where = broker.addresses[0]
        async with serving(where, gate=gate), connect(where) as client:
            running = asyncio.ensure_future(client.call("gate", "wait", 1))
            await entered(gate)
            closing = asyncio.ensure_future(broker.close())
            await until(lambda: not broker.addresses)
            with pytest.raises(ConnectFailed):
                await connect(where)
            assert not closing.done()
            let_through(gate)
            assert await running == 1
            await closing
            await client.close()


async def test_calls_that_take_longer_are_ended(address: str) -> None:
    gate = Gate()
    async with broker_at(address, grace=0.05) as broker, serving(broker.addresses[0], gate=gate):
        client = await connect(broker.addresses[0])
        running = asyncio.ensure_future(client.call("gate", "wait", 1))
        await entered(gate)
        await broker.close()
        with pytest.raises((WorkerLost, ConnectionLost)):
            await running
        await client.close()
        let_through(gate)


async def test_what_is_queued_is_written_before_it_closes(address: str) -> None:
    async with (
        broker_at(address) as broker,
        RawPeer.at(broker.addresses[0]) as listener,
        RawPeer.at(broker.addresses[0]) as publisher,
    ):
        await listener.ask(subscribe("a", "t"))
        for number in range(100):
            publisher.send(publish("a", "t", [number, "x" * 20_000]))
        await publisher.ask(HAS_MATH)
        closing = asyncio.ensure_future(broker.close())
        for number in range(100):
            assert (await listener.read())["Event"]["args"] == [number, "x" * 20_000]
        assert await listener.rest() == b""
        await closing


async def test_a_peer_that_reads_nothing_does_not_hold_it(address: str) -> None:
    async with broker_at(address, grace=0.05) as broker:
        with plain_socket(broker.addresses[0]) as stuck:
            stuck.sendall(frame(subscribe("a", "t")))
            async with connect(broker.addresses[0]) as client:
                await until(lambda: broker.router.events.subscriptions.count == 1)
                for _ in range(50):
                    await client.publish("a", "t", "x" * 60_000)
            async with asyncio.timeout(5):
                await broker.close()
            assert not broker.router.peers


# Not after two turns: asyncio 3.11 forgets a connection that it accepts in the very turn in which it stops to listen.
@pytest.mark.parametrize("turns", [0, 1, 3, 4, 5])
async def test_a_connection_that_is_just_being_accepted_is_closed_too(turns: int, address: str) -> None:
    async with broker_at(address) as broker:
        with plain_socket(broker.addresses[0]) as late:
            late.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            await broker.close()
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    assert await loop.sock_recv(late, 10) == b""


async def test_it_can_be_closed_twice_and_before_it_started(address: str) -> None:
    broker = Broker(BrokerConfig(listen=(address,), insecure=INSECURE))
    await broker.close()
    await broker.start()
    await broker.close()
    await broker.close()
    assert repr(broker).startswith("<Broker closed")


async def test_the_block_that_is_left_on_an_exception_closes_it(address: str) -> None:
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - leaving the block is what is tried
        async with broker_at(address) as broker:
            where = broker.addresses[0]
            raise KeyError("mine")
    with pytest.raises(ConnectFailed):
        await connect(where)


# What it tells


@pytest.mark.skipif(sys.platform == "win32", reason="its clock there counts in 15 milliseconds")
async def test_how_long_calls_took_is_told_more_finely_than_in_milliseconds(address: str) -> None:
    async with (
        bus(address, math=Calculator()) as caller,
        connect(caller.address) as watcher,
        watcher.stream("rob", "monitor", {"object": "math"}, returns=Record) as records,
    ):
        assert (await anext(records)).kind == "begin"
        for _ in range(20):
            await caller.call("math", "add", {"a": 1, "b": 2})
        seconds = [(await anext(records)).seconds for _ in range(40)]
    assert any(round(took * 1e6) % 1000 for took in seconds)


async def test_a_fault_of_ours_does_not_stop_the_clock(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loop logs, and is told of here."""
    faults: list[object] = []
    async with broker_at(address, limits=Limits(heartbeat=1)) as broker:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
        handle, times = broker.router.handle_timer, 0

        def fails_once(now: float) -> None:
            nonlocal times
            times += 1
            if times == 1:
                raise ZeroDivisionError
            handle(now)

        lost: list[bool] = []
        async with connect(broker.addresses[0], on_disconnect=lambda: lost.append(True)):
            monkeypatch.setattr(broker.router, "handle_timer", fails_once)
            await until(lambda: times > 1)
            assert not lost, "a new connection would start the clock again"
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
