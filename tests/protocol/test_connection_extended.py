"""A connection after `extend`: the agreed encoding and limits, and the messages of extended peers."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker import messages
from ipc_broker.events import Event
from ipc_broker.messages import Credit, Error, HasObject, HasObjectResult, Invalid, Missed, Pause, Registered
from ipc_broker.protocol.codec import Codec, Received
from ipc_broker.protocol.connection import Connection, Role, State
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.protocol.framing import SEED_MAX_FRAME
from tests.protocol.strategies import CODECS, MESSAGE_TYPES, MESSAGES_OF, garbage, mutated
from tests.seed.frames import frame_of

LIMIT = 100_000

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
each_role = pytest.mark.parametrize("role", Role, ids=lambda role: role.value)


def extended(role: Role, codec: Codec, limit: int = LIMIT) -> Connection:
    connection = Connection(role, lambda: None)
    connection.extend(codec.name, limit, limit)
    return connection


def comparable(received: Received) -> tuple[object, bytes]:
    """With events, whose decoded values may be NaN, as they print."""
    message, frame = received
    return (repr(message) if isinstance(message, Event) else message), frame


# What it hears


@each_codec
@pytest.mark.parametrize(
    ("role", "refused"),
    [
        (
            Role.BROKER,
            {
                "Event", "HasObjectResult", "Subscribed", "Registered", "Missed", "Pause", "Resume", "Ping",
                "Caller", "CallerGone", "Lent",
            },
        ),
        (
            Role.CLIENT,
            {"Publish", "HasObject", "Subscribe", "RegisterObject", "RegisterService", "EventCredit", "Pong", "Served", "Lent"},
        ),
        (
            Role.DIRECT,
            {kind.__name__ for kind in MESSAGE_TYPES}
            - {"Call", "Result", "Error", "Cancel", "Direct", "DirectEnded", "Memory"},
        ),
    ],
)  # fmt: skip
def test_each_end_takes_only_what_the_other_may_say(codec: Codec, role: Role, refused: set[str]) -> None:
    reasons = {}
    for kind in MESSAGE_TYPES:
        body = codec.opening(kind) + bytes(codec.null) + codec.closing
        ((received, _),) = extended(role, codec).receive_data(frame_of(body))
        assert isinstance(received, Invalid)
        reasons[kind.__name__] = received.reason
    assert {name for name, reason in reasons.items() if reason.startswith("unknown message")} == refused


@each_role
def test_a_seed_peer_may_not_say_what_extended_peers_do(role: Role) -> None:
    for message in (Credit("1", 1), messages.Cancel("1"), messages.Goodbye(), Pause(), Missed(1, 1)):
        ((received, _),) = Connection(role, lambda: None).receive_data(JSON.encode(message))
        assert isinstance(received, Invalid)
        assert received.reason.startswith("unknown message")


@each_codec
@each_role
@given(data=st.data())
def test_any_split_of_the_stream_gives_the_same_messages(codec: Codec, role: Role, data: st.DataObject) -> None:
    frames = data.draw(
        st.lists(MESSAGES_OF[codec.name].map(codec.encode) | st.binary(max_size=20).map(frame_of), max_size=6)
    )
    stream = b"".join(frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream))))
    parts, whole = extended(role, codec), extended(role, codec)
    received = [
        pair
        for start, end in pairwise([0, *sorted(cuts), len(stream)])
        for pair in parts.receive_data(stream[start:end])
    ]
    expected = whole.receive_data(stream)
    assert len(received) == len(frames)
    assert list(map(comparable, received)) == list(map(comparable, expected))
    assert parts.state is whole.state is State.EXTENDED


@each_codec
@each_role
@given(data=st.data())
def test_any_garbage_gives_invalids_and_never_an_exception(codec: Codec, role: Role, data: st.DataObject) -> None:
    connection = extended(role, codec, limit=30)
    chunks = data.draw(st.lists(garbage(60), max_size=6))
    received = [message for chunk in chunks for message, _ in connection.receive_data(chunk)]
    assert all(isinstance(message, Invalid) and message.reason for message in received)
    fatal = [isinstance(message, Invalid) and message.fatal for message in received]
    assert True not in fatal[:-1]
    assert (connection.state is State.CLOSING) == (True in fatal)


@each_codec
@each_role
@given(data=st.data())
def test_messages_with_bytes_changed_never_raise_nor_harm_the_next(
    codec: Codec, role: Role, data: st.DataObject
) -> None:
    good = codec.encode(Error("1", "math", "no"))
    connection = extended(role, codec, limit=2**31 - 1)
    for message in data.draw(st.lists(MESSAGES_OF[codec.name], min_size=1, max_size=4)):
        body = mutated(data.draw, codec.encode(message)[4:])
        assert len(connection.receive_data(frame_of(body))) == 1
        assert connection.receive_data(good) == [(Error("1", "math", "no"), good)]


@each_codec
def test_a_client_gets_events_with_their_values_decoded_and_whose_they_are(codec: Codec) -> None:
    value = codec.encode_payload({"celsius": 25.6})
    for event in (
        messages.Event("sensor", "temperature", value, subscription=7),
        messages.Event("sensor", "temperature", value, subscription=8, retained=True),
    ):
        frame = codec.encode(event)
        ((got, kept),) = extended(Role.CLIENT, codec).receive_data(frame)
        assert got == Event("sensor", "temperature", {"celsius": 25.6}, retained=event.retained)
        assert isinstance(got, Event)
        assert got.subscription_id == event.subscription
        assert kept == frame


def test_an_event_with_text_that_is_none_stands_undecoded_in_its_place() -> None:
    frames = [MSGPACK.event_frame("sensor", "t", Raw(value), 7) for value in (b"\x01", b"\xa1\xff", b"\x02")]
    received = [message for message, _ in extended(Role.CLIENT, MSGPACK).receive_data(b"".join(frames))]
    assert received == [
        Event("sensor", "t", 1),
        messages.Event("sensor", "t", Raw(b"\xa1\xff"), subscription=7),
        Event("sensor", "t", 2),
    ]


# Limits


def test_the_limits_are_the_seed_s_before_and_the_agreed_ones_after() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    assert (connection.send_limit, connection.max_frame) == (SEED_MAX_FRAME, SEED_MAX_FRAME)
    connection.extend("msgpack", 70_000, 200_000)
    assert (connection.send_limit, connection.max_frame) == (70_000, 200_000)


@each_codec
def test_a_frame_of_the_agreed_size_is_read_and_one_byte_more_is_not(codec: Codec) -> None:
    frame = codec.publish_frame("o", "t", codec.encode_payload("x" * 80_000))
    ((message, _),) = extended(Role.BROKER, codec, limit=len(frame) - 4).receive_data(frame)
    assert isinstance(message, messages.Publish)
    tight = extended(Role.BROKER, codec, limit=len(frame) - 5)
    ((refused, _),) = tight.receive_data(frame)
    reason = f"a frame of {len(frame) - 4} bytes is over the limit of {len(frame) - 5} bytes"
    assert refused == Invalid(reason, code="too_large", fatal=True)
    assert tight.state is State.CLOSING


def test_one_call_and_nothing_else_is_received_in_one_step() -> None:
    end = Connection(Role.CLIENT, lambda: None)
    call = messages.Call("1.1", "math", "add", MSGPACK.encode_payload([1, 2]), timeout_ms=500)
    frame = MSGPACK.encode(call)
    assert end.receive_call(frame) is None, "which is not JSON"
    end.extend("msgpack", SEED_MAX_FRAME, SEED_MAX_FRAME)
    assert end.receive_call(frame) == call
    assert end.frames_received == 1
    refused = (frame + frame, frame[:-1], frame[:10] + b"\xff" + frame[11:], MSGPACK.encode(Credit("1.1", 5)), b"")
    for other in refused:
        assert end.receive_call(other) is None
    assert end.frames_received == 1
    assert end.receive_data(frame[:7]) == []
    assert end.receive_call(frame) is None, "it may belong to what came before"
    assert end.receive_data(frame[7:]) == [(call, frame)]
    assert end.receive_call(frame) == call
    end.close()
    assert end.receive_call(frame) is None


def test_a_call_in_json_is_received_as_any_message() -> None:
    end = Connection(Role.BROKER, lambda: None)
    assert end.receive_call(JSON.encode(messages.Call("1.1", "math", "add", JSON.encode_payload([1, 2])))) is None


def test_what_came_before_is_counted_on() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    connection.receive_data(JSON.encode(HasObject("a")))
    connection.extend("msgpack", LIMIT, LIMIT)
    connection.receive_data(MSGPACK.encode(HasObject("a")) * 2)
    assert connection.frames_received == 3


# What it says


def test_what_was_queued_before_goes_out_before_and_as_it_was() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    connection.send(Registered("a"))
    assert connection.codec.name == "json"
    connection.extend("msgpack", LIMIT, LIMIT)
    assert connection.codec.name == "msgpack"
    connection.send(Registered("b"))
    assert connection.data_to_send() == JSON.encode(Registered("a")) + MSGPACK.encode(Registered("b"))


@each_codec
def test_two_ends_understand_each_other(codec: Codec) -> None:
    broker, client = extended(Role.BROKER, codec), extended(Role.CLIENT, codec)
    client.send(HasObject("math"))
    [(message, _)] = broker.receive_data(client.data_to_send())
    assert message == HasObject("math")
    for answer in (HasObjectResult("math", True), Pause(), messages.Resume(), messages.Caller("4.", pid=7)):
        broker.send(answer)
        [(message, _)] = client.receive_data(broker.data_to_send())
        assert message == answer


def test_the_other_side_s_encoding_is_no_message() -> None:
    for codec, other in ((JSON, MSGPACK), (MSGPACK, JSON)):
        [(received, _)] = extended(Role.BROKER, codec).receive_data(other.encode(HasObject("a")))
        assert isinstance(received, Invalid)
        assert not received.fatal


# States


def extend(connection: Connection) -> None:
    connection.extend("json", LIMIT, LIMIT)


def close(connection: Connection) -> None:
    connection.close()


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([], State.SEED),
        ([extend], State.EXTENDED),
        ([close], State.CLOSING),
        ([extend, close], State.CLOSING),
        ([close, close], State.CLOSING),
        ([close, extend], State.CLOSING),
        ([extend, close, extend], State.CLOSING),
    ],
)
def test_the_states_of_a_connection(steps: list[Callable[[Connection], None]], state: State) -> None:
    connection = Connection(Role.BROKER, lambda: None)
    for step in steps:
        step(connection)
    assert connection.state is state


def test_a_connection_is_extended_once() -> None:
    connection = extended(Role.BROKER, MSGPACK)
    with pytest.raises(KeyError):
        connection.extend("msgpack", LIMIT, LIMIT)


def test_an_encoding_that_there_is_not_leaves_no_agreement() -> None:
    with pytest.raises(KeyError):
        Connection(Role.BROKER, lambda: None).extend("xml", LIMIT, LIMIT)


def test_a_closing_connection_that_is_extended_hears_nothing_and_says_its_last_in_the_agreed_encoding() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    connection.close()
    connection.extend("msgpack", LIMIT, LIMIT)
    assert connection.receive_data(MSGPACK.encode(HasObject("a"))) == []
    connection.send(Error(None, "rob", "too large"))
    assert connection.data_to_send() == MSGPACK.encode(Error(None, "rob", "too large"))
