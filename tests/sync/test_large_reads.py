"""How the blocking client reads large frames: straight to where they stay."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ipc_broker.protocol.codec import Received
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import MSGPACK
from ipc_broker.protocol.framing import FIRST_ROOM, LARGE
from ipc_broker.sync.transport import CHUNK, SocketTransport
from tests.sync.bus import PATIENCE, InThread


class Reader:
    """What a link does with its transport."""

    def __init__(self, connected: socket.socket) -> None:
        self.transport = SocketTransport(connected)
        self.connection = Connection(Role.BROKER, lambda: None)
        self.connection.extend("msgpack", 1 << 26, 1 << 26)
        self.transport.read_large_directly(self.connection)
        self.pieces: list[int] = []

    def read(self, timeout: float = PATIENCE) -> list[Received] | None:
        """None at the end of the stream."""
        data = self.transport.recv(timeout)
        assert self.transport.in_doubt is True
        self.transport.in_doubt = False
        self.pieces.append(len(data))
        return self.connection.receive_data(data) if data else None

    def frames(self, count: int) -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < count:
            received = self.read()
            assert received is not None
            frames += [frame for _, frame in received]
        return frames


Ends = tuple[Reader, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    reader = Reader(ours)
    yield reader, theirs
    reader.transport.close()
    theirs.close()


def call_of(size: int, call_id: str = "1") -> bytes:
    return MSGPACK.call_frame(call_id, "a", "m", 0, MSGPACK.encode_payload(b"x" * size))


def test_a_large_frame_comes_with_its_last_byte(ends: Ends) -> None:
    reader, theirs = ends
    frame = call_of(2 * FIRST_ROOM)
    sending = InThread(lambda: theirs.sendall(frame))
    assert reader.frames(1) == [frame]
    sending.result()
    assert len(reader.pieces) == 2
    assert reader.pieces[0] <= CHUNK
    assert reader.pieces[1] == 1


@pytest.mark.parametrize("size", [1, 1000, LARGE - 100, LARGE - 30, LARGE, LARGE + 1])
def test_all_frames_come_in_order(ends: Ends, size: int) -> None:
    reader, theirs = ends
    frames = [
        call_of(length, str(number)) for number, length in enumerate([size, 3 * LARGE, LARGE, 5, size, LARGE, size])
    ]
    sending = InThread(lambda: theirs.sendall(b"".join(frames)))
    assert reader.frames(len(frames)) == frames
    sending.result()


@pytest.mark.parametrize("missing", [1, 2, 3, LARGE])
def test_a_timeout_in_a_large_frame_loses_nothing(ends: Ends, missing: int) -> None:
    reader, theirs = ends
    frame = call_of(2 * LARGE)
    sending = InThread(lambda: theirs.sendall(frame[:-missing]))
    while reader.connection.progress[1] != missing:
        with suppress(TimeoutError):
            assert reader.read(0.05) == []
    with pytest.raises(TimeoutError, match="nothing came"):
        reader.read(0.0)
    sending.result()
    assert not reader.transport.in_doubt
    assert reader.connection.progress == (0, missing)
    sending = InThread(lambda: theirs.sendall(frame[-missing:]))
    assert reader.frames(1) == [frame]
    sending.result()


def test_the_time_is_over_also_while_parts_come(ends: Ends) -> None:
    reader, theirs = ends
    theirs.sendall(call_of(2 * LARGE)[:100])
    assert reader.read() == []
    for _ in range(3):
        theirs.sendall(b"x" * 10)
        with pytest.raises(TimeoutError):
            reader.read(0.0)
    assert reader.connection.progress == (0, len(call_of(2 * LARGE)) - 130)


@pytest.mark.parametrize("missing", [1, 2, LARGE])
def test_the_end_of_the_stream_in_a_large_frame(ends: Ends, missing: int) -> None:
    reader, theirs = ends

    def send() -> None:
        theirs.sendall(call_of(2 * LARGE)[:-missing])
        theirs.close()

    sending = InThread(send)
    while (received := reader.read()) is not None:
        assert received == []
    sending.result()
    assert reader.read() is None


def test_a_connection_that_is_closed_meanwhile_keeps_nothing(ends: Ends) -> None:
    reader, theirs = ends
    frame = call_of(2 * LARGE)
    theirs.sendall(frame[:100])
    assert reader.read() == []
    reader.connection.close()
    sending = InThread(lambda: theirs.sendall(frame[100:] + call_of(5)))
    while reader.connection.progress[1] > 1:
        assert reader.read() == []
    sending.result()
