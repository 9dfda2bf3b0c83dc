"""How large frames are read from a socket: straight to their place, and all else as ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from ipc_broker.aio.large import BETWEEN, ReadsLarge
from ipc_broker.messages import Call, Result
from ipc_broker.protocol.codec import Received
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import ENCODINGS
from ipc_broker.protocol.framing import LARGE

CODEC = ENCODINGS["msgpack"]


def call_of(size: int, call_id: str = "1") -> bytes:
    return CODEC.call_frame(call_id, "a", "m", 0, CODEC.encode_payload(b"x" * size))


class Reads(ReadsLarge):
    """Keeps the messages that come, and how long the pieces were in which it got them."""

    def __init__(self) -> None:
        self.connection = Connection(Role.BROKER, lambda: None)
        self.connection.extend("msgpack", 1 << 26, 1 << 26)
        self.pieces: list[int] = []
        self.received: list[Received] = []
        self.ended = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.read_large_directly(self.connection)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(len(data))
        self.received += self.connection.receive_data(data)
        self._came.set()

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)

    async def until(self, done: Callable[[], bool]) -> None:
        """It is looked at whenever something has come."""
        while not done():
            self._came.clear()
            await self._came.wait()

    async def messages(self, count: int) -> list[Received]:
        await self.until(lambda: len(self.received) >= count)
        taken, self.received = self.received, []
        return taken

    @property
    def in_large(self) -> bool:
        return self.connection.held > 0

    @property
    def reads_itself(self) -> bool:
        return self.transport.get_protocol() is self


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Reads, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    _, reads = await asyncio.get_running_loop().connect_accepted_socket(Reads, near)
    with far:
        yield reads, far
        reads.transport.close()
        await reads.lost


async def say(far: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(far, data)


async def test_what_belongs_to_a_large_frame_is_not_handed_out_in_pieces() -> None:
    async with connected() as (reads, far):
        for number in range(3):
            frame = call_of(5 * LARGE, str(number))
            await say(far, frame[:100])
            await say(far, frame[100:])
            [(message, came)] = await reads.messages(1)
            assert type(message) is Call
            assert message.call_id == str(number)
            assert came == frame
            assert not reads.reads_itself, "another one may follow"
        assert sum(reads.pieces) <= LARGE + 2 * BETWEEN
        assert len(reads.pieces) <= 3 * 3


@pytest.mark.parametrize("size", [10, 1000, 60_000, LARGE - 100])
async def test_what_is_not_large_is_read_as_ever_before_and_after(size: int) -> None:
    async with connected() as (reads, far):
        small, large = call_of(size, "small"), call_of(LARGE, "large")
        for _ in range(3):
            for frames in ([small, small], [small, large], [large, small, small], [large, large, small]):
                sending = asyncio.ensure_future(say(far, b"".join(frames)))
                assert [frame for _, frame in await reads.messages(len(frames))] == frames
                await sending
                assert reads.reads_itself is (frames[-1] is small)


async def test_many_small_messages_behind_a_large_one_come_in_order() -> None:
    async with connected() as (reads, far):
        frames = [call_of(2 * LARGE, "large"), *(call_of(number, str(number)) for number in range(1000))]
        sending = asyncio.ensure_future(say(far, b"".join(frames)))
        assert [frame for _, frame in await reads.messages(len(frames))] == frames
        await sending
        assert reads.reads_itself


@pytest.mark.parametrize("how", ["in it", "behind it"])
async def test_the_end_of_the_stream_is_told(how: str) -> None:
    async with connected() as (reads, far):
        frame = call_of(3 * LARGE)
        if how == "in it":
            await say(far, frame[:-1])
        else:
            await say(far, frame)
            await reads.messages(1)
        far.shutdown(socket.SHUT_WR)
        await reads.lost
        assert reads.ended
        assert reads.received == []
        reads.lost = asyncio.get_running_loop().create_future()
        reads.lost.set_result(None)


async def test_it_can_be_paused_in_a_large_frame() -> None:
    async with connected() as (reads, far):
        frame = call_of(8 * LARGE)
        await say(far, frame[:LARGE])
        await reads.until(lambda: reads.in_large)
        reads.transport.pause_reading()
        missing = reads.connection.progress
        sending = asyncio.ensure_future(say(far, frame[LARGE:]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert reads.connection.progress == missing
        reads.transport.resume_reading()
        [(message, came)] = await reads.messages(1)
        assert type(message) is Call
        assert came == frame
        await sending


async def test_what_follows_a_frame_over_the_limit_is_not_kept() -> None:
    async with connected() as (reads, far):
        frame = call_of(2 * LARGE)
        await say(far, frame + (1 << 30).to_bytes(4, "big"))
        received = await reads.messages(2)
        assert received[0][1] == frame
        assert received[1][1] == b""
        await say(far, b"x" * 100)
        assert not reads.in_large
        assert reads.connection.held == 0


async def test_a_connection_that_is_closed_in_a_large_frame_reads_on_and_keeps_nothing() -> None:
    async with connected() as (reads, far):
        frame = call_of(2 * LARGE)
        await say(far, frame[:100])
        await reads.until(lambda: reads.in_large)
        reads.connection.close()
        await say(far, frame[100:] + call_of(10) * 3)
        await reads.until(lambda: reads.reads_itself)
        assert reads.received == []


async def test_answers_pass_over_it_too() -> None:
    async with connected() as (reads, far):
        frame = CODEC.encode(Result("1", "a", CODEC.encode_payload(bytes(2 * LARGE))))
        await say(far, frame)
        [(message, _)] = await reads.messages(1)
        assert type(message) is Result
