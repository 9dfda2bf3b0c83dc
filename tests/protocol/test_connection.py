"""A connection in the protocol of the Rust crate: what comes in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, json

from ipc_broker import messages
from ipc_broker.events import Batch, Event
from ipc_broker.messages import Error, HasObject, Invalid, Message, Publish, Registered, RegisterObject
from ipc_broker.protocol.codec import Received
from ipc_broker.protocol.connection import Connection, Role, State
from ipc_broker.protocol.encodings import JSON
from ipc_broker.protocol.framing import SEED_MAX_FRAME
from tests.protocol.strategies import SEED_MESSAGES, SEED_TYPES, garbage
from tests.seed.frames import Golden, frame_of, golden

encode = JSON.encode
BODIES = SEED_MESSAGES.map(encode) | st.binary(max_size=20).map(frame_of)


def unwoken() -> None:
    raise AssertionError("nothing was queued")


def receiver(role: Role, max_frame: int = SEED_MAX_FRAME) -> Connection:
    return Connection(role, unwoken, max_frame)


def plain(message: Message | Event) -> dict[str, object]:
    """By the names on the wire."""
    names = zip(message.__struct_encode_fields__, message.__struct_fields__, strict=True)
    fields = {name: getattr(message, field) for name, field in names}
    return {name: json.decode(value) if isinstance(value, Raw) else value for name, value in fields.items()}


def only(received: list[Received]) -> Message:
    ((message, _),) = received
    assert not isinstance(message, Invalid | Event | Batch), message
    return message


def encoded(message: Message | Event) -> bytes:
    """The frame from which the message was read."""
    if isinstance(message, Event):
        return JSON.event_frame(message.object, message.topic, Raw(json.encode(message.value)), 0)
    return encode(message)


@pytest.mark.parametrize("captured", golden(), ids=lambda captured: f"{captured.peer}-{'-'.join(captured.message)}")
def test_a_golden_frame_is_read_by_the_end_it_goes_to_and_written_as_it_was(captured: Golden) -> None:
    role = Role.BROKER if captured.direction == "to_broker" else Role.CLIENT
    ((message, kept),) = receiver(role).receive_data(captured.frame)
    assert not isinstance(message, Invalid | Batch)
    ((name, fields),) = captured.message.items()
    assert type(message).__name__ == name
    assert {field: value for field, value in plain(message).items() if field in fields} == fields
    assert kept == captured.frame
    assert encoded(message) == captured.frame


@pytest.mark.parametrize("direction", ["to_broker", "from_broker"])
def test_the_golden_frames_of_a_whole_conversation_come_in_order_byte_by_byte(direction: str) -> None:
    frames = [captured.frame for captured in golden() if captured.direction == direction]
    connection = receiver(Role.BROKER if direction == "to_broker" else Role.CLIENT)
    stream = b"".join(frames)
    received = [pair for at in range(len(stream)) for pair in connection.receive_data(stream[at : at + 1])]
    assert [frame for _, frame in received] == frames
    assert not any(isinstance(message, Invalid) for message, _ in received)


def test_the_golden_frames_hold_every_message_but_register_service() -> None:
    seen = {name for captured in golden() for name in captured.message}
    assert {kind.__name__ for kind in SEED_TYPES} - seen == {"RegisterService"}


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        (Role.BROKER, {"Event", "HasObjectResult", "Subscribed", "Registered"}),
        (Role.CLIENT, {"Publish", "HasObject", "Subscribe", "RegisterObject", "RegisterService"}),
    ],
)
def test_each_end_takes_only_what_the_other_may_say(role: Role, refused: set[str]) -> None:
    reasons = {}
    for kind in SEED_TYPES:
        ((received, _),) = receiver(role).receive_data(frame_of(b'{"%b":{}}' % kind.__name__.encode()))
        assert isinstance(received, Invalid)
        reasons[kind.__name__] = received.reason
    assert {name for name, reason in reasons.items() if reason.startswith("unknown message")} == refused


@given(st.lists(BODIES, max_size=6), st.lists(st.integers(0, 2000)), st.sampled_from(Role))
def test_any_split_of_the_stream_gives_the_same_messages(frames: list[bytes], cuts: list[int], role: Role) -> None:
    stream = b"".join(frames)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parts, whole = receiver(role), receiver(role)
    received = [pair for start, end in pairwise(edges) for pair in parts.receive_data(stream[start:end])]
    assert received == whole.receive_data(stream)
    assert len(received) == len(frames)
    assert parts.state is whole.state is State.SEED


@given(st.lists(garbage(60), max_size=6), st.sampled_from(Role))
def test_any_garbage_gives_invalids_and_never_an_exception(chunks: list[bytes], role: Role) -> None:
    connection = receiver(role, max_frame=30)
    received = [pair for chunk in chunks for pair in connection.receive_data(chunk)]
    assert all(isinstance(message, Invalid) and message.reason for message, _ in received)
    fatal = [isinstance(message, Invalid) and message.fatal for message, _ in received]
    assert True not in fatal[:-1]
    assert (connection.state is State.CLOSING) == (True in fatal)


def test_a_client_gets_events_with_their_values_decoded() -> None:
    frame = encode(messages.Event("sensor", "temperature", Raw(b'{ "celsius": 25.6 }')))
    ((event, kept),) = receiver(Role.CLIENT).receive_data(frame)
    assert event == Event("sensor", "temperature", {"celsius": 25.6})
    assert kept == frame
    spelt = frame_of(b'{ "Event" : {"new":1,"args":[1],"topic":"t","object_name":"o"} }')
    ((event, _),) = receiver(Role.CLIENT).receive_data(spelt)
    assert event == Event("o", "t", [1])


def test_an_event_whose_value_cannot_be_decoded_stands_undecoded_in_its_place() -> None:
    first, bad, last = (encode(messages.Event("sensor", "temperature", Raw(args))) for args in (b"1", b"1e999", b"2"))
    received = [message for message, _ in receiver(Role.CLIENT).receive_data(first + bad + last)]
    assert received == [
        Event("sensor", "temperature", 1),
        messages.Event("sensor", "temperature", Raw(b"1e999")),
        Event("sensor", "temperature", 2),
    ]


@pytest.mark.parametrize(
    "body", [b'{"Event":{}}', b'{"Event":{"object_name":"a","topic":"t","args":}}', b'{"Event":{"object_name":1}}']
)
def test_an_event_that_is_no_message_is_invalid(body: bytes) -> None:
    ((told, _),) = receiver(Role.CLIENT).receive_data(frame_of(body))
    assert isinstance(told, Invalid)
    assert not told.fatal


def test_what_the_broker_forwards_it_does_not_decode() -> None:
    frame = encode(Publish("sensor", "temperature", Raw(b"1e999")))
    assert receiver(Role.BROKER).receive_data(frame) == [(Publish("sensor", "temperature", Raw(b"1e999")), frame)]


@given(st.lists(BODIES, max_size=6), st.lists(st.integers(0, 2000)), st.sampled_from(Role))
def test_the_frames_that_came_are_counted_whatever_they_hold(frames: list[bytes], cuts: list[int], role: Role) -> None:
    stream = b"".join(frames)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    connection, came = receiver(role), 0
    for start, end in pairwise(edges):
        came += len(connection.receive_data(stream[start:end]))
        assert connection.frames_received == came
    assert connection.frames_received == len(frames)


def test_an_oversize_frame_is_not_counted_and_those_before_it_are() -> None:
    connection = receiver(Role.BROKER, max_frame=100)
    connection.receive_data(encode(HasObject("a")) * 2 + (101).to_bytes(4, "big"))
    assert connection.frames_received == 2


def test_what_is_no_message_stands_in_its_place_and_the_next_is_read() -> None:
    good = encode(HasObject("a"))
    first, second, third = receiver(Role.BROKER).receive_data(good + frame_of(b"nonsense") + good)
    assert first == third == (HasObject("a"), good)
    assert isinstance(second[0], Invalid)
    assert not second[0].fatal


def test_a_body_of_exactly_the_limit_is_read() -> None:
    frame = encode(Publish("a", "t", Raw(b"1")))
    fits = receiver(Role.BROKER, max_frame=len(frame) - 4)
    assert only(fits.receive_data(frame)) == Publish("a", "t", Raw(b"1"))
    tight = receiver(Role.BROKER, max_frame=len(frame) - 5)
    ((refused, _),) = tight.receive_data(frame)
    assert isinstance(refused, Invalid)
    assert refused.fatal


def test_an_oversize_frame_is_told_with_size_and_limit_behind_the_good_ones_and_ends_the_stream() -> None:
    connection = receiver(Role.BROKER, max_frame=100)
    good = encode(HasObject("a"))
    message, oversize = connection.receive_data(good + (101).to_bytes(4, "big") + b"x" * 101 + good)
    assert message == (HasObject("a"), good)
    assert oversize == (
        Invalid("a frame of 101 bytes is over the limit of 100 bytes", code="too_large", fatal=True),
        b"",
    )
    assert connection.state is State.CLOSING
    assert connection.receive_data(good) == []


def test_after_an_oversize_frame_the_error_can_still_be_sent() -> None:
    connection = Connection(Role.BROKER, lambda: None, max_frame=10)
    connection.receive_data(b"\0\0\0\x0b")
    error = Error(None, "rob", "too large")
    connection.send(error)
    assert connection.data_to_send() == encode(error)


def test_the_limit_is_the_seed_s_unless_said() -> None:
    assert receiver(Role.CLIENT).max_frame == 65_536
    assert receiver(Role.CLIENT, max_frame=10).max_frame == 10


def test_a_closing_connection_sends_what_is_queued_and_hears_nothing() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    connection.send(Registered("a"))
    connection.close()
    assert connection.receive_data(encode(HasObject("a"))) == []
    connection.send(Registered("b"))
    assert connection.data_to_send() == encode(Registered("a")) + encode(Registered("b"))


def test_two_ends_understand_each_other() -> None:
    broker, client = (Connection(role, lambda: None) for role in (Role.BROKER, Role.CLIENT))
    client.send(RegisterObject("math"))
    assert only(broker.receive_data(client.data_to_send())) == RegisterObject("math")
    broker.send(Registered("math"))
    assert only(client.receive_data(broker.data_to_send())) == Registered("math")
