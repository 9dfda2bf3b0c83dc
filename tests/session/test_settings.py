"""What a session says of itself, and what it agrees on with its broker: `rob.hello`."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.errors import ConnectionLost, InvalidArgs
from ipc_broker.messages import MAX_NAME, Invalid
from ipc_broker.protocol.connection import State
from ipc_broker.session import Agreement, Session, Settings
from ipc_broker.session.settings import FEATURES, MAX_FRAME
from tests.memory import Bus, Client
from tests.messages import error, result
from tests.recording import Answer
from tests.seed.frames import Json, Message, frame
from tests.session.scripted import WELCOME, ScriptedBroker

NOW = 1000.0
NULL = Raw(b"null")


def call_id_of(broker: ScriptedBroker) -> str:
    return broker.session.call("math", "add", broker.session.codec.null, Answer(), NOW)


# What is said


def test_hello_is_the_first_message_and_nothing_else_is_sent_before_its_answer() -> None:
    broker = ScriptedBroker()
    broker.session.serving.expose("math", "exclusive", 0)
    hello = broker.accept()
    assert (hello["Call"]["object_name"], hello["Call"]["method"]) == ("rob", "hello")
    assert hello["Call"]["args"] == {
        "encodings": ["msgpack", "json"],
        "features": [
            "multiplex",
            "cancel",
            "caller",
            "streams",
            "flow",
            "resume",
            "heartbeat",
            "batches",
            "direct",
            "memory",
        ],
        "max_frame": 64 * 1024 * 1024,
        "name": "client",
        "pid": 99,
        "session": "",
        "token": "",
        "direct": "",
    }
    assert not broker.session.ready
    with pytest.raises(ConnectionLost) as raised:
        call_id_of(broker)
    assert raised.value.delivered == "no"
    with pytest.raises(ConnectionLost):
        broker.session.publisher.publish("sensor", "temperature", NULL)
    with pytest.raises(ConnectionLost):
        broker.session.publisher.publish_with("sensor", "temperature", NULL, None, NOW, retain=True)
    assert broker.sent() == []


def test_settings_are_what_hello_says() -> None:
    broker = ScriptedBroker(name="tail", pid=0, encodings=("json",), features=("multiplex",), max_frame=70_000)
    args = broker.accept()["Call"]["args"]
    assert isinstance(args, dict)
    assert (args["name"], args["pid"], args["encodings"]) == ("tail", 0, ["json"])
    assert (args["features"], args["max_frame"]) == (["multiplex"], 70_000)


def test_a_name_that_hello_cannot_say_is_refused_before_there_is_a_connection() -> None:
    for name in ("n" * (MAX_NAME + 1), "\ud800"):
        with pytest.raises(InvalidArgs):
            Session(nonce="nonce", settings=Settings(name=name))


def test_hello_names_the_session_of_the_last_connection(broker: ScriptedBroker) -> None:
    def said() -> Json:
        broker.lose()
        args = broker.accept()["Call"]["args"]
        assert isinstance(args, dict)
        return args["session"]

    assert said() == "e-7"
    assert said() == "e-7", "a connection that was lost before its welcome is no session"
    broker.answer_hello({**WELCOME, "session": "e-8"})
    assert said() == "e-8"
    broker.answer_hello(None)
    assert said() == "", "a seed broker gives none"


# What is agreed


def test_the_welcome_gives_the_prefix_of_all_call_ids(broker: ScriptedBroker) -> None:
    session = broker.session
    assert session.ready
    assert session.welcome is broker.opened.result is not None
    assert session.connection is not None
    assert session.connection.state is State.EXTENDED
    ids = [call_id_of(broker) for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(call_id.startswith("7.") for call_id in ids)


def test_messagepack_is_spoken_from_the_welcome_on() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack", max_frame=1_000_000)
    session, answer = broker.session, Answer()
    assert session.codec.name == "msgpack"
    assert session.agreement == Agreement("extended", "msgpack", tuple(FEATURES), 1_000_000)
    answer.codec = session.codec
    call_id = session.call("math", "add", session.codec.encode_payload(b"\x00\xff"), answer, NOW)
    assert session.queued
    [message] = broker.sent()
    args: object = message["Call"]["args"]
    assert args == b"\x00\xff"
    broker.give(result(call_id, "math", 42))
    assert answer.value == 42


def test_json_is_spoken_after_a_welcome_that_says_so(broker: ScriptedBroker) -> None:
    assert broker.session.codec.name == "json"
    assert broker.session.agreement == Agreement("extended", "json", tuple(FEATURES), 65_536)


def test_only_the_features_that_the_broker_has_are_supported(broker: ScriptedBroker) -> None:
    assert broker.session.supports("streams")
    broker.lose()
    broker.open(features=["multiplex"])
    assert broker.session.supports("multiplex")
    assert not broker.session.supports("streams")


def test_a_frame_as_large_as_hello_said_is_taken_and_a_larger_one_ends_the_connection() -> None:
    broker, answer = ScriptedBroker(max_frame=100_000), Answer()
    broker.open()
    call_id = broker.session.call("math", "add", NULL, answer, NOW)
    room = 100_000 - (len(frame(result(call_id, "math", ""))) - 4)
    broker.give(result(call_id, "math", "x" * room))
    assert answer.value == "x" * room
    broker.give(result(call_id, "math", "x" * (room + 1)))
    [notice] = broker.notices
    assert isinstance(notice, Invalid)
    assert (notice.code, notice.fatal) == ("too_large", True)


def test_a_welcome_before_an_oversize_frame_in_the_same_bytes_does_no_harm() -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    welcome = frame(result(str(hello["Call"]["call_id"]), "rob", WELCOME))
    broker.session.receive_data(welcome + (65_537).to_bytes(4, "big"))
    [notice] = broker.notices
    assert isinstance(notice, Invalid)
    assert notice.fatal


def test_a_second_answer_to_hello_is_only_late(broker: ScriptedBroker) -> None:
    broker.answer_hello({**WELCOME, "prefix": "8."})
    assert call_id_of(broker).startswith("7.")
    assert broker.session.late_answers == 1


# A broker without our extensions


@pytest.mark.parametrize("answer", [result("?", "rob"), error("?", "rob", "No such object 'rob'")])
def test_null_and_an_error_keep_the_seeds_protocol(answer: Message) -> None:
    broker, reply = ScriptedBroker(), Answer()
    hello = broker.accept()
    fields = next(iter(answer.values()))
    broker.give({next(iter(answer)): {**fields, "call_id": hello["Call"]["call_id"]}})
    session = broker.session
    assert session.ready
    assert session.welcome is None
    assert broker.opened.result is None
    assert session.connection is not None
    assert session.connection.state is State.SEED
    assert session.agreement == Agreement("seed", "json", (), 65_536)
    assert not session.supports("multiplex")
    call_id = session.call("math", "add", NULL, reply, NOW)
    assert call_id.startswith("nonce.")
    broker.give(result(call_id, "math", 42))
    assert reply.value == 42


@pytest.mark.parametrize("value", [{}, [], "hello", {**WELCOME, "prefix": 1}, {**WELCOME, "encoding": "xml"}])
def test_an_answer_to_hello_that_makes_no_sense_keeps_the_seeds_protocol(value: Json) -> None:
    broker = ScriptedBroker()
    broker.accept()
    broker.answer_hello(value)
    assert broker.session.ready
    assert broker.session.welcome is None
    assert broker.opened.result is None


def test_an_encoding_that_was_not_offered_is_not_agreed_to() -> None:
    broker = ScriptedBroker(encodings=("json",))
    broker.open(encoding="msgpack")
    assert broker.session.agreement.name == "seed"


# With the real router


def test_the_router_chooses_messagepack_and_json_where_nothing_else_is_offered(bus: Bus) -> None:
    assert Client(bus).session.agreement.encoding == "msgpack"
    assert Client(bus, encodings=("json",)).session.agreement.encoding == "json"
    assert Client(bus, encodings=("json", "msgpack")).session.agreement.encoding == "json"


def test_the_router_agrees_to_all_that_a_session_can_do(bus: Bus) -> None:
    agreement = Client(bus).session.agreement
    assert agreement == Agreement("extended", "msgpack", FEATURES, bus.router.limits.max_frame)
    assert bus.router.limits.max_frame <= MAX_FRAME
