"""What the blocking client and our broker agree on, and what calls can say then."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from ipc_broker import errors
from ipc_broker.sync import Client, connect
from tests.seed.frames import BODY_LIMIT
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.scripted_broker import ScriptedBroker

# What was agreed


def test_our_broker_agrees_on_messagepack(our_client: Client) -> None:
    agreed = our_client.protocol
    assert (agreed.name, agreed.encoding) == ("extended", "msgpack")
    assert {"multiplex", "cancel", "streams", "flow"} <= set(agreed.features)
    assert agreed.max_frame > BODY_LIMIT


def test_a_broker_of_the_rust_crate_agrees_on_nothing(seed_client: Client) -> None:
    agreed = seed_client.protocol
    assert (agreed.name, agreed.encoding, agreed.features) == ("seed", "json", ())
    assert agreed.max_frame == BODY_LIMIT


def test_the_client_does_not_ask_for_what_it_cannot_do() -> None:
    """Its threads may be busy elsewhere: nobody would answer a heartbeat."""
    with ScriptedBroker() as broker:
        connecting = InThread(lambda: connect(broker.address))
        broker.accept()
        hello = broker.read("Call")
        assert isinstance(hello["args"], dict)
        features = hello["args"]["features"]
        assert isinstance(features, list)
        assert {"multiplex", "cancel", "streams", "flow", "resume"} <= set(features)
        assert "heartbeat" not in features
        broker.answer(hello, None)
        connecting.result().close()


@pytest.mark.parametrize("value", [b"", b"\x00\xff", float("inf"), [{"a": b"x"}], 2**64 - 1], ids=repr)
def test_messagepack_carries_what_json_cannot_say(our_client: Client, value: object) -> None:
    assert our_client.call("echo", "back", [value]) == value
    with our_client.subscribe("sensor", "heat") as events:
        our_client.publish("sensor", "heat", value)
        assert take(events, 1) == [value]


def test_nan_stays_nan(our_client: Client) -> None:
    assert math.isnan(our_client.call("echo", "back", [math.nan]))


@pytest.mark.parametrize("value", [b"bytes", math.nan, math.inf], ids=repr)
def test_what_json_cannot_say_is_refused_here(seed_client: Client, value: object) -> None:
    with pytest.raises(errors.InvalidArgs) as caught:
        seed_client.call("echo", "back", [value])
    assert caught.value.delivered == "no"
    with pytest.raises(errors.InvalidArgs):
        seed_client.publish("sensor", "heat", value)
    with pytest.raises(errors.InvalidArgs):
        seed_client.set_will("sensor", "heat", value)
    assert seed_client.call("echo", "back", [1]) == 1


# Headers


def test_headers_travel_with_a_call(our_client: Client) -> None:
    told = our_client.call("relay", "told", headers={"tenant": "a", "trace": "Ünï"})
    assert told["headers"] == {"tenant": "a", "trace": "Ünï"}
    assert our_client.call("relay", "told")["headers"] == {}


@pytest.mark.parametrize("headers", [{"tenant": "\udc80"}, {"tenant": object()}])
def test_headers_that_cannot_be_sent(our_client: Client, headers: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgs, match="headers"):
        our_client.call("relay", "told", headers=headers)
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


# Deadlines


def test_the_worker_learns_the_deadline(our_client: Client) -> None:
    seconds = our_client.call("relay", "told", timeout=20.0)["seconds"]
    assert 0 < seconds <= 20.0
    assert our_client.call("relay", "told", timeout=None)["seconds"] is None


def test_an_infinite_timeout_is_none(our_client: Client) -> None:
    assert our_client.call("math", "add", [1, 2], timeout=math.inf) == {"sum": 3}
    assert list(our_client.stream("tape", "count", [2], timeout=math.inf)) == [0, 1]


@pytest.mark.parametrize("timeout", [20.0, None])
def test_a_call_within_a_method_inherits_its_deadline_and_headers(our_client: Client, timeout: float | None) -> None:
    told = our_client.call("relay", "relay", timeout=5.0, headers={"tenant": "a"})
    assert 0 < told["seconds"] <= 5.0
    assert told["headers"] == {"tenant": "a"}
    told = our_client.call("relay", "relay", {"timeout": timeout, "headers": {"tenant": "b", "more": "c"}}, timeout=5.0)
    assert 0 < told["seconds"] <= 5.0
    assert told["headers"] == {"tenant": "b", "more": "c"}


def test_a_call_within_a_method_may_take_less_time_than_that_has(our_client: Client) -> None:
    assert our_client.call("relay", "relay", {"timeout": 3.0}, timeout=None)["seconds"] <= 3.0
    assert our_client.call("relay", "relay", {"timeout": None}, timeout=None)["seconds"] is None


def test_a_stream_within_a_method_inherits_headers(our_client: Client) -> None:
    assert our_client.call("relay", "relay_stream", headers={"tenant": "a"}) == [{"tenant": "a"}]


def test_a_stream_within_a_method_ends_with_the_time_of_that(our_bus: Bus, our_client: Client) -> None:
    # Both count to the same moment: whichever is awake first tells, the caller's clock or what the method raised.
    with pytest.raises((errors.DeadlineExceeded, errors.RemoteError), match=r"did not answer '\w+' within"):
        our_client.call("relay", "stream_without_end", timeout=0.2)
    our_bus.stream_closed()


# Cancelling


def test_a_call_that_takes_too_long_is_cancelled_at_the_broker() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with pytest.raises(errors.DeadlineExceeded):
            client.call("math", "add", timeout=0.05)
        call = broker.read("Call")
        assert call["timeout_ms"] == 50
        assert broker.read("Cancel") == {"call_id": call["call_id"]}
        client.close()


def test_a_call_that_takes_too_long_is_cancelled_in_the_worker(our_bus: Bus, our_client: Client) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        our_client.call("gate", "wait", ["late"], timeout=0.05)
    our_bus.cancelled("late")
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_closed_client_ends_its_calls_in_the_worker(our_bus: Bus, our_client: Client) -> None:
    calling = InThread(lambda: our_client.call("gate", "wait", ["mine"], timeout=None))
    our_bus.entered("mine")
    our_client.close()
    assert isinstance(calling.error(), errors.IPCError)
    our_bus.cancelled("mine")


# Saying goodbye


def test_closing_says_goodbye_last() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        client.publish("sensor", "heat", 1)
        client.close()
        assert broker.read("Publish")["args"] == 1
        assert broker.read("Goodbye") == {}
        assert broker.read_frame() == b""


def test_no_goodbye_for_a_broker_that_does_not_know_it() -> None:
    with ScriptedBroker() as broker:
        broker.connect().close()
        assert broker.read_frame() == b""


def test_leaving_the_block_on_an_exception_says_goodbye_too() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        with pytest.raises(LookupError), client:
            raise LookupError("own")
        assert broker.read("Goodbye") == {}


def test_streams_need_no_thread_and_no_asyncio(our_bus: Bus) -> None:
    program = (
        "import sys, threading\n"
        "from ipc_broker.sync import connect\n"
        "with connect(sys.argv[1]) as client, client.stream('tape', 'count', [3]) as numbers:\n"
        "    print(list(numbers), threading.active_count(), 'asyncio' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, our_bus.address],
        capture_output=True,
        encoding="utf-8",
        timeout=3 * PATIENCE,
    )
    assert (ended.stdout, ended.stderr) == ("[0, 1, 2] 1 False\n", "")
