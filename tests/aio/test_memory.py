"""`memory://`: what its transports do, and that a bus over them is one like any other."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator
from typing import cast

import pytest

from ipc_broker import Broker, BrokerConfig, Event, Gap, connect, current_call, inline
from ipc_broker.address import Address
from ipc_broker.aio.memory import CAPACITY, MemoryListener, MemoryTransport, listener_at, open_memory
from ipc_broker.errors import ConfigError, ConnectFailed, ListenFailed
from ipc_broker.sync import connect as connect_blocking
from tests.aio.bus import bus, serving, until

ADDRESS = "memory://bus"
PLACE = Address("memory", "place")


class End(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self, *, stays_open: bool = False) -> None:
        self.data = b""
        self.told: list[str] = []
        self.error: Exception | None = None
        self._stays_open = stays_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(MemoryTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.told.append("end")
        return self._stays_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.error = exc


def pair(*, stays_open: bool = False) -> tuple[End, End]:
    """A connection: who has opened it, and who has accepted it."""
    accepted: list[End] = []

    def accept() -> End:
        accepted.append(End(stays_open=stays_open))
        return accepted[-1]

    listener = MemoryListener(PLACE, accept)
    near = open_memory(PLACE, lambda: End(stays_open=stays_open))
    listener.close()
    return near, accepted[0]


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def forget(things: list[MemoryTransport]) -> None:
    things.clear()
    gc.collect()


def close(*ends: End) -> None:
    for end in ends:
        end.transport.abort()


async def test_bytes_come_in_order_in_later_turns_and_both_ways() -> None:
    near, far = pair()
    for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
        near.transport.write(piece)
    far.transport.write(b"x")
    near.transport.writelines([b"d", b"e"])
    assert far.data == near.data == b""
    await turns()
    assert (far.data, near.data) == (b"abcde", b"x")
    close(near, far)


async def test_a_protocol_may_answer_while_it_is_given_something() -> None:
    near, far = pair()
    far.data_received = lambda data: far.transport.write(data.upper())  # type: ignore[method-assign]  # for this test
    near.transport.write(b"abc")
    await turns()
    assert near.data == b"ABC"
    close(near, far)


async def test_a_writer_is_paused_above_its_limit_and_goes_on_when_the_other_has_taken_enough() -> None:
    near, far = pair()
    near.transport.set_write_buffer_limits(high=0)
    far.transport.pause_reading()
    near.transport.write(b"x" * CAPACITY)
    assert near.told == []  # the other side's system has room for that
    near.transport.write(b"y")
    assert near.told == ["pause"]
    assert near.transport.get_write_buffer_size() == 1
    await turns()
    assert near.told == ["pause"]
    assert far.data == b""
    far.transport.resume_reading()
    await turns()
    assert near.told == ["pause", "resume"]
    assert far.data == b"x" * CAPACITY + b"y"
    close(near, far)


async def test_limits_are_those_of_any_transport() -> None:
    near, far = pair()
    assert near.transport.get_write_buffer_limits() == (16_384, 65_536)
    near.transport.set_write_buffer_limits(low=10)
    assert near.transport.get_write_buffer_limits() == (10, 40)
    with pytest.raises(ValueError, match="must be >="):
        near.transport.set_write_buffer_limits(high=1, low=2)
    assert near.transport.is_reading()
    near.transport.pause_reading()
    assert not near.transport.is_reading()
    close(near, far)


async def test_what_was_written_before_close_arrives_and_then_the_end() -> None:
    near, far = pair()
    near.transport.write(b"last words")
    near.transport.close()
    near.transport.write(b"ignored")
    assert near.transport.is_closing()
    await turns()
    assert (far.data, far.told, far.error) == (b"last words", ["end", "lost"], None)
    assert (near.told, near.error) == (["lost"], None)


async def test_close_waits_until_the_other_side_has_room_for_the_rest() -> None:
    near, far = pair()
    far.transport.pause_reading()
    near.transport.write(b"x" * (CAPACITY + 5))
    near.transport.close()
    await turns()
    assert "lost" not in near.told
    far.transport.resume_reading()
    await turns()
    assert near.told[-1] == far.told[-1] == "lost"
    assert len(far.data) == CAPACITY + 5


async def test_abort_loses_what_is_not_on_its_way_yet() -> None:
    near, far = pair()
    far.transport.pause_reading()
    near.transport.write(b"x" * (CAPACITY + 5))
    near.transport.abort()
    await turns()
    assert near.told[-1] == "lost"
    far.transport.resume_reading()
    await turns()
    assert (len(far.data), far.told) == (CAPACITY, ["end", "lost"])


async def test_an_end_with_something_unread_resets_the_connection() -> None:
    near, far = pair()
    far.transport.pause_reading()
    near.transport.write(b"never read")
    far.transport.abort()
    await turns()
    assert isinstance(near.error, ConnectionResetError)
    assert near.told == ["lost"]


@pytest.mark.parametrize("closes", [False, True])
async def test_a_writer_that_waits_for_room_learns_that_the_other_is_gone(closes: bool) -> None:
    near, far = pair()
    far.transport.pause_reading()
    near.transport.write(b"x" * (CAPACITY * 2))
    if closes:
        near.transport.close()
    far.transport.abort()
    await turns()
    assert isinstance(near.error, BrokenPipeError)


async def test_a_half_closed_end_still_reads_and_writing_to_one_that_is_gone_fails() -> None:
    near, far = pair(stays_open=True)
    assert near.transport.can_write_eof()
    near.transport.write(b"question")
    near.transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        near.transport.write(b"more")
    await turns()
    assert (far.data, far.told) == (b"question", ["end"])
    far.transport.resume_reading()  # which tells it of the end no second time
    far.transport.write(b"answer")
    await turns()
    assert (near.data, far.told) == (b"answer", ["end"])
    near.transport.close()
    await turns()
    far.transport.write(b"too late")
    await turns()
    assert isinstance(far.error, BrokenPipeError)


async def test_a_protocol_that_fails_ends_its_connection() -> None:
    near, far = pair()
    complaints: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    error = ValueError("of the protocol")

    def fail(data: bytes) -> None:
        raise error

    far.data_received = fail  # type: ignore[method-assign]  # for this test
    near.transport.write(b"x")
    await turns()
    assert complaints == [error]
    assert far.error is error
    assert near.told == ["end", "lost"]


async def test_what_is_held_or_late_arrives_when_it_should() -> None:
    near, far = pair()
    far.transport.held = True
    near.transport.write(b"held")
    await turns()
    assert far.data == b""
    far.transport.latency = 0.01
    near.transport.write(b", late")
    far.transport.latency = 0.0
    near.transport.write(b", in order")
    far.transport.held = False
    await turns()
    assert far.data == b"held"
    await until(lambda: far.data == b"held, late, in order")
    close(near, far)


async def test_a_connection_that_is_cut_is_over_at_once_at_both_ends() -> None:
    near, far = pair()
    near.transport.write(b"lost")
    near.transport.cut(ConnectionResetError("cut"))
    assert near.told == far.told == ["lost"]
    await turns()
    assert far.data == b""


async def test_a_transport_that_nobody_closes_is_complained_of_and_shows_its_state() -> None:
    near, far = pair()
    assert repr(near.transport) == "<MemoryTransport open incoming=0 outgoing=0>"
    far.transport.write(b"abc")
    assert repr(near.transport) == "<MemoryTransport open incoming=3 outgoing=0>"
    await turns()
    transports = [near.transport, far.transport]
    del near, far
    with pytest.warns(ResourceWarning, match="unclosed transport <MemoryTransport open"):
        forget(transports)


async def test_an_address_has_one_listener_and_is_free_again_after_it() -> None:
    async with Broker(BrokerConfig(listen=(ADDRESS,))):
        with pytest.raises(ListenFailed, match="another broker listens there in this event loop"):
            await Broker(BrokerConfig(listen=(ADDRESS,))).start()
        assert listener_at("bus") is not None
    assert listener_at("bus") is None
    with pytest.raises(ConnectFailed, match=r"no broker at memory://bus in this event loop; start one here"):
        await connect(ADDRESS)


async def test_it_leads_to_no_other_loop() -> None:
    errors: list[Exception] = []

    async def connect_there() -> None:
        try:
            await connect(ADDRESS)
        except ConnectFailed as error:
            errors.append(error)

    async with Broker(BrokerConfig(listen=(ADDRESS,))):
        await asyncio.to_thread(lambda: asyncio.run(connect_there()))
    assert "runs in another event loop" in str(errors[0])
    assert "`ipc_broker`" in str(errors[0])


def test_the_blocking_client_is_sent_to_the_fixture_with_a_socket() -> None:
    with pytest.raises(ConfigError, match=r"memory://bus: .*the fixture `ipc_broker`"):
        connect_blocking(ADDRESS)


def own_uid() -> int | None:
    if sys.platform == "win32":
        return None
    return os.getuid()


class Tape:
    @inline
    def add(self, a: int, b: int) -> int:
        return a + b

    async def count(self, stop: int, size: int) -> AsyncIterator[str]:
        for _ in range(stop):
            yield "x" * size

    @inline
    def caller(self) -> tuple[int | None, int | None]:
        caller = current_call().caller
        return (None, None) if caller is None else (caller.pid, caller.uid)


async def test_calls_streams_and_events_go_over_it_as_over_a_socket() -> None:
    async with bus(ADDRESS, tape=Tape()) as client, client.subscribe("sensor", "*") as events:
        assert await asyncio.gather(*(client.call("tape", "add", [n, n]) for n in range(100))) == list(range(0, 200, 2))
        large = "x" * 3_000_000
        assert [item async for item in client.stream("tape", "count", [3, 1_000_000])] == ["x" * 1_000_000] * 3
        await client.publish("sensor", "large", large)
        for number in range(10_000):
            await client.publish("sensor", "small", number)
        assert (await events.get(timeout=5)).value == large  # type: ignore[union-attr]  # nothing was missed
        assert [(await events.get(timeout=5)).value for _ in range(10_000)] == list(range(10_000))  # type: ignore[union-attr]


async def test_the_caller_is_known_as_over_a_unix_socket() -> None:
    async with bus(ADDRESS, tape=Tape()) as client:
        assert await client.call("tape", "caller") == [os.getpid(), own_uid()]


async def test_a_client_comes_back_when_its_broker_does() -> None:
    first = Broker(BrokerConfig(listen=(ADDRESS,), grace=0))
    await first.start()
    async with serving(ADDRESS, tape=Tape()), connect(ADDRESS) as client, client.subscribe("a", "b") as events:
        await first.close()
        async with Broker(BrokerConfig(listen=(ADDRESS,), grace=0)):
            assert await client.call("tape", "add", [1, 2]) == 3
            assert isinstance(await events.get(timeout=5), Gap)
            await client.publish("a", "b", 1)
            assert await events.get(timeout=5) == Event("a", "b", 1)
            await client.drain()
