"""The broker stops: it says goodbye, waits for the calls in flight, and ends."""

from __future__ import annotations

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error_of, result
from tests.routing.peers import json_peer, serve
from tests.seed.frames import Message

GOODBYE: Message = {"Goodbye": {"reason": "the broker stops"}}


def stop(bus: Bus) -> None:
    bus.router.say_goodbye("the broker stops")
    bus.flush()


def close(bus: Bus) -> None:
    bus.router.close(bus.now)
    bus.flush()


def test_calls_end_as_before_also_new_ones() -> None:
    bus = Bus()
    worker, caller, seed = extended_peer(bus, "math"), extended_peer(bus), RawPeer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    stop(bus)
    assert worker.receive() == [GOODBYE]
    worker.send(result(f"{caller.prefix}1", "math", 1))
    assert caller.receive() == [GOODBYE, result(f"{caller.prefix}1", "math", 1)]
    seed.send(call("7", "math", "add"))
    [given] = worker.receive()
    worker.send(result(given["Call"]["call_id"], "math", 2))  # type: ignore[arg-type]  # it is text
    assert seed.receive() == [result("7", "math", 2)]
    bus.assert_no_call_is_left()


def test_who_says_hello_now_hears_it_too() -> None:
    bus = Bus()
    late = RawPeer(bus)
    stop(bus)
    late.prefix = "so that it may be answered with more than a seed peer"
    late.send(call("h", "rob", "hello", {"name": "late"}))
    answer, goodbye = late.receive()
    assert "Result" in answer
    assert goodbye == GOODBYE


def test_a_will_that_is_set_now_is_not_published() -> None:
    bus = Bus()
    mortal, listener = extended_peer(bus), extended_peer(bus)
    listener.subscribe("status", "mortal")
    stop(bus)
    mortal.send(call(f"{mortal.prefix}1", "rob", "setWill", {"object_name": "status", "topic": "mortal", "args": 1}))
    assert len(mortal.receive()) == 2
    mortal.disconnect()
    close(bus)
    assert listener.receive() == [GOODBYE]


def test_in_the_end_every_call_ends_with_one_error_and_every_connection() -> None:
    bus = Bus()
    worker, line = json_peer(bus, "math"), json_peer(bus)
    serve(line, "line", concurrency=1)
    caller, seed = json_peer(bus), RawPeer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(4)]
    caller.send(
        *(call(call_id, name, "add") for call_id, name in zip(ids, ["math", "math", "line", "line"], strict=True))
    )
    seed.send(call("7", "math", "add"))
    seed.link.end_input()
    bus.settle()
    assert bus.router.calls.in_flight == 5
    stop(bus)
    close(bus)
    goodbye, *errors = caller.receive()
    assert goodbye == GOODBYE
    assert sorted(str(error_of(error)["call_id"]) for error in errors) == ids
    assert {error_of(error)["code"] for error in errors} == {"worker_lost"}
    [error] = seed.receive()
    assert error_of(error)["call_id"] == "7"
    assert all(peer.ended for peer in (worker, line, caller, seed))
    assert not bus.router.peers
    bus.assert_no_call_is_left()


def test_a_caller_that_is_its_own_worker_ends_too() -> None:
    bus = Bus()
    peer = extended_peer(bus, "math")
    peer.send(call(f"{peer.prefix}1", "math", "add"))
    assert len(peer.receive()) == 1
    stop(bus)
    close(bus)
    assert peer.receive()[0] == GOODBYE
    assert peer.ended
    bus.assert_no_call_is_left()


def test_nobody_is_told_of_all_the_names_that_go() -> None:
    bus = Bus()
    watcher = extended_peer(bus)
    for number in range(20):
        extended_peer(bus, f"object{number}")
    watcher.subscribe("rob", "object.lost")
    stop(bus)
    close(bus)
    assert watcher.receive() == [GOODBYE]
    assert not len(bus.router.names)


def test_a_connection_too_many_is_not_told_twice() -> None:
    bus = Bus(Limits(connections=1))
    peer, refused = extended_peer(bus), RawPeer(bus)
    stop(bus)
    close(bus)
    refused.prefix = "so that all fields are shown"
    assert [next(iter(message)) for message in refused.receive()] == ["Error"]
    assert peer.receive() == [GOODBYE]
