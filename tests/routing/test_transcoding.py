"""Peers of different encodings and protocols: what one says the other reads as the same, or its sender gets an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, error_of, result
from tests.routing.peers import call_with, error_from, ids_of, json_peer, packed, packed_peer
from tests.seed.frames import Json, frame_of

KINDS: dict[str, Callable[..., RawPeer]] = {"seed": RawPeer, "JSON": json_peer, "MessagePack": packed_peer}

VALUES: dict[str, Json] = {
    "null": None,
    "text": "25.6 °C \x00 \U0001f321",
    "numbers": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 1.5, -0.1, 1e300],
    "booleans": [True, False],
    "nested": {"a": [{"b": [[], {}]}], "": None},
}


@pytest.fixture(params=KINDS)
def caller_kind(request: pytest.FixtureRequest) -> Callable[..., RawPeer]:
    return KINDS[request.param]


@pytest.fixture(params=KINDS)
def worker_kind(request: pytest.FixtureRequest) -> Callable[..., RawPeer]:
    return KINDS[request.param]


@pytest.mark.parametrize("value", VALUES)
def test_arguments_and_results_arrive_as_they_were_sent(
    bus: Bus, caller_kind: Callable[..., RawPeer], worker_kind: Callable[..., RawPeer], value: str
) -> None:
    worker, caller = worker_kind(bus, "math"), caller_kind(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add", VALUES[value]))
    [given] = [message["Call"] for message in worker.receive() if "Call" in message]
    assert (given["object_name"], given["method"], given["args"]) == ("math", "add", VALUES[value])
    worker.send(result(str(given["call_id"]), "math", VALUES[value]))
    assert caller.receive() == [result(call_id, "math", VALUES[value])]
    bus.assert_no_call_is_left()


def test_errors_arrive_with_all_that_the_caller_can_be_told(
    bus: Bus, caller_kind: Callable[..., RawPeer], worker_kind: Callable[..., RawPeer]
) -> None:
    worker, caller = worker_kind(bus, "math"), caller_kind(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add"))
    [worker_id] = ids_of(worker.receive())
    failed = error(worker_id, "math", "no é")
    more: dict[str, Json] = {"code": "remote_error", "type": "ValueError", "data": {"a": [1.5]}, "delivered": "yes"}
    if worker.prefix:
        failed["Error"] |= more
    worker.send(failed)
    expected = error(call_id, "math", "no é")
    if worker.prefix and caller.prefix:
        expected["Error"] |= more
    assert caller.receive() == [expected]
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kind", ["seed", "JSON"])
def test_integers_beyond_64_bits_of_a_json_peer_are_an_error_to_a_caller_and_its_worker_hears_nothing(
    bus: Bus, kind: str
) -> None:
    worker, caller = packed_peer(bus, "math"), KINDS[kind](bus)
    caller.send(call(f"{caller.prefix}1", "math", "add", 2**64))
    assert "the worker of 'math' cannot be told this" in str(error_of(caller.receive()[0])["message"])
    assert worker.receive() == []
    bus.assert_no_call_is_left()


def test_what_is_forwarded_between_peers_of_one_encoding_is_not_touched(bus: Bus) -> None:
    worker, caller = packed_peer(bus, "math", features=[]), packed_peer(bus)
    call_id = f"{caller.prefix}1"
    values: list[Any] = [b"bytes", math.inf, -0.0, {1: 2, None: 3}, msgspec.msgpack.Ext(5, b"x")]
    sent = packed(call_with(call_id, "math", "add", values, timeout_ms=1000, headers={"a": "b"}))
    caller.send_bytes(sent)
    assert worker.receive_frames() == [sent]
    answer = packed(result(call_id, "math", values))
    worker.send_bytes(answer)
    assert caller.receive_frames() == [answer]


# What JSON cannot say

UNSAYABLE: dict[str, tuple[Any, str]] = {
    "bytes": ({"a": b"bytes"}, "JSON has no bytes; encode them as text, with base64 for example - at `$.a`"),
    "NaN": ([1.5, math.nan], "JSON has no number nan - at `$[1]`"),
    "infinity": (-math.inf, "JSON has no number -inf - at `$`"),
    "a key that is no text": ({b"key": 1}, "JSON has no bytes"),
    "an extension": (msgspec.msgpack.Ext(5, b"x"), " - at `$`"),
    "a null key": ({None: 1}, " - at `$`"),
}
BROKEN = {
    "a key that is a map": b"\x81\x80\x01",
    "no UTF-8": b"\xa1\xff",
    "a key that is bytes": b"\x82\xa1a\x01\xc4\x01b\x02",
}


@pytest.fixture(params=["seed", "JSON"])
def json_kind(request: pytest.FixtureRequest) -> Callable[..., RawPeer]:
    """Whoever cannot read it."""
    return KINDS[request.param]


def assert_refused(peer: RawPeer, reason: str) -> None:
    [answer] = map(error_from, peer.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (f"{peer.prefix}1", "invalid_args", "no")
    assert answer.message.startswith("the worker of 'math' cannot ")
    assert reason in answer.message


@pytest.mark.parametrize("value", UNSAYABLE)
def test_arguments_that_json_cannot_say_are_an_error_to_their_caller(
    bus: Bus, json_kind: Callable[..., RawPeer], value: str
) -> None:
    worker, caller = json_kind(bus, "math"), packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add", UNSAYABLE[value][0]))
    assert_refused(caller, UNSAYABLE[value][1])
    assert worker.receive() == []
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("payload", BROKEN)
def test_arguments_that_are_no_message_pack_are_an_error_to_their_caller(
    bus: Bus, json_kind: Callable[..., RawPeer], payload: str
) -> None:
    """The broker looks into them only where they have to be told otherwise."""
    worker, caller = json_kind(bus, "math"), packed_peer(bus)
    sent = msgspec.msgpack.encode(call(f"{caller.prefix}1", "math", "add"))
    assert sent.endswith(b"\xa4args\xc0")
    caller.send_bytes(frame_of(sent[:-1] + BROKEN[payload]))
    assert_refused(caller, "")
    assert worker.receive() == []
    caller.send(call(f"{caller.prefix}2", "math", "add"))
    assert len(worker.receive()) >= 1, "the connection lives"


@pytest.mark.parametrize("value", UNSAYABLE)
def test_a_result_that_json_cannot_say_is_an_error_to_the_caller(
    bus: Bus, json_kind: Callable[..., RawPeer], value: str
) -> None:
    worker, caller = packed_peer(bus, "math"), json_kind(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add"))
    [worker_id] = ids_of(worker.receive())
    worker.send(result(worker_id, "math", UNSAYABLE[value][0]))
    [answer] = map(error_from, caller.receive())
    assert answer.call_id == call_id
    assert answer.message.startswith("the caller of 'math' cannot be told this: ")
    if caller.prefix:
        assert (answer.code, answer.delivered) == ("invalid_args", "yes")
    bus.assert_no_call_is_left()


def test_an_errors_data_that_json_cannot_say_is_left_out(bus: Bus) -> None:
    worker, extended, seed = packed_peer(bus, "math"), json_peer(bus), RawPeer(bus)
    for caller in (extended, seed):
        caller.send(call(f"{caller.prefix}1", "math", "add"))
        [worker_id] = ids_of(worker.receive())
        failed = error(worker_id, "math", "no")
        failed["Error"] |= {"code": "remote_error", "data": {"a": b"bytes"}}  # type: ignore[dict-item]
        worker.send(failed)
    [answer] = map(error_from, extended.receive())
    assert (answer.code, answer.message, answer.data) == ("remote_error", "no", msgspec.UNSET)
    assert seed.receive() == [error("1", "math", "no")], "which is not told of data"
    bus.assert_no_call_is_left()


def test_what_is_nested_deeper_than_a_seed_peer_reads_is_refused_in_any_encoding(bus: Bus) -> None:
    RawPeer(bus, "math")
    deep: Json = 1
    for _ in range(130):
        deep = [deep]
    for kind in (json_peer, packed_peer):
        caller = kind(bus)
        caller.send(call(f"{caller.prefix}1", "math", "add", deep))
        assert_refused(caller, "nested deeper")


# Frames that are too large for whom they are for


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_is_too_large_for_its_worker_is_refused_with_size_and_limit(bus: Bus, kind: str) -> None:
    worker, caller = KINDS[kind](bus, "math"), packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add", "x" * 70_000))
    [answer] = map(error_from, caller.receive())
    assert (answer.code, answer.delivered) == ("too_large", "no")
    assert "is over the limit of 65536 bytes that connection 1 takes (max_frame)" in answer.message
    assert worker.receive() == []
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_too_large_for_its_caller_is_an_error_with_size_and_limit(bus: Bus, kind: str) -> None:
    worker, caller = packed_peer(bus, "math"), KINDS[kind](bus)
    for failed in (False, True):
        caller.send(call(f"{caller.prefix}1", "math", "add"))
        [worker_id] = ids_of(worker.receive())
        text = "x" * 70_000
        worker.send(error(worker_id, "math", text) if failed else result(worker_id, "math", text))
        [answer] = map(error_from, caller.receive())
        assert "is over the limit of 65536 bytes that connection 2 takes (max_frame)" in answer.message
        if caller.prefix:
            assert (answer.code, answer.delivered) == ("too_large", "yes")
    bus.assert_no_call_is_left()


def test_what_grows_over_the_limit_in_the_other_encoding_is_refused(bus: Bus) -> None:
    """It would just fit as it was sent."""
    worker, caller = json_peer(bus, "math"), packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add", "\x01" * 20_000))
    [answer] = map(error_from, caller.receive())
    assert answer.code == "too_large"
    assert worker.receive() == []


def test_large_frames_pass_between_those_who_take_them(bus: Bus) -> None:
    size = 1_000_000
    worker = packed_peer(bus, "math", max_frame=2 * size, features=[])
    for kind in (json_peer, packed_peer):
        caller = kind(bus, max_frame=2 * size)
        call_id = f"{caller.prefix}1"
        caller.send(call(call_id, "math", "add", "x" * size))
        [given] = worker.receive()
        assert given["Call"]["args"] == "x" * size
        worker.send(result(call_id, "math", "y" * size))
        assert caller.receive() == [result(call_id, "math", "y" * size)]


# The library's own session


@pytest.mark.parametrize("encodings", [("msgpack",), ("json",)])
@pytest.mark.parametrize("worker_encodings", [("msgpack",), ("json",)])
def test_sessions_of_both_encodings_call_each_other_and_seed_peers(
    bus: Bus, encodings: tuple[str, ...], worker_encodings: tuple[str, ...]
) -> None:
    worker, caller, seed = Client(bus, encodings=worker_encodings), Client(bus, encodings=encodings), RawPeer(bus)
    worker.serve("math")
    answer = caller.call("math", "add", {"a": 1})
    seed.send(call("1", "math", "add", {"a": 2}))
    bus.settle()
    codec = worker.session.codec
    assert [codec.decode_any(given.args) for given, _ in worker.server.calls] == [{"a": 1}, {"a": 2}]
    worker.answer({"sum": 3})
    worker.fail("remote_error", "no", type="ValueError")
    assert seed.receive() == [error("1", "math", "no")]
    assert answer.value == {"sum": 3}
    bus.assert_no_call_is_left()
