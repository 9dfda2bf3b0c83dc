"""Streams of the blocking client."""

from __future__ import annotations

import time
from contextvars import copy_context
from typing import Any

import msgspec
import pytest

from ipc_broker import errors
from ipc_broker.context import RunningCall, set_running_call
from ipc_broker.messages import Call
from ipc_broker.session.streams import WINDOW
from ipc_broker.sync import Client
from ipc_broker.sync.stream import Stream
from tests.sync.bus import Bus, InThread
from tests.sync.scripted_broker import ScriptedBroker


class Point(msgspec.Struct):
    number: int
    text: str


def item(call: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"Item": {"call_id": call["call_id"], "value": value}}


# Items


@pytest.mark.parametrize("method", ["count", "count_in_thread"])
def test_a_stream_is_iterated_over(our_client: Client, method: str) -> None:
    assert list(our_client.stream("tape", method, {"stop": 1000})) == list(range(1000))
    assert list(our_client.stream("tape", method, [0])) == []


def test_a_stream_in_a_block(our_client: Client) -> None:
    with our_client.stream("tape", "count", [3]) as numbers:
        assert next(numbers) == 0
        assert list(numbers) == [1, 2]
        assert list(numbers) == []


def test_more_than_a_window_comes_whole(our_client: Client) -> None:
    taken = 0
    with our_client.stream("tape", "run", {"size": 50_000}) as items:
        for number, text in items:
            taken += 1
            assert number == taken
            assert len(text) == 50_000
            if taken * 50_000 > 8 * WINDOW:
                break


def test_items_are_converted_to_the_type_that_is_wanted(our_client: Client) -> None:
    assert next(our_client.stream("tape", "headers", headers={"a": "b"}, returns=dict[str, str])) == {"a": "b"}
    with pytest.raises(errors.RemoteError, match="something else than Point"):
        next(our_client.stream("tape", "count", [3], returns=Point))


def test_the_method_runs_from_the_first_item_that_is_asked_for() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        assert repr(lines) == "<Stream 'logs' 'tail' not started>"
        client.publish("sensor", "heat", 1)
        assert broker.read("Publish")["args"] == 1  # and nothing before it
        taking = InThread(lambda: next(lines))
        call = broker.read("Call")
        assert (call["method"], call["credit"], call.get("timeout_ms", 0)) == ("tail", WINDOW, 0)
        broker.send(item(call, "first"))
        assert taking.result() == "first"
        assert repr(lines) == "<Stream 'logs' 'tail' open pending=0>"
        client.close()


def test_entering_the_block_starts_it() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with client.stream("logs", "tail"):
            call = broker.read("Call")
        assert broker.read("Cancel") == {"call_id": call["call_id"]}
        client.close()


def test_what_was_taken_is_given_back_as_credit() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        taking = InThread(lambda: [next(lines) for _ in range(10)])
        call = broker.read("Call")
        for _ in range(10):
            broker.send(item(call, "x" * 20_000))
        assert len(taking.result()) == 10
        credit = broker.read("Credit")
        assert credit["call_id"] == call["call_id"]
        assert 140_000 < int(str(credit["bytes"])) < 141_000, "seven items are more than half of the window"
        client.close()


def test_a_consumer_that_stops_stops_the_method(our_bus: Bus, our_client: Client) -> None:
    items = our_client.stream("tape", "run", {"size": 1000})
    next(items)
    while our_bus.yielded < WINDOW // 1100:
        our_client.drain()  # reads what comes
    for _ in range(50):
        our_client.drain()
    most = our_bus.yielded
    assert most <= WINDOW / 1000 + 2
    while our_bus.yielded == most:  # half a window gives credit
        next(items)
    items.close()
    our_bus.stream_closed()


# Ends


def test_what_the_method_raises_stands_behind_its_last_item(our_client: Client) -> None:
    items = our_client.stream("tape", "fail", {"stop": 3, "text": "out of paper"})
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(errors.RemoteError, match="out of paper") as caught:
        next(items)
    assert (caught.value.type, caught.value.object, caught.value.method) == ("ValueError", "tape", "fail")
    assert list(items) == []
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_stream_of_nobody(our_client: Client) -> None:
    with pytest.raises(errors.NoSuchObject) as caught:
        next(our_client.stream("nobody", "tail"))
    assert caught.value.delivered == "no"
    with pytest.raises(errors.NoSuchMethod):
        next(our_client.stream("tape", "tail"))


def test_a_method_that_streams_nothing_has_a_value(our_client: Client) -> None:
    items = our_client.stream("math", "add", [1, 2])
    assert not items.returned
    with pytest.raises(ValueError, match="no value"):
        items.value  # noqa: B018
    with pytest.raises(errors.InvalidArgs, match="use call"):
        next(items)
    assert items.returned
    assert items.value == {"sum": 3}


def test_a_broker_of_the_rust_crate_has_no_streams(seed_client: Client) -> None:
    with pytest.raises(errors.InvalidArgs, match="no streams") as caught:
        next(seed_client.stream("tape", "count", [3]))
    assert caught.value.delivered == "no"


def test_arguments_that_cannot_be_sent(our_client: Client) -> None:
    items = our_client.stream("tape", "count", [object()])
    with pytest.raises(errors.InvalidArgs, match="cannot be sent"):
        next(items)
    items.close()


# Leaving


def test_leaving_the_loop_cancels_the_method(our_bus: Bus, our_client: Client) -> None:
    for number, _ in our_client.stream("tape", "run", {"pause": 0.001}):
        if number == 3:
            break
    our_bus.stream_closed()
    assert our_client.link.session.calls_in_flight == 0


def test_dropping_the_iterator_cancels_the_method(our_bus: Bus, our_client: Client) -> None:
    items = our_client.stream("tape", "run", {"pause": 0.001})
    next(items)
    del items
    our_bus.stream_closed()


def test_leaving_the_block_cancels_the_method(our_bus: Bus, our_client: Client) -> None:
    with our_client.stream("tape", "run", {"pause": 0.001}) as items:
        next(items)
    our_bus.stream_closed()
    assert list(items) == []
    items.close()
    assert repr(items) == "<Stream 'tape' 'run' ended pending=0>"


def test_an_exception_in_the_block_cancels_the_method(our_bus: Bus, our_client: Client) -> None:
    def fail_in_the_block() -> None:
        with our_client.stream("tape", "run", {"pause": 0.001}) as items:
            next(items)
            raise LookupError("own")

    with pytest.raises(LookupError):
        fail_in_the_block()
    our_bus.stream_closed()


def test_closing_the_client_cancels_the_method(our_bus: Bus, our_client: Client) -> None:
    items = our_client.stream("tape", "run", {"pause": 0.001})
    next(items)
    our_client.close()
    our_bus.stream_closed()
    with pytest.raises(errors.ConnectionLost, match="closed"):
        for _ in items:
            pass
    items.close()


def test_a_stream_of_a_closed_client(our_client: Client) -> None:
    items = our_client.stream("tape", "count", [3])
    our_client.close()
    with pytest.raises(errors.ClientClosed):
        next(items)


def test_a_stream_that_was_never_started_is_nothing_to_cancel() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        lines.close()
        del lines
        client.close()
        assert broker.read("Goodbye") == {}


# Time


def test_the_timeout_is_for_the_whole_stream(our_bus: Bus, our_client: Client) -> None:
    items = our_client.stream("tape", "run", {"pause": 0.001}, timeout=0.1)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        for _ in items:
            pass
    assert (caught.value.object, caught.value.method) == ("tape", "run")
    our_bus.stream_closed()
    assert list(items) == []
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_timeout_is_told_and_cancels_though_the_broker_says_nothing() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.05 s"):
            next(client.stream("logs", "tail", timeout=0.05))
        call = broker.read("Call")
        assert call["timeout_ms"] == 50
        assert broker.read("Cancel") == {"call_id": call["call_id"]}
        client.close()


def test_an_inherited_deadline_ends_a_stream_though_the_broker_says_nothing() -> None:
    def within_a_method(stream: Stream[Any], deadline: float) -> None:
        call = Call("1.1", "relay", "relay", msgspec.Raw(b"null"))
        set_running_call(RunningCall(call, deadline, lambda call_id: None))
        with pytest.raises(errors.DeadlineExceeded):
            next(stream)

    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        waiting = InThread(lambda: copy_context().run(within_a_method, lines, time.monotonic() + 0.05))
        waiting.result()
        assert 0 < int(str(broker.read("Call")["timeout_ms"])) <= 50
        client.close()


# Losing the broker


def test_what_came_before_the_broker_went_can_be_taken() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        taking = InThread(lambda: next(lines))
        call = broker.read("Call")
        broker.send(item(call, 1))
        assert taking.result() == 1
        broker.send(item(call, 2))
        broker.send(item(call, 3))
        broker.hang_up()
        assert [next(lines), next(lines)] == [2, 3]
        with pytest.raises(errors.ConnectionLost) as caught:
            next(lines)
        assert (caught.value.object, caught.value.method) == ("logs", "tail")
        assert list(lines) == []
        client.close()


def test_items_of_a_stream_that_was_left_are_nobodys() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with client.stream("logs", "tail") as lines:
            call = broker.read("Call")
        assert broker.read("Cancel") == {"call_id": call["call_id"]}
        calling = InThread(lambda: client.call("math", "add"))
        second = broker.read("Call")
        broker.send(item(call, 1))
        broker.send({"Result": {"call_id": call["call_id"], "object_name": "logs", "value": None, "ended": True}})
        broker.answer(second, 3)
        assert calling.result() == 3
        assert list(lines) == []
        client.close()
