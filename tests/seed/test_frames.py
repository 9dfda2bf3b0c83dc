"""The stand-ins' framing and decoding, against the captured frames and against what is no message."""

import asyncio

import pytest

from tests.seed.decoding import MAX_NESTING, InvalidMessage, decode, decode_message
from tests.seed.frames import BODY_LIMIT, Golden, OverlongFrame, frame, frame_of, golden, read_frame
from tests.seed.invalid import INVALID_BODIES, nested_call


@pytest.mark.parametrize("captured", golden())
def test_messages_are_framed_and_read_as_captured(captured: Golden) -> None:
    assert frame(captured.message) == captured.frame
    assert decode_message(captured.frame[4:]) == captured.message


async def read_all(data: bytes) -> list[bytes]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return [await read_frame(reader) for _ in golden()]


def test_frames_are_read_off_a_stream() -> None:
    data = b"".join(captured.frame for captured in golden())
    assert asyncio.run(read_all(data)) == [captured.frame[4:] for captured in golden()]
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(read_all(data[:-1]))
    with pytest.raises(OverlongFrame, match="65537 bytes"):
        asyncio.run(read_all(frame_of(b" " * (BODY_LIMIT + 1))))


@pytest.mark.parametrize("body", INVALID_BODIES, ids=lambda body: repr(body[:80]))
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(body)


def test_what_is_still_a_message() -> None:
    assert decode(b'{ "HasObject" : {"object_name":"a","new":[1],"new":2} }') == ("HasObject", {"object_name": "a"})
    assert decode(nested_call(MAX_NESTING))[0] == "Call"
    assert decode(b'{"Publish":{"topic":"[[{\\"","object_name":"a","args":{"k":1,"k":18446744073709551616}}}') == (
        "Publish",
        {"object_name": "a", "topic": '[[{"', "args": {"k": 18446744073709551616.0}},
    )
