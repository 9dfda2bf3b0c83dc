"""Workers that ask for it are told who calls: once, before the first call, and once more when the caller has gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.credentials import Credentials
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, result
from tests.routing.peers import call_with, ids_of, json_peer, packed_peer, serve
from tests.seed.frames import Json, Message

KINDS: list[Callable[..., RawPeer]] = [json_peer, packed_peer]


@pytest.fixture
def worker(bus: Bus) -> RawPeer:
    return packed_peer(bus, "math", "text", features=["caller"])


def caller_message(peer: RawPeer, **fields: Json) -> Message:
    return {"Caller": {"prefix": f"{peer.peer.id}.", **fields}}


def gone(peer: RawPeer) -> Message:
    return {"CallerGone": {"prefix": f"{peer.peer.id}."}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_is_told_who_calls_before_the_first_call_and_never_again(
    bus: Bus, worker: RawPeer, kind: Callable[..., RawPeer]
) -> None:
    caller = kind(bus, name="thermostat", pid=99)
    ids = [f"{caller.prefix}{number}" for number in range(3)]
    caller.send(call(ids[0], "math", "add"), call(ids[1], "text", "upper"))
    who, *calls = worker.receive()
    assert who == caller_message(caller, name="thermostat", pid=99)
    assert ids_of(calls) == ids[:2]
    worker.send(result(ids[0], "math"), result(ids[1], "text"))
    bus.settle()
    caller.send(call(ids[2], "math", "add"))
    [given] = worker.receive()
    assert ids_of([given]) == [ids[2]]
    caller.disconnect()
    assert worker.receive() == [gone(caller)]
    assert not worker.peer.knows


def test_what_the_transport_saw_of_a_caller_is_told(bus: Bus, worker: RawPeer) -> None:
    caller = extended_peer(bus, name="root", credentials=Credentials(pid=4711, uid=0))
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert worker.receive()[0] == caller_message(caller, name="root", uid=0, pid=4711)


def test_what_the_system_tells_of_a_caller_counts_and_not_what_it_says_itself(bus: Bus, worker: RawPeer) -> None:
    caller = RawPeer(bus, credentials=Credentials(uid=1000, gid=1000, pid=4711))
    caller.hello(pid=1, uid=0)
    caller.send(call(f"{caller.prefix}1", "math", "f"))
    told = worker.receive()[0]["Caller"]
    assert (told["uid"], told["pid"]) == (1000, 4711)


def test_a_seed_caller_has_a_prefix_too(bus: Bus, worker: RawPeer) -> None:
    caller = RawPeer(bus, credentials=Credentials(pid=4711))
    caller.send(call("any id", "math", "add"))
    who, given = worker.receive()
    assert who == caller_message(caller, pid=4711)
    assert ids_of([given])[0].startswith(f"{caller.peer.id}.")
    caller.disconnect()
    assert worker.receive() == [gone(caller)]


def test_a_worker_that_did_not_ask_for_it_is_not_told(bus: Bus) -> None:
    workers = [RawPeer(bus, "a"), json_peer(bus, "b", features=["cancel"]), packed_peer(bus, "c", features=[])]
    caller = packed_peer(bus)
    for name in ("a", "b", "c"):
        caller.send(call(f"{caller.prefix}{name}", name, "add"))
    for worker in workers:
        assert [next(iter(message)) for message in worker.receive()] == ["Call"]
    caller.disconnect()
    assert [next(iter(message)) for worker in workers for message in worker.receive()] == ["Cancel"]


def test_each_worker_is_told_for_itself(bus: Bus, worker: RawPeer) -> None:
    other, bystander = packed_peer(bus, "other"), packed_peer(bus, "third")
    caller = packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"), call(f"{caller.prefix}2", "other", "x"))
    for told in (worker, other):
        assert [next(iter(message)) for message in told.receive()] == ["Caller", "Call"]
    caller.disconnect()
    assert worker.receive() == [gone(caller)]
    assert [next(iter(message)) for message in other.receive()] == ["Cancel", "CallerGone"]
    assert bystander.receive() == []


def test_a_refused_call_introduces_nobody(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call("wrong", "math", "add"), call_with(f"{caller.prefix}1", "math", "add", "x" * 70_000))
    assert [next(iter(message)) for message in caller.receive()] == ["Error", "Error"]
    assert worker.receive() == []
    caller.disconnect()
    assert worker.receive() == []


def test_a_caller_is_introduced_when_its_call_has_waited_for_room(bus: Bus) -> None:
    worker, first, second = packed_peer(bus), packed_peer(bus), packed_peer(bus)
    serve(worker, "math", concurrency=1)
    first.send(call(f"{first.prefix}1", "math", "add"))
    bus.settle()
    second.send(call(f"{second.prefix}1", "math", "add"))
    assert [next(iter(message)) for message in worker.receive()] == ["Caller", "Call"]
    worker.send(result(f"{first.prefix}1", "math"))
    assert worker.receive()[0] == caller_message(second)


def test_a_lost_worker_is_forgotten_by_those_it_knew(bus: Bus, worker: RawPeer) -> None:
    caller = packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    bus.settle()
    assert caller.peer.known_to == {worker.peer}
    worker.disconnect()
    assert not caller.peer.known_to
    again = packed_peer(bus, "math")
    caller.send(call(f"{caller.prefix}2", "math", "add"))
    assert [next(iter(message)) for message in again.receive()] == ["Caller", "Call"]
    caller.disconnect()
    again.disconnect()
    bus.assert_empty()


def test_a_worker_that_calls_itself_is_told_of_itself(bus: Bus, worker: RawPeer) -> None:
    worker.send(call(f"{worker.prefix}1", "math", "add"))
    assert worker.receive()[0] == caller_message(worker)
    worker.disconnect()
    bus.assert_empty()


def test_a_half_closed_seed_caller_is_gone_when_its_last_answer_has_come(bus: Bus, worker: RawPeer) -> None:
    caller = RawPeer(bus)
    caller.send(call("1", "math", "add"))
    [call_id] = ids_of(worker.receive())
    caller.link.end_input()
    assert worker.receive() == []
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result("1", "math", 42)]
    assert worker.receive() == [gone(caller)]
