"""A payload on its way from one encoding to another."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.msgpack import Ext

from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import ENCODINGS, JSON, MSGPACK, transcode
from ipc_broker.protocol.payload import Unsendable
from tests.protocol.strategies import JSON_VALUES, MSGPACK_VALUES

NO_BYTES = "JSON has no bytes; encode them as text, with base64 for example"


def refused(payload: Raw, source: Codec, target: Codec) -> str:
    with pytest.raises(Unsendable) as caught:
        transcode(payload, source, target)
    return str(caught.value)


def to_json(value: Any) -> Any:
    return JSON.decode_any(transcode(MSGPACK.encode_payload(value), MSGPACK, JSON))


def test_the_encodings_by_the_names_in_hello_the_best_first() -> None:
    assert ENCODINGS == {"msgpack": MSGPACK, "json": JSON}
    assert list(ENCODINGS) == ["msgpack", "json"]


@given(JSON_VALUES)
def test_what_json_says_goes_to_message_pack_and_back_unchanged(value: object) -> None:
    payload = JSON.encode_payload(value)
    packed = transcode(payload, JSON, MSGPACK)
    assert packed == MSGPACK.encode_payload(value)
    assert repr(MSGPACK.decode_any(packed)) == repr(value)
    assert transcode(packed, MSGPACK, JSON) == payload


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_between_two_of_one_encoding_a_payload_is_left_as_it_is(codec: Codec) -> None:
    for data in (bytes(codec.null), b"no payload at all"):
        payload = Raw(data)
        assert transcode(payload, codec, codec) is payload


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"x", f"{NO_BYTES} - at `$`"),
        ({"a": [1, b"x"]}, f"{NO_BYTES} - at `$.a[1]`"),
        ({b"x": 1}, f"{NO_BYTES} - at `$`"),
        (math.nan, "JSON has no number nan - at `$`"),
        ([{"a": -math.inf}], "JSON has no number -inf - at `$[0].a`"),
        ({"a": Ext(5, b"x")}, "Encoding objects of type msgspec.msgpack.Ext is unsupported - at `$`"),
        ({None: 1}, "Only dicts with str-like or number-like keys are supported - at `$`"),
        ({(1, 2): 3}, "Only dicts with str-like or number-like keys are supported - at `$`"),
        ({math.nan: 1}, "JSON has no number nan - at `$`"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_json_cannot_say_is_refused_and_never_changed(value: object, reason: str) -> None:
    assert refused(MSGPACK.encode_payload(value), MSGPACK, JSON) == reason


@given(MSGPACK_VALUES)
def test_no_value_of_message_pack_becomes_another_in_json(value: object) -> None:
    try:
        said = to_json(value)
    except Unsendable:
        return
    assert said == with_text_keys(value)


def with_text_keys(value: Any) -> Any:
    """JSON's maps have no other keys; a number becomes its text, as with `json.dumps`."""
    if isinstance(value, list):
        return [with_text_keys(item) for item in value]
    if isinstance(value, dict):
        return {key_of(key): with_text_keys(item) for key, item in value.items()}
    return value


def key_of(key: Any) -> Any:
    return key if isinstance(key, str) else msgspec.json.encode(key).decode()


def test_what_message_pack_alone_has_but_json_can_say_takes_its_form_there() -> None:
    moment = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    assert to_json([moment]) == ["2024-02-29T12:30:00Z"]
    assert to_json({1: "a", -2.5: "b"}) == {"1": "a", "-2.5": "b"}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_an_integer_over_64_bits_is_refused_by_message_pack(number: int) -> None:
    reason = "can't serialize ints < -2**63 or > 2**64 - 1 - at `$`"
    assert refused(JSON.encode_payload({"a": number}), JSON, MSGPACK) == reason


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**63, 0, -1])
def test_an_integer_of_64_bits_keeps_its_value_in_both(number: int) -> None:
    packed = transcode(JSON.encode_payload(number), JSON, MSGPACK)
    assert MSGPACK.decode_any(packed) == number
    assert transcode(packed, MSGPACK, JSON) == JSON.encode_payload(number)


@pytest.mark.parametrize(
    "payload", [b"", b"[1", b"1e999", b'"\xff"', b'"\\ud800"', b"9" * 5000, b"1 2"], ids=lambda data: repr(data[:9])
)
def test_what_is_no_json_is_refused_at_the_whole(payload: bytes) -> None:
    assert refused(Raw(payload), JSON, MSGPACK).endswith(" - at `$`")


@pytest.mark.parametrize(
    "payload", [b"", b"\x91", b"\xc1", b"\xa1\xff", b"\x81\x80\x01", b"\x01\x02", b"\xc7\x0c\xff" + b"\xff" * 12]
)
def test_what_is_no_message_pack_is_refused_at_the_whole(payload: bytes) -> None:
    assert refused(Raw(payload), MSGPACK, JSON).endswith(" - at `$`")


def outcome(payload: bytes, source: Codec, target: Codec) -> Raw | str:
    """The payload, or why it cannot be said."""
    try:
        return transcode(Raw(payload), source, target)
    except Unsendable as error:
        return str(error)


@given(st.binary(max_size=60))
def test_garbage_is_transcoded_or_refused_and_nothing_else(data: bytes) -> None:
    for source, target in ((JSON, MSGPACK), (MSGPACK, JSON)):
        there = outcome(data, source, target)
        if isinstance(there, Raw):
            target.decode_any(there)
        else:
            assert there.endswith("`")


@pytest.mark.parametrize("depth", [100, *range(900, 1000, 7), 5000, 100_000])
def test_nesting_of_any_depth_is_transcoded_or_refused(depth: int) -> None:
    for payload, source, target, size in (
        (b"[" * depth + b"]" * depth, JSON, MSGPACK, depth),
        (b"\x91" * (depth - 1) + b"\x90", MSGPACK, JSON, 2 * depth),
    ):
        there = outcome(payload, source, target)
        if isinstance(there, Raw):
            assert len(bytes(there)) == size
        else:
            assert depth > 500
            assert there == "it is nested too deeply - at `$`"
