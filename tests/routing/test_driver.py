"""The broker's own object, `rob`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.protocol.connection import State
from tests.memory import IDENTITY, Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, event, publish, register, result, subscribe
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


# hello


def test_hello_agrees_on_encoding_features_frame_and_prefix(bus: Bus) -> None:
    first, second = RawPeer(bus), RawPeer(bus)
    answer = first.hello(encodings=["msgpack", "json"], features=["multiplex", "streams"], name="first", pid=99)
    assert answer["Result"]["value"] == {
        "encoding": "json",
        "features": ["multiplex"],
        "max_frame": 65_536,
        "prefix": "1.",
        "epoch": IDENTITY.epoch,
        "session": "epoch-1",
        "version": IDENTITY.version,
        "pid": IDENTITY.pid,
    }
    second.hello()
    assert second.prefix != first.prefix
    assert not second.prefix.startswith(first.prefix)
    assert (first.peer.name, first.peer.credentials.pid) == ("first", 99)


def test_no_prefix_of_any_client_begins_with_that_of_another(bus: Bus) -> None:
    prefixes = [extended_peer(bus).prefix for _ in range(120)]
    for prefix in prefixes:
        assert [other for other in prefixes if other.startswith(prefix)] == [prefix]


def test_hello_ignores_fields_of_newer_clients(bus: Bus) -> None:
    assert "Result" in RawPeer(bus).hello(colour="blue")


def test_hello_names_the_brokers_own_frame_limit() -> None:
    peer = RawPeer(Bus(Limits(max_frame=32_768)))
    value = peer.hello()["Result"]["value"]
    assert isinstance(value, dict)
    assert value["max_frame"] == 32_768


def test_after_hello_both_sides_speak_the_extended_protocol(bus: Bus) -> None:
    peer = RawPeer(bus)
    assert peer.peer.is_seed
    peer.hello()
    assert not peer.peer.is_seed
    assert peer.peer.connection.state is State.EXTENDED
    assert refusal(peer, "nosuch")["code"] == "no_such_method"


def test_hello_without_an_encoding_in_common_is_refused_and_the_peer_stays_a_seed_peer(bus: Bus) -> None:
    peer = RawPeer(bus)
    refused = error_of(peer.hello(encodings=["msgpack"]))
    assert refused == {
        "call_id": "hello",
        "object_name": "rob",
        "message": "no encoding in common: this broker speaks json",
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
    assert refused["message"] == "this broker sends frames of up to 65536 bytes"
    assert peer.peer.is_seed
    assert peer.peer.name == ""


@pytest.mark.parametrize(("limit", "largest"), [(65_536, 65_536), (65_536, 2**31), (32_768, 32_768)])
def test_hello_of_a_client_that_reads_what_the_broker_sends_is_accepted(limit: int, largest: int) -> None:
    peer = RawPeer(Bus(Limits(max_frame=limit)))
    value = peer.hello(max_frame=largest)["Result"]["value"]
    assert isinstance(value, dict)
    assert value["max_frame"] == limit


def test_a_hello_whose_answer_is_over_the_frame_limit_leaves_the_peer_a_seed_peer() -> None:
    bus = Bus(Limits(max_frame=150))
    peer = RawPeer(bus)
    peer.send(call("hello", "rob", "hello", {}))
    assert error_of(peer.receive()[0])["call_id"] == "hello"
    assert peer.peer.is_seed


def test_hello_before_an_oversize_frame_in_the_same_bytes_does_no_harm(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send_bytes(frame(call("hello", "rob", "hello", {})) + (65_537).to_bytes(4, "big"))
    peer.receive_frames()
    assert peer.ended
    assert peer.peer.connection.state is State.CLOSING
    bus.assert_empty()


# The other methods


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_list_objects_names_all_objects_and_rob(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    peer = kind(bus, "text", "math")
    assert ask(peer, "listObjects") == ["math", "rob", "text"]


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_a_list_of_objects_over_the_frame_limit_is_an_error(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    RawPeer(bus, *(f"{number:04}" + "n" * 1000 for number in range(70)))
    peer = kind(bus)
    assert "over the limit of 65536 bytes" in str(refusal(peer, "listObjects")["message"])
    assert ask(peer, "ping") == "pong"


LONG_NAMES = [f"{number:03}" + "n" * 1000 for number in range(150)]
ESCAPED_NAMES = [f"{number:03}" + "\x01" * 1021 for number in range(30)]  # six bytes for each of its characters


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
@pytest.mark.parametrize("names", [LONG_NAMES, ESCAPED_NAMES, ["math"]], ids=["long", "escaped", "one"])
@pytest.mark.parametrize("limit", [32_768, 65_536])
def test_pages_hold_all_objects_in_order(limit: int, names: list[str], kind: Callable[..., RawPeer]) -> None:
    bus = Bus(Limits(max_frame=limit))
    RawPeer(bus, *names)
    peer = kind(bus)
    found: list[Json] = []
    pages = 0
    while page := ask(peer, "listObjects", {"after": found[-1] if found else ""}):
        assert isinstance(page, list)
        found += page
        pages += 1
    assert found == sorted([*names, "rob"])
    assert (pages == 1) == (names == ["math"])


def test_a_page_is_as_long_as_an_answer_with_the_longest_call_id_holds(bus: Bus) -> None:
    """Nothing of it is lost to the frame limit, and not much of the limit is left unused."""
    RawPeer(bus, *LONG_NAMES)
    peer = RawPeer(bus)
    call_id = "\x01" * 1024
    peer.send(call(call_id, "rob", "listObjects", {"after": ""}))
    [body] = [raw[4:] for raw in peer.receive_frames()]
    assert b"Result" in body
    assert 56_000 < len(body) <= 65_536


def test_a_page_begins_behind_a_name_that_nobody_has(bus: Bus) -> None:
    peer = RawPeer(bus, "text", "math")
    assert ask(peer, "listObjects", {"after": "m"}) == ["math", "rob", "text"]
    assert ask(peer, "listObjects", {"after": "math"}) == ["rob", "text"]
    assert ask(peer, "listObjects", {"after": "rocket"}) == ["text"]
    assert ask(peer, "listObjects", {"after": "text"}) == []


@pytest.mark.parametrize("args", [None, {}, {"after": None}, {"before": "rob"}, [], "rob", 1])
def test_other_arguments_of_list_objects_mean_all(bus: Bus, args: Json) -> None:
    assert ask(RawPeer(bus, "math"), "listObjects", args) == ["math", "rob"]


@pytest.mark.parametrize("kind", [RawPeer, extended_peer])
def test_a_page_after_what_is_no_name_is_refused(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    assert "$.after" in str(refusal(kind(bus), "listObjects", {"after": 1})["message"])


def test_unknown_methods_are_null_to_seed_peers_and_an_error_to_extended_ones(bus: Bus) -> None:
    assert ask(RawPeer(bus), "nosuch", {"a": 1}) is None
    refused = refusal(extended_peer(bus), "nosuch")
    assert refused["code"] == "no_such_method"
    assert "listObjects" in str(refused["message"])


def test_stats_count_what_there_is_and_what_has_been(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), extended_peer(bus)
    caller.subscribe("sensor", "temperature")
    worker.send(publish("sensor", "temperature", 1), publish("sensor", "pressure", 1), result("none", "math"))
    worker.send(call("ghost", "ghost", "x"))
    bus.settle()
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(worker.receive()) == 2
    assert caller.receive() == [event("sensor", "temperature", 1)]
    bus.advance(12.5)
    assert ask(caller, "stats") == {
        "version": "1.2.3",
        "pid": 4711,
        "uptime": 12.5,
        "connections": 2,
        "objects": 1,
        "subscriptions": 1,
        "calls_in_flight": 1,
        "totals": {
            "connections": 2,
            "calls": 4,  # hello, ghost, math, stats
            "results": 0,
            "errors": 1,
            "late_answers": 1,
            "published": 2,
            "delivered": 1,
            "invalid_messages": 0,
            "dropped": 0,
        },
    }


@pytest.mark.parametrize("method", ["unregister", "unsubscribe"])
@pytest.mark.parametrize("args", [None, {}, {"object_name": 1}, {"object_name": "a", "topic": "b", "more": 1}])
def test_arguments_that_do_not_fit_are_refused_with_their_path(bus: Bus, method: str, args: Json) -> None:
    peer = extended_peer(bus)
    refused = refusal(peer, method, args)
    assert refused["code"] == "invalid_args"
    assert " - at `$" in str(refused["message"])


def test_nobody_can_answer_a_call_of_rob(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send(result("ask", "rob", "forged"), error("ask", "rob", "forged"))
    assert ask(peer, "ping") == "pong"
    assert bus.router.totals.late_answers == 2
