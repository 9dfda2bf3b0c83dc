"""Peers that behave badly, or are slow, against the broker's shell on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from typing import Any

import pytest

from ipc_broker import Event, Limits, connect
from ipc_broker.aio import broker as broker_module
from ipc_broker.errors import WorkerLost
from tests.aio.bus import RawPeer, broker_at, bus, plain_socket, serving, until
from tests.aio.objects import Calculator, Echo, Gate, entered, let_through
from tests.messages import call, error_of, event, register, result, subscribe
from tests.seed.client import SeedClient
from tests.seed.frames import BODY_LIMIT, Message, frame, frame_of
from tests.seed.invalid import INVALID_BODIES
from tests.seed.stream import ConnectionEnded

HAS_MATH: Message = {"HasObject": {"object_name": "math"}}
NO_MATH: Message = {"HasObjectResult": {"object_name": "math", "exists": False}}
TCP = "tcp://127.0.0.1:0"
TWICE_THE_SAME_FIELD = b'{"HasObject":{"object_name":"a","object_name":"a"}}'  # to the seed alone it is no message


# Peers that behave badly


@pytest.mark.parametrize("where", ["local", TCP])
async def test_bodies_that_are_no_messages_get_an_error_and_the_connection_goes_on(where: str, address: str) -> None:
    async with broker_at(address if where == "local" else where) as broker, RawPeer.at(broker.addresses[0]) as peer:
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
        for _ in range(10):
            peers = [plain_socket(broker.addresses[0]) for _ in range(100)]
            for number, peer in enumerate(peers):
                peer.sendall(frame(register(f"o{number}")) + frame(subscribe("a", str(number))))
            await until(lambda: broker.router.events.subscriptions.count == 100)
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
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], gate=gate),
        RawPeer.at(broker.addresses[0]) as peer,
        connect(broker.addresses[0]) as client,
    ):
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
            await until(lambda: broker.router.events.subscriptions.count == 1)
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
                await until(lambda: any(peer.paused for peer in broker.router.peers))
                assert not publishing.done()
                for number in range(100):
                    received = await asyncio.to_thread(slow.next_event)
                    assert received["args"] == [number, LARGE_VALUE]
                await publishing
                assert all(peer.reads and not peer.paused for peer in broker.router.peers)


async def test_a_lagging_subscriber_gets_events_again_when_it_reads(address: str) -> None:
    async with broker_at(address, limits=SMALL) as broker:
        where = broker.addresses[0]
        with SeedClient(where) as slow:
            await asyncio.to_thread(slow.subscribe, "a", "t")
            async with connect(where) as publisher:
                await _publish(publisher, 100)
                dropped = broker.router.events.backpressure.dropped
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

            with contextlib.suppress(OSError):  # it may be disconnected while it asks
                await asyncio.to_thread(ask)

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
            await until(lambda: broker.router.events.subscriptions.count == 1)
            async with connect(broker.addresses[0]) as publisher:
                await _publish(publisher, waiting)
            await until(lambda: len(broker._connections) == 1)
            stuck.sendall(b"\xff" * 100)  # a frame over the limit: the connection is to end
            async with asyncio.timeout(3):
                await until(lambda: not broker._connections)


async def test_a_peer_that_hangs_up_half_way_and_takes_nothing_is_given_up(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "LINGER", 0.05)
    async with broker_at(address, grace=0, limits=Limits(backlog=10_000_000)) as broker:
        with stuck_subscriber(broker.addresses[0]) as stuck:
            await until(lambda: broker.router.events.subscriptions.count == 1)
            [connection] = broker._connections
            async with connect(broker.addresses[0]) as publisher:
                while not connection.transport.get_write_buffer_size():
                    await _publish(publisher, 1)
            assert connection._peer.connection.queued == 0, "all that waits for it is with the transport"
            stuck.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(3):
                await until(lambda: not broker._connections)
