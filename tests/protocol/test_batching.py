"""Events that wait to be written: several of one topic become one message, and nothing else about them changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import MsgspecError, Raw

from ipc_broker.errors import InvalidArgs
from ipc_broker.messages import MAX_NAME, Batch, HasObject, Invalid, Message, Publish
from ipc_broker.protocol.batching import COST, FRAMING, LARGEST, LARGEST_VALUE, MOST, ROOM, SHALLOW, Run, one_by_one
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import JSON, MSGPACK
from tests.protocol.strategies import CODECS


def publisher(codec: Codec, wake_every: int = 10**9) -> Connection:
    connection = Connection(Role.CLIENT, lambda: None, wake_every=wake_every)
    connection.extend(codec.name, 65_536, 65_536)
    return connection


def publish(connection: Connection, topic: str, value: object) -> None:
    payload = connection.codec.encode_payload(value)
    connection.publish("sensor", topic, payload, len(payload))


def read(data: bytes, codec: Codec) -> list[Message]:
    broker = Connection(Role.BROKER, lambda: None)
    broker.extend(codec.name, 65_536, 65_536)
    messages: list[Message] = []
    for message, _ in broker.receive_data(data):
        assert not isinstance(message, Invalid), message
        messages.append(message)  # type: ignore[arg-type]  # a broker gets events undecoded
    return messages


def said(messages: list[Message], codec: Codec) -> list[object]:
    """For each message the values of its events, with their topic; of another its type."""
    words: list[object] = []
    for message in messages:
        if isinstance(message, Batch):
            words.append((message.topic, [codec.decode_any(value) for value in codec.values_of(message.values)]))
        elif isinstance(message, Publish):
            words.append((message.topic, codec.decode_any(message.args)))
        else:
            words.append(type(message).__name__)
    return words


# What becomes one message


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_events_of_one_topic_right_after_each_other_are_one_message(codec: Codec) -> None:
    connection = publisher(codec)
    for topic, value in (("a", 1), ("a", None), ("a", [2]), ("b", 3), ("a", 4), ("b", 5), ("b", {"c": 6})):
        publish(connection, topic, value)
    data = connection.data_to_send()
    assert said(read(data, codec), codec) == [("a", [1, None, [2]]), ("b", 3), ("a", 4), ("b", [5, {"c": 6}])]
    assert connection.queued == 0
    assert connection.data_to_send() == b""


def test_events_of_another_object_are_another_message() -> None:
    connection = publisher(JSON)
    for object_name in ("a", "a", "b"):
        connection.publish(object_name, "t", Raw(b"1"), 1)
    names = [message.object_name for message in read(connection.data_to_send(), JSON) if isinstance(message, Batch)]
    assert names == ["a"]


def test_whatever_stands_between_two_events_stays_between_them() -> None:
    connection = publisher(JSON)
    publish(connection, "a", 1)
    connection.send(Publish("sensor", "a", Raw(b"2"), call_id="7.1"))
    publish(connection, "a", 3)
    connection.send_frames([JSON.encode(Publish("sensor", "a", Raw(b"4")))], 10)
    publish(connection, "a", 5)
    publish(connection, "a", 6)
    assert said(read(connection.data_to_send(), JSON), JSON) == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", [5, 6])]


@pytest.mark.parametrize(("size", "counts"), [(1, [MOST, MOST, 44]), (2000, [9, 9, 9, 3])])
def test_a_batch_ends_with_so_many_events_or_bytes(size: int, counts: list[int]) -> None:
    connection = publisher(JSON)
    value = "x" * (size - 2) if size > 2 else 1
    for _ in range(sum(counts)):
        publish(connection, "a", value)
    batches = [message for message in read(connection.data_to_send(), JSON) if isinstance(message, Batch)]
    assert [JSON.length_of(batch.values) for batch in batches] == counts
    assert all(len(batch.values) <= LARGEST + LARGEST_VALUE + MOST for batch in batches)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("name", ["\x00" * MAX_NAME, "\U0001f321" * MAX_NAME, '"' * MAX_NAME])
def test_the_largest_batch_has_room_in_the_smallest_frame_that_may_be_agreed(codec: Codec, name: str) -> None:
    run = Run(name, name, len(codec.publish_opening(name, name)))
    sizes = [1] * (MOST - 9) + [LARGEST_VALUE] * 7 + [LARGEST - 1 - (MOST - 9) - 7 * LARGEST_VALUE, LARGEST_VALUE]
    for size in sizes:
        assert run.takes(name, name)
        run.append(Raw(b"1" * size), size)
    assert not run.takes(name, name)
    assert len(run.frame(codec)) <= min(ROOM, run.size)
    assert len(codec.batch_opening(name, name, 2**53)) - len(codec.batch_opening(name, name, 0)) + ROOM <= 65_536


def test_names_that_cannot_be_sent_are_refused_before_anything_is_queued() -> None:
    connection = publisher(MSGPACK)
    publish(connection, "a", 1)
    queued = connection.queued
    for name in ("x" * (MAX_NAME + 1), "\ud800"):
        with pytest.raises(InvalidArgs):
            publish(connection, name, 2)
    assert connection.queued == queued
    publish(connection, "a", 3)
    assert said(read(connection.data_to_send(), MSGPACK), MSGPACK) == [("a", [1, 3])]


def test_one_by_one_a_batch_says_the_same() -> None:
    assert list(one_by_one(Batch("o", "t", Raw(b"[1, [2],null]")), JSON)) == [
        Publish("o", "t", Raw(value)) for value in (b"1", b"[2]", b"null")
    ]
    assert list(one_by_one(Batch("o", "t", Raw(b"\x90")), MSGPACK)) == []
    for codec in CODECS:
        with pytest.raises(MsgspecError):
            list(one_by_one(Batch("o", "t", codec.encode_payload("no list")), codec))


# Lists


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536])
def test_lists_of_every_length_are_counted_and_taken_apart(codec: Codec, count: int) -> None:
    payload = Raw(codec.list_of([codec.null] * count))
    assert codec.length_of(payload) == count
    assert codec.values_of(payload) == [codec.null] * count
    assert codec.decode_any(payload) == [None] * count


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("value", [None, 1, "[1]", {"a": [1]}, True, 1.5])
def test_what_is_no_list_has_no_length(codec: Codec, value: object) -> None:
    with pytest.raises(MsgspecError):
        codec.length_of(codec.encode_payload(value))


@pytest.mark.parametrize("header", [b"\x92\x01", b"\xdc\x00\x02\x01", b"\xdd\xff\xff\xff\xff\x01", b"\xdc\x00"])
def test_a_header_that_promises_more_than_there_is_makes_no_message(header: bytes) -> None:
    body = b"\x81\xa5Batch\x83\xabobject_name\xa1a\xa5topic\xa1t\xa6values" + header
    broker = Connection(Role.BROKER, lambda: None)
    broker.extend("msgpack", 65_536, 65_536)
    [(message, _)] = broker.receive_data(len(body).to_bytes(4) + body)
    assert isinstance(message, Invalid)
    assert not message.fatal


JSON_VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@given(JSON_VALUES)
def test_no_value_has_more_levels_than_is_said(codec: Codec, value: object) -> None:
    payload = codec.encode_payload(value)
    assert depth_of(value) <= codec.most_levels(payload) <= len(payload)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_value_of_few_levels_is_seen_to_have_few(codec: Codec) -> None:
    assert codec.most_levels(codec.encode_payload(["x" * 2000, {"a": 1}])) < SHALLOW


# What waits, and what of it was not sent

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("aab"), st.integers(0, 3000)),
        st.tuples(st.just("other"), st.just(""), st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.none() | st.integers(1, 5000)),
        st.tuples(st.just("take back"), st.just(""), st.none()),
    ),
    max_size=60,
)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@settings(max_examples=80, deadline=None)
@given(steps=STEPS)
def test_whatever_is_taken_and_taken_back_each_event_is_said_once_in_order(
    codec: Codec, steps: list[tuple[str, str, int | None]]
) -> None:
    connection = publisher(codec)
    sent = b""
    expected: list[object] = []
    for number, (what, topic, size) in enumerate(steps):
        if what == "publish":
            value = f"{number} {'x' * (size or 0)}"
            publish(connection, topic, value)
            expected.append((topic, value))
        elif what == "other":
            connection.send(HasObject("x"))
            expected.append("HasObject")
        else:
            before = connection.queued
            data = connection.data_to_send(size)
            assert bool(data) == (before > 0)
            if what == "take":
                sent += data
            else:
                connection.take_back(data)
                assert connection.queued == len(data) <= before
    unsent: list[Any] = connection.unsent()
    assert not any(isinstance(message, Batch) for message in unsent)
    assert apart(sent, codec) + said(unsent, codec) == expected
    left = connection.data_to_send()
    assert connection.queued == 0
    assert apart(sent + left, codec) == expected


def apart(data: bytes, codec: Codec) -> list[object]:
    """Each event by itself."""
    words: list[object] = []
    for message in read(data, codec):
        words += said(list(one_by_one(message, codec)) if isinstance(message, Batch) else [message], codec)
    return words


def test_an_event_that_waits_counts_as_what_it_costs_and_one_that_was_written_as_what_it_took() -> None:
    connection = publisher(JSON)
    publish(connection, "a", 1)
    lone = JSON.publish_frame("sensor", "a", Raw(b"1"))
    assert connection.queued == len(lone)
    publish(connection, "a", "text")
    both = connection.queued
    assert len(lone) + COST + 6 <= both <= len(lone) + COST + 6 + FRAMING
    publish(connection, "a", 2)
    assert connection.queued == both + COST + 1
    connection.send(HasObject("x"))
    frame = JSON.encode(HasObject("x"))
    assert connection.queued == both + COST + 1 + len(frame)
    batch = JSON.batch_frame("sensor", "a", b'[1,"text",2]')
    assert connection.data_to_send(1) == batch
    assert connection.queued == len(frame)
    publish(connection, "a", 2)
    connection.discard()
    assert connection.queued == 0
    assert connection.data_to_send() == b""
    publish(connection, "a", 3)
    assert connection.data_to_send() == JSON.publish_frame("sensor", "a", Raw(b"3"))


def test_a_shell_that_wants_to_write_early_is_woken_by_what_small_events_cost() -> None:
    woken: list[int] = []
    connection = Connection(Role.CLIENT, lambda: woken.append(connection.queued), wake_every=10 * (COST + 1))
    connection.extend("json", 65_536, 65_536)
    for _ in range(31):
        publish(connection, "a", 1)
    lone, *several = woken
    assert lone == len(JSON.publish_frame("sensor", "a", Raw(b"1")))
    assert several == [several[0] + 10 * (COST + 1) * count for count in range(3)]
    assert 10 * (COST + 1) <= several[0] - lone <= 10 * (COST + 1) + FRAMING


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("name", ["a", "\x00" * MAX_NAME])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_what_waits_never_counts_for_less_than_it_takes(codec: Codec, name: str, count: int) -> None:
    """Else a publisher whose topics take turns would not wait for a kernel that takes no more."""
    connection = publisher(codec)
    for topic in (name, f"{name[1:]}b"):
        for _ in range(count):
            publish(connection, topic, 1)
    queued = connection.queued
    assert queued >= len(connection.data_to_send()) > 0
