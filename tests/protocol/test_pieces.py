"""Payloads whose large bytes stay where they are say the same as those that stand together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.messages import Call, Publish, Result
from ipc_broker.protocol.codec import NOTHING
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.protocol.framing import LARGE
from ipc_broker.protocol.payload import Unsendable
from ipc_broker.protocol.pieces import Pieces, holds_large, together
from tests.protocol.strategies import VALUES

BLOBS = [bytes(LARGE + 1), b"\xff" * (LARGE + 7)]
MEMBERS = st.one_of(st.sampled_from(BLOBS), VALUES["msgpack"], st.just(bytes(LARGE)))
LARGE_VALUES = st.one_of(
    st.sampled_from(BLOBS),
    st.lists(MEMBERS, max_size=20),
    st.lists(MEMBERS, max_size=5).map(tuple),
    st.dictionaries(st.text(max_size=5) | st.integers(0, 500), MEMBERS, max_size=20),
)


@given(LARGE_VALUES)
def test_it_is_the_same_payload(value: Any) -> None:
    payload = MSGPACK.encode_value(value)
    assert isinstance(payload, Pieces) is holds_large(value)
    assert bytes(payload) == bytes(MSGPACK.encode_payload(value)) == bytes(together(payload))
    assert len(payload) == len(bytes(payload))


@pytest.mark.parametrize("count", [0, 14, 15, 16, 65_534, 65_535, 65_536])
def test_lists_and_maps_of_every_size(count: int) -> None:
    for value in ([*range(count), BLOBS[0]], dict.fromkeys(range(count)) | {"blob": BLOBS[0]}):
        assert bytes(MSGPACK.encode_value(value)) == bytes(MSGPACK.encode_payload(value))


@pytest.mark.parametrize(
    "value", [BLOBS[0], [1, BLOBS[0], 2], {"a": BLOBS[0], "b": BLOBS[1]}], ids=["bytes", "list", "map"]
)
def test_the_large_ones_are_not_copied(value: Any) -> None:
    frame = MSGPACK.in_parts(MSGPACK.publish_frame("a", "t", NOTHING), MSGPACK.encode_value(value))
    there = [one.obj for one in frame.rest]
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for blob in members:
        if isinstance(blob, bytes):
            assert any(one is blob for one in there)


@pytest.mark.parametrize(
    "value",
    [
        bytes(LARGE),
        bytearray(LARGE + 1),  # which may be changed before it is sent
        "x" * (LARGE + 1),
        [[BLOBS[0]]],
        {"a": {"b": BLOBS[0]}},
        {BLOBS[0]: 1},
        None,
    ],
    ids=["small", "bytearray", "text", "deeper", "deeper map", "key", "null"],
)
def test_all_else_stands_together(value: Any) -> None:
    payload = MSGPACK.encode_value(value)
    assert not isinstance(payload, Pieces)
    assert bytes(payload) == bytes(MSGPACK.encode_payload(value))


def test_json_has_no_pieces() -> None:
    with pytest.raises(Unsendable, match="JSON has no bytes"):
        JSON.encode_value(BLOBS[0])


@pytest.mark.parametrize(
    "value", [[BLOBS[0], object()], {"a": BLOBS[0], "b": object()}, [2**70, BLOBS[0]]], ids=["list", "map", "number"]
)
def test_what_cannot_be_sent_is_told_as_without(value: Any) -> None:
    with pytest.raises(Unsendable) as told:
        MSGPACK.encode_payload(value)
    with pytest.raises(Unsendable) as caught:
        MSGPACK.encode_value(value)
    assert str(caught.value) == str(told.value)


@given(LARGE_VALUES.filter(holds_large))
def test_frames_are_read_as_the_same_messages(value: Any) -> None:
    payload = MSGPACK.encode_value(value)
    call = Call("7.1", "it", "echo", MSGPACK.null)
    frames = [
        MSGPACK.in_parts(MSGPACK.call_frame("7.1", "it", "echo", 500, NOTHING), payload),
        MSGPACK.in_parts(MSGPACK.result_frame(call, NOTHING), payload),
        MSGPACK.in_parts(MSGPACK.publish_frame("it", "t", NOTHING), payload),
    ]
    broker = Connection(Role.BROKER, lambda: None)
    broker.extend("msgpack", 2**31, 2**31)
    received = [message for frame in frames for message, _ in broker.receive_data(bytes(frame))]
    whole = together(payload)
    assert received == [
        Call("7.1", "it", "echo", whole, 500),
        Result("7.1", "it", whole),
        Publish("it", "t", whole),
    ]
