"""Whatever a broker says, in whatever order: nothing escapes, and nobody is answered twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_broker.protocol.encodings import JSON
from ipc_broker.session.streams import Incoming
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json, Message, frame_of
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import subscribed_as

NOW = 1000.0

CALL_IDS = st.sampled_from([f"7.{number}" for number in range(1, 8)] + ["", "nonce1", "8.1"])
NAMES = st.sampled_from(["math", "sensor", "temperature", "rob", "1", "", "*"])
COUNTS = st.sampled_from([0, 1, 2, 3, 99, 65_536, 2**53 - 1])
CODES = st.sampled_from(["", "overloaded", "name_taken", "invalid_args", "from_the_future"])
VALUES: st.SearchStrategy[Json] = st.sampled_from([None, 1, "x", [], {"a": [1]}, {"owner": "x", "pid": 1}])
TEXT = st.sampled_from(["", "no", "No such object 'math'"])


def message(kind: str, **fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Message]:
    return st.fixed_dictionaries(dict(fields)).map(lambda values: {kind: values})


MESSAGES = st.one_of(
    message("Result", call_id=CALL_IDS, object_name=NAMES, value=VALUES, ended=st.booleans()),
    message(
        "Error",
        call_id=st.none() | CALL_IDS,
        object_name=NAMES,
        message=TEXT,
        code=CODES,
        type=st.sampled_from(["", "Subscribe", "RegisterObject", "Publish", "Item"]),
        data=VALUES,
        delivered=TEXT,
        subscription=COUNTS,
    ),
    message("Item", call_id=CALL_IDS, value=VALUES),
    message("Event", object_name=NAMES, topic=NAMES, args=VALUES, subscription=COUNTS, retained=st.booleans()),
    message("Subscribed", object_name=NAMES, topic=NAMES, id=COUNTS, missed=st.none() | COUNTS),
    message("Missed", subscription=COUNTS, count=COUNTS),
    message("Call", call_id=CALL_IDS, object_name=NAMES, method=NAMES, args=VALUES, credit=COUNTS, timeout_ms=COUNTS),
    message("Cancel", call_id=CALL_IDS),
    message("Credit", call_id=CALL_IDS, bytes=COUNTS),
    message("Caller", prefix=CALL_IDS, name=NAMES),
    message("CallerGone", prefix=CALL_IDS),
    message("Registered", object_name=NAMES),
    message("HasObjectResult", object_name=NAMES, exists=st.booleans()),
    message("Pause"),
    message("Resume"),
    message("Goodbye", reason=TEXT),
)


class Busy:
    """A session in the middle of all that it can do."""

    def __init__(self, broker: ScriptedBroker) -> None:
        session = broker.session
        null = session.codec.null
        self.answers = [Answer() for _ in range(6)]
        session.call("math", "add", null, self.answers[0], NOW, 1.0)
        session.call("math", "add", null, self.answers[1], NOW)
        self.stream = Incoming(session, "logs", "tail")
        if session.supports("streams"):
            self.stream.open(null, NOW, None, None)
        extended = session.welcome is not None
        session.publisher.publish_with("sensor", "temperature", null, self.answers[2], NOW, retain=extended)
        if extended:
            session.publisher.set_will("lamp", "state", 1, self.answers[3], NOW, retain=True)
        else:
            self.answers[3].set_result(None)
        session.names.has("math", self.answers[4])
        session.serving.expose("math", "exclusive", 0)
        self.sinks = [RecordingSink(), RecordingSink()]
        for sink in self.sinks:
            sink.subscription = session.subscribe("sensor", "temperature", sink, Answer())
        session.unsubscribe(session.subscribe("sensor", "x", RecordingSink(), Answer()), self.answers[5], NOW)


@settings(max_examples=50, deadline=None)
@given(
    encoding=st.sampled_from(["json", "msgpack", "seed"]),
    first=st.lists(MESSAGES, max_size=25),
    second=st.lists(MESSAGES, max_size=10),
)
def test_any_messages_in_any_order_leave_the_session_at_work(
    encoding: str, first: list[Message], second: list[Message]
) -> None:
    broker = ScriptedBroker()
    broker.open_seed() if encoding == "seed" else broker.open(encoding=encoding)
    busy = Busy(broker)
    broker.give(*first)
    while busy.stream.take() is not None:
        pass
    broker.session.handle_timer(NOW + 5)
    broker.lose()
    assert all(answer.done() for answer in busy.answers)
    assert broker.session.calls_in_flight == 0
    broker.open(epoch="another")
    broker.give(*second)
    broker.sent()
    if any("Goodbye" in message for message in second):
        assert not broker.session.ready
        broker.lose()
        broker.open()
        broker.sent()
    sink, subscribed, answer = RecordingSink(), Answer(), Answer()
    one = broker.session.subscribe("lamp", "state", sink, subscribed)
    call_id = broker.session.call("math", "add", JSON.null, answer, NOW)
    broker.give(
        subscribed_as(one.id),
        {"Event": {"object_name": "lamp", "topic": "state", "args": "on", "subscription": one.id}},
        {"Result": {"call_id": call_id, "object_name": "math", "value": 42}},
    )
    assert subscribed.done()
    assert sink.seen == ["on"]
    assert answer.value == 42


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=60), encoding=st.sampled_from(["json", "msgpack"]))
def test_any_bytes_in_a_frame_leave_the_session_at_work(body: bytes, encoding: str) -> None:
    broker, answer = ScriptedBroker(), Answer()
    broker.open(encoding=encoding)
    call_id = broker.session.call("math", "add", broker.session.codec.null, answer, NOW)
    broker.session.receive_data(frame_of(body))
    broker.give({"Result": {"call_id": call_id, "object_name": "math", "value": None}})
    assert answer.done()
