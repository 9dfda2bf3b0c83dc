"""Names that several serve: those who share one, and those who stand by."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, refused, register, result
from tests.routing.peers import error_from, ids_of, json_peer, packed_peer, register_as, serve
from tests.seed.frames import Json

Losses = dict[str, Callable[[RawPeer], None]]


def unregister(worker: RawPeer, name: str = "math", *, keep_calls: bool = False) -> None:
    worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": name, "keep_calls": keep_calls}))
    assert result(f"{worker.prefix}u", "rob", True) in worker.receive()


LOSSES: Losses = {
    "disconnect": RawPeer.disconnect,
    "end of input": lambda worker: worker.link.end_input(),
    "unregister": unregister,
}


@pytest.fixture
def watcher(bus: Bus) -> RawPeer:
    """Is told of what is registered and lost."""
    watcher = extended_peer(bus)
    watcher.subscribe("rob", "object.registered")
    watcher.subscribe("rob", "object.lost")
    return watcher


def told(watcher: RawPeer) -> list[tuple[str, Json]]:
    """The topics and names of the events that have come."""
    events = [message["Event"] for message in watcher.receive()]
    return [(str(fields["topic"]), fields["args"]["object"]) for fields in events]  # type: ignore[index, call-overload]


# shared


def given_to(workers: list[RawPeer]) -> list[int]:
    """How many calls each has got."""
    return [len(ids_of(worker.receive())) for worker in workers]


def sharing(bus: Bus, count: int = 3, concurrency: int = 0) -> list[RawPeer]:
    workers: list[RawPeer] = [packed_peer(bus) for _ in range(count)]
    for worker in workers:
        serve(worker, "math", "shared", concurrency)
    return workers


def test_idle_members_take_turns(bus: Bus) -> None:
    workers, caller = sharing(bus), packed_peer(bus)
    order: list[int] = []
    for number in range(9):
        caller.send(call(f"{caller.prefix}{number}", "math", "add"))
        [found] = [index for index, worker in enumerate(workers) if ids_of(worker.receive())]
        order.append(found)
        workers[found].send(result(f"{caller.prefix}{number}", "math"))
        bus.settle()
    assert order[:3] * 3 == order
    assert sorted(order[:3]) == [0, 1, 2]


def test_each_call_goes_to_the_member_with_the_fewest_in_flight(bus: Bus) -> None:
    workers, caller = sharing(bus), packed_peer(bus)
    ids = [f"{caller.prefix}{number}" for number in range(20)]
    caller.send(*(call(call_id, "math", "add") for call_id in ids[:9]))
    held = [ids_of(worker.receive()) for worker in workers]
    assert [len(of_one) for of_one in held] == [3, 3, 3]
    workers[1].send(*(result(call_id, "math") for call_id in held[1]))
    bus.settle()
    caller.send(*(call(call_id, "math", "add") for call_id in ids[9:12]))
    assert given_to(workers) == [0, 3, 0]
    caller.send(*(call(call_id, "math", "add") for call_id in ids[12:15]))
    assert given_to(workers) == [1, 1, 1]


def test_a_cancelled_call_is_not_in_flight_any_more(bus: Bus) -> None:
    workers, caller, other = sharing(bus, 2), packed_peer(bus), packed_peer(bus)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(8)))
    assert given_to(workers) == [4, 4]
    caller.disconnect()
    assert given_to(workers) == [0, 0]
    other.send(*(call(f"{other.prefix}{number}", "math", "add") for number in range(8)))
    assert given_to(workers) == [4, 4]


def test_any_member_may_be_lost_and_only_its_calls_end(bus: Bus, watcher: RawPeer) -> None:
    workers, caller = sharing(bus), packed_peer(bus)
    assert told(watcher) == [("object.registered", "math")], "once, not for each"
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(3)))
    held = [ids_of(worker.receive())[0] for worker in workers]
    for worker, call_id in zip(workers[:2], held, strict=False):
        worker.disconnect()
        [answer] = map(error_from, caller.receive())
        assert (answer.call_id, answer.code, answer.delivered) == (call_id, "worker_lost", "maybe")
    assert told(watcher) == [], "it is still served"
    workers[2].send(result(held[2], "math", 42))
    assert caller.receive() == [result(held[2], "math", 42)]
    workers[2].disconnect()
    assert told(watcher) == [("object.lost", "math")]
    bus.assert_no_call_is_left()
    assert "math" not in bus.router.names


def test_a_member_alone_gets_all_calls_and_a_new_one_its_share(bus: Bus) -> None:
    [first], caller = sharing(bus, 1), packed_peer(bus)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(4)))
    assert given_to([first]) == [4]
    [second] = sharing(bus, 1)
    caller.send(*(call(f"{caller.prefix}1{number}", "math", "add") for number in range(4)))
    assert given_to([first, second]) == [0, 4]
    second.disconnect()
    caller.send(call(f"{caller.prefix}9", "math", "add"))
    assert given_to([first]) == [1]


# Who may have a name together with whom


@pytest.mark.parametrize("kind", [json_peer, packed_peer])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("exclusive", "exclusive"),
        ("exclusive", "shared"),
        ("shared", "exclusive"),
        ("standby", "exclusive"),
        ("standby", "shared"),
    ],
)
def test_a_taken_name_names_its_owner(bus: Bus, kind: Callable[..., RawPeer], first: str, second: str) -> None:
    owner = extended_peer(bus, name="calculator", credentials=Credentials(pid=1234))
    serve(owner, "math", first)
    other = kind(bus)
    other.send(register_as("math", second))
    expected = refused(
        "RegisterObject", "math", "name_taken", "the name 'math' is taken by 'calculator' (process 1234)"
    )
    expected["Error"]["data"] = {"owner": "calculator", "pid": 1234}
    assert other.receive() == [expected]
    assert other.peer.registrations == {}


def test_an_owner_that_has_told_nothing_of_itself_is_a_connection(bus: Bus) -> None:
    RawPeer(bus, "math")
    other = packed_peer(bus)
    other.send(register("math"))
    [answer] = map(error_of, other.receive())
    assert answer["message"] == "the name 'math' is taken by connection 1"
    assert answer["data"] == {"owner": "", "pid": None}


def test_a_mode_that_nobody_knows_is_refused(bus: Bus) -> None:
    peer, seed = packed_peer(bus), RawPeer(bus)
    text = "there is no mode 'greedy'; there is exclusive, shared, standby"
    for one in (peer, seed):
        one.send(register_as("math", "greedy"))
    assert peer.receive() == [refused("RegisterObject", "math", "invalid_args", text)]
    assert seed.receive() == [error(None, "math", text)]
    assert len(bus.router.names) == 0


def test_a_name_registered_again_at_the_limit_of_names_stays_its_owners() -> None:
    bus = Bus(Limits(names=1))
    peer = packed_peer(bus, "math")
    peer.register("math")
    peer.send(register("text"))
    assert error_from(peer.receive()[0]).code == "overloaded"


# standby


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", ["exclusive", "shared", "standby"])
def test_who_stands_by_takes_over_at_once_when_the_owner_is_lost(
    bus: Bus, watcher: RawPeer, mode: str, loss: str
) -> None:
    owner, second, third, caller = (packed_peer(bus) for _ in range(4))
    serve(owner, "math", mode)
    for one in (second, third):
        serve(one, "math", "standby")
    assert told(watcher) == [("object.registered", "math")]
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(ids_of(owner.receive())) == 1
    LOSSES[loss](owner)
    assert told(watcher) == [("object.lost", "math"), ("object.registered", "math")]
    assert [error_from(message).code for message in caller.receive()] == ["worker_lost"]
    caller.send(call(f"{caller.prefix}2", "math", "add"))
    assert ids_of(second.receive()) == [f"{caller.prefix}2"]
    LOSSES[loss](second)
    assert told(watcher) == [("object.lost", "math"), ("object.registered", "math")]
    caller.send(call(f"{caller.prefix}3", "math", "add"))
    assert ids_of(third.receive()) == [f"{caller.prefix}3"]
    third.disconnect()
    assert told(watcher) == [("object.lost", "math")]
    caller.disconnect()
    bus.assert_no_call_is_left()


@pytest.mark.parametrize("loss", LOSSES)
def test_who_stands_by_may_leave_without_a_word(bus: Bus, watcher: RawPeer, loss: str) -> None:
    owner, second, third = packed_peer(bus, "math"), packed_peer(bus), packed_peer(bus)
    for one in (second, third):
        serve(one, "math", "standby")
    LOSSES[loss](second)
    assert told(watcher) == [("object.registered", "math")]
    owner.disconnect()
    assert told(watcher) == [("object.lost", "math"), ("object.registered", "math")]
    name = bus.router.names.find("math")
    assert name is not None
    assert [one.peer for one in name.members] == [third.peer]
    assert not name.standby


def test_the_first_to_stand_by_where_nobody_is_serves_at_once(bus: Bus, watcher: RawPeer) -> None:
    worker = packed_peer(bus)
    serve(worker, "math", "standby")
    assert told(watcher) == [("object.registered", "math")]
    caller = packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(ids_of(worker.receive())) == 1


def test_one_of_those_who_share_may_be_lost_without_a_takeover(bus: Bus, watcher: RawPeer) -> None:
    workers, standby = sharing(bus, 2), packed_peer(bus)
    serve(standby, "math", "standby")
    workers[0].disconnect()
    assert told(watcher) == [("object.registered", "math")]
    caller = packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    assert len(ids_of(workers[1].receive())) == 1
    assert standby.receive() == []


# unregister


def test_calls_kept_by_their_worker_are_answered_after_the_name_was_given_up(bus: Bus, watcher: RawPeer) -> None:
    worker, caller = packed_peer(bus, "math"), packed_peer(bus)
    call_id = f"{caller.prefix}1"
    caller.send(call(call_id, "math", "add"))
    assert ids_of(worker.receive()) == [call_id]
    unregister(worker, keep_calls=True)
    assert told(watcher) == [("object.registered", "math"), ("object.lost", "math")]
    assert caller.receive() == []
    packed_peer(bus, "math")
    worker.send(result(call_id, "math", 42))
    assert caller.receive() == [result(call_id, "math", 42)]
    bus.assert_no_call_is_left()


def test_kept_calls_still_end_with_their_workers_connection(bus: Bus) -> None:
    worker, caller = packed_peer(bus, "math"), packed_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    bus.settle()
    unregister(worker, keep_calls=True)
    worker.disconnect()
    assert [error_from(message).code for message in caller.receive()] == ["worker_lost"]
    bus.assert_no_call_is_left()


def test_a_worker_that_the_errors_of_its_own_calls_end_while_it_unregisters_leaves_nothing_behind() -> None:
    """It called itself, and reads nothing: what it is told of its lost calls fills its outbox."""
    bus = Bus(Limits(outbox=5000))
    worker = packed_peer(bus, "math", "text")
    worker.send(*(call(f"{worker.prefix}{number}", "math", "add") for number in range(40)))
    worker.receive()
    worker.link.stop_taking()
    worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": "math"}))
    bus.settle()
    assert worker.peer.closing
    bus.assert_empty()


def test_a_half_closed_seed_peer_that_its_own_waiting_calls_end_leaves_nothing_behind(bus: Bus) -> None:
    peer = RawPeer(bus)
    serve(peer, "math", concurrency=1)
    peer.register("text")
    peer.send(call("1", "math", "add"), call("2", "math", "add"))
    assert ids_of(peer.receive()) == ["1"]
    peer.link.end_input()
    assert [error["Error"]["call_id"] for error in peer.receive()] == ["1", "2"]
    assert peer.ended
    bus.assert_empty()
