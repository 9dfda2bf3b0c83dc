import sys
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.protocol.framing import HEADER_SIZE, SEED_MAX_FRAME, FrameReader

BODIES = st.lists(st.binary(max_size=30), max_size=10)


def frame_of(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_SIZE, "big") + body


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def feed_all(reader: FrameReader, chunks: list[bytes]) -> list[bytes]:
    return [frame for chunk in chunks for frame in reader.feed(chunk)]


@given(BODIES, st.lists(st.integers(0, 400)))
def test_any_split_of_the_stream_gives_the_same_frames(bodies: list[bytes], cuts: list[int]) -> None:
    frames = [frame_of(body) for body in bodies]
    assert feed_all(FrameReader(), split(b"".join(frames), cuts)) == frames


@given(BODIES)
def test_one_byte_at_a_time_gives_each_frame_with_its_last_byte(bodies: list[bytes]) -> None:
    reader = FrameReader()
    for body in bodies:
        frame = frame_of(body)
        given_back = [reader.feed(frame[at : at + 1]) for at in range(len(frame))]
        assert given_back == [[]] * (len(frame) - 1) + [[frame]]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.integers(1, 100))
def test_any_garbage_split_anyhow_gives_the_same_frames_and_the_same_end(
    garbage: bytes, cuts: list[int], limit: int
) -> None:
    whole, parts = FrameReader(limit), FrameReader(limit)
    assert feed_all(parts, split(garbage, cuts)) == whole.feed(garbage)
    assert parts.oversize == whole.oversize


@given(BODIES, st.lists(st.integers(0, 200)), st.binary(max_size=40), st.integers(1, 40))
def test_what_is_one_frame_gives_that_and_leaves_nothing(
    bodies: list[bytes], cuts: list[int], garbage: bytes, limit: int
) -> None:
    reader = FrameReader(limit)
    for chunk in [*split(b"".join(map(frame_of, bodies)) + garbage, cuts), frame_of(b"last")]:
        held, is_one = reader.held, reader.is_one_frame(chunk)
        frames = reader.feed(chunk)
        assert is_one is (len(chunk) > HEADER_SIZE and frames == [chunk] and not held and not reader.held)


@given(BODIES, st.lists(st.integers(0, 400)), st.booleans())
def test_the_frames_that_were_complete_are_counted(bodies: list[bytes], cuts: list[int], oversize: bool) -> None:
    reader = FrameReader(30)
    stream = b"".join(map(frame_of, bodies)) + (b"\0\0\0\x1f" if oversize else b"\0\0\0\5half")
    frames = 0
    for chunk in split(stream, cuts):
        frames += len(reader.feed(chunk))
        assert reader.count == frames
    assert reader.count == len(bodies)


def test_an_empty_body_is_a_frame() -> None:
    assert FrameReader().feed(b"\0\0\0\0" * 2) == [b"\0\0\0\0"] * 2


def test_nothing_fed_gives_nothing_and_loses_nothing() -> None:
    reader = FrameReader()
    assert feed_all(reader, [b"", b"\0\0", b"", b"\0\1", b"", b"x", b""]) == [b"\0\0\0\1x"]


@pytest.mark.parametrize("limit", [1, 100, SEED_MAX_FRAME, 70_000])
def test_a_frame_of_exactly_the_limit_passes_and_one_byte_over_does_not(limit: int) -> None:
    reader = FrameReader(limit)
    fits = frame_of(b"x" * limit)
    assert reader.feed(fits) == [fits]
    assert reader.oversize == 0
    assert reader.feed(frame_of(b"x" * (limit + 1))) == []
    assert reader.oversize == limit + 1


def test_the_limit_without_a_word_is_the_seed_s() -> None:
    assert FrameReader().limit == SEED_MAX_FRAME == 65_536


def test_the_frames_before_an_oversize_announcement_still_come() -> None:
    reader = FrameReader(10)
    good = [frame_of(b"one"), frame_of(b"two")]
    assert reader.feed(b"".join(good) + b"\xff\xff\xff\xff" + b"rest") == good
    assert reader.oversize == 2**32 - 1


def test_an_oversize_frame_is_known_by_its_header_alone() -> None:
    reader = FrameReader(10)
    assert feed_all(reader, [b"\0", b"\0", b"\0"]) == []
    assert reader.oversize == 0
    assert reader.feed(b"\x0b") == []
    assert reader.oversize == 11


def test_after_an_oversize_frame_nothing_more_is_read() -> None:
    reader = FrameReader(10)
    reader.feed(b"\0\0\0\x0b")
    assert reader.feed(frame_of(b"good")) == []
    assert reader.feed(b"\0\0\0\x0c") == []
    assert reader.oversize == 11


def joins_of(reader: FrameReader, chunks: list[bytes]) -> tuple[list[bytes], int]:
    """What the reader gives for the chunks, and how often it joined what it had so far."""
    joins = 0

    def count(frame: FrameType, event: str, called: object) -> None:
        nonlocal joins
        joins += event == "c_call" and getattr(called, "__name__", "") == "join"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        frames = feed_all(reader, chunks)
    finally:
        sys.setprofile(before)
    return frames, joins


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_many_tiny_chunks_of_a_large_frame_are_joined_once(size: int) -> None:
    frame = frame_of(bytes(range(256)) * (SEED_MAX_FRAME // 256))
    chunks = [frame[at : at + size] for at in range(0, len(frame), size)]
    frames, joins = joins_of(FrameReader(), chunks)
    assert frames == [frame]
    # Once for the header, if that was split or came alone, and once for the whole.
    assert 1 <= joins <= 2


def test_frames_that_arrive_whole_are_never_joined() -> None:
    stream = frame_of(b"x" * 100) * 50
    frames, joins = joins_of(FrameReader(), [stream] * 10)
    assert len(frames) == 500
    assert joins == 0


def test_two_readers_share_nothing() -> None:
    first, second = FrameReader(), FrameReader()
    first.feed(b"\0\0\0\5ab")
    assert second.feed(frame_of(b"x")) == [frame_of(b"x")]
    assert first.feed(b"cde") == [frame_of(b"abcde")]
