"""Large frames on their way out: the payload is written from where it lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker.messages import Batch, Call, Publish
from ipc_broker.protocol.batching import one_by_one
from ipc_broker.protocol.codec import NOTHING, Codec
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.protocol.framing import LARGE, Frame, Parts

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
LIMIT = LARGE
"""What shells write at once."""


def large(codec: Codec, topic: str = "t", size: int = LARGE + 1) -> Parts:
    return codec.in_parts(codec.publish_frame("a", topic, NOTHING), codec.encode_payload("x" * size))


def sending(codec: Codec = MSGPACK) -> Connection:
    connection = Connection(Role.CLIENT, lambda: None)
    connection.extend(codec.name, 1 << 26, 1 << 26)
    return connection


@CODECS
def test_in_parts_a_frame_says_the_same(codec: Codec) -> None:
    payload = codec.encode_payload(["x" * LARGE])
    asked = Call("7.1", "a", "m", NOTHING)
    for without, whole in (
        (codec.call_frame("7.1", "a", "m", 500, NOTHING), codec.call_frame("7.1", "a", "m", 500, payload)),
        (codec.call_frame("7.1", "a", "m", 0, NOTHING), codec.call_frame("7.1", "a", "m", 0, payload)),
        (codec.result_frame(asked, NOTHING), codec.result_frame(asked, payload)),
        (codec.publish_frame("a", "t", NOTHING), codec.publish_frame("a", "t", payload)),
    ):
        parts = codec.in_parts(without, payload)
        assert bytes(parts) == whole
        assert len(parts) == len(whole)


@CODECS
def test_a_large_payload_is_not_copied_where_a_limit_is_given(codec: Codec) -> None:
    payload = codec.encode_payload("x" * LARGE)
    connection = sending(codec)
    connection.send_frame(codec.in_parts(codec.publish_frame("a", "t", NOTHING), payload))
    assert len(connection.data_to_send(LIMIT)) < 100
    piece: object = connection.data_to_send(LIMIT)
    assert isinstance(piece, memoryview)
    assert piece.obj is payload
    assert connection.data_to_send(LIMIT) == codec.publish_closing
    assert connection.queued == 0


SMALL = st.integers(0, 50).map(lambda size: MSGPACK.encode(Publish("a", "n" * size, MSGPACK.null)))
STEPS = st.lists(
    st.one_of(
        SMALL,
        st.just(bytes(large(MSGPACK, "t", LARGE - 100))),
        st.sampled_from([LARGE + 1, 2 * LARGE]).map(lambda size: large(MSGPACK, "t", size)),
        st.just("publish"),
        st.sampled_from([1, 100, LIMIT]),
        st.none(),
    ),
    max_size=12,
)


@given(STEPS)
def test_what_was_sent_comes_out_once_in_order_and_is_counted(steps: list[Frame | str | int | None]) -> None:
    connection = sending()
    sent: list[tuple[str, bytes]] = []
    taken = b""
    for step in steps:
        if isinstance(step, str):
            connection.publish("a", "t", Raw(b"\x01"), 1)
            sent.append(("t", b"\x01"))
        elif isinstance(step, bytes | Parts):
            connection.send_frame(step)
            sent += events_in(bytes(step))
        else:
            taken += connection.data_to_send(step)
            if step is None:
                assert connection.queued == 0
    left = connection.queued
    rest = connection.data_to_send()
    assert len(rest) <= left
    assert connection.queued == 0
    assert events_in(taken + rest) == sent


def events_in(data: bytes) -> list[tuple[str, bytes]]:
    """However they were put together."""
    broker = Connection(Role.BROKER, lambda: None)
    broker.extend(MSGPACK.name, 1 << 26, 1 << 26)
    events: list[Publish] = []
    for message, _ in broker.receive_data(data):
        assert isinstance(message, Batch | Publish), message
        events += one_by_one(message, MSGPACK) if isinstance(message, Batch) else [message]
    return [(one.topic, bytes(one.args)) for one in events]


@CODECS
@pytest.mark.parametrize("taken", [1, 2])
def test_a_frame_that_was_sent_in_part_is_not_among_the_unsent(codec: Codec, taken: int) -> None:
    connection = sending(codec)
    connection.send_frame(large(codec, "torn"))
    connection.send_frame(large(codec, "whole"))
    connection.send(Publish("a", "small", codec.null))
    for _ in range(taken):
        connection.data_to_send(LIMIT)
    topics = [one.topic for one in connection.unsent() if isinstance(one, Publish)]
    assert topics == ["whole", "small"]


def test_what_is_large_and_was_not_begun_is_unsent() -> None:
    connection = sending()
    connection.send(Publish("a", "small", MSGPACK.null))
    connection.send_frame(large(MSGPACK, "large"))
    assert connection.data_to_send(1)
    assert [one.topic for one in connection.unsent() if isinstance(one, Publish)] == ["large"]
