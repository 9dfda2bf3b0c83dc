"""Streams as their consumers see them."""

from __future__ import annotations

import pytest
from msgspec import Raw

from ipc_broker.errors import ConnectionLost, DeadlineExceeded, InvalidArgs, NoSuchObject, RemoteError, WorkerLost
from ipc_broker.protocol.encodings import JSON
from ipc_broker.session import Session
from ipc_broker.session.streams import WINDOW, Incoming
from tests.memory import Bus, Client
from tests.messages import error, result
from tests.seed.frames import Json, Message, frame
from tests.session.scripted import ScriptedBroker

NOW = 1000.0
NULL = Raw(b"null")


class CountingIncoming(Incoming):
    """`changes` is how often its shell was told to look."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "logs", "tail")
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    def take_all(self) -> list[object]:
        taken = []
        while (value := self.take()) is not None:
            taken.append(self.codec.decode_any(value))
        return taken


def opened(session: Session, timeout: float | None = None, now: float = NOW) -> CountingIncoming:
    stream = CountingIncoming(session)
    stream.open(session.codec.null, now, timeout, None)
    return stream


@pytest.fixture
def stream(broker: ScriptedBroker) -> CountingIncoming:
    """One that was just opened."""
    stream = opened(broker.session)
    broker.sent()
    return stream


def item(stream: Incoming, value: Json) -> Message:
    return {"Item": {"call_id": stream.call_id, "value": value}}


def end(stream: Incoming) -> Message:
    message = result(stream.call_id, "logs")
    message["Result"]["ended"] = True
    return message


def credits_in(messages: list[Message]) -> list[Json]:
    assert all(list(message) == ["Credit"] for message in messages), messages
    return [message["Credit"]["bytes"] for message in messages]


# Beginning


def test_a_stream_is_a_call_that_gives_a_window_of_credit(broker: ScriptedBroker) -> None:
    stream = CountingIncoming(broker.session)
    stream.open(JSON.encode_payload([1]), NOW, 5.0, {"tenant": "a"})
    [message] = broker.sent()
    assert message["Call"] == {
        "call_id": stream.call_id,
        "object_name": "logs",
        "method": "tail",
        "args": [1],
        "timeout_ms": 5000,
        "credit": WINDOW,
        "headers": {"tenant": "a"},
    }
    assert not stream.ready
    assert not stream.ended


def test_a_broker_without_streams_is_not_asked_for_one(seed_broker: ScriptedBroker) -> None:
    extended = ScriptedBroker()
    extended.open(features=["multiplex", "cancel"])
    for broker in (seed_broker, extended):
        broker.sent()
        with pytest.raises(InvalidArgs, match="no streams") as raised:
            opened(broker.session)
        assert raised.value.delivered == "no"
        assert broker.sent() == []


def test_a_stream_that_could_not_be_opened_can_be_cancelled(broker: ScriptedBroker) -> None:
    stream = CountingIncoming(broker.session)
    broker.lose()
    with pytest.raises(ConnectionLost):
        stream.open(NULL, NOW, None, None)
    broker.open()
    stream.cancel()
    assert stream.ended
    assert broker.sent() == []


# Items


def test_items_are_taken_in_order_and_the_shell_is_told_of_each(
    broker: ScriptedBroker, stream: CountingIncoming
) -> None:
    broker.give(item(stream, 1), item(stream, None))
    assert stream.changes == 2
    assert stream.ready
    assert stream.pending == 2
    broker.give(item(stream, 3), end(stream))
    assert stream.changes == 4
    assert stream.take_all() == [1, None, 3]
    assert stream.ended
    assert stream.error is None
    assert stream.take() is None
    assert broker.session.calls_in_flight == 0


def test_credit_is_given_back_by_halves_of_the_window(broker: ScriptedBroker, stream: CountingIncoming) -> None:
    message = item(stream, "x" * 60_000)
    size = len(frame(message))
    count = 0
    while count * size < WINDOW // 2:
        broker.give(message)
        count += 1
    assert broker.sent() == [], "what was not taken is not given back"
    for _ in range(count - 1):
        stream.take()
        assert broker.sent() == []
    stream.take()
    assert credits_in(broker.sent()) == [count * size]
    for _ in range(count):
        broker.give(message)
        stream.take()
    assert credits_in(broker.sent()) == [count * size], "each byte is given back once"


def test_one_item_larger_than_the_window_is_given_back_at_once() -> None:
    broker = ScriptedBroker()
    broker.open()
    stream = opened(broker.session)
    broker.sent()
    message = item(stream, "x" * (2 * WINDOW))
    broker.give(message)
    stream.take()
    assert credits_in(broker.sent()) == [len(frame(message))]


def test_a_stream_that_has_ended_gives_no_credit(broker: ScriptedBroker, stream: CountingIncoming) -> None:
    for _ in range(4):
        broker.give(item(stream, "x" * 60_000))
    broker.give(end(stream))
    assert len(stream.take_all()) == 4
    assert broker.sent() == []


# Ends


def test_an_error_stands_behind_the_last_item(broker: ScriptedBroker, stream: CountingIncoming) -> None:
    failure = error(stream.call_id, "logs", "no more")
    failure["Error"] |= {"code": "remote_error", "type": "OSError"}
    broker.give(item(stream, 1), failure)
    assert stream.ended
    assert stream.pending == 1
    assert stream.take_all() == [1]
    assert isinstance(stream.error, RemoteError)
    assert (stream.error.type, stream.error.object, stream.error.method) == ("OSError", "logs", "tail")


def test_a_method_that_does_not_stream_is_an_error_that_says_so(
    broker: ScriptedBroker, stream: CountingIncoming
) -> None:
    broker.give(result(stream.call_id, "logs", 42))
    assert stream.ended
    assert stream.changes == 1
    assert isinstance(stream.error, InvalidArgs)
    assert "'logs.tail' is no stream" in stream.error.message
    assert stream.returned is not None
    assert bytes(stream.returned) == b"42"


def test_a_cancelled_stream_tells_the_broker_and_drops_what_is_still_on_its_way(
    broker: ScriptedBroker, stream: CountingIncoming
) -> None:
    broker.give(item(stream, 1))
    stream.cancel()
    stream.cancel()
    assert broker.sent() == [{"Cancel": {"call_id": stream.call_id}}]
    assert stream.ended
    assert stream.take() is None
    broker.give(item(stream, 2), end(stream))
    assert stream.pending == 0
    assert broker.session.late_answers == 2
    assert broker.session.calls_in_flight == 0


def test_cancelling_a_stream_that_has_ended_only_drops_its_items(
    broker: ScriptedBroker, stream: CountingIncoming
) -> None:
    broker.give(item(stream, 1), end(stream))
    stream.cancel()
    assert stream.take() is None
    assert broker.sent() == []


def test_a_connection_lost_in_the_middle_stands_behind_what_came(
    broker: ScriptedBroker, stream: CountingIncoming
) -> None:
    broker.give(*[item(stream, "x" * 60_000)] * 4)
    broker.lose("gone")
    assert isinstance(stream.error, ConnectionLost)
    assert stream.error.message == "gone"
    broker.open()
    assert len(stream.take_all()) == 4
    stream.cancel()
    assert broker.sent() == [], "the new connection knows nothing of it"


def test_the_deadline_of_a_stream_is_for_all_of_it(broker: ScriptedBroker) -> None:
    stream = opened(broker.session, timeout=1.0)
    broker.give(item(stream, 1))
    broker.session.handle_timer(NOW + 1.1)
    assert stream.take_all() == [1]
    assert isinstance(stream.error, DeadlineExceeded)
    broker.give(item(stream, 2))
    assert broker.session.late_answers == 1


# With the real router


def serve_items(worker: Client, count: int) -> int:
    """Sends as many items of 1000 bytes for the oldest call as its credit allows, `count` at most; gives how many."""
    given, connection = worker.server.calls[0]
    credit = given.credit + sum(size for _, size in worker.server.credits)
    sent = 0
    while sent < count and credit > 0:
        made = worker.session.serving.item_frame(given, connection, connection.codec.encode_payload("x" * 1000))
        worker.session.serving.send_item(connection, made)
        credit -= len(made)
        sent += 1
    return sent


@pytest.mark.parametrize("encodings", [("msgpack",), ("json",)])
def test_a_stream_through_the_router_arrives_whole(bus: Bus, encodings: tuple[str, ...]) -> None:
    worker, client = Client(bus), Client(bus, encodings=encodings)
    worker.serve("logs")
    stream = opened(client.session, now=bus.now)
    bus.settle()
    assert serve_items(worker, 100) == 100
    worker.session.serving.end_stream(*worker.server.calls[0])
    bus.settle()
    assert stream.take_all() == ["x" * 1000] * 100
    assert stream.ended
    assert stream.error is None
    bus.assert_no_call_is_left()


def test_a_consumer_that_does_not_take_stops_the_worker_and_starts_it_again(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("logs")
    stream = opened(client.session, now=bus.now)
    bus.settle()
    first = serve_items(worker, 10_000)
    assert WINDOW // 1100 <= first <= WINDOW // 1000
    bus.settle()
    assert worker.server.credits == []
    assert len(stream.take_all()) == first
    bus.settle()
    [(call_id, size)] = worker.server.credits
    assert call_id == worker.server.calls[0][0].call_id
    assert WINDOW // 2 <= size <= WINDOW


def test_a_cancelled_stream_is_cancelled_at_its_worker(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("logs")
    stream = opened(client.session, now=bus.now)
    bus.settle()
    stream.cancel()
    bus.settle()
    assert worker.server.cancelled == [worker.server.calls[0][0].call_id]
    serve_items(worker, 3)
    bus.settle()
    bus.assert_no_call_is_left()


def test_a_stream_of_nobody_or_of_a_worker_that_is_lost_ends_with_the_error(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    missing = opened(client.session, now=bus.now)
    bus.settle()
    assert isinstance(missing.error, NoSuchObject)
    worker.serve("logs")
    stream = opened(client.session, now=bus.now)
    bus.settle()
    serve_items(worker, 3)
    bus.settle()
    worker.link.disconnect()
    assert stream.pending == 3
    assert isinstance(stream.error, WorkerLost)
