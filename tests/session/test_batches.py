"""What a session makes of batches that come, and what it puts together."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.messages import Error, Invalid
from ipc_broker.protocol.batching import LARGEST_VALUE, MOST, ROOM, SHALLOW
from ipc_broker.session.subscriptions import GRANT, WINDOW
from tests.memory import Bus, Client
from tests.messages import batch, call, publish
from tests.recording import Answer
from tests.routing.peers import packed
from tests.seed.frames import Json, Message, frame, frame_of
from tests.session.scripted import WELCOME, ScriptedBroker
from tests.session.subscribing import missed, stop, subscribe_as, subscribed, subscribed_as, value

WITHOUT: list[Json] = ["multiplex", "cancel", "caller", "streams", "flow", "resume"]
ENCODINGS = ["json", "msgpack"]


def values(id: int, *payloads: Json) -> Message:
    message = batch("sensor", "temperature", *payloads)
    message["Batch"]["subscription"] = id
    return message


@pytest.fixture(params=ENCODINGS)
def broker(request: pytest.FixtureRequest) -> ScriptedBroker:
    broker = ScriptedBroker()
    broker.open(encoding=request.param)
    return broker


def say(broker: ScriptedBroker, *payloads: object, topic: str = "temperature") -> None:
    for payload in payloads:
        broker.session.publisher.publish("sensor", topic, broker.session.codec.encode_payload(payload))


# What comes


def test_the_events_of_a_batch_come_one_by_one_in_order_with_all_else(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(value(1, 1), values(1, 2, [3], None), missed(1, 4), values(1, 9), value(10, 1))
    assert sink.seen == [1, 2, [3], None, "missed 4", 9, 10]


def test_each_counts_as_seen(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    sink.takes = False
    first = values(1, 1, 2, 3)
    broker.give(first, value(4, 1))
    broker.lose()
    broker.open()
    [asked] = broker.sent()
    assert asked["Subscribe"]["seen"] == 4
    assert asked["Subscribe"]["credit"] == WINDOW - sink._untaken
    broker.give(subscribed_as(1, missed=2), values(1, 7, 8))
    assert sink.seen == [1, 2, 3, 4, "missed 2", 7, 8]


def test_the_bytes_of_a_batch_are_given_back_once(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    message = values(1, *["x" * 1000] * 16)
    size = len(packed(message) if broker.session.codec.name == "msgpack" else frame(message))
    count = -(-GRANT // size)
    broker.give(*[message] * count)
    assert broker.sent() == [{"EventCredit": {"subscription": 1, "bytes": count * size}}]
    assert len(sink.seen) == 16 * count


def test_what_comes_for_nobody_is_dropped(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(values(99, 1, 2), batch("sensor", "temperature", 1, 2), values(1, 3))
    assert sink.seen == [3]
    stop(broker, sink)
    broker.give(values(1, 4, 5))
    assert sink.seen == [3]
    assert broker.notices == []


def test_a_batch_that_is_empty_says_nothing(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(values(1), values(1, 1))
    assert sink.seen == [1]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("id", [1, 99, 0])
def test_a_value_that_cannot_be_read_is_missed_in_its_place(encoding: str, id: int) -> None:
    broker = ScriptedBroker()
    broker.open(encoding=encoding)
    sink = subscribed(broker)
    message = values(id, 1, "bad", {"a": 2}, "bad")
    if encoding == "json":
        body = frame(message)[4:].replace(b'"bad"', b"1e999")
    else:
        body = packed(message)[4:].replace(b"\xa3bad", b"\xa3b\xffd")
    broker.session.receive_data(frame_of(body))
    broker.give(values(1, 5, 6))
    assert sink.seen == ([1, "missed 1", {"a": 2}, "missed 1", 5, 6] if id == 1 else [5, 6])
    assert broker.notices == []
    broker.lose()
    broker.open()
    assert broker.sent() == [subscribe_as(1, seen=6 if id == 1 else 2)]


@pytest.mark.parametrize("no_list", [None, 1, "text", {"a": 1}])
def test_a_batch_that_is_no_list_is_no_message(broker: ScriptedBroker, no_list: Json) -> None:
    sink = subscribed(broker)
    wrong: Message = {"Batch": {"subscription": 1, "object_name": "sensor", "topic": "temperature", "values": no_list}}
    broker.give(value(1, 1), wrong, values(1, 2, 3))
    assert sink.seen == [1, 2, 3]
    [notice] = broker.notices
    assert isinstance(notice, Invalid)
    assert not notice.fatal


def test_values_as_deep_as_can_just_be_read_end_nobody(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    for depth in range(800, 1000):
        message = values(1, 1, "deep")
        if broker.session.codec.name == "json":
            body = frame(message)[4:].replace(b'"deep"', b"[" * depth + b"]" * depth)
        else:
            body = packed(message)[4:].replace(b"\xa4deep", b"\x91" * depth + b"\xc0")
        broker.session.receive_data(frame_of(body))
    broker.give(values(1, "last"))
    assert sink.seen[-1] == "last"
    assert sink.seen[0] == 1


# What is published


def test_events_before_and_behind_one_that_is_acknowledged_or_retained_stay_there(broker: ScriptedBroker) -> None:
    say(broker, 1, 2)
    payload = broker.session.codec.encode_payload
    broker.session.publisher.publish_with("sensor", "temperature", payload(3), Answer(), 0.0, retain=False)
    say(broker, 4)
    broker.session.publisher.publish_with("sensor", "temperature", payload(5), None, 0.0, retain=True)
    say(broker, 6, 7)
    broker.session.call("math", "add", payload(8), Answer(), 0.0)
    say(broker, 9)
    said: list[Json] = []
    for message in broker.sent():
        [(kind, fields)] = message.items()
        said.append([kind, fields["values"] if kind == "Batch" else fields["args"]])
    assert said == [
        ["Batch", [1, 2]],
        ["Publish", 3],
        ["Publish", 4],
        ["Publish", 5],
        ["Batch", [6, 7]],
        ["Call", 8],
        ["Publish", 9],
    ]


def test_large_values_travel_alone(broker: ScriptedBroker) -> None:
    overhead = len(broker.session.codec.encode_payload("x" * 300)) - 300
    small, large = "x" * (LARGEST_VALUE - overhead), "x" * (LARGEST_VALUE - overhead + 1)
    say(broker, small, small, large, large, small)
    assert [next(iter(message)) for message in broker.sent()] == ["Batch", "Publish", "Publish", "Publish"]


def test_a_value_that_is_nested_deep_takes_no_other_along() -> None:
    """The broker can read it or not; in a batch with others it would be a little deeper."""
    for encoding in ENCODINGS:
        bus = Bus()
        client, publisher = Client(bus, encodings=(encoding,)), Client(bus, encodings=(encoding,))
        sink = client.subscribe("sensor", "t")
        depths = range(SHALLOW - 2, 1000)
        for depth in depths:
            deep = b"[" * depth + b"]" * depth if encoding == "json" else b"\x91" * depth + b"\xc0"
            publisher.publish("sensor", "t", "before")
            publisher.session.publisher.publish("sensor", "t", Raw(deep))
            publisher.publish("sensor", "t", "behind")
            bus.settle()
        assert [one for one in sink.seen if isinstance(one, str)] == ["before", "behind"] * len(depths)
        assert len(sink.seen) > 2.5 * len(depths)


@pytest.mark.parametrize("welcome", [{"features": WITHOUT}, {"max_frame": ROOM - 1}])
def test_a_broker_that_takes_no_batches_gets_none(welcome: dict[str, Json]) -> None:
    broker = ScriptedBroker()
    broker.open(**welcome)
    say(broker, 1, 2)
    assert broker.sent() == [publish("sensor", "temperature", 1), publish("sensor", "temperature", 2)]


def test_a_seed_broker_gets_none(broker: ScriptedBroker) -> None:
    say(broker, 1, 2)
    broker.lose()
    broker.open_seed()
    say(broker, 3, 4)
    assert broker.sent() == [publish("sensor", "temperature", number) for number in (1, 2, 3, 4)]


def test_what_was_agreed_counts_anew_for_each_connection() -> None:
    broker = ScriptedBroker()
    broker.open(features=WITHOUT)
    say(broker, 1, 2)
    broker.lose()
    broker.open()
    say(broker, 3, 4)
    assert broker.sent() == [
        publish("sensor", "temperature", 1),
        publish("sensor", "temperature", 2),
        batch("sensor", "temperature", 3, 4),
    ]
    assert "batches" in str(WELCOME["features"])


# What was not sent


def test_what_was_put_together_and_not_sent_goes_out_again_in_order(broker: ScriptedBroker) -> None:
    say(broker, *range(MOST + 3))
    say(broker, "other", topic="pressure")
    assert broker.session.connection is not None
    say(broker, "last", "of all")
    broker.lose()
    broker.accept()
    broker.lose("again, before hello was answered")
    broker.open()
    say(broker, "new", "newer")
    messages = broker.sent()
    assert [next(iter(message)) for message in messages[:-1]] == ["Publish"] * (MOST + 6)
    assert [message["Publish"]["args"] for message in messages[:-1]] == [*range(MOST + 3), "other", "last", "of all"]
    assert messages[-1] == batch("sensor", "temperature", "new", "newer")
    broker.lose()
    broker.open()
    assert broker.sent() == []


def test_what_could_not_be_sent_even_in_part_is_taken_apart_too(broker: ScriptedBroker) -> None:
    """As the blocking client's sender gives it back, while another thread has published more."""
    say(broker, 1, 2)
    data = broker.session.data_to_send()
    say(broker, 3, 4)
    assert broker.session.connection is not None
    broker.session.connection.take_back(data)
    say(broker, 5)
    broker.lose()
    broker.open()
    assert broker.sent() == [publish("sensor", "temperature", number) for number in range(1, 6)]


def test_only_the_part_that_was_not_written_goes_out_again(broker: ScriptedBroker) -> None:
    say(broker, *range(MOST * 3))
    assert broker.session.connection is not None
    assert broker.session.connection.data_to_send(1)
    say(broker, "more")
    broker.lose()
    broker.open()
    assert [message["Publish"]["args"] for message in broker.sent()] == [*range(MOST, MOST * 3), "more"]


def test_events_of_a_batch_that_the_next_encoding_cannot_say_are_told_and_the_others_go_out() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack")
    say(broker, 1, b"\xff", 2)
    broker.lose()
    broker.open(encoding="json")
    assert broker.sent() == [publish("sensor", "temperature", 1), publish("sensor", "temperature", 2)]
    [notice] = broker.notices
    assert isinstance(notice, Error)


# Both ends


@pytest.mark.parametrize("publishes", ENCODINGS)
@pytest.mark.parametrize("listens", ENCODINGS)
def test_what_one_session_publishes_the_other_gets(bus: Bus, publishes: str, listens: str) -> None:
    worker = Client(bus)
    worker.serve("math")
    publisher, listener = Client(bus, encodings=(publishes,)), Client(bus, encodings=(listens,))
    exact, pattern = listener.subscribe("sensor", "t"), listener.subscribe("*", ">")
    latest, member = listener.subscribe("sensor", "t", overflow="latest"), listener.subscribe("sensor", "t", group="g")
    sent: list[Json] = []
    for number in range(1000):
        publisher.publish("sensor", "t", number)
        sent.append(number)
        if number % 97 == 0:
            bus.settle()
        if number % 131 == 0:
            publisher.call("math", "add", number)
    bus.settle()
    assert exact.seen == pattern.seen == latest.seen == member.seen == sent
    assert bus.router.events.published == 1000
    assert call("1", "math", "add")["Call"]["object_name"] == worker.server.calls[0][0].object_name
