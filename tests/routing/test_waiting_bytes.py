"""What the calls that wait for room at one name may hold of the broker's memory."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import call, result
from tests.routing.peers import call_with, cancel, credit, error_from, ids_of, json_peer, serve
from tests.seed.frames import frame, frame_of


def big_calls(caller: RawPeer, numbers: range, size: int) -> None:
    caller.send(*(call(f"{caller.prefix}{number}", "math", "add", "x" * size) for number in numbers))
    caller.bus.settle()


def test_those_who_wait_hold_so_many_bytes_at_most() -> None:
    bus = Bus(Limits(outbox=10_000))
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "math", concurrency=1)
    big_calls(caller, range(11), 1000)
    refused = [error_from(message) for message in caller.receive()]
    assert [error.call_id for error in refused] == [f"{caller.prefix}10"]
    assert (refused[0].code, refused[0].delivered) == ("overloaded", "no")
    assert "calls of 'math' wait for room at its workers" in refused[0].message
    assert refused[0].message.endswith("over the limit of 10000 (outbox)")
    [given] = ids_of(worker.receive())
    worker.send(result(given, "math"))  # one goes, and one may come
    caller.receive()
    big_calls(caller, range(11, 13), 1000)
    assert [error_from(message).call_id for message in caller.receive()] == [f"{caller.prefix}12"]
    cancelled = f"{caller.prefix}5"
    caller.send(cancel(cancelled))
    big_calls(caller, range(13, 15), 1000)
    assert [error_from(message).call_id for message in caller.receive()] == [f"{caller.prefix}14"]
    name = bus.router.names.find("math")
    assert name is not None
    assert name.waiting_bytes == sum(len(frame) for _, frame in name.waiting.values())
    caller.disconnect()
    assert (name.waiting_bytes, len(name.waiting)) == (0, 0)


@pytest.mark.parametrize("end", ["answer", "cancel"])
def test_credit_that_a_waiting_call_is_given_changes_its_bytes(bus: Bus, end: str) -> None:
    """Its frame is put together anew then, without the space that its caller had left in it."""
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "logs", concurrency=1)
    first, second = f"{caller.prefix}1", f"{caller.prefix}2"
    body = frame(call_with(second, "logs", "tail", credit=1))[4:]
    caller.send(call(first, "logs", "tail"))
    caller.send_bytes(frame_of(body[:-1] + b" " * 1000 + body[-1:]))
    caller.send(credit(second, 10**9))
    bus.settle()
    name = bus.router.names.find("logs")
    assert name is not None
    [(_, waits)] = name.waiting.values()
    assert name.waiting_bytes == len(waits)
    if end == "answer":
        worker.send(result(first, "logs"))
    else:
        caller.send(cancel(second))
    bus.settle()
    assert (name.waiting_bytes, len(name.waiting)) == (0, 0)


def test_one_of_any_size_may_wait() -> None:
    bus = Bus(Limits(outbox=1000))
    worker, caller = json_peer(bus), json_peer(bus)
    serve(worker, "math", concurrency=1)
    big_calls(caller, range(1), 10)
    big_calls(caller, range(1, 2), 5000)
    assert caller.receive() == []
    big_calls(caller, range(2, 3), 10)
    [message] = caller.receive()
    assert "(outbox)" in error_from(message).message
