"""Calls of a blocking client that go to their worker without the broker on their way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from ipc_broker import Broker, errors
from ipc_broker.identity.direct import AVAILABLE
from ipc_broker.messages import DirectOffer
from ipc_broker.protocol.connection import Connection
from ipc_broker.session.direct import ASK_AFTER, Path
from ipc_broker.sync import Client, connect
from ipc_broker.sync import direct as sync_direct
from ipc_broker.sync.transport import SocketTransport
from tests.sync.bus import PATIENCE, Bus, InThread

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="only Linux has sockets without a file")


def path_of(client: Client, object_name: str = "echo") -> Path | None:
    return client.link.session.directs._paths.get(object_name)


def go_direct(client: Client, object_name: str = "echo", method: str = "back", args: object = None) -> Path:
    """Calls until the calls of this object go directly: a worker that is asked lets us in when it comes to it."""
    for _ in range(ASK_AFTER):
        client.call(object_name, method, args)
    for _ in range(100_000):
        path = path_of(client, object_name)
        if path is not None:
            client.call(object_name, method, args)
            return path
        client.call(object_name, method, args)
    raise AssertionError("the worker has not let us in")


def at_gate(bus: Bus, client: Client) -> Path:
    """Calls of the gate go directly; "open" is open."""
    bus.open("open")
    return go_direct(client, "gate", "wait", ["open"])


def callers(bus: Bus) -> int:
    direct = bus._worker._direct
    assert direct is not None

    async def count() -> int:
        return len(direct._callers)

    return bus.do(count())


def seen_by_broker(bus: Bus) -> int:
    async def count() -> int:
        [broker] = [one for one in brokers_of(bus) if one.router.peers]
        return broker.router.totals.calls - broker.router.driver.calls

    return bus.do(count())


def brokers_of(bus: Bus) -> Iterator[Broker]:
    for _, callback in bus._brokers._exit_callbacks:  # type: ignore[attr-defined]
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, Broker):
            yield owner


def until(condition: Callable[[], object]) -> None:
    """Asks again and again."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        waiting.wait(0.005)
    raise AssertionError("it did not come to that")


def test_calls_go_directly_and_are_answered_as_before(our_bus: Bus, our_client: Client) -> None:
    path = go_direct(our_client)
    assert callers(our_bus) == 1
    for number in range(200):
        assert our_client.call("echo", "back", number) == number
    with pytest.raises(errors.RemoteError):
        our_client.call("echo", "fail", "why")
    with pytest.raises(errors.CallError, match="has no method 'nothing'"):
        our_client.call("echo", "nothing")
    assert path_of(our_client) is path
    assert not path.in_flight


def test_threads_call_at_once_and_one_at_a_time_goes_directly(our_bus: Bus, our_client: Client) -> None:
    def call_often(thread: int) -> list[object]:
        return [our_client.call("echo", "back", [f"{thread}/{number}"]) for number in range(300)]

    threads = [InThread(lambda thread=thread: call_often(thread)) for thread in range(8)]  # type: ignore[misc]
    for thread, running in enumerate(threads):
        assert running.result() == [f"{thread}/{number}" for number in range(300)]
    assert repr(our_client) == f"<Client {our_bus.address} connected calls=0>"
    assert callers(our_bus) <= 1


def test_while_a_call_is_answered_others_go_through_the_broker(our_bus: Bus, our_client: Client) -> None:
    path = at_gate(our_bus, our_client)
    slow = InThread(lambda: our_client.call("gate", "wait", ["slow"]))
    our_bus.entered("slow")
    assert path.in_flight == 1
    assert our_client.call("gate", "wait", ["open"]) == "open"
    our_bus.open("slow")
    assert slow.result() == "slow"
    assert path_of(our_client, "gate") is path


def test_a_thread_that_gives_its_call_up_late_leaves_the_call_of_another_alone(
    our_bus: Bus, our_client: Client
) -> None:
    path = at_gate(our_bus, our_client)
    slow = InThread(lambda: our_client.call("gate", "wait", ["slow"]))
    our_bus.entered("slow")
    our_client.link.direct.abandon(path, "an earlier call, which was answered in the last moment")
    our_bus.open("slow")
    assert slow.result() == "slow"
    assert path_of(our_client, "gate") is path


def test_a_call_that_takes_too_long_cancels_its_method_and_the_client_goes_on(our_bus: Bus, our_client: Client) -> None:
    at_gate(our_bus, our_client)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        our_client.call("gate", "wait", ["late"], timeout=0.05)
    assert caught.value.delivered == "maybe"
    our_bus.cancelled("late")
    assert our_client.call("gate", "wait", ["open"]) == "open"
    at_gate(our_bus, our_client)


def test_ctrl_c_in_the_middle_cancels_the_method_and_the_client_goes_on(
    our_bus: Bus, our_client: Client, interruptible: None
) -> None:
    at_gate(our_bus, our_client)

    def interrupt() -> None:
        our_bus.entered("long")
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        our_client.call("gate", "wait", ["long"], timeout=PATIENCE)
    interrupting.result()
    our_bus.cancelled("long")
    assert our_client.call("gate", "wait", ["open"]) == "open"
    assert not our_client.link.session.calls_in_flight


def test_a_client_that_is_closed_ends_the_call_of_another_thread(our_bus: Bus, our_client: Client) -> None:
    at_gate(our_bus, our_client)
    calling = InThread(lambda: our_client.call("gate", "wait", ["long"]))
    our_bus.entered("long")
    our_client.close()
    assert isinstance(calling.error(), errors.ConnectionLost | errors.ClientClosed)
    our_bus.cancelled("long")
    until(lambda: callers(our_bus) == 0)


def test_a_broker_that_is_stopped_is_found_by_looking(
    our_bus: Bus, our_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives no time to calls (no grace). Nobody reads its connection while a call goes directly."""
    monkeypatch.setattr(sync_direct, "LOOK_EVERY", 0.01)
    at_gate(our_bus, our_client)
    calling = InThread(lambda: our_client.call("gate", "wait", ["long"], timeout=PATIENCE))
    our_bus.entered("long")
    our_bus.stop_broker()
    error = calling.error()
    assert isinstance(error, errors.ConnectionLost | errors.WorkerLost), error
    our_bus.cancelled("long")
    our_bus.start_broker()
    our_client.wait_for("gate", timeout=PATIENCE)
    at_gate(our_bus, our_client)
    assert len(our_client.link.direct._transports) == 1, "those of earlier connections are forgotten"


def test_a_worker_of_which_only_the_broker_knows_that_it_is_gone(
    our_bus: Bus, our_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen, say: its direct connections stay open, and the broker's word comes where nobody reads."""
    monkeypatch.setattr(sync_direct, "LOOK_EVERY", 0.01)
    at_gate(our_bus, our_client)
    calling = InThread(lambda: our_client.call("gate", "wait", ["long"], timeout=PATIENCE))
    our_bus.entered("long")
    monkeypatch.setattr(our_bus._worker, "interrupted", lambda: None)

    async def give_up() -> None:
        [broker] = brokers_of(our_bus)
        [peer] = [peer for peer in broker.router.peers if "gate" in peer.registrations]
        broker.router.give_up(peer, "nothing has come from it", broker.time())
        broker.flush(broker.time())

    our_bus.do(give_up())
    assert isinstance(calling.error(), errors.WorkerLost)


def test_a_call_after_the_worker_has_closed_the_idle_connection_goes_through_the_broker(
    our_bus: Bus, our_client: Client
) -> None:
    direct = our_bus._worker._direct
    assert direct is not None

    async def send_back(*, close: bool) -> None:
        direct.send_back()
        if close:
            await direct.let_go(0.0)

    for close in (False, True):
        go_direct(our_client)
        our_bus.do(send_back(close=close))
        for number in range(5):
            assert our_client.call("echo", "back", number) == number
        assert callers(our_bus) == 0


def test_an_idle_client_is_seen_when_somebody_begins_to_look(our_bus: Bus, our_client: Client) -> None:
    go_direct(our_client)
    with connect(our_bus.address) as looker, looker.stream("rob", "monitor", {"object": "echo"}) as records:
        assert next(records)["kind"] == "begin"
        assert our_client.call("echo", "back", 42) == 42
        assert [next(records)["kind"] for _ in range(2)] == ["call", "result"]


def test_a_worker_that_does_not_let_us_in_is_called_through_the_broker(our_bus: Bus, our_client: Client) -> None:
    direct = our_bus._worker._direct
    assert direct is not None

    async def watch(*, on: bool) -> None:
        assert direct._acceptor is not None
        (direct._acceptor._watch if on else direct._acceptor._unwatch)()

    our_bus.do(watch(on=False))
    for number in range(3 * ASK_AFTER):
        assert our_client.call("echo", "back", number) == number
    assert path_of(our_client) is None
    assert our_client.link.direct.unfinished
    our_bus.do(watch(on=True))
    go_direct(our_client)
    assert not our_client.link.direct.unfinished


def test_a_socket_of_another_process_is_not_called(our_bus: Bus, our_client: Client) -> None:
    offered = our_client.link.direct._offered
    offers: list[DirectOffer] = []

    def offered_wrongly(object_name: str, offer: DirectOffer) -> None:
        offers.append(offer)
        offered(object_name, DirectOffer(offer.address, offer.pid + 1))

    our_client.link.session.directs.on_offer = offered_wrongly
    for number in range(2 * ASK_AFTER):
        assert our_client.call("echo", "back", number) == number
    assert offers
    assert not our_client.link.direct._transports
    assert callers(our_bus) == 0


def test_many_threads_that_are_offered_a_connection_at_once_make_one(
    our_bus: Bus, our_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SocketTransport] = []

    class Counted(SocketTransport):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(sync_direct, "SocketTransport", Counted)
    barrier = threading.Barrier(8)

    def call_often() -> None:
        for _ in range(20):
            barrier.wait(PATIENCE)
            our_client.call("math", "add", [1, 2])

    for running in [InThread(call_often) for _ in range(8)]:
        running.result()
    assert len(made) <= 1


def test_nothing_is_left_of_many_that_come_and_go(our_bus: Bus) -> None:
    for _ in range(10):
        with connect(our_bus.address) as client:
            go_direct(client)
    until(lambda: callers(our_bus) == 0)


def test_ctrl_c_while_the_call_is_queued_leaves_the_connection_to_others(
    our_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_direct(our_client)
    send_frame = Connection.send_frame

    def interrupt(connection: Connection, frame: bytes) -> None:
        monkeypatch.setattr(Connection, "send_frame", send_frame)
        send_frame(connection, frame)
        raise KeyboardInterrupt

    for object_name in ("echo", "math"):  # directly, and through the broker
        monkeypatch.setattr(Connection, "send_frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            our_client.call(object_name, "back", [1], headers={"not": "alone"})
        assert not our_client.link.session.calls_in_flight
    assert go_direct(our_client).in_flight == 0
