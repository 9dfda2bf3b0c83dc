"""What holds for both encodings."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker import events
from ipc_broker.errors import InvalidArgs
from ipc_broker.messages import MAX_NAME, Call, Error, Event, HasObject, Invalid, Message, Publish, Result, Subscribe
from ipc_broker.protocol.codec import Codec, Decoder, NotOneMessage, Received, checked_name
from ipc_broker.protocol.encodings import ENCODINGS, JSON, MSGPACK, transcode
from ipc_broker.protocol.framing import HEADER_SIZE, LARGE
from tests.protocol.strategies import (
    CODECS,
    COUNTS,
    JSON_VALUES,
    MESSAGE_TYPES,
    MESSAGES_OF,
    NAMES,
    VALUES,
    garbage,
    messages,
    mutated,
    payloads,
)
from tests.seed.frames import frame_of

DECODERS = {codec.name: Decoder(codec, MESSAGE_TYPES) for codec in CODECS}
OUR_CALL_IDS = st.from_regex(r"[0-9a-z]{1,12}(-[0-9a-f]{1,8})?\.[0-9]{1,19}", fullmatch=True)

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def decoded(codec: Codec, frame: bytes) -> Received:
    [received] = DECODERS[codec.name].decode_all([frame])
    return received


def builtins_of(codec: Codec, message: Message) -> Any:
    """What a body says, in maps, lists and scalars."""
    return codec.decode_any(codec.encode(message)[HEADER_SIZE:])


# Messages


@each_codec
@given(data=st.data())
def test_every_message_comes_back_as_it_was_in_the_same_frame(codec: Codec, data: st.DataObject) -> None:
    message = data.draw(MESSAGES_OF[codec.name])
    frame = codec.encode(message)
    back, kept = decoded(codec, frame)
    assert type(back) is type(message)
    assert back == message
    assert kept == frame


@each_codec
@given(data=st.data())
def test_a_frame_is_the_length_the_opening_of_its_type_the_fields_and_the_closing(
    codec: Codec, data: st.DataObject
) -> None:
    message = data.draw(MESSAGES_OF[codec.name])
    frame = codec.encode(message)
    assert int.from_bytes(frame[:HEADER_SIZE], "big") == len(frame) - HEADER_SIZE
    opening = codec.opening(type(message))
    assert frame.startswith(opening, HEADER_SIZE)
    assert frame.endswith(codec.closing)
    inner = frame[HEADER_SIZE + len(opening) : len(frame) - len(codec.closing)]
    assert codec.decode_payload(inner, type(message)) == message


@given(st.data())
def test_both_encodings_say_the_same_of_a_message(data: st.DataObject) -> None:
    values = JSON_VALUES.map(JSON.encode_payload)
    message = data.draw(messages(values))
    other = msgspec.structs.replace(
        message,
        **{
            field: transcode(value, JSON, MSGPACK)
            for field in message.__struct_fields__
            if isinstance(value := getattr(message, field), Raw)
        },
    )
    said = builtins_of(MSGPACK, other)
    assert list(said) == [type(message).__name__]
    assert said == builtins_of(JSON, message)


@each_codec
def test_the_opening_of_every_type_is_its_own(codec: Codec) -> None:
    openings = {codec.opening(kind) for kind in MESSAGE_TYPES}
    assert len(openings) == len(MESSAGE_TYPES)
    # A client reads events with their values decoded: on the wire they are the same.
    assert codec.opening(events.Event) == codec.opening(Event)


@each_codec
def test_a_decoder_knows_the_types_it_was_given_only(codec: Codec) -> None:
    decoder = Decoder(codec, (Result, Error))
    result = Result("1", "a", codec.null)
    assert decoder.decode_all([codec.encode(result)])[0][0] == result
    received, _ = decoder.decode_all([codec.encode(Subscribe("a", "t"))])[0]
    assert received == Invalid("unknown message 'Subscribe'; known here: Result, Error")


@each_codec
@given(data=st.data())
def test_many_frames_of_many_types_come_in_their_order(codec: Codec, data: st.DataObject) -> None:
    sent = data.draw(st.lists(MESSAGES_OF[codec.name], max_size=8))
    received = DECODERS[codec.name].decode_all([codec.encode(message) for message in sent])
    assert [message for message, _ in received] == sent


# What is no message


def assert_clean(codec: Codec, received: Received, frame: bytes) -> None:
    """Either a message that can be sent on, or a refusal that says why and leaves the stream as it is."""
    message, kept = received
    if isinstance(message, Invalid):
        assert message.reason
        assert message.code == "invalid_args"
        assert not message.fatal
        assert kept == frame
    else:
        assert not isinstance(message, events.Event | events.Batch)
        assert decoded(codec, codec.encode(message))[0] == message
        assert decoded(codec, kept) == (message, kept)


@each_codec
@given(data=st.data())
def test_any_garbage_gives_an_invalid_and_never_an_exception(codec: Codec, data: st.DataObject) -> None:
    frame = frame_of(data.draw(garbage(100)))
    received = decoded(codec, frame)
    assert isinstance(received[0], Invalid)
    assert_clean(codec, received, frame)


@each_codec
@given(data=st.data())
def test_a_message_with_bytes_changed_lost_or_added_never_raises(codec: Codec, data: st.DataObject) -> None:
    body = codec.encode(data.draw(MESSAGES_OF[codec.name]))[HEADER_SIZE:]
    frame = frame_of(mutated(data.draw, body))
    assert_clean(codec, decoded(codec, frame), frame)


@each_codec
@given(data=st.data())
def test_a_payload_that_is_garbage_never_raises(codec: Codec, data: st.DataObject) -> None:
    """It stands where a codec looks the least."""
    garbage = Raw(data.draw(st.binary(max_size=30) | VALUES[codec.name].map(codec.encode_payload).map(bytes)))
    frame = codec.call_frame("1.1", "math", "add", 0, garbage)
    assert_clean(codec, decoded(codec, frame), frame)
    for kind in (events.Event, Event):
        [(event, _)] = Decoder(codec, (kind,)).decode_all([codec.event_frame("o", "t", garbage, 3)])
        assert isinstance(event, Event | events.Event | Invalid)


NOT_TEXT = {"json": b'{"HasObject":{"object_name":"\xff"}}', "msgpack": b"\x81\xa9HasObject\x81\xabobject_name\xa1\xff"}


@each_codec
def test_a_name_that_is_not_utf_8_is_refused(codec: Codec) -> None:
    received, _ = decoded(codec, frame_of(NOT_TEXT[codec.name]))
    assert isinstance(received, Invalid)
    assert received.reason.startswith("the body is not UTF-8: ")


@each_codec
def test_a_name_of_1024_characters_is_taken_and_one_more_is_not(codec: Codec) -> None:
    longest = "é" * MAX_NAME
    assert decoded(codec, codec.encode(HasObject(longest)))[0] == HasObject(longest)
    received, _ = decoded(codec, codec.encode(HasObject(longest + "é")))
    assert received == Invalid("not a message: Expected `str` of length <= 1024 - at `$.object_name`")


@each_codec
def test_a_count_is_not_negative_and_fits_every_language_s_numbers(codec: Codec) -> None:
    for count, fits in ((0, True), (2**53 - 1, True), (-1, False), (2**53, False)):
        received, _ = decoded(codec, codec.encode(Subscribe("a", "t", id=1, credit=count)))
        assert isinstance(received, Subscribe) is fits


# Calls that cannot be decoded


def too_deep(codec: Codec) -> Raw:
    return Raw({"json": b"[" * 30_000 + b"]" * 30_000, "msgpack": b"\x91" * 30_000 + b"\xc0"}[codec.name])


@each_codec
@given(data=st.data())
def test_a_call_whose_arguments_are_nested_too_deeply_is_named_so_that_its_caller_is_answered(
    codec: Codec, data: st.DataObject
) -> None:
    call_id = data.draw(OUR_CALL_IDS | st.sampled_from(["x" * 31, "x" * 32, "c2f0a4d8-3a54-4f0c-9a0e-4c1f9f0b2d11"]))
    call = data.draw(messages(st.just(too_deep(codec)), Call))
    frame = codec.encode(msgspec.structs.replace(call, call_id=call_id))
    received, _ = decoded(codec, frame)
    assert received == Invalid("the body is nested too deeply", call_id=call_id, about="Call")
    assert codec.early_call(frame[HEADER_SIZE:]) == ("Call", call_id)
    assert codec.early_call(codec.call_frame(call_id, "o", "m", 500, codec.null)[HEADER_SIZE:]) == ("Call", call_id)


@each_codec
def test_a_call_with_a_field_of_the_wrong_type_is_named(codec: Codec) -> None:
    bad = Call("7", "a", "m", codec.null, timeout_ms=-1)
    received, _ = decoded(codec, codec.encode(bad))
    assert received == Invalid("not a message: Expected `int` >= 0 - at `$.timeout_ms`", call_id="7", about="Call")


@each_codec
@given(data=st.data())
def test_the_early_call_id_of_anything_is_one_that_stands_there_whole_or_none(
    codec: Codec, data: st.DataObject
) -> None:
    whole = codec.encode(data.draw(messages(payloads(codec), Call, Publish)))[HEADER_SIZE:]
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = codec.early_call(cut)
    if found is not None:
        call = codec.early_call(whole)
        assert found == call == ("Call", decoded(codec, frame_of(whole))[0].call_id)  # type: ignore[union-attr]
    assert codec.early_call(data.draw(garbage(40))) is None


# Events whose value cannot be decoded


UNREADABLE = {
    "json": [b"1e999", b"[1,1e999]", b'"\xff"'],
    "msgpack": [b"\xa1\xff", b"\x91\xa1\xff", b"\x81\x80\x01", b"\xc7\x0c\xff" + b"\xff" * 12],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in UNREADABLE for value in UNREADABLE[name]])
def test_an_event_whose_value_cannot_be_decoded_is_given_undecoded(name: str, value: bytes) -> None:
    codec = ENCODINGS[name]
    frame = codec.event_frame("sensor", "temperature", Raw(value), 7)
    [(lost, kept)] = Decoder(codec, (events.Event,)).decode_all([frame])
    assert lost == Event("sensor", "temperature", Raw(value), subscription=7)
    assert kept == frame


# The frames of the hot paths


@each_codec
@given(data=st.data())
def test_the_frame_of_a_call_is_read_as_that_call(codec: Codec, data: st.DataObject) -> None:
    call_id, args, timeout_ms = data.draw(OUR_CALL_IDS), data.draw(payloads(codec)), data.draw(COUNTS)
    object_name, method = data.draw(NAMES), data.draw(NAMES)
    frame = codec.call_frame(call_id, object_name, method, timeout_ms, args)
    call = Call(call_id, object_name, method, args, timeout_ms)
    assert decoded(codec, frame) == (call, frame)
    if not timeout_ms:
        assert frame == codec.encode(call)


@each_codec
@given(data=st.data())
def test_the_frame_of_a_result_is_the_encoded_result(codec: Codec, data: st.DataObject) -> None:
    call, value = data.draw(messages(payloads(codec), Call)), data.draw(payloads(codec))
    assert isinstance(call, Call)
    assert codec.result_frame(call, value) == codec.encode(Result(call.call_id, call.object_name, value))


@given(data=st.data())
def test_the_frame_of_a_result_is_decoded_in_one_step(data: st.DataObject) -> None:
    call, value = data.draw(messages(payloads(MSGPACK), Call)), data.draw(VALUES["msgpack"])
    assert isinstance(call, Call)
    frame = MSGPACK.result_frame(call, MSGPACK.encode_payload(value))
    result = MSGPACK.decode_result(frame, Any)
    assert (result.call_id, repr(result.value)) == (
        call.call_id,
        repr(MSGPACK.decode_any(MSGPACK.encode_payload(value))),
    )


def test_its_value_is_of_the_kind_that_is_asked_for() -> None:
    frame = MSGPACK.result_frame(Call("1.1", "math", "add", MSGPACK.null), MSGPACK.encode_payload({"sum": 42}))
    assert MSGPACK.decode_result(frame, dict[str, float]).value == {"sum": 42.0}
    with pytest.raises(msgspec.ValidationError):
        MSGPACK.decode_result(frame, list[int])


@each_codec
@given(data=st.data())
def test_what_is_not_one_result_is_not_decoded_as_one(codec: Codec, data: st.DataObject) -> None:
    """That of JSON neither: there the slower way looks at the text, too."""
    result = codec.encode(data.draw(messages(payloads(codec), Result)))
    other = codec.encode(data.draw(MESSAGES_OF[codec.name].filter(lambda message: not isinstance(message, Result))))
    wrong = [b"", other, result + other, result[: data.draw(st.integers(0, len(result) - 1))]]
    if codec is JSON:
        wrong.append(result)
    for frames in wrong:
        with pytest.raises((NotOneMessage, msgspec.MsgspecError, UnicodeDecodeError)):
            codec.decode_result(frames, Any)


@each_codec
@given(data=st.data())
def test_the_frame_of_a_publish_is_the_encoded_publish(codec: Codec, data: st.DataObject) -> None:
    object_name, topic, value = data.draw(NAMES), data.draw(NAMES), data.draw(payloads(codec))
    assert codec.publish_frame(object_name, topic, value) == codec.encode(Publish(object_name, topic, value))


@each_codec
@given(data=st.data())
def test_the_frame_of_an_event_is_read_as_that_event(codec: Codec, data: st.DataObject) -> None:
    object_name, topic, value = data.draw(NAMES), data.draw(NAMES), data.draw(payloads(codec))
    subscription = data.draw(COUNTS)
    frame = codec.event_frame(object_name, topic, value, subscription)
    event = Event(object_name, topic, value, subscription)
    assert decoded(codec, frame) == (event, frame)
    if not subscription:
        assert frame == codec.encode(event)


@each_codec
@given(data=st.data())
def test_what_stands_behind_the_value_of_a_publish_does_so_in_its_event(codec: Codec, data: st.DataObject) -> None:
    """So that the broker can exchange what stands before it and leave the rest where it is."""
    object_name, topic, value = data.draw(NAMES), data.draw(NAMES), data.draw(payloads(codec))
    body = codec.publish_frame(object_name, topic, value)[HEADER_SIZE:]
    opening = codec.publish_opening(object_name, topic)
    assert body == opening + bytes(value) + codec.publish_closing
    for subscription in (0, 7):
        moved = codec.event_opening(object_name, topic, subscription) + body[len(opening) :]
        assert decoded(codec, frame_of(moved))[0] == Event(object_name, topic, value, subscription)


@each_codec
@pytest.mark.parametrize("name", ["x" * (MAX_NAME + 1), "\ud800"], ids=["too long", "no text"])
def test_a_name_that_cannot_be_sent_is_refused_where_a_frame_is_made(codec: Codec, name: str) -> None:
    for args in (("call", name, "m"), ("call", "o", name), ("publish", name, "t"), ("publish", "o", name)):
        with pytest.raises(InvalidArgs, match=r"longer than 1024|cannot be said in UTF-8") as caught:
            frame_with(codec, *args)
        assert caught.value.delivered == "no"


def frame_with(codec: Codec, what: str, object_name: str, name: str) -> bytes:
    if what == "call":
        return codec.call_frame("1.1", object_name, name, 500, codec.null)
    return codec.publish_frame(object_name, name, codec.null)


def test_a_name_is_checked_by_its_characters_and_given_in_utf_8() -> None:
    assert checked_name("é" * MAX_NAME) == "é".encode() * MAX_NAME
    with pytest.raises(InvalidArgs, match=r"^the name 'é{32}'\.\.\. is longer than 1024 characters$"):
        checked_name("é" * (MAX_NAME + 1))


# Frames so large that they are not copied


@each_codec
@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("size", [LARGE + 5, 0x80_0000 + 7])  # the second one's length is no text
def test_a_large_frame_is_read_as_any_other(codec: Codec, size: int, kind: type[bytes]) -> None:
    value = codec.encode_payload(["é" * (size // 2)])
    frame = codec.publish_frame("sensor", "picture", value)
    message, kept = decoded(codec, kind(frame))
    assert message == Publish("sensor", "picture", value)
    assert kept == frame
    [(event, _)] = Decoder(codec, (events.Event,)).decode_all([kind(codec.event_frame("o", "t", value, 3))])
    assert event == events.Event("o", "t", ["é" * (size // 2)])


@each_codec
def test_a_large_frame_that_is_no_message_is_refused_as_a_small_one(codec: Codec) -> None:
    value = bytes(codec.encode_payload("x" * LARGE))
    good = codec.call_frame("1.1", "math", "add", 0, Raw(value))[HEADER_SIZE:]
    for body in (good + b"}", good[:-1], good[:-1] + b"\xff"):
        received, _ = decoded(codec, frame_of(body))
        if codec is JSON or body[-1:] != b"\xff":  # in MessagePack whoever decodes the payload finds it
            assert isinstance(received, Invalid)
            assert received.call_id == "1.1"
            assert not received.fatal
