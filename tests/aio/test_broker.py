"""The broker's shell: listening, closing, and peers that behave badly, on real sockets."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from ipc_broker import Broker, BrokerConfig, Event, Limits, connect
from ipc_broker.aio import broker as broker_module
from ipc_broker.aio.broker import run_broker
from ipc_broker.errors import ConnectFailed, ConnectionLost, IPCError, ListenFailed, WorkerLost
from tests.aio.bus import RawPeer, broker_at, bus, plain_socket, serving, until
from tests.aio.objects import Calculator, Echo, Gate, entered, let_through
from tests.messages import call, error_of, event, publish, register, result, subscribe
from tests.seed.client import SeedClient
from tests.seed.frames import BODY_LIMIT, Message, frame, frame_of
from tests.seed.invalid import INVALID_BODIES
from tests.seed.stream import ConnectionEnded

HAS_MATH: Message = {"HasObject": {"object_name": "math"}}
NO_MATH: Message = {"HasObjectResult": {"object_name": "math", "exists": False}}
TCP = "tcp://127.0.0.1:0"
TWICE_THE_SAME_FIELD = b'{"HasObject":{"object_name":"a","object_name":"a"}}'  # to the seed alone it is no message


# Listening


async def test_it_listens_at_all_its_addresses_at_once(address: str) -> None:
    async with Broker(BrokerConfig(listen=(address, TCP))) as broker:
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


async def test_it_shows_its_state(address: str) -> None:
    gate = Gate()
    broker = Broker(BrokerConfig(listen=(address,)))
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
    running = asyncio.ensure_future(run_broker(BrokerConfig(listen=(address,)), ready))
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
    async with broker_at(address, grace=0.05) as broker:
        async with serving(broker.addresses[0], gate=gate):
            client = await connect(broker.addresses[0])
            running = asyncio.ensure_future(client.call("gate", "wait", 1))
            await entered(gate)
            await broker.close()
            with pytest.raises((WorkerLost, ConnectionLost)):
                await running
            await client.close()
            let_through(gate)


async def test_what_is_queued_is_written_before_it_closes(address: str) -> None:
    async with broker_at(address) as broker:
        async with RawPeer.at(broker.addresses[0]) as listener, RawPeer.at(broker.addresses[0]) as publisher:
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
                await until(lambda: broker.router.subscriptions.count == 1)
                for _ in range(50):
                    await client.publish("a", "t", "x" * 60_000)
            async with asyncio.timeout(5):
                await broker.close()
            assert not broker.router.peers


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_is_just_being_accepted_is_closed_too(turns: int, address: str) -> None:
    async with broker_at(address) as broker:
        with plain_socket(broker.addresses[0]) as late:
            late.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            await broker.close()
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(5):
                try:
                    assert await loop.sock_recv(late, 10) == b""
                except ConnectionError:
                    pass


async def test_it_can_be_closed_twice_and_before_it_started(address: str) -> None:
    broker = Broker(BrokerConfig(listen=(address,)))
    await broker.close()
    await broker.start()
    await broker.close()
    await broker.close()
    assert repr(broker).startswith("<Broker closed")


async def test_the_block_that_is_left_on_an_exception_closes_it(address: str) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with broker_at(address) as broker:
            where = broker.addresses[0]
            raise KeyError("mine")
    with pytest.raises(ConnectFailed):
        await connect(where)


# Peers that behave badly


@pytest.mark.parametrize("where", ["local", TCP])
async def test_bodies_that_are_no_messages_get_an_error_and_the_connection_goes_on(where: str, address: str) -> None:
    async with broker_at(address if where == "local" else where) as broker:
        async with RawPeer.at(broker.addresses[0]) as peer:
            for body in INVALID_BODIES:
                if body == TWICE_THE_SAME_FIELD:
                    continue
                peer.writer.write(frame_of(body))
                peer.send(HAS_MATH)
                answers = [await peer.read()]
                while answers[-1] != NO_MATH:
                    answers.append(await peer.read())
                assert all(list(answer) == ["Error"] for answer in answers[:-1]), (body, answers)


async def test_a_frame_that_is_too_long_is_told_and_ends_the_connection(address: str) -> None:
    async with broker_at(address) as broker:
        async with RawPeer.at(broker.addresses[0]) as peer:
            peer.writer.write((BODY_LIMIT + 1).to_bytes(4, "big") + b"x" * 100)
            message = error_of(await peer.read())["message"]
            assert str(BODY_LIMIT + 1) in str(message)
            assert str(BODY_LIMIT) in str(message)
            assert await peer.rest() == b""
        await until(lambda: not broker.router.peers)


@pytest.mark.parametrize("seed", range(5))
async def test_random_bytes_harm_nobody_else(seed: int, address: str) -> None:
    noise = random.Random(seed)
    async with bus(address, math=Calculator()) as client:
        for _ in range(20):
            async with RawPeer.at(client.address) as peer:
                data = noise.randbytes(noise.randrange(1, 5000))
                peer.writer.write(data if noise.random() < 0.5 else frame_of(data))
                if peer.writer.can_write_eof():
                    peer.writer.write_eof()
                await peer.rest()
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        assert (await client.call("rob", "stats"))["connections"] == 2


async def test_half_a_frame_and_then_the_end_is_forgotten(address: str) -> None:
    async with broker_at(address) as broker:
        whole = frame(HAS_MATH)
        for size in (1, 4, 5, len(whole) - 1):
            with plain_socket(broker.addresses[0]) as peer:
                peer.sendall(whole[:size])
                await until(lambda: len(broker.router.peers) == 1)
            await until(lambda: not broker.router.peers)


async def test_a_frame_in_single_bytes_is_one_frame(address: str) -> None:
    async with broker_at(address) as broker, RawPeer.at(broker.addresses[0]) as peer:
        for byte in frame(HAS_MATH):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert await peer.read() == NO_MATH


async def test_a_thousand_connections_leave_nothing_behind(address: str) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not tell which descriptors are open")

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        before = descriptors()
        for round_ in range(10):
            peers = [plain_socket(broker.addresses[0]) for _ in range(100)]
            for number, peer in enumerate(peers):
                peer.sendall(frame(register(f"o{number}")) + frame(subscribe("a", str(number))))
            await until(lambda: broker.router.subscriptions.count == 100)
            assert len(await client.objects()) == 101
            for peer in peers:
                peer.close()
            await until(lambda: len(broker.router.peers) == 1)
        assert descriptors() == before
        assert broker.router.totals.connections == 1001
        stats = await client.call("rob", "stats")
        assert (stats["connections"], stats["objects"], stats["subscriptions"]) == (1, 0, 0)


async def test_a_half_closed_seed_caller_still_gets_its_answers(address: str) -> None:
    gate = Gate()
    async with broker_at(address) as broker, serving(broker.addresses[0], gate=gate):
        async with RawPeer.at(broker.addresses[0]) as peer:
            if not peer.writer.can_write_eof():
                pytest.skip("this transport cannot be half closed")
            peer.send(call("1", "gate", "wait", 5))
            await entered(gate)
            peer.writer.write_eof()
            let_through(gate)
            assert await peer.read() == result("1", "gate", 5)
            assert await peer.rest() == b""
        await until(lambda: len(broker.router.peers) == 1)


async def test_a_lost_worker_ends_its_calls_at_once(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        async with RawPeer.at(broker.addresses[0]) as worker:
            await worker.ask(register("math"))
            running = [asyncio.ensure_future(client.call("math", "add", timeout=None)) for _ in range(3)]
            for _ in running:
                assert list(await worker.read()) == ["Call"]
        for lost in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(lost, WorkerLost)
            assert (lost.object, lost.method, lost.delivered) == ("math", "add", "maybe")


async def test_a_seed_caller_is_not_given_an_event_for_its_answer(address: str) -> None:
    gate = Gate()
    async with broker_at(address) as broker, serving(broker.addresses[0], gate=gate):
        async with RawPeer.at(broker.addresses[0]) as peer, connect(broker.addresses[0]) as client:
            await peer.ask(subscribe("a", "t"))
            peer.send(call("1", "gate", "wait", 5))
            await entered(gate)
            await client.publish("a", "t", "news")
            await client.drain()
            let_through(gate)
            assert await peer.read() == result("1", "gate", 5)
            assert await peer.read() == event("a", "t", "news")


# Back-pressure

SMALL = Limits(backlog=100_000, stall=0.1)
LARGE_VALUE = "x" * 50_000


def stuck_subscriber(where: str) -> socket.socket:
    """It has sent its `Subscribe` and will read nothing."""
    stuck = plain_socket(where)
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(frame(subscribe("a", "t")))
    return stuck


async def test_one_stuck_subscriber_holds_the_others_up_to_the_stall_limit_only(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker_at(address, limits=SMALL) as broker:
        where = broker.addresses[0]
        with stuck_subscriber(where):
            await until(lambda: broker.router.subscriptions.count == 1)
            async with connect(where) as publisher, connect(where) as reader, serving(where, echo=Echo()):
                async with reader.subscribe("a", "t") as events:
                    publishing = asyncio.ensure_future(_publish(publisher, 100))
                    for number in range(100):
                        item = await events.get(10)
                        assert isinstance(item, Event)
                        assert item.value == [number, LARGE_VALUE]
                        assert await reader.call("echo", "back", number) == number
                    await publishing
                stats = await reader.call("rob", "stats")
                assert stats["totals"]["dropped"] > 0
    assert "nobody waits for it any more" in caplog.text


async def _publish(client: Any, count: int) -> None:
    for number in range(count):
        await client.publish("a", "t", [number, LARGE_VALUE])
    await client.drain()


async def test_a_publisher_waits_for_a_slow_subscriber_and_loses_nothing(address: str) -> None:
    async with broker_at(address, limits=Limits(backlog=100_000, stall=20)) as broker:
        where = broker.addresses[0]
        with SeedClient(where) as slow:
            await asyncio.to_thread(slow.subscribe, "a", "t")
            async with connect(where) as publisher:
                publishing = asyncio.ensure_future(_publish(publisher, 100))
                await until(lambda: any(not peer.reads for peer in broker.router.peers))
                assert not publishing.done()
                for number in range(100):
                    received = await asyncio.to_thread(slow.next_event)
                    assert received["args"] == [number, LARGE_VALUE]
                await publishing
                assert all(peer.reads for peer in broker.router.peers)


async def test_a_lagging_subscriber_gets_events_again_when_it_reads(address: str) -> None:
    async with broker_at(address, limits=SMALL) as broker:
        where = broker.addresses[0]
        with SeedClient(where) as slow:
            await asyncio.to_thread(slow.subscribe, "a", "t")
            async with connect(where) as publisher:
                await _publish(publisher, 100)
                dropped = broker.router.backpressure.dropped
                assert dropped > 0

                def read(count: int) -> list[Any]:
                    return [slow.next_event()["args"] for _ in range(count)]

                seen = await asyncio.to_thread(read, 100 - dropped)
                assert [number for number, _ in seen] == list(range(100 - dropped))
                await publisher.publish("a", "t", "again")
                assert await asyncio.to_thread(read, 1) == ["again"]


async def test_a_caller_that_reads_no_answers_is_disconnected(address: str) -> None:
    async with broker_at(address, limits=Limits(outbox=200_000)) as broker, serving(broker.addresses[0], echo=Echo()):
        with SeedClient(broker.addresses[0]) as greedy:

            def ask() -> None:
                for number in range(300):
                    greedy.send(call(str(number), "echo", "text", 50_000))

            try:
                await asyncio.to_thread(ask)
            except OSError:
                pass  # it was disconnected while it asked

            def read() -> None:
                while True:
                    greedy.read_frame()

            with pytest.raises(ConnectionEnded):
                await asyncio.to_thread(read)
        await until(lambda: len(broker.router.peers) == 1)


@pytest.mark.parametrize("waiting", [4, 6, 8, 60])
async def test_a_peer_that_takes_nothing_when_it_is_closed_is_given_up(
    waiting: int, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the events are that wait for it: with the kernel, in the transport, or in the outbox."""
    monkeypatch.setattr(broker_module, "LINGER", 0.05)
    async with broker_at(address, grace=0, limits=Limits(backlog=10_000_000)) as broker:
        with stuck_subscriber(broker.addresses[0]) as stuck:
            await until(lambda: broker.router.subscriptions.count == 1)
            async with connect(broker.addresses[0]) as publisher:
                await _publish(publisher, waiting)
            await until(lambda: len(broker._connections) == 1)
            stuck.sendall(b"\xff" * 100)  # a frame over the limit: the connection is to end
            async with asyncio.timeout(3):
                await until(lambda: not broker._connections)
