"""MessagePack: the forms that others may choose, and what it can say that JSON cannot."""

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.msgpack import Ext

from ipc_broker import events
from ipc_broker.messages import Call, Cancel, HasObject, Invalid, Message, Publish
from ipc_broker.protocol.codec import Decoder
from ipc_broker.protocol.encodings import MSGPACK
from ipc_broker.protocol.framing import HEADER_SIZE
from ipc_broker.protocol.payload import Unsendable
from tests.protocol.strategies import MESSAGE_TYPES, MESSAGES_OF, MSGPACK_VALUES
from tests.seed.frames import frame_of

DECODER = Decoder(MSGPACK, MESSAGE_TYPES)
HAS = b"\xa9HasObject\x81\xabobject_name\xa1a"
CANCEL = b"\xa6Cancel\x81\xa7call_id\xa1a"


def decode(body: bytes) -> Message | Invalid:
    [(received, _)] = DECODER.decode_all([frame_of(body)])
    assert not isinstance(received, events.Event | events.Batch)
    return received


def map_of(size: int, *, wide: bool) -> bytes:
    """How a map of so many keys begins, in the forms that are longer than they need to be."""
    return b"\xdf" + struct.pack(">I", size) if wide else b"\xde" + struct.pack(">H", size)


def spelt(value: Any, form: str) -> bytes:
    """The value in MessagePack, its maps and strings with a size of 16 (`>H`) or 32 bits (`>I`); `` is the shortest."""
    if isinstance(value, dict) and form:
        body = b"".join(spelt(key, form) + spelt(item, form) for key, item in value.items())
        return map_of(len(value), wide=form == ">I") + body
    if isinstance(value, str) and form:
        data = value.encode()
        return (b"\xdb" if form == ">I" else b"\xda") + struct.pack(form, len(data)) + data
    return msgspec.msgpack.encode(value)


@given(MESSAGES_OF["msgpack"])
def test_a_body_is_one_map_with_the_message_s_name(message: Message) -> None:
    ((name, fields),) = msgspec.msgpack.decode(MSGPACK.encode(message)[HEADER_SIZE:], type=dict[str, Raw]).items()
    assert name == type(message).__name__
    assert bytes(fields) == msgspec.msgpack.encode(message)


@given(MESSAGES_OF["msgpack"], st.sampled_from(["", ">H", ">I"]), st.booleans(), st.booleans())
def test_any_form_of_a_message_gives_the_message(message: Message, form: str, backwards: bool, further: bool) -> None:
    fields = msgspec.to_builtins(message, builtin_types=(Raw,))
    assert isinstance(fields, dict)
    fields |= {"new": {"a": "b"}} if further else {}
    items = list(fields.items())
    body = spelt({type(message).__name__: dict(reversed(items) if backwards else items)}, form)
    decoded, kept = DECODER.decode_all([frame_of(body)])[0]
    assert decoded == message
    assert type(decoded) is type(message)
    # What is forwarded says the same, in a form whose beginning is known.
    assert kept.startswith(MSGPACK.opening(type(message)), HEADER_SIZE)
    assert DECODER.decode_all([kept])[0] == (decoded, kept)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x81" + HAS, HasObject("a")),
        (map_of(1, wide=False) + HAS, HasObject("a")),
        (map_of(1, wide=True) + HAS, HasObject("a")),
        (map_of(1, wide=True) + CANCEL, Cancel("a")),
        (b"\x81\xd9\x09HasObject\xde\x00\x01\xda\x00\x0bobject_name\xdb\x00\x00\x00\x01a", HasObject("a")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_map_may_say_its_size_in_16_or_32_bits(body: bytes, message: Message) -> None:
    [(decoded, kept)] = DECODER.decode_all([frame_of(body)])
    assert decoded == message
    assert kept == MSGPACK.encode(message)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x80", "0"),
        (b"\x82" + HAS + CANCEL, "2"),
        (map_of(2, wide=False) + HAS + CANCEL, "2"),
        (map_of(2, wide=True) + HAS + CANCEL, "2"),
        (b"\x82" + HAS + HAS, "'HasObject' twice"),
        (map_of(2, wide=False) + HAS + HAS, "'HasObject' twice"),
        (map_of(2, wide=True) + HAS + HAS, "'HasObject' twice"),
        (map_of(0, wide=False), "0"),
        (map_of(0, wide=True), "0"),
    ],
)
def test_a_body_with_more_or_less_than_one_key_is_no_message(body: bytes, what: str) -> None:
    assert decode(body) == Invalid(f"a message is a map with exactly one key, this one has {what}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"\x81", "truncated"),
        (b"\xde", "truncated"),
        (b"\xdf\x00\x00", "truncated"),
        (b"\xdf\xff\xff\xff\xff", "truncated"),
        (b"\xc0", "Expected `object`, got `None`"),
        (b"\x91\x01", "Expected `object`, got `array`"),
        (b"\x81" + HAS + b"\x00", "trailing characters"),
        (b"\x81" + HAS[:-1], "truncated"),
        (b"\x81\xa5Event\x80", "missing required field `object_name`"),
        (b"\x81\xabUnsubscribe\x80", "unknown message 'Unsubscribe'"),
        (b"\x81\xa9HasObject\x81\xabobject_name\x01", "Expected `str`, got `int` - at `$.object_name`"),
        (b"\x81\xa9HasObject\x81\xabobject_name\xc4\x01a", "Expected `str`, got `bytes` - at `$.object_name`"),
        (b"\x81\xc4\x09HasObject\x80", "Expected `str`, got `bytes`"),
        (b"\x81\x01\x80", "Expected `str`, got `int`"),
        (b"\x81\xa9Has\xffbject\x80", "not UTF-8"),
        (b"\x81\xa9HasObject\x81\xabobject_name\xa1\xff", "not UTF-8"),
        (b'{"HasObject":{"object_name":"a"}}', "Expected `object`, got `int`"),
        (b"\x91" * 60_000, "Expected `object`, got `array`"),
        (b"\x81\xa9HasObject\x82\xabobject_name\xa1a\xa3new" + b"\x91" * 60_000 + b"\xc0", "nested too deeply"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_an_invalid_says_what_is_wrong(body: bytes, reason: str) -> None:
    received = decode(body)
    assert isinstance(received, Invalid)
    assert reason in received.reason


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa4Call\x84\xa7call_id",
        b"\x81\xa4Call\x84\xa7call_id\xa3ab",  # cut off
        b"\x81\xa4Call\x84\xa7call_id\xd9",
        b"\x81\xa4Call\x84\xa7call_id\xd9\x05ab",
        b"\x81\xa4Call\x84\xa7call_id\xa0\xa4args",
        b"\x81\xa4Call\x84\xa7call_id\x07\xa4args",
        b"\x81\xa4Call\x84\xabobject_name\xa1a\xa7call_id\xa17",
    ],
)
def test_an_early_call_id_is_one_that_surely_is_the_call_s(body: bytes) -> None:
    assert MSGPACK.early_call(body) is None


@pytest.mark.parametrize("fields", [4, 5, 6, 7])
@pytest.mark.parametrize(("size", "call_id"), [(b"\xa3", "7.1"), (b"\xbf", "x" * 31), (b"\xd9\x24", "y" * 36)])
def test_a_call_of_any_number_of_fields_has_an_early_call(fields: int, size: bytes, call_id: str) -> None:
    body = b"\x81\xa4Call%c\xa7call_id%b%b\xc1" % (0x80 + fields, size, call_id.encode())
    assert MSGPACK.early_call(body) == ("Call", call_id)
    received = decode(body)
    assert isinstance(received, Invalid)
    assert received.call_id == call_id


def test_text_that_is_no_utf_8_passes_in_a_payload_and_is_found_by_whoever_decodes_it() -> None:
    frame = MSGPACK.publish_frame("o", "t", Raw(b"\xa1\xff"))
    assert DECODER.decode_all([frame]) == [(Publish("o", "t", Raw(b"\xa1\xff")), frame)]
    for kind in (Any, str):
        with pytest.raises(UnicodeDecodeError):
            MSGPACK.decode_payload(b"\xa1\xff", kind)


# Payloads


def same(value: Any, other: Any) -> bool:
    """Equal, NaN to itself too."""
    return msgspec.msgpack.encode(value) == msgspec.msgpack.encode(other)


@given(MSGPACK_VALUES)
def test_every_value_survives_unchanged(value: object) -> None:
    back = MSGPACK.decode_payload(MSGPACK.encode_payload(value))
    assert same(back, value)
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value", [b"\x00\xff", bytearray(b"x"), memoryview(b"x")], ids=lambda value: type(value).__name__
)
def test_bytes_are_sent_as_bytes(value: bytes) -> None:
    assert MSGPACK.decode_payload(MSGPACK.encode_payload({"data": value})) == {"data": bytes(value)}


def test_all_numbers_of_64_bits_are_sent() -> None:
    assert math.isnan(MSGPACK.decode_payload(MSGPACK.encode_payload(math.nan)))
    for number in (math.inf, -math.inf, -0.0, 2**64 - 1, -(2**63)):
        assert repr(MSGPACK.decode_payload(MSGPACK.encode_payload(number))) == repr(number)


def test_an_extension_comes_back_as_it_was() -> None:
    back = MSGPACK.decode_payload(MSGPACK.encode_payload([Ext(5, b"abc")]))
    assert back == [Ext(5, b"abc")]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "can't serialize ints < -2**63 or > 2**64 - 1 - at `$`"),
        (-(2**63) - 1, "can't serialize ints < -2**63 or > 2**64 - 1 - at `$`"),
        pytest.param(object(), "Encoding objects of type object is unsupported - at `$`", id="object"),
        (1j, "Encoding objects of type complex is unsupported - at `$`"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("put", [lambda value: value, lambda value: [value], lambda value: {"a": value}])
def test_what_message_pack_cannot_say_is_refused_at_the_whole(value: object, reason: str, put: Any) -> None:
    with pytest.raises(Unsendable) as caught:
        MSGPACK.encode_payload(put(value))
    assert str(caught.value) == reason


def test_a_text_that_utf_8_cannot_say_is_refused() -> None:
    for value in ("\ud800", ["\ud800"], {"\ud800": 1}):
        with pytest.raises(Unsendable, match=r"surrogates not allowed - at `\$`$"):
            MSGPACK.encode_payload(value)


def test_what_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(Unsendable, match=r"^it is nested too deeply - at `\$`$"):
        MSGPACK.encode_payload(value)


@pytest.mark.parametrize(
    ("payload", "shape"),
    [
        (b"\x80", "map"),
        (b"\x8f", "map"),
        (b"\xde\x00\x00", "map"),
        (b"\xdf\x00\x00\x00\x00", "map"),
        (b"\x90", "list"),
        (b"\x9f", "list"),
        (b"\xdc\x00\x00", "list"),
        (b"\xdd\x00\x00\x00\x00", "list"),
        (b"\xc0", "null"),
        (b"\x7f", "one"),
        (b"\xa0", "one"),
        (b"\xc2", "one"),
        (b"\xc4\x00", "one"),
        (b"\xd6\xff\x00\x00\x00\x00", "one"),
        (b"\xe0", "one"),
    ],
)
def test_the_shape_of_a_payload_is_in_its_first_byte(payload: bytes, shape: str) -> None:
    assert MSGPACK.shape(payload) == MSGPACK.shape(Raw(payload)) == shape


@given(MSGPACK_VALUES)
def test_the_shape_is_that_of_the_value_and_the_list_holds_it_alone(value: object) -> None:
    payload = MSGPACK.encode_payload(value)
    shapes = {dict: "map", list: "list", type(None): "null"}
    assert MSGPACK.shape(payload) == shapes.get(type(value), "one")
    assert same(MSGPACK.decode_any(MSGPACK.as_list(bytes(payload))), [] if value is None else [value])


def test_null_is_the_payload_that_says_nothing() -> None:
    assert MSGPACK.null == MSGPACK.encode_payload(None)
    assert MSGPACK.decode_any(MSGPACK.null) is None


def test_a_call_is_in_fewer_bytes_than_in_json() -> None:
    call = Call("1.1", "math", "add", MSGPACK.encode_payload({"a": 10, "b": 32}), timeout_ms=30_000)
    assert len(MSGPACK.encode(call)) < 80
