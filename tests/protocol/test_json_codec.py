"""JSON, as the Rust crate's programs write and read it."""

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker import events
from ipc_broker.messages import Call, HasObject, Invalid, Message, Publish
from ipc_broker.protocol.codec import Decoder
from ipc_broker.protocol.encodings import JSON
from ipc_broker.protocol.framing import HEADER_SIZE, SEED_MAX_FRAME
from ipc_broker.protocol.json_payload import unreadable_to_seed
from tests.protocol.strategies import JSON_VALUES, MESSAGE_TYPES, MESSAGES_OF, SEED_MESSAGES
from tests.seed.decoding import decode as seed_decode
from tests.seed.frames import frame_of
from tests.seed.invalid import INVALID_BODIES

DECODER = Decoder(JSON, MESSAGE_TYPES)
# Of a field given twice the last counts here, while the seed ignores the message.
ANSWERED_ALL_THE_SAME = b'{"HasObject":{"object_name":"a","object_name":"a"}}'


def decode(body: bytes) -> Message | Invalid:
    [(received, _)] = DECODER.decode_all([frame_of(body)])
    assert not isinstance(received, events.Event | events.Batch)
    return received


def plain(message: Message) -> dict[str, object]:
    """The message by its values, whatever the spelling of its payload."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return {name: msgspec.json.decode(value) if isinstance(value, Raw) else value for name, value in fields.items()}


def call_with(args: bytes) -> bytes:
    return b'{"Call":{"call_id":"7","object_name":"math","method":"add","args":%b}}' % args


@given(MESSAGES_OF["json"])
def test_a_body_is_one_object_with_the_message_s_name(message: Message) -> None:
    ((name, fields),) = json.loads(JSON.encode(message)[HEADER_SIZE:]).items()
    assert name == type(message).__name__
    assert fields == msgspec.json.decode(msgspec.json.encode(message))


@given(SEED_MESSAGES)
def test_the_seed_reads_every_message_of_its_own_that_we_write(message: Message) -> None:
    variant, fields = seed_decode(JSON.encode(message)[HEADER_SIZE:])
    assert variant == type(message).__name__
    assert fields == {name: value for name, value in plain(message).items() if name in fields}


@given(
    MESSAGES_OF["json"],
    st.sampled_from([None, 0, 3]),
    st.booleans(),
    st.dictionaries(st.sampled_from(["new", "Call", "0"]), JSON_VALUES, max_size=2),
    st.booleans(),
)
def test_any_spelling_of_a_message_gives_the_message(
    message: Message, indent: int | None, ascii_only: bool, further: dict[str, object], backwards: bool
) -> None:
    ((name, fields),) = json.loads(JSON.encode(message)[HEADER_SIZE:]).items()
    items = list((fields | further).items())
    spelt = json.dumps(
        {name: dict(reversed(items) if backwards else items)}, indent=indent, ensure_ascii=ascii_only
    ).encode()
    decoded, kept = DECODER.decode_all([frame_of(b" \n" + spelt + b"\r\t ")])[0]
    assert not isinstance(decoded, Invalid | events.Event)
    assert type(decoded) is type(message)
    assert plain(decoded) == plain(message)
    # What is forwarded says the same, in a form whose beginning is known.
    assert kept[HEADER_SIZE:].startswith(b'{"%b":' % name.encode())
    assert DECODER.decode_all([kept])[0] == (decoded, kept)


def test_a_type_s_name_may_be_spelt_with_escapes() -> None:
    message, kept = DECODER.decode_all([frame_of(rb'{"\u0048asObject":{"object_name":"a"}}')])[0]
    assert message == HasObject("a")
    assert kept == JSON.encode(HasObject("a"))


@pytest.mark.parametrize(
    "body", [body for body in INVALID_BODIES if body != ANSWERED_ALL_THE_SAME], ids=lambda body: repr(body[:80])
)
def test_what_the_seed_takes_for_no_message_is_none_here_unless_it_is_for_its_payload(body: bytes) -> None:
    """Into payloads the router looks, and only where a seed peer is to read them."""
    received = decode(body)
    if not isinstance(received, Invalid):
        assert isinstance(received, Call | Publish)
        assert unreadable_to_seed(received.args)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{}", "exactly one key, this one has 0"),
        (
            b'{"HasObject":{"object_name":"a"},"Registered":{"object_name":"a"}}',
            "exactly one key, this one has 2",
        ),
        (b'{"Unsubscribe":{"object_name":"a"}}', "unknown message 'Unsubscribe'"),
        (b'{"hasObject":{"object_name":"a"}}', "unknown message 'hasObject'"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"HasObject":[]}', "Expected `object`, got `array`"),
        (b'{"HasObject":{}}', "missing required field `object_name`"),
        (b'{"HasObject":{"object_name":1}}', "Expected `str`, got `int` - at `$.object_name`"),
        (b'{"HasObject":{"object_name":null}}', "Expected `str`, got `null` - at `$.object_name`"),
        (b'{"Result":{"call_id":"1","object_name":"a"}}', "missing required field `value`"),
        (b'{"HasObjectResult":{"object_name":"a","exists":1}}', "Expected `bool`, got `int`"),
        (b'{"HasObject":{"object_name":"a"}} {}', "trailing characters"),
        (b'{"HasObject":{"object_name":"a"}}}', "trailing characters"),
        (b'{"HasObject":{"object_name":"a"}x', "invalid character|malformed"),
        (b'{"HasObject":{"object_name":"\xff"}}', "not UTF-8"),
        (b'{"HasObject":{"object_name":"a","new":"\xff"}}', "not UTF-8"),
        (b'{"Has\xffObject":{"object_name":"a"}}', "not UTF-8"),
        (b"[" * SEED_MAX_FRAME, "nested too deeply|Expected `object`"),
        (
            b'{"HasObject":{"object_name":"a","new":' + b"[" * 60_000 + b"]" * 5_000 + b"}}",
            "deeply|malformed|truncated",
        ),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_an_invalid_says_what_is_wrong(body: bytes, reason: str) -> None:
    received = decode(body)
    assert isinstance(received, Invalid)
    assert any(part in received.reason for part in reason.split("|")), received.reason


def test_an_unknown_message_s_name_is_quoted_in_part_only() -> None:
    received = decode(b'{"%b":{}}' % (b"x" * 60_000))
    assert isinstance(received, Invalid)
    assert len(received.reason) < 500


@given(st.binary(min_size=1, max_size=5))
@example(b"\xff")
@example(b"\xed\xa0\x80")  # a surrogate, as UTF-8 must not spell it
def test_a_payload_that_is_not_utf_8_is_refused_and_its_call_is_named(text: bytes) -> None:
    received = decode(call_with(b'["%b"]' % text.translate(None, bytes(range(0x20)) + b'"\\')))
    if isinstance(received, Invalid):
        assert received.call_id == "7"
        assert "not UTF-8" in received.reason
    else:
        assert isinstance(received, Call)
        bytes(received.args).decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"HasObject":{"object_name":"a"},"HasObject":{"object_name":"b"}}',
        b'{ "HasObject" : {"object_name":"a"} , "HasObject" : {"object_name":"a"} }',
    ],
)
def test_the_same_type_twice_is_no_message(body: bytes) -> None:
    assert decode(body) == Invalid("a message is a map with exactly one key, this one has 'HasObject' twice")


@pytest.mark.parametrize(
    "body",
    [
        b'{"Call":{"call_id":"1","object_name":"a","method":"m","args":1,"args":2}}',
        b'{"Call":{"call_id":"1","call_id":"2","object_name":"a","method":"m","args":2}}',
        b'{"Call":{"call_id":"1","object_name":"a","method":"m","args":2,"new":1e999}}',
        b'{"Call":{"call_id":"1","object_name":"a","method":"m","args":2,"new":%b}}' % (b"[" * 200 + b"]" * 200),
    ],
    ids=lambda body: repr(body[:80]),
)
def test_what_the_seed_would_stumble_over_is_gone_when_the_message_is_encoded_anew(body: bytes) -> None:
    received = decode(body)
    assert isinstance(received, Call)
    variant, fields = seed_decode(JSON.encode(received)[HEADER_SIZE:])
    assert (variant, fields["args"], fields["call_id"]) == ("Call", 2, received.call_id)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Call":{"object_name":"a","call_id":"7","method":"m","args":[',
        b'{"Call":{"call_id":"\\u0037","args":[',
        b'{"Call":{"call_id":"","args":[',
        b'{"Call":{"call_id":"7',
        b'{"Call":{"call_id":7,"args":[',
        b'{"new":1,"Call":{"call_id":"7","args":[',
        b'{"Call":{"call_id":"%b","args":[' % (b"x" * 1025),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_an_early_call_id_is_one_that_surely_is_the_call_s(body: bytes) -> None:
    assert JSON.early_call(body) is None


def test_an_answer_that_cannot_be_decoded_is_about_a_call_too() -> None:
    assert JSON.early_call(b'{"Result":{"call_id":"7","value":[') == ("Result", "7")
    assert JSON.early_call(b'{"Item":{"call_id":"7","value":[') == ("Item", "7")


def test_an_early_call_id_may_have_space_around_it() -> None:
    assert JSON.early_call(b' {\n"Call" : { "call_id" :\t"7.1" , "args":[') == ("Call", "7.1")


# Payloads


@pytest.mark.parametrize(
    ("payload", "shape", "as_list"),
    [
        (b"{}", "map", b"[{}]"),
        (b"[1]", "list", b"[[1]]"),
        (b"null", "null", b"[]"),
        (b"1", "one", b"[1]"),
        (b"-1.5", "one", b"[-1.5]"),
        (b'"{"', "one", b'["{"]'),
        (b"true", "one", b"[true]"),
        (b"false", "one", b"[false]"),
    ],
)
def test_the_shape_of_a_payload_and_the_list_with_it_alone(payload: bytes, shape: str, as_list: bytes) -> None:
    assert JSON.shape(payload) == JSON.shape(Raw(payload)) == shape
    assert JSON.as_list(payload) == as_list


@given(JSON_VALUES)
def test_the_shape_is_that_of_the_value(value: object) -> None:
    payload = JSON.encode_payload(value)
    shapes = {dict: "map", list: "list", type(None): "null"}
    assert JSON.shape(payload) == shapes.get(type(value), "one")
    assert JSON.decode_any(JSON.as_list(bytes(payload))) == ([] if value is None else [value])


def test_null_is_the_payload_that_says_nothing() -> None:
    assert JSON.null == JSON.encode_payload(None) == Raw(b"null")
