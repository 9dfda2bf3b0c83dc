"""Who may call a worker without the broker between, and when that ends."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_broker.config import Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.routing.direct import MOST_SERVED
from ipc_broker.security.policy import Policy
from ipc_broker.security.principal import Principal
from tests.memory import Bus, RawPeer
from tests.messages import call, result
from tests.routing.peers import ALL_FEATURES, PackedPeer, call_with, register_as, serve, stats
from tests.seed.frames import Json, Message

FEATURES: list[Json] = [*ALL_FEATURES, "direct"]


class Process(PackedPeer):
    """A process of this machine, of the broker's own user unless it is told otherwise."""

    def __init__(self, bus: Bus, *names: str, pid: int | None = 100, principal: Any = None, **hello: Json) -> None:
        where = hello.pop("where", "")
        credentials = Credentials(pid=pid, uid=1000, address=str(where))
        arguments = {} if principal is None else {"principal": principal}
        RawPeer.__init__(self, bus, credentials=credentials, **arguments)
        fields: dict[str, Json] = {"encodings": ["msgpack"], "features": FEATURES, **hello}
        assert "Result" in self.hello(**fields)
        self.register(*names)

    def ask(self, object_name: str = "it") -> Json:
        """What it is told of a direct way."""
        self.send(call(f"{self.prefix}ask", "rob", "direct", {"object_name": object_name}))
        [answer] = [one for one in self.receive() if one.get("Result", {}).get("call_id") == f"{self.prefix}ask"]
        return answer["Result"]["value"]

    def begin(self, object_name: str = "it", address: str = "where") -> None:
        self.send({"Direct": {"object_name": object_name, "address": address}})


def worker_of(bus: Bus, *names: str, pid: int = 200, **hello: Json) -> Process:
    return Process(bus, *(names or ("it",)), pid=pid, **{"direct": "where", **hello})


def told(peer: RawPeer) -> list[Message]:
    """What has come about direct calls."""
    return [one for one in peer.receive() if "Direct" in one or "DirectEnded" in one]


ENDED: Message = {"DirectEnded": {}}
LOST: Message = {"DirectEnded": {"address": "where"}}
REFUSED: Message = {"DirectEnded": {"address": "where", "refused": True}}


def directed(bus: Bus) -> tuple[Process, Process]:
    """A caller and a worker that talk directly."""
    worker, caller = worker_of(bus), Process(bus)
    assert caller.ask() == {"address": "where", "pid": 200}
    caller.begin()
    assert told(caller) == []
    assert told(worker) == [{"Direct": {"object_name": "it", "address": "where", "prefix": caller.prefix, "pid": 100}}]
    assert bus.router.directs.of("it") == 1
    return caller, worker


def nothing_is_left(bus: Bus) -> None:
    directs = bus.router.directs
    assert (directs._of_object, directs._of_peer, directs.leaving) == ({}, {}, set())


def test_the_worker_is_told_who_calls_before_it_is_told_that_they_may() -> None:
    bus = Bus()
    worker, caller = worker_of(bus), Process(bus, name="somebody")
    caller.send(call(f"{caller.prefix}1", "it", "add"))
    caller.begin()
    assert [next(iter(one)) for one in worker.receive()] == ["Caller", "Call", "Direct"], "behind earlier calls"
    caller.begin()
    assert len(told(worker)) == 1
    assert bus.router.directs.of("it") == 1


@pytest.mark.parametrize(
    "caller",
    [
        {"features": ALL_FEATURES},
        {"encodings": ["json"]},
        {"pid": None},
        {"where": "127.0.0.1:4711"},
        {"principal": Principal(user="somebody", uid=1001)},
        {"principal": Principal(token="theirs")},
    ],
    ids=str,
)
def test_nobody_is_offered_it_who_is_no_process_of_this_user(caller: dict[str, Any]) -> None:
    bus = Bus(quotas=Quotas(calls=5))
    worker_of(bus)
    if caller.get("encodings") == ["json"]:
        peer = RawPeer(bus, credentials=Credentials(pid=100, uid=1000))
        peer.hello(features=FEATURES)
        peer.send(call(f"{peer.prefix}ask", "rob", "direct", {"object_name": "it"}))
        assert peer.receive() == [result(f"{peer.prefix}ask", "rob", None)]
        peer.send({"Direct": {"object_name": "it", "address": "where"}})
        assert peer.receive() == [REFUSED]
    else:
        process = Process(bus, **caller)
        assert process.ask() is None
        process.begin()
        assert told(process) == [REFUSED]
    nothing_is_left(bus)


def test_who_shows_no_token_yet_has_to_go() -> None:
    bus = Bus()
    worker_of(bus)
    stranger = RawPeer(bus, credentials=Credentials(pid=100, uid=1000), principal=None)
    stranger.send(call("1", "rob", "direct", {"object_name": "it"}))
    stranger.receive()
    assert stranger.ended
    nothing_is_left(bus)


def test_a_seed_peer_knows_nothing_of_it() -> None:
    bus = Bus()
    seed = RawPeer(bus, "old", credentials=Credentials(pid=100, uid=1000))
    seed.send({"Direct": {"object_name": "it", "address": "where"}})
    assert all("DirectEnded" not in one for one in seed.receive())
    caller = Process(bus)
    assert caller.ask("old") is None
    seed.send(call("1", "rob", "direct", {"object_name": "old"}))
    assert seed.receive() == [result("1", "rob", None)]


@pytest.mark.parametrize(
    "worker",
    [
        {"direct": ""},
        {"features": ALL_FEATURES},
        {"features": [feature for feature in FEATURES if feature != "caller"]},
        {"pid": None},
        {"where": "127.0.0.1:4711"},
        {"principal": Principal(user="somebody", uid=1001)},
    ],
    ids=str,
)
def test_a_worker_that_takes_none_is_not_offered(worker: dict[str, Any]) -> None:
    bus = Bus()
    Process(bus, "it", **{"pid": 200, "direct": "where", **worker})
    caller = Process(bus)
    assert caller.ask() is None
    caller.begin()
    assert told(caller) == [REFUSED]


def test_nor_one_that_shares_the_name_or_takes_only_so_many() -> None:
    bus = Bus()
    caller, worker = Process(bus), worker_of(bus, "free")
    serve(worker, "shared", "shared")
    serve(worker, "capped", concurrency=1)
    assert [caller.ask(name) for name in ("shared", "capped", "nobody", "rob")] == [None] * 4
    assert worker.ask("free") is None, "itself"
    assert caller.ask("free") is not None


def test_another_address_than_the_workers_is_refused() -> None:
    bus = Bus()
    caller, worker = Process(bus), worker_of(bus)
    caller.begin(address="elsewhere")
    assert told(caller) == [{"DirectEnded": {"address": "elsewhere", "refused": True}}]
    caller.begin("nobody")
    assert told(caller) == [REFUSED]
    assert told(worker) == []


# How it ends


def test_callers_of_a_worker_that_is_gone_are_told() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    worker.disconnect()
    assert told(caller) == [LOST]
    nothing_is_left(bus)
    assert caller.ask() is None


def test_the_worker_of_a_caller_that_is_gone_is_told() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    caller.disconnect()
    assert {"CallerGone": {"prefix": caller.prefix}} in worker.receive()
    nothing_is_left(bus)


def test_a_frozen_worker_is_found_by_its_heartbeat() -> None:
    bus = Bus()
    worker, caller = worker_of(bus, features=[*FEATURES, "heartbeat"]), Process(bus)
    caller.begin()
    bus.settle()
    bus.advance(3 * bus.router.limits.heartbeat + 1)
    assert LOST in told(caller)
    assert worker.ended
    nothing_is_left(bus)


def monitor(bus: Bus) -> tuple[Process, str]:
    looker = Process(bus)
    looker.send(call_with(f"{looker.prefix}m", "rob", "monitor", credit=100_000))
    looker.receive()
    return looker, f"{looker.prefix}m"


def test_while_somebody_looks_all_calls_come_by() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    looker, call_id = monitor(bus)
    assert told(worker) == [ENDED]
    assert caller.ask() is None
    caller.begin()
    assert told(caller) == [REFUSED]
    looker.send({"Cancel": {"call_id": call_id}})
    looker.receive()
    assert caller.ask() == {"address": "where", "pid": 200}


def test_when_the_policy_is_replaced_all_calls_come_by_and_who_may_not_any_more_is_not_let_in() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    bus.flush()
    assert told(worker) == [ENDED]
    assert caller.ask() is not None
    somebody = Process(bus, principal=Principal(user="somebody", uid=1001))
    assert somebody.ask() is None


def test_a_worker_that_gives_the_name_up_or_takes_only_so_many_is_called_by_the_broker() -> None:
    for change in ("unregister", "concurrency"):
        bus = Bus()
        _, worker = directed(bus)
        if change == "unregister":
            worker.send(call(f"{worker.prefix}u", "rob", "unregister", {"object_name": "it"}))
        else:
            worker.send(register_as("it", concurrency=3))
        assert told(worker) == [ENDED]
        assert bus.router.directs.of("it") == 0
        worker.send(ENDED)
        bus.settle()
        nothing_is_left(bus)


def test_other_changes_end_nothing() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    serve(worker, "another")
    worker.send(register_as("it"))
    standby = worker_of(bus, "third", pid=300)
    serve(standby, "it", "standby")
    assert told(worker) == []
    assert bus.router.directs.of("it") == 1
    worker.disconnect()
    assert told(caller) == [LOST]
    assert caller.ask() == {"address": "where", "pid": 300}


def test_a_worker_that_calls_others_keeps_that_when_its_own_callers_have_to_go() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    other = worker_of(bus, "other", pid=300)
    worker.begin("other")
    assert len(told(other)) == 1
    worker.send(register_as("it", concurrency=3))
    assert told(worker) == [ENDED]
    assert told(other) == []
    assert (bus.router.directs.of("it"), bus.router.directs.of("other")) == (0, 1)
    caller.disconnect()
    worker.disconnect()
    other.disconnect()
    nothing_is_left(bus)


def test_names_that_come_and_go_leave_nothing() -> None:
    bus = Bus()
    caller, worker = Process(bus), worker_of(bus)
    for number in range(50):
        serve(worker, f"name{number}")
        caller.begin(f"name{number}")
        bus.settle()
        worker.send(call(f"{worker.prefix}u{number}", "rob", "unregister", {"object_name": f"name{number}"}))
        worker.send(ENDED)
        bus.settle()
        nothing_is_left(bus)


def test_a_broker_that_stops_waits_until_its_workers_have_answered_all() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    bus.router.say_goodbye("it stops")
    bus.flush()
    assert told(worker) == [ENDED]
    assert bus.router.is_busy
    caller.begin()
    assert told(caller) == [REFUSED]
    worker.send(ENDED)
    bus.settle()
    assert not bus.router.is_busy


def test_nor_does_it_wait_for_one_that_is_lost() -> None:
    bus = Bus()
    _, worker = directed(bus)
    bus.router.say_goodbye("it stops")
    worker.disconnect()
    assert not bus.router.is_busy


# What is told and counted


def test_how_many_callers_may_call_directly_is_told() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    another = Process(bus)
    another.begin()
    asker = Process(bus)
    asker.send(
        call(f"{asker.prefix}d", "rob", "describe", {"object": "it"}), call(f"{asker.prefix}i", "rob", "inspect")
    )
    described, inspected = (message["Result"]["value"] for message in asker.receive())
    assert [owner["direct"] for owner in described["owners"]] == [2]  # type: ignore[index, union-attr, call-overload]
    assert inspected["direct"] == 2  # type: ignore[index, call-overload]
    caller.disconnect()
    worker.disconnect()
    assert bus.router.directs.callers == 0


def test_calls_that_it_did_not_see_are_counted_as_the_worker_tells() -> None:
    bus = Bus()
    _, worker = directed(bus)
    totals = bus.router.totals
    before = totals.calls, totals.results, totals.errors
    worker.send({"Served": {"calls": 10, "errors": 3}})
    bus.settle()
    assert (totals.calls, totals.results, totals.errors) == (before[0] + 10, before[1] + 7, before[2] + 3)


def test_counts_that_nobody_can_have_are_not_believed() -> None:
    bus = Bus()
    caller, worker = directed(bus)
    totals = bus.router.totals
    for liar in (caller, Process(bus, principal=Principal(user="somebody", uid=1001), direct="x")):
        before = totals.calls
        liar.send({"Served": {"calls": 10, "errors": 3}})
        bus.settle()
        assert totals.calls == before
    for _ in range(3000):
        worker.send({"Served": {"calls": 2**53 - 1, "errors": 2**53 - 1}})
    bus.settle()
    assert totals.calls <= 3000 * MOST_SERVED + 100
    assert totals.errors <= totals.calls
    assert stats(caller)["version"], "which has to be sent still"
