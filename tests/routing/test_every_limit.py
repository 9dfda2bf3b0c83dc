"""Each limit of config.py is reached once: who reaches it gets an error that names it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import call, register, result, subscribe
from tests.routing.peers import error_from, json_peer, serve
from tests.routing.subscribers import PAUSE, PLENTY, RESUME, ask, publish_with, subscribe_to, told
from tests.seed.frames import Message

LARGE = "x" * 1000


def connections() -> Message:
    bus = Bus(Limits(connections=1))
    RawPeer(bus)
    refused = RawPeer(bus)
    bus.flush()
    refused.prefix = "so that all fields are shown"
    return refused.receive()[-1]


def max_frame() -> Message:
    peer = json_peer(Bus(Limits(max_frame=65_536)))
    peer.send(call(f"{peer.prefix}1", "math", "add", "x" * 65_536))
    return peer.receive()[-1]


def backlog() -> Message:
    peer = json_peer(Bus(Limits(backlog=1000)))
    subscribe_to(peer, "sensor", "heat", 1, 0, overflow="disconnect")
    peer.send(*(publish_with("sensor", "heat", LARGE) for _ in range(2)))
    return peer.receive()[-1]


def outbox_of_a_worker() -> Message:
    bus = Bus(Limits(outbox=1000))
    worker, caller = json_peer(bus, "math"), json_peer(bus)
    worker.link.stop_taking()
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add", LARGE) for number in range(3)))
    return caller.receive()[-1]


def outbox_of_those_who_wait() -> Message:
    bus = Bus(Limits(outbox=1500))
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "math", concurrency=1)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add", LARGE) for number in range(3)))
    return caller.receive()[-1]


def outbox_of_answers() -> Message:
    bus = Bus(Limits(outbox=1000))
    worker, caller = json_peer(bus, "math"), json_peer(bus)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(3)))
    worker.receive()
    caller.link.stop_taking()
    worker.send(*(result(f"{caller.prefix}{number}", "math", LARGE) for number in range(3)))
    bus.settle()
    caller.link.take_again()
    return caller.receive()[-1]


def outbox_of_events() -> Message:
    bus = Bus(Limits(outbox=1000))
    subscriber, publisher = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "heat", 1, PLENTY)
    subscriber.link.stop_taking()
    publisher.send(*(publish_with("sensor", "heat", LARGE) for _ in range(3)))
    bus.settle()
    subscriber.link.take_again()
    return subscriber.receive()[-1]


def names() -> Message:
    peer = json_peer(Bus(Limits(names=1)), "math")
    peer.send(register("text"))
    return peer.receive()[-1]


def subscriptions() -> Message:
    peer = json_peer(Bus(Limits(subscriptions=1)))
    peer.send(subscribe("sensor", "heat"), subscribe("sensor", "light"))
    return peer.receive()[-1]


def calls() -> Message:
    bus = Bus(Limits(calls=1))
    _, caller = json_peer(bus, "math"), json_peer(bus)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(2)))
    return caller.receive()[-1]


def waiting() -> Message:
    bus = Bus(Limits(waiting=1))
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "math", concurrency=1)
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add") for number in range(3)))
    return caller.receive()[-1]


def retained() -> Message:
    peer = json_peer(Bus(Limits(retained=1000)))
    peer.send(publish_with("sensor", "heat", LARGE, retain=True, call_id=f"{peer.prefix}1"))
    return peer.receive()[-1]


REACHED: dict[Callable[[], Message], str] = {
    connections: "connections",
    backlog: "backlog",
    outbox_of_a_worker: "outbox",
    outbox_of_those_who_wait: "outbox",
    outbox_of_answers: "outbox",
    outbox_of_events: "outbox",
    names: "names",
    subscriptions: "subscriptions",
    calls: "calls",
    waiting: "waiting",
    retained: "retained",
}
OTHERWISE = {"max_frame", "stall", "heartbeat", "resume"}
"""Which are no errors `overloaded`, but the tests at the end."""


def test_no_limit_is_left_out() -> None:
    assert {*REACHED.values(), *OTHERWISE} == {field.name for field in msgspec.structs.fields(Limits)}


@pytest.mark.parametrize("reach", REACHED, ids=lambda reach: reach.__name__)
def test_the_error_is_overloaded_and_names_the_limit(reach: Callable[[], Message]) -> None:
    refused = error_from(reach())
    assert refused.code == "overloaded"
    assert f"({REACHED[reach]})" in refused.message


def test_a_frame_over_the_limit_is_an_error_with_size_and_limit() -> None:
    refused = error_from(max_frame())
    assert refused.code == "too_large"
    assert refused.message.startswith("a frame of 656")
    assert refused.message.endswith(" bytes is over the limit of 65536 bytes")


def test_the_limit_of_a_stall_ends_the_wait_of_publishers_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(Limits(backlog=1000, stall=3.0))
    subscriber, publisher = json_peer(bus), json_peer(bus)
    subscribe_to(subscriber, "sensor", "heat", 1, 0)
    publisher.send(*(publish_with("sensor", "heat", LARGE) for _ in range(2)))
    bus.advance(2.9)
    assert publisher.receive() == [PAUSE]
    bus.advance(0.2)
    assert publisher.receive() == [RESUME]
    assert "has taken nothing for 3 s" in caplog.text


def test_the_limit_of_heartbeats_is_named_to_who_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(Limits(heartbeat=4.0))
    peer = json_peer(bus, features=["heartbeat"])
    bus.advance(5)
    assert peer.receive()[-1] == {"Goodbye": {"reason": "nothing has come from it for 4 s (heartbeat)"}}
    assert "(heartbeat)" in caplog.text


@pytest.mark.parametrize(("away", "missed"), [(4.9, 1), (5.1, None)])
def test_the_limit_of_resuming_is_that_of_what_is_counted(
    away: float, missed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bus = Bus(Limits(resume=5.0))
    lost, publisher = json_peer(bus), json_peer(bus)
    subscribe_to(lost, "sensor", "heat", 1)
    token = lost.peer.token
    lost.disconnect()
    publisher.send(publish_with("sensor", "heat", 1))
    bus.advance(away)
    again = json_peer(bus, session=token)
    assert subscribe_to(again, "sensor", "heat", 1, seen=0).get("missed") == missed
    assert told(again.receive()) == []
    assert ask(publisher, "ping") == "pong"
    assert not caplog.records
