"""The broker's own object, `rob`; its `hello` is in test_hello.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, event, publish, result
from tests.seed.frames import Json


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
def test_pages_hold_all_objects_in_order(bus: Bus, names: list[str], kind: Callable[..., RawPeer]) -> None:
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
        "subscriptions_lagging": 0,
        "publishers_paused": 0,
        "calls_in_flight": 1,
        "calls_waiting": 0,
        "retained": 0,
        "totals": {
            "connections": 2,
            "refused_connections": 0,
            "calls": 4,  # hello, ghost, math, stats
            "results": 0,
            "errors": 1,
            "late_answers": 1,
            "late_items": 0,
            "published": 2,
            "delivered": 1,
            "invalid_messages": 0,
            "dropped": 0,
        },
    }


@pytest.mark.parametrize("method", ["unregister", "unsubscribe", "setWill", "clear"])
@pytest.mark.parametrize("args", [None, [], {"object_name": 1}, {"object_name": "a", "topic": "b", "more": 1}])
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
