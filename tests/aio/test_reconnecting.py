"""What goes on over a lost connection: what was not sent, who is not there yet, who is called, and who waits."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import threading
import time
from typing import Any

import pytest

from ipc_broker import Broker, BrokerConfig, Worker, connect
from ipc_broker.aio import link as link_module
from ipc_broker.aio import link_protocol
from ipc_broker.aio.client import Client
from ipc_broker.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    IPCError,
    NoSuchObject,
    Overloaded,
)
from ipc_broker.messages import Goodbye
from ipc_broker.protocol.encodings import JSON
from ipc_broker.session.reconnecting import SETTLING
from ipc_broker.testing import MemoryBroker
from tests.aio.bus import AnyBroker, Peer, broker_at, serving, until
from tests.aio.objects import Calculator, Gate, entered, let_through
from tests.messages import result
from tests.seed.frames import Json, frame, read_frame

WELCOME: dict[str, Json] = {
    "encoding": "json",
    "features": ["multiplex", "cancel", "caller", "streams", "flow", "resume"],
    "max_frame": 1_000_000,
    "prefix": "7.",
    "epoch": "e",
    "session": "e-7",
    "version": "1.2.3",
    "pid": 4711,
}


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    hello = json.loads(await read_frame(reader))["Call"]
    writer.write(frame(result(hello["call_id"], "rob", WELCOME)))


# What was not sent


async def test_what_was_not_sent_when_the_connection_was_lost_is_sent_over_the_next_one(address: str) -> None:
    received: list[int] = []
    clients: list[Client] = []
    first = True

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        await welcome(reader, writer)
        if first:  # it reads no more, until the client cannot send any more
            first = False
            await until(lambda: clients and clients[0].link.session.queued > 3_000_000)
            writer.transport.abort()
            return
        while True:
            message = json.loads(await read_frame(reader))
            if "Publish" in message:
                received.append(message["Publish"]["args"][0])
                if message["Publish"].get("call_id"):
                    writer.write(frame(result(message["Publish"]["call_id"], "rob")))
            elif "Call" in message:
                writer.write(frame(result(message["Call"]["call_id"], "math", 42)))

    async with Peer(broker).at(address) as where:
        client = await connect(where)
        clients.append(client)
        publishing = [asyncio.ensure_future(client.publish("a", "t", [one, "x" * 60_000])) for one in range(100)]
        acknowledged = asyncio.ensure_future(client.publish("a", "t", [100, ""], ack=True))
        calling = asyncio.ensure_future(client.call("math", "add"))
        await asyncio.gather(*publishing)
        assert await calling == 42
        await acknowledged
        assert received == list(range(received[0], 101)), "an event is missing, came twice, or late"
        assert len(received) > 10
        with pytest.raises(ConnectionLost, match="may not have been routed"):
            await client.drain()
        await client.close()


async def test_a_subscription_whose_connection_is_lost_before_it_is_answered_is_asked_for_again(address: str) -> None:
    asked: list[int] = []

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        message = json.loads(await read_frame(reader))["Subscribe"]
        asked.append(message["id"])
        assert "seen" not in message, "it never began"
        if len(asked) == 1:
            writer.transport.abort()
            return
        writer.write(frame({"Subscribed": {"object_name": "a", "topic": "t", "id": message["id"]}}))
        event = {"object_name": "a", "topic": "t", "args": 1, "subscription": message["id"]}
        writer.write(frame({"Event": event}))
        await reader.read()

    async with Peer(broker).at(address) as where:
        client = await connect(where)
        events = await client.subscribe("a", "t")
        assert (await events.get()).value == 1  # type: ignore[union-attr]  # the test fails by itself at a Gap
        assert asked == [1, 2]
        await client.close()


# Objects that are not there yet


async def test_after_a_reconnect_a_missing_object_is_waited_for(any_broker: AnyBroker) -> None:
    async with any_broker() as where:
        client = await connect(where)
        with pytest.raises(NoSuchObject):  # at once: nothing was lost
            await client.call("math", "add", [1, 2])
    await until(lambda: not client.link.session.ready)
    async with any_broker() as where:
        calling = [asyncio.ensure_future(client.call("math", "add", [number, 1])) for number in range(3)]
        await until(lambda: client.link.session.ready)
        streaming = client.stream("math", "add", [1, 2])
        starting = asyncio.ensure_future(anext(streaming))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(calling[0]), 0.05)
        async with serving(where, math=Calculator()):
            assert await asyncio.gather(*calling) == [{"sum": number + 1} for number in range(3)]
            with pytest.raises(IPCError, match=r"is no stream|has no streams"):
                await starting
        await client.close()


async def test_what_does_not_come_in_time_is_missing(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect() as client:
        await memory_broker.restart()
        calling = asyncio.ensure_future(client.call("math", "add", [1, 2], timeout=None))
        await memory_broker.clock.advance(SETTLING - 0.1)
        assert not calling.done()
        await memory_broker.clock.advance(0.1)
        with pytest.raises(NoSuchObject):
            await calling
        with pytest.raises(NoSuchObject):  # at once
            await client.call("math", "add", [1, 2])


async def test_it_is_waited_for_no_longer_than_the_call_may_take(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect() as client:
        await memory_broker.restart()
        calling = asyncio.ensure_future(client.call("math", "add", [1, 2], timeout=1))
        await memory_broker.clock.advance(1)
        with pytest.raises(DeadlineExceeded, match="'math' was not served yet, shortly after a reconnect") as caught:
            await calling
        assert caught.value.delivered == "no"


# A broker that stops


async def test_after_the_brokers_goodbye_calls_in_flight_end_and_others_wait_for_the_next_broker(address: str) -> None:
    gate, stopped = Gate(), asyncio.Event()

    async def run_broker() -> None:
        async with broker_at(address):
            await stopped.wait()

    running = asyncio.ensure_future(run_broker())
    worker = Worker(address)
    worker.add("gate", gate)
    async with worker, connect(address) as client:
        in_flight = asyncio.ensure_future(client.call("gate", "wait", "answered"))
        await entered(gate)
        stopped.set()
        await until(lambda: not client.link.session.ready)
        assert client.link.session.opened
        waiting = asyncio.ensure_future(client.call("gate", "wait", "later"))
        let_through(gate)
        assert await in_flight == "answered"
        await running
        async with broker_at(address):
            assert await waiting == "later"


async def test_a_broker_that_does_not_close_after_its_goodbye_is_left(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "GOODBYE_PATIENCE", 0.01)
    accepted = 0

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        await welcome(reader, writer)
        accepted += 1
        if accepted == 1:
            writer.write(JSON.encode(Goodbye("it stops")))
        await reader.read()

    caplog.set_level(logging.INFO, logger="ipc_broker")
    async with Peer(broker).at(address) as where:
        client = await connect(where)
        await until(lambda: accepted == 2 and client.link.session.ready)
        await client.close()
    assert "says goodbye (it stops)" in caplog.text
    assert "it was not closed within 0.01 s after the broker's goodbye" in caplog.text


async def test_a_hello_that_is_answered_in_the_moment_in_which_it_is_given_up(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_TIMEOUT", 0.1)
    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0])
    session = client.link.session
    await until(lambda: not session.ready)
    calling = asyncio.ensure_future(client.call("rob", "ping", timeout=10))
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with broker_at(address):
            ready.set()
            await asyncio.to_thread(stop.wait)

    serving_elsewhere = threading.Thread(target=lambda: asyncio.run(serve()))
    serving_elsewhere.start()
    try:
        while session.connection is None or session.queued:  # noqa: ASYNC110 - it lasts for one turn
            await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - as a program that is busy: the answer and the end of its time come together
        await calling
    finally:
        stop.set()
        await asyncio.to_thread(serving_elsewhere.join)
        await client.close()


async def test_a_broker_that_says_welcome_and_goodbye_at_once_is_not_stormed(address: str) -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(hello["call_id"], "rob", WELCOME)) + JSON.encode(Goodbye("it stops")))
        writer.close()

    peer = Peer(broker)
    async with peer.at(address) as where:
        client = await connect(where)
        await asyncio.sleep(0.3)
        assert peer.accepted < 12
        await client.close()


# Callbacks


async def test_each_connection_and_its_end_is_told_in_order(any_broker: AnyBroker) -> None:
    told: list[str] = []
    both = asyncio.Event()

    async def on_connect() -> None:
        told.append("connecting")
        assert await client.has("rob")
        told.append("connected")
        if told.count("connected") == 2:
            both.set()

    async with any_broker() as where:
        client = await connect(where, on_connect=on_connect, on_disconnect=lambda: told.append("lost"))
        await until(lambda: "connected" in told)
    async with any_broker():
        await both.wait()
        await client.close()
    assert told == ["connecting", "connected", "lost"] * 2


async def test_a_callback_that_fails_is_logged_and_called_again(
    any_broker: AnyBroker, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise ValueError("planted")

    for _ in range(2):
        async with any_broker() as where, connect(where, on_connect=fail, on_disconnect=fail):
            pass
    assert calls == 4
    assert caplog.text.count("ValueError: planted") == 4


async def test_a_callback_that_hangs_does_not_stop_close(
    memory_broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with memory_broker:
        client = await connect(on_disconnect=hang)
        await client.close()
        await ended.wait()
        assert memory_broker.clock.now == link_module.CLOSE_TIMEOUT
    assert "did not end within 1 s" in caplog.text


async def test_a_callback_may_close_its_client(address: str) -> None:
    closed = asyncio.Event()

    async def close() -> None:
        await client.close()
        closed.set()

    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0], on_connect=close)
        await closed.wait()
        with pytest.raises(ClientClosed):
            await client.has("rob")


async def test_a_worker_tells_of_its_connections_too(address: str) -> None:
    told: list[str] = []
    worker = Worker(address, on_connect=lambda: told.append("on"), on_disconnect=lambda: told.append("off"))
    async with broker_at(address), worker:
        await until(lambda: told)
    assert told == ["on", "off"]


# Waiting


async def test_no_more_wait_for_a_connection_than_may(
    memory_broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MOST_WAITING", 2)
    async with memory_broker, connect() as client:
        await memory_broker.stop()
        waiting = [asyncio.ensure_future(client.call("rob", "ping", timeout=timeout)) for timeout in (1, None)]
        await memory_broker.clock.advance(0)
        for use in (client.call("rob", "ping"), client.publish("a", "t"), client.has("rob")):
            with pytest.raises(Overloaded, match="2 calls and publishers wait already for a connection") as caught:
                await use
            assert caught.value.delivered == "no"
        await memory_broker.clock.advance(1)
        with pytest.raises(DeadlineExceeded):
            await waiting[0]
        waiting.append(asyncio.ensure_future(client.call("rob", "ping")))  # for which there is room again
        await memory_broker.start()
        await memory_broker.clock.advance(1)
        assert await asyncio.gather(*waiting[1:]) == ["pong", "pong"]


async def test_a_connection_that_does_not_last_is_not_tried_again_at_once(address: str) -> None:
    """Whatever this client says may be why it is lost."""

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        await writer.drain()
        writer.transport.abort()

    peer = Peer(broker)
    async with peer.at(address) as where:
        client = await connect(where)
        delays = client.link._backoff
        await until(lambda: peer.accepted >= 4)
        assert client.link._backoff is delays
        await client.close()


# Where it does not belong


async def test_in_another_loop_it_says_so(address: str) -> None:
    async def use(client: Any) -> list[str]:
        told = []
        for attempt in (
            client.call("a", "b"),
            client.publish("a", "b"),
            client.has("a"),
            client.wait_for("a"),
            client.subscribe("a", "b")._start(),
            anext(client.stream("a", "b")),
            client.clear("a", "b"),
            client.drain(),
        ):
            with pytest.raises(IPCError) as caught:
                await attempt
            told.append(str(caught.value))
        return told

    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        told = await asyncio.to_thread(asyncio.run, use(client))
    assert set(told) == {f"the client of {address} belongs to another event loop; connect in this one"}
    worker = Worker(address)
    told = await use(worker.client)
    assert set(told) == {f"the client of {address} is not connected yet; use it in `async with`, or await it first"}


async def test_a_connection_that_ends_before_it_is_known_whose_it_is(
    any_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def gone_at_first(*_: object) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    async with Broker(BrokerConfig(listen=(any_address,))) as broker:
        address = broker.addresses[0]
        client = await connect(address)
    monkeypatch.setattr(link_protocol, "require_trusted", gone_at_first)
    async with Broker(BrokerConfig(listen=(address,))):
        assert await client.call("rob", "ping", timeout=20) == "pong"
        assert asked == 3
        asked = 0
        with pytest.raises(ConnectFailed, match="Transport endpoint is not connected"):
            await connect(address)
        await client.close()
