"""`rob.hello`: what both sides agree on, and who may say it when."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.messages import Call, Result
from ipc_broker.protocol.connection import State
from ipc_broker.protocol.encodings import ENCODINGS
from tests.memory import IDENTITY, Bus, RawPeer, extended_peer
from tests.messages import call, error_of, publish, register, result, subscribe
from tests.routing.peers import json_peer, packed, packed_peer
from tests.seed.frames import Json, frame, frame_of


def ask(peer: RawPeer, method: str, args: Json = None) -> Json:
    peer.send(call(f"{peer.prefix}ask", "rob", method, args))
    [answer] = peer.receive()
    assert "Result" in answer, answer
    assert answer["Result"]["call_id"] == f"{peer.prefix}ask"
    assert answer["Result"]["object_name"] == "rob"
    return answer["Result"]["value"]


def refusal(peer: RawPeer, method: str, args: Json = None) -> dict[str, Json]:
    peer.send(call(f"{peer.prefix}ask", "rob", method, args))
    [answer] = peer.receive()
    return error_of(answer)


def test_hello_agrees_on_encoding_features_frame_and_prefix(bus: Bus) -> None:
    first, second = RawPeer(bus), RawPeer(bus)
    answer = first.hello(encodings=["msgpack", "json"], features=["colours", "streams", "cancel"], name="first", pid=99)
    assert answer["Result"]["value"] == {
        "encoding": "msgpack",
        "features": ["streams", "cancel"],
        "max_frame": 64 * 1024 * 1024,
        "prefix": "1.",
        "epoch": IDENTITY.epoch,
        "session": "epoch-1",
        "version": IDENTITY.version,
        "pid": IDENTITY.pid,
        "heartbeat_ms": 15_000,
    }
    second.hello()
    assert second.prefix != first.prefix
    assert not second.prefix.startswith(first.prefix)
    assert (first.peer.name, first.peer.credentials.pid) == ("first", 99)
    assert (first.peer.token, first.peer.features) == ("epoch-1", frozenset({"streams", "cancel"}))


def test_who_cannot_be_stopped_gets_no_streams(bus: Bus) -> None:
    answer = RawPeer(bus).hello(features=["streams", "flow"])
    assert answer["Result"]["value"]["features"] == ["flow"]  # type: ignore[call-overload,index]


def test_no_prefix_of_any_client_begins_with_that_of_another(bus: Bus) -> None:
    prefixes = [extended_peer(bus).prefix for _ in range(120)]
    for prefix in prefixes:
        assert [other for other in prefixes if other.startswith(prefix)] == [prefix]


def test_hello_ignores_fields_of_newer_clients(bus: Bus) -> None:
    assert "Result" in RawPeer(bus).hello(colour="blue")


def test_after_hello_both_sides_speak_the_extended_protocol(bus: Bus) -> None:
    peer = RawPeer(bus)
    assert peer.peer.is_seed
    peer.hello()
    assert not peer.peer.is_seed
    assert peer.peer.connection.state is State.EXTENDED
    assert refusal(peer, "nosuch")["code"] == "no_such_method"


def test_hello_without_an_encoding_in_common_is_refused_and_the_peer_stays_a_seed_peer(bus: Bus) -> None:
    peer = RawPeer(bus)
    refused = error_of(peer.hello(encodings=["xml"]))
    assert refused == {
        "call_id": "hello",
        "object_name": "rob",
        "message": "no encoding in common: this broker speaks msgpack, json",
    }
    assert peer.peer.is_seed
    assert ask(peer, "nosuch") is None


@pytest.mark.parametrize(
    "args", [None, [], {"encodings": "json"}, {"encodings": [1]}, {"name": "n" * 1025}, {"pid": "1"}]
)
def test_hello_with_arguments_that_do_not_fit_is_refused(bus: Bus, args: Json) -> None:
    peer = RawPeer(bus)
    assert "$" in str(refusal(peer, "hello", args)["message"])
    assert peer.peer.is_seed


def test_hello_twice_is_refused_and_changes_nothing(bus: Bus) -> None:
    peer = extended_peer(bus, name="first")
    prefix = peer.peer.prefix
    refused = refusal(peer, "hello", {"name": "second"})
    assert refused["code"] == "invalid_args"
    assert "first message" in str(refused["message"])
    assert (peer.peer.name, peer.peer.prefix) == ("first", prefix)


OTHERS = {
    "RegisterObject": frame(register("text")),
    "RegisterService": frame({"RegisterService": {"object_name": "text", "service_name": "text.service"}}),
    "Call": frame(call("1", "math", "add")),
    "a call of rob": frame(call("1", "rob", "ping")),
    "a hello that was refused": frame(call("1", "rob", "hello", {"encodings": []})),
    "Subscribe": frame(subscribe("sensor", "temperature")),
    "Publish": frame(publish("sensor", "temperature")),
    "HasObject": frame({"HasObject": {"object_name": "math"}}),
    "a late Result": frame(result("1", "math")),
    "no message": frame_of(b"garbage"),
    "an empty frame": frame_of(b""),
}


@pytest.mark.parametrize("earlier", OTHERS)
def test_hello_after_any_other_frame_is_refused_and_the_peer_stays_a_seed_peer(bus: Bus, earlier: str) -> None:
    RawPeer(bus, "math")
    peer = RawPeer(bus)
    peer.send_bytes(OTHERS[earlier])
    peer.receive()
    refused = refusal(peer, "hello", {"name": "late"})
    assert set(refused) == {"call_id", "object_name", "message"}
    assert "first message" in str(refused["message"])
    assert peer.peer.is_seed
    assert peer.peer.connection.state is State.SEED
    assert peer.peer.name == ""


@pytest.mark.parametrize("later", OTHERS)
def test_hello_that_does_not_come_alone_is_refused_and_the_peer_stays_a_seed_peer(bus: Bus, later: str) -> None:
    """Whoever sends more before the answer cannot know which protocol that will be read in."""
    RawPeer(bus, "math")
    peer = RawPeer(bus)
    peer.send_bytes(frame(call("hello", "rob", "hello", {"name": "hasty"})) + OTHERS[later])
    refused = error_of(peer.receive()[0])
    assert refused["call_id"] == "hello"
    assert "alone" in str(refused["message"])
    assert peer.peer.is_seed
    assert peer.peer.name == ""


def test_what_comes_with_a_refused_hello_is_answered_in_the_seeds_protocol(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send(call("hello", "rob", "hello", {}), register("math"), call("1", "ghost", "x"))
    refused, registered, missing = peer.receive()
    assert error_of(refused)["call_id"] == "hello"
    assert registered == {"Registered": {"object_name": "math"}}
    assert error_of(missing) == {"call_id": "1", "object_name": "ghost", "message": "No such object 'ghost'"}


@pytest.mark.parametrize("largest", [0, 32_767, 65_535])
def test_hello_of_a_client_that_reads_less_than_the_broker_sends_is_refused(bus: Bus, largest: int) -> None:
    peer = RawPeer(bus)
    refused = error_of(peer.hello(max_frame=largest, name="small"))
    assert refused["message"] == "a peer takes frames of 65536 bytes at least"
    assert peer.peer.is_seed
    assert peer.peer.name == ""


@pytest.mark.parametrize(("limit", "largest"), [(65_536, 65_536), (65_536, 2**31), (100_000, 70_000)])
def test_hello_tells_what_the_broker_takes_and_each_side_keeps_to_what_the_other_takes(
    limit: int, largest: int
) -> None:
    bus = Bus(Limits(max_frame=limit))
    peer = RawPeer(bus)
    value = peer.hello(max_frame=largest)["Result"]["value"]
    assert isinstance(value, dict)
    assert value["max_frame"] == limit
    assert peer.peer.connection.max_frame == limit
    takes = min(limit, largest)
    names = [f"{number:03}" + "n" * 1000 for number in range(takes // 1005 + 1)]
    RawPeer(bus, *names)
    peer.send(call(f"{peer.prefix}1", "rob", "listObjects"))
    refused = error_of(peer.receive()[0])
    assert refused["code"] == "too_large"
    assert f"over the limit of {takes} bytes" in str(refused["message"])


def test_a_hello_whose_answer_a_seed_peer_could_not_read_is_refused_and_leaves_it_a_seed_peer(bus: Bus) -> None:
    peer = RawPeer(bus)
    features: list[Json] = ["flow"] * (65_400 // len('"flow",'))
    peer.send(call("hello", "rob", "hello", {"features": features}))
    [answer] = peer.receive()
    assert "over the limit of 65536 bytes" in str(error_of(answer)["message"])
    assert peer.peer.is_seed


@pytest.mark.parametrize(
    ("encodings", "agreed"),
    [
        (["msgpack"], "msgpack"),
        (["json"], "json"),
        (["json", "msgpack"], "json"),
        (["cbor", "msgpack", "json"], "msgpack"),
    ],
)
def test_the_first_encoding_that_the_broker_knows_is_spoken_by_both_sides_after_the_answer(
    bus: Bus, encodings: list[Json], agreed: str
) -> None:
    peer = RawPeer(bus)
    answer = peer.hello(encodings=encodings)  # which is JSON in any case
    value = answer["Result"]["value"]
    assert isinstance(value, dict)
    assert value["encoding"] == agreed
    codec = ENCODINGS[agreed]
    ping = Call(f"{peer.prefix}1", "rob", "ping", codec.null)
    peer.send_bytes(codec.encode(ping))
    assert peer.receive_frames() == [codec.encode(Result(ping.call_id, "rob", codec.encode_payload("pong")))]


def test_a_peer_that_speaks_another_encoding_than_agreed_is_told_so_in_the_agreed_one(bus: Bus) -> None:
    peer = packed_peer(bus)
    peer.send_bytes(frame(call(f"{peer.prefix}1", "rob", "ping")))
    [answer] = peer.receive()
    assert error_of(answer)["call_id"] is None
    assert error_of(answer)["code"] == "invalid_args"
    peer.send(call(f"{peer.prefix}1", "rob", "ping"))
    assert peer.receive() == [result(f"{peer.prefix}1", "rob", "pong")]


def test_hello_without_anything_agrees_on_the_least(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send(call("hello", "rob", "hello", {}))
    [answer] = peer.receive()
    value = answer["Result"]["value"]
    assert isinstance(value, dict)
    assert (value["encoding"], value["features"]) == ("json", [])
    assert (peer.peer.name, peer.peer.features) == ("", frozenset())


def test_each_connection_gets_another_session_token_and_a_known_one_is_found_again(bus: Bus) -> None:
    first = json_peer(bus)
    first.send({"Subscribe": {"object_name": "sensor", "topic": "temperature", "id": 1, "credit": 1000}})
    bus.settle()
    token = first.peer.token
    first.disconnect()
    again, stranger = json_peer(bus, session=token), json_peer(bus, session="epoch-77")
    assert again.peer.resumes is not None
    assert again.peer.resumes.token == token
    assert stranger.peer.resumes is None
    assert len({token, again.peer.token, stranger.peer.token}) == 3


def test_what_is_left_of_a_frame_behind_hello_is_read_as_agreed(bus: Bus) -> None:
    """Hello was alone in what was complete, so that nobody can have answered anything else yet."""
    peer = RawPeer(bus)
    ping = packed(call("1.1", "rob", "ping"))
    peer.send_bytes(frame(call("hello", "rob", "hello", {"encodings": ["msgpack"]})) + ping[:10])
    [answer] = peer.receive()
    assert "Result" in answer
    peer.send_bytes(ping[10:])
    assert peer.receive_frames() == [packed(result("1.1", "rob", "pong"))]


def test_hello_before_an_oversize_frame_in_the_same_bytes_does_no_harm(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send_bytes(frame(call("hello", "rob", "hello", {})) + (2**31).to_bytes(4, "big"))
    peer.receive_frames()
    assert peer.ended
    assert peer.peer.connection.state is State.CLOSING
    bus.assert_empty()
