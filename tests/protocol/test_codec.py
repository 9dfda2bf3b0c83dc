import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker import events
from ipc_broker.messages import Call, Error, Event, HasObject, Invalid, Message, Publish, Result, Subscribe
from ipc_broker.protocol.codec import MESSAGE_TYPES, NULL, Decoder, encode, event_frame
from ipc_broker.protocol.framing import HEADER_SIZE, SEED_MAX_FRAME
from ipc_broker.protocol.payload import unreadable_to_seed
from tests.protocol.strategies import JSON_VALUES, MESSAGES, NAMES, PAYLOADS
from tests.seed.decoding import decode as seed_decode
from tests.seed.invalid import INVALID_BODIES

DECODER = Decoder(MESSAGE_TYPES)
# Of a field given twice the last counts here, while the seed ignores the message.
ANSWERED_ALL_THE_SAME = b'{"HasObject":{"object_name":"a","object_name":"a"}}'


def frame_of(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_SIZE, "big") + body


def decode(body: bytes) -> Message | Invalid:
    [(received, _)] = DECODER.decode_all([frame_of(body)])
    assert not isinstance(received, events.Event | events.Gap)
    return received


def plain(message: Message) -> dict[str, object]:
    """The message by its values, whatever the spelling of its payload."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return {name: msgspec.json.decode(value) if isinstance(value, Raw) else value for name, value in fields.items()}


def call_with(args: bytes) -> bytes:
    return b'{"Call":{"call_id":"7","object_name":"math","method":"add","args":%b}}' % args


@given(MESSAGES)
def test_every_message_comes_back_as_it_was_in_the_same_frame(message: Message) -> None:
    frame = encode(message)
    decoded, kept = DECODER.decode_all([frame])[0]
    assert type(decoded) is type(message)
    assert decoded == message
    assert kept == encode(decoded) == frame


@given(MESSAGES)
def test_a_frame_is_the_length_and_one_object_with_the_message_s_name(message: Message) -> None:
    frame = encode(message)
    assert int.from_bytes(frame[:HEADER_SIZE], "big") == len(frame) - HEADER_SIZE
    ((name, fields),) = json.loads(frame[HEADER_SIZE:]).items()
    assert name == type(message).__name__
    assert fields == msgspec.json.decode(msgspec.json.encode(message))


@given(MESSAGES)
def test_the_seed_reads_every_message_that_we_write(message: Message) -> None:
    variant, fields = seed_decode(encode(message)[HEADER_SIZE:])
    assert variant == type(message).__name__
    assert fields == {name: value for name, value in plain(message).items() if name in fields}


@given(
    MESSAGES,
    st.sampled_from([None, 0, 3]),
    st.booleans(),
    st.dictionaries(st.sampled_from(["new", "Call", "0"]), JSON_VALUES, max_size=2),
    st.booleans(),
)
def test_any_spelling_of_a_message_gives_the_message(
    message: Message, indent: int | None, ascii_only: bool, further: dict[str, object], backwards: bool
) -> None:
    ((name, fields),) = json.loads(encode(message)[HEADER_SIZE:]).items()
    items = list((fields | further).items())
    spelt = json.dumps(
        {name: dict(reversed(items) if backwards else items)}, indent=indent, ensure_ascii=ascii_only
    ).encode()
    decoded, kept = DECODER.decode_all([frame_of(b" \n" + spelt + b"\r\t ")])[0]
    assert not isinstance(decoded, Invalid)
    assert type(decoded) is type(message)
    assert plain(decoded) == plain(message)
    # What is forwarded says the same, in a form whose beginning is known.
    assert kept[HEADER_SIZE:].startswith(b'{"%b":' % name.encode())
    assert DECODER.decode_all([kept])[0] == (decoded, kept)


def test_a_variant_s_name_may_be_spelt_with_escapes() -> None:
    message, kept = DECODER.decode_all([frame_of(rb'{"\u0048asObject":{"object_name":"a"}}')])[0]
    assert message == HasObject("a")
    assert kept == encode(HasObject("a"))


@given(NAMES, NAMES, PAYLOADS)
def test_an_event_s_frame_is_its_publish_s_under_another_tag(object_name: str, topic: str, args: Raw) -> None:
    frame = event_frame(encode(Publish(object_name, topic, args)))
    assert frame == encode(Event(object_name, topic, args))


@given(JSON_VALUES, st.sampled_from([None, 2]))
def test_an_event_s_frame_holds_a_publish_of_any_spelling(value: object, indent: int | None) -> None:
    spelt = json.dumps({"Publish": {"args": value, "new": 1, "topic": "t", "object_name": "o"}}, indent=indent)
    publish, kept = DECODER.decode_all([frame_of(spelt.encode())])[0]
    event, _ = DECODER.decode_all([event_frame(kept)])[0]
    assert isinstance(publish, Publish)
    assert event == Event("o", "t", publish.args)


def assert_clean(received: Message | Invalid, body: bytes) -> None:
    """Either a message that can be sent on, or a refusal that says why and leaves the stream as it is."""
    if isinstance(received, Invalid):
        assert received.reason
        assert received.code == "invalid_args"
        assert not received.fatal
    else:
        assert decode(encode(received)[HEADER_SIZE:]) == received, body


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_garbage_gives_an_invalid_and_never_an_exception(body: bytes) -> None:
    [(received, frame)] = DECODER.decode_all([frame_of(body)])
    assert isinstance(received, Invalid)
    assert_clean(received, body)
    assert frame == frame_of(body)


@given(MESSAGES.map(encode), st.data())
def test_a_message_with_bytes_changed_lost_or_added_never_raises(frame: bytes, data: st.DataObject) -> None:
    body = bytearray(frame[HEADER_SIZE:])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 4)))
        body[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"}", b":", b",", b"\\u"]))
    assert_clean(decode(bytes(body)), bytes(body))


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
        (b'{"HasObject":{"object_name":"\xff"}}', "not UTF-8|invalid|utf-8"),
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
    if "|" in reason:
        assert any(part in received.reason for part in reason.split("|")), received.reason
    else:
        assert reason in received.reason


def test_an_unknown_message_s_name_is_quoted_in_part_only() -> None:
    received = decode(b'{"%b":{}}' % (b"x" * 60_000))
    assert isinstance(received, Invalid)
    assert len(received.reason) < 500


def test_a_decoder_knows_the_types_it_was_given_only() -> None:
    decoder = Decoder((Result, Error))
    assert decoder.decode_all([encode(Result("1", "a", NULL))])[0][0] == Result("1", "a", NULL)
    received, _ = decoder.decode_all([encode(Subscribe("a", "t"))])[0]
    assert received == Invalid("unknown message 'Subscribe'; known here: Result, Error")


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


def test_a_call_whose_arguments_are_nested_too_deeply_is_named_so_that_its_caller_is_answered() -> None:
    received = decode(call_with(b"[" * 30_000 + b"]" * 30_000))
    assert isinstance(received, Call | Invalid)
    assert received.call_id == "7"


@pytest.mark.parametrize(
    "body",
    [
        b'{"HasObject":{"object_name":"a"},"HasObject":{"object_name":"b"}}',
        b'{ "HasObject" : {"object_name":"a"} , "HasObject" : {"object_name":"a"} }',
    ],
)
def test_the_same_variant_twice_is_no_message(body: bytes) -> None:
    assert isinstance(decode(body), Invalid)


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
    variant, fields = seed_decode(encode(received)[HEADER_SIZE:])
    assert (variant, fields["args"], fields["call_id"]) == ("Call", 2, received.call_id)
