"""What users are told of a payload that is not what it should be."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.payload import reason_of
from tests.protocol.strategies import CODECS

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


class Numbers(Struct):
    a: int


def reason(codec: Codec, payload: bytes, kind: Any) -> str:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)) as caught:
        codec.decode_payload(payload, kind)
    return reason_of(caught.value)


@each_codec
@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        ({"a": "x"}, Numbers, "Expected `int`, got `str` - at `$.a`"),
        (1, str, "Expected `str`, got `int` - at `$`"),
        ({}, Numbers, "Object missing required field `a` - at `$`"),
        ([1, [2]], list[int], "Expected `int`, got `array` - at `$[1]`"),
        ({"x": {"a": 1.5}}, dict[str, Numbers], "Expected `int`, got `float` - at `$[...].a`"),
    ],
)
def test_the_reason_why_a_value_does_not_fit_its_type_ends_with_the_path(
    codec: Codec, value: object, kind: Any, told: str
) -> None:
    assert reason(codec, bytes(codec.encode_payload(value)), kind) == told


NO_PAYLOADS = {
    "json": [b"", b"[", b"1e999", b'"\\ud800"', b'"\xff"', b"1 2", b"[" * 100_000],
    "msgpack": [b"", b"\x91", b"\xc1", b"\xa1\xff", b"\x01\x02", b"\x81\x80\x01", b"\x91" * 100_000],
}


@each_codec
def test_what_is_no_payload_has_a_reason_at_the_whole(codec: Codec) -> None:
    for payload in NO_PAYLOADS[codec.name]:
        assert reason(codec, payload, Any).endswith(" - at `$`"), payload[:20]


@each_codec
@given(data=st.data())
def test_garbage_is_a_value_or_has_a_reason(codec: Codec, data: st.DataObject) -> None:
    try:
        codec.decode_payload(data.draw(st.binary(max_size=60)), data.draw(st.sampled_from([Any, Numbers, list[bytes]])))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        told = reason_of(error)
        assert told.endswith("`")
        assert told.count(" - at `$") == 1


def test_a_path_is_added_only_where_there_is_none() -> None:
    assert reason_of(ValueError("no")) == "no - at `$`"
    assert reason_of(ValueError("no - at `$.a`")) == "no - at `$.a`"
    assert reason_of(ValueError("no - at `$.a`, or so")) == "no - at `$.a`, or so - at `$`"
    assert reason_of(RecursionError("maximum recursion depth exceeded")) == "nested too deeply - at `$`"
