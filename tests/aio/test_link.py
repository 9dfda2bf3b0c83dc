"""The connection under a client: opening, losing and opening it again, at every awkward moment."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest

from ipc_broker import connect
from ipc_broker.aio.client import Client
from ipc_broker.errors import ClientClosed, ConnectFailed, ConnectionLost, DeadlineExceeded
from ipc_broker.testing import MemoryBroker
from tests.aio.bus import AnyBroker, Peer, any_broker_at, broker_at, serving, until
from tests.aio.objects import Echo, Gate, entered, let_through
from tests.messages import error, result
from tests.seed.frames import frame, frame_of, read_frame

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NO_BROKER = ["local", "tcp"]


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def answer_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As the seed's broker does; then it says nothing more."""
    hello = json.loads(await read_frame(reader))["Call"]
    assert (hello["object_name"], hello["method"]) == ("rob", "hello")
    writer.write(frame(result(hello["call_id"], "rob")))


def says(data: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()

    return script


@pytest.mark.parametrize("kind", NO_BROKER)
async def test_where_nothing_listens_connecting_fails_at_once(kind: str, address: str) -> None:
    async with Peer(say_nothing).at(address if kind == "local" else "tcp://127.0.0.1:0") as where:
        pass
    async with asyncio.timeout(2):
        with pytest.raises(ConnectFailed) as caught:
            await connect(where, timeout=60)
    assert str(caught.value).startswith(f"no broker at {where} (")
    assert str(caught.value).endswith(f"); start one with: ipc-broker --listen {where}")
    assert isinstance(caught.value, ConnectionError)


async def test_entering_fails_the_same_way(address: str) -> None:
    with pytest.raises(ConnectFailed, match="no broker at"):
        async with connect(address.replace(":0", ":1")):
            raise AssertionError("it was entered")


async def test_what_accepts_and_never_answers_is_given_up(address: str) -> None:
    async with Peer(say_nothing).at(address) as where:
        with pytest.raises(ConnectFailed, match=r"did not answer within 0\.05 s"):
            await connect(where, timeout=0.05)


@pytest.mark.parametrize("script", [close_at_once, reset_at_once])
async def test_what_closes_at_once_is_no_broker(script: Script, address: str) -> None:
    async with Peer(script).at(address) as where, asyncio.timeout(5):
        with pytest.raises(ConnectFailed, match="closed the connection before it answered"):
            await connect(where, timeout=60)


async def test_garbage_that_cannot_be_followed_ends_it_at_once(address: str) -> None:
    async with Peer(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).at(address) as where, asyncio.timeout(5):
        with pytest.raises(ConnectFailed) as caught:
            await connect(where, timeout=60)
        assert "the broker closed it" not in str(caught.value), "it was we who closed it: the stream made no sense"


async def test_messages_that_make_no_sense_are_logged(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Peer(says(frame_of(b"{}") + frame_of(b"\xff\xff"))).at(address) as where:
        with pytest.raises(ConnectFailed, match="did not answer within"):
            await connect(where, timeout=0.05)
    assert caplog.text.count("sent what is no message") == 2


async def test_an_answer_of_a_kind_that_is_not_known_leaves_the_seeds_protocol(address: str) -> None:
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(hello["call_id"], "rob", {"something": "else"})))
        call = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(call["call_id"], "rob", ["rob"])))

    async with Peer(strange).at(address) as where:
        client = await connect(where)
        assert client.broker is None
        assert await client.objects() == ["rob"]
        await client.close()


async def test_an_error_in_answer_to_hello_leaves_the_seeds_protocol(address: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(error(hello["call_id"], "rob", "No such object 'rob'")))

    async with Peer(refuse).at(address) as where:
        client = await connect(where)
        assert client.broker is None
        await client.close()


async def test_nothing_is_sent_before_hello_is_answered(address: str) -> None:
    received: list[str] = []
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        received.append(hello["method"])
        await go_on.wait()
        writer.write(frame(result(hello["call_id"], "rob")))
        received.append(json.loads(await read_frame(reader))["Call"]["method"])

    async with Peer(slow).at(address) as where:
        connecting = asyncio.ensure_future(connect(where)._open())
        await until(lambda: received)
        await asyncio.sleep(0.01)
        assert received == ["hello"]
        go_on.set()
        client = await connecting
        with pytest.raises(DeadlineExceeded):
            await client.call("math", "add", timeout=0.01)
        assert received == ["hello", "add"]
        await client.close()


# Losing it


async def test_calls_in_flight_are_lost_with_the_connection_and_later_ones_wait(any_broker: AnyBroker) -> None:
    gate = Gate()
    async with any_broker() as where:
        client = await connect(where)
        async with serving(where, gate=gate):
            calls = [asyncio.ensure_future(client.call("gate", "wait", timeout=None)) for _ in range(3)]
            await entered(gate, 3)
            let_through(gate)
            assert await asyncio.gather(*calls) == [None] * 3
    await until(lambda: not client.link.session.ready)
    assert repr(client) == f"<Client {where} connecting calls=0>"
    waiting = asyncio.ensure_future(client.call("rob", "listObjects"))
    asking = asyncio.ensure_future(client.has("rob"))
    publishing = asyncio.ensure_future(client.publish("a", "t", 1))
    async with any_broker():
        assert await waiting == ["rob"]
        assert await asking
        await publishing
        await client.drain()
        await client.close()


async def test_a_call_in_flight_fails_with_disconnected(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ipc_broker")
    lost = asyncio.Event()

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_hello(reader, writer)
        if not lost.is_set():
            await read_frame(reader)
            lost.set()
            writer.transport.abort()

    async with Peer(lose).at(address) as where:
        client = await connect(where)
        with pytest.raises(ConnectionLost) as caught:
            await client.call("math", "add", [1, 2])
        failed = caught.value
        assert (failed.code, failed.object, failed.method, failed.delivered) == ("disconnected", "math", "add", "maybe")
        assert isinstance(failed, ConnectionError)
        assert str(failed).startswith(f"the connection to {where} was lost (")
        await until(lambda: client.link.session.ready)
        await client.close()
    assert "connecting again" in caplog.text


async def test_waiting_for_a_connection_ends_with_the_calls_timeout(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect() as client:
        await memory_broker.stop()
        calling = asyncio.ensure_future(client.call("math", "add", timeout=60))
        await memory_broker.clock.advance(60)
        with pytest.raises(DeadlineExceeded, match=r"there was no connection to .+ within 60 s") as caught:
            await calling
        assert caught.value.delivered == "no"


async def test_closing_while_there_is_no_broker_ends_what_waits(address: str) -> None:
    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0])
    await until(lambda: not client.link.session.ready)
    waiting = [asyncio.ensure_future(use) for use in (client.call("a", "b", timeout=None), client.has("a"))]
    await asyncio.sleep(0)
    await client.close()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, ClientClosed)


@pytest.mark.parametrize("kind", ["ours", "seed"])
async def test_it_may_be_closed_at_any_moment_of_connecting_again(kind: str, address: str) -> None:
    for turns in range(25):
        async with any_broker_at(kind, address) as where:
            client = await connect(where)
        async with any_broker_at(kind, where), asyncio.timeout(5):
            for _ in range(turns):
                await asyncio.sleep(0)
            await client.close()
        assert client.link.closed


async def test_connecting_may_be_cancelled_at_any_moment(any_broker: AnyBroker) -> None:
    async with any_broker() as where:
        for turns in range(15):
            connecting = asyncio.ensure_future(connect(where)._open())
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():
                await connecting.result().close()
        async with connect(where) as client:
            assert not await client.has("math")


async def test_it_connects_again_and_again(any_broker: AnyBroker) -> None:
    async with any_broker() as where:
        client = await connect(where)
    for _ in range(5):
        await until(lambda: not client.link.session.ready)
        async with any_broker(), serving(where, echo=Echo()):
            assert await client.call("echo", "back", 1, timeout=10) == 1
    await client.close()


async def test_over_tcp_it_connects_again_too() -> None:
    async with broker_at("tcp://127.0.0.1:0") as broker:
        where = broker.addresses[0]
        client = await connect(where)
        assert await client.objects() == ["rob"]
    await until(lambda: not client.link.session.ready)
    async with broker_at(where):
        assert await client.call("rob", "listObjects", timeout=10) == ["rob"]
        await client.close()


async def test_a_broker_that_reads_nothing_does_not_stop_close(address: str) -> None:
    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_hello(reader, writer)
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the stream keeps its transport to itself

    async with Peer(stuck).at(address) as where:
        client = await connect(where)
        publishing = asyncio.ensure_future(_publish_until_it_waits(client))
        await until(lambda: publishing.done() or not client.link.writer._writable.is_set())
        assert not publishing.done(), publishing.exception()
        async with asyncio.timeout(5):
            await client.close()
        with pytest.raises(ClientClosed):
            await publishing


async def _publish_until_it_waits(client: Client) -> None:
    """A hundred times what a socket and a transport take."""
    for _ in range(1000):
        await client.publish("a", "t", "x" * 50_000)
    raise AssertionError(f"publish never waits: {client.link._protocol.transport.get_write_buffer_size()} bytes")  # type: ignore[union-attr]
