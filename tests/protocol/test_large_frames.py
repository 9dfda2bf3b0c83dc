"""Large frames: fed in pieces, or read straight to where they stay, which comes to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.framing import FIRST_ROOM, GROWTH, HEADER_SIZE, LARGE, FrameReader

LIMIT = 64 * 1024 * 1024
SIZES = st.one_of(
    st.integers(0, 40),
    st.integers(LARGE - HEADER_SIZE - 2, LARGE + 2),
    st.integers(FIRST_ROOM - HEADER_SIZE - 2, FIRST_ROOM + 2),
    st.just(FIRST_ROOM * GROWTH + 5),
)
BODIES = st.lists(st.tuples(st.binary(min_size=1, max_size=1), SIZES), min_size=1, max_size=4)
PIECES = st.lists(st.tuples(st.booleans(), st.sampled_from([1, 3, 4, 5, 1000, 65_536, LARGE, 10 * LARGE])), min_size=1)


def frame_of(byte: bytes, size: int) -> bytes:
    return size.to_bytes(HEADER_SIZE, "big") + byte * size


def read(reader: FrameReader, stream: bytes, pieces: list[tuple[bool, int]]) -> list[bytes]:
    """All frames, from pieces of such sizes over and over: those with True are read into the room where there is some."""
    frames: list[bytes] = []
    rest = memoryview(stream)
    turn = 0
    while rest:
        directly, size = pieces[turn % len(pieces)]
        turn += 1
        if len(stream) // size > 10_000:
            size = 1000
        room = reader.room() if directly else None
        if room is None:
            frames += reader.feed(bytes(rest[:size]))
        else:
            size = min(size, len(room), len(rest))
            room[:size] = rest[:size]
            if reader.filled(size):
                frames += reader.feed(b"")
        rest = rest[size:]
    return frames


@given(BODIES, PIECES)
def test_any_split_read_either_way_gives_the_same_frames(
    bodies: list[tuple[bytes, int]], pieces: list[tuple[bool, int]]
) -> None:
    frames = [frame_of(byte, size) for byte, size in bodies]
    reader = FrameReader(LIMIT)
    assert read(reader, b"".join(frames), pieces) == frames
    assert reader.count == len(frames)
    assert (reader.held, reader.in_large, reader.room()) == (0, False, None)


@given(BODIES, PIECES, st.integers(LARGE, FIRST_ROOM))
def test_any_split_read_either_way_ends_at_the_same_frame_over_the_limit(
    bodies: list[tuple[bytes, int]], pieces: list[tuple[bool, int]], limit: int
) -> None:
    stream = b"".join(frame_of(byte, size) for byte, size in bodies)
    whole, parts = FrameReader(limit), FrameReader(limit)
    assert read(parts, stream, pieces) == whole.feed(stream)
    assert parts.oversize == whole.oversize


@given(st.integers(LARGE, LIMIT - HEADER_SIZE), st.lists(st.integers(1, 3 * 1024 * 1024), max_size=5))
def test_little_is_set_aside_before_it_comes_and_all_of_it_counts(size: int, pieces: list[int]) -> None:
    reader = FrameReader(LIMIT)
    reader.feed(size.to_bytes(HEADER_SIZE, "big") + b"x")
    came = HEADER_SIZE + 1
    whole = HEADER_SIZE + size
    assert reader.held == min(FIRST_ROOM, whole)
    for piece in pieces:
        room = reader.room()
        if room is None:
            break
        assert len(room) == reader.held - came
        count = min(piece, len(room))
        came += count
        assert reader.filled(count) is (came == whole)
        assert reader.held <= min(max(FIRST_ROOM, came * GROWTH), whole)
        assert reader.missing == whole - came


def test_it_is_told_when_a_large_frame_begins_and_of_no_other() -> None:
    reader = FrameReader(LIMIT)
    begun: list[int] = []
    reader.on_large = lambda one: begun.append(one.count)
    fits = frame_of(b"s", LARGE - HEADER_SIZE)
    reader.feed(fits[:-1])
    reader.feed(fits[-1:])
    assert begun == []
    large = frame_of(b"x", LARGE)
    reader.feed(frame_of(b"s", 10) + large[:100])
    assert begun == [2]
    reader.feed(large[100:] + large[:4])
    assert begun == [2, 3]
    reader.feed(large[4:])
    assert begun == [2, 3]


def test_what_comes_whole_needs_no_room() -> None:
    reader = FrameReader(LIMIT)
    large = frame_of(b"x", LARGE)
    assert reader.feed(large * 2) == [large] * 2
    assert reader.held == 0


def test_a_frame_that_is_moved_while_its_room_is_still_held_is_whole() -> None:
    reader = FrameReader(LIMIT)
    large = frame_of(b"x", FIRST_ROOM * 2)
    reader.feed(large[:10])
    came = 10
    rooms = []
    while (room := reader.room()) is not None:
        rooms.append(room)
        room[:] = large[came : came + len(room)]
        came += len(room)
        reader.filled(len(room))
    assert len(rooms) == 2
    assert reader.feed(b"") == [large]


@pytest.mark.parametrize("ends", ["it is closed", "too long a frame came"])
def test_a_connection_that_is_closing_has_no_use_for_the_rest(ends: str) -> None:
    connection = Connection(Role.BROKER, lambda: None)
    connection.extend("msgpack", LIMIT, LIMIT)
    readers: list[FrameReader] = []
    connection.read_large_by(readers.append)
    large = frame_of(b"x", LARGE)
    connection.receive_data(large[:100])
    [reader] = readers
    assert reader.in_large
    if ends == "it is closed":
        connection.close()
    else:
        connection.receive_data(large[100:] + b"\xff\xff\xff\xff")
        assert not reader.in_large
    while (room := reader.room()) is not None:
        reader.filled(len(room))
    assert not reader.in_large
    assert connection.receive_data(b"") == connection.receive_data(b"more") == []
