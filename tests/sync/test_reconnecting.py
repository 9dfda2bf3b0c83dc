"""How the blocking client goes on over a lost connection, and what it calls then."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import pytest

from ipc_broker import Event, Gap, errors
from ipc_broker.sync import Client, connect
from ipc_broker.sync import link as link_module
from ipc_broker.sync.transport import NothingSent
from tests.seed.frames import frame
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.faulty_transport import FaultyTransport
from tests.sync.scripted_broker import ScriptedBroker
from tests.sync.test_client_connection import each_use


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# A broker that goes and comes


@each_use
def test_a_use_that_finds_the_broker_gone_waits_for_the_next_one(
    bus: Bus, client: Client, use: Callable[[Client], object]
) -> None:
    bus.stop_broker()
    using = InThread(lambda: use(client))
    wait_for(lambda: not client.link.session.ready)
    assert not using.done
    bus.start_broker()
    with contextlib.suppress(errors.InvalidArgs, errors.RemoteError):  # add is called without its arguments
        using.result()
    assert repr(client).startswith(f"<Client {client.address} connected")


def test_the_deadline_of_a_call_holds_without_a_broker(bus: Bus, client: Client) -> None:
    bus.stop_broker()
    started = time.thread_time()
    with pytest.raises(errors.DeadlineExceeded, match="there was no connection to") as caught:
        client.call("math", "add", [1, 2], timeout=0.3)
    assert caught.value.delivered == "no"
    assert time.thread_time() - started < 0.2, "it did not wait but ran"
    assert repr(client) == f"<Client {client.address} disconnected calls=0>"


def test_it_connects_again_and_again(bus: Bus, client: Client) -> None:
    for number in range(5):
        bus.stop_broker()
        bus.start_broker()
        assert client.call("echo", "back", [number]) == number


def test_threads_that_use_it_all_go_on(bus: Bus, client: Client) -> None:
    bus.stop_broker()
    calling = [InThread(lambda number=number: client.call("echo", "back", [number])) for number in range(8)]  # type: ignore[misc]
    publishing = [InThread(lambda: client.publish("sensor", "heat", 1)) for _ in range(4)]
    bus.start_broker()
    assert [one.result() for one in calling] == list(range(8))
    for one in publishing:
        one.result()


def test_a_subscription_goes_on_behind_a_gap(bus: Bus, client: Client) -> None:
    events = client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", 1, 2)
    client.drain()
    waiting = InThread(lambda: [events.get(PATIENCE) for _ in range(3)])
    bus.stop_broker()
    bus.start_broker()
    wait_for(lambda: client.link.session.ready)
    client.has("rob")  # it is subscribed before that
    bus.publish("sensor", "heat", 3)
    assert waiting.result() == [Event("sensor", "heat", 1), Event("sensor", "heat", 2), Gap("sensor", "heat", None)]
    assert take(events, 1) == [3]


def test_after_a_short_loss_it_knows_what_it_missed(our_bus: Bus, our_client: Client) -> None:
    events = our_client.subscribe("sensor", "heat")
    our_bus.publish("sensor", "heat", 1)
    assert take(events, 1) == [1]
    assert our_client.link.transport is not None
    our_client.link.transport.close()
    our_bus.publish("sensor", "heat", 2, 3)
    assert events.get(PATIENCE) == Gap("sensor", "heat", 2)
    our_bus.publish("sensor", "heat", 4)
    assert take(events, 1) == [4]


def test_a_subscription_that_is_closed_without_a_broker_does_not_come_back(our_bus: Bus, our_client: Client) -> None:
    events = our_client.subscribe("sensor", "heat")
    iterating = [InThread(lambda: list(our_client.subscribe("sensor", "heat"))) for _ in range(2)]
    wait_for(lambda: our_client.call("rob", "stats")["subscriptions"] == 3)
    our_bus.stop_broker()
    with pytest.raises(TimeoutError):
        events.get(0.1)
    for one in [*our_client._subscriptions]:
        one.close()
    assert [one.result() for one in iterating] == [[], []]
    our_bus.start_broker()
    assert our_client.call("rob", "stats")["subscriptions"] == 0


def test_events_that_have_come_can_still_be_taken(bus: Bus, client: Client) -> None:
    events = client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", 1, 2, 3)
    client.drain()
    bus.stop_broker()
    assert take(events, 3) == [1, 2, 3]
    with pytest.raises(TimeoutError):
        events.get(0.05)
    events.close()
    assert list(events) == []


def test_events_that_the_broker_sent_before_it_went_come_first() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        subscribing = InThread(lambda: client.subscribe("a", "b"))
        broker.confirm_subscription()
        events = subscribing.result()
        broker.connection.sendall(
            frame({"Event": {"object_name": "a", "topic": "b", "args": 1}}) + b"\x00\x00\x00\x10{"
        )
        broker.hang_up()
        assert events.get() == Event("a", "b", 1)
        getting = InThread(lambda: events.get(PATIENCE))
        broker.accept_again()
        assert getting.result() == Gap("a", "b", None)
        client.close()


def test_a_stream_that_has_begun_ends_with_its_connection_and_one_that_has_not_begins_later(our_bus: Bus) -> None:
    with connect(our_bus.address) as client:
        begun = client.stream("tape", "run", {"pause": 0.001})
        next(begun)
        our_bus.stop_broker()
        with pytest.raises((errors.ConnectionLost, errors.WorkerLost)):
            for _ in begun:
                pass
        later = InThread(lambda: list(client.stream("tape", "count", [3])))
        our_bus.start_broker()
        assert later.result() == [0, 1, 2]


def test_a_missing_object_is_waited_for_after_a_reconnect_and_not_before(bus: Bus, client: Client) -> None:
    with pytest.raises(errors.NoSuchObject):
        client.call("late", "back", [1], timeout=60)
    bus.stop_broker()
    bus.start_broker()
    assert client.has("rob")
    calling = [InThread(lambda: client.call("late", "back", [1])) for _ in range(3)]
    with pytest.raises(AssertionError, match="still waits"):
        calling[0].result(0.1)

    class Late:
        def back(self, value: int) -> int:
            return value

    bus.add("late", Late())
    assert [one.result() for one in calling] == [1, 1, 1]


def test_what_does_not_come_in_time_is_missing(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SETTLING", 0.2)
    bus.stop_broker()
    bus.start_broker()
    with pytest.raises(errors.NoSuchObject):
        client.call("late", "back", [1])
    assert time.monotonic() >= client.link.settled_at > 0


def test_it_is_waited_for_no_longer_than_the_call_may_take(bus: Bus, client: Client) -> None:
    bus.stop_broker()
    bus.start_broker()
    assert client.has("rob") or bus.is_seed
    with pytest.raises(errors.DeadlineExceeded, match="'late' was not served yet, shortly after a reconnect") as caught:
        client.call("late", "back", [1], timeout=0.1)
    assert caught.value.delivered == "no"


# What was not sent


def test_what_was_surely_not_sent_is_sent_over_the_next_connection(transports: list[FaultyTransport]) -> None:
    def nothing_sent(data: bytes) -> None:
        raise NothingSent("the broker is gone")

    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        for use, kind in (
            (lambda: client.publish("sensor", "heat", 1), "Publish"),
            (lambda: client.call("math", "add", [1, 2]), "Call"),
            (lambda: client.publish("sensor", "heat", 1, ack=True), "Publish"),
        ):
            transports[-1].send_instead = nothing_sent
            using = InThread(use)
            broker.accept_again()
            message = broker.read(kind)
            if kind == "Call" or "call_id" in message:
                broker.answer({"object_name": "math", **message}, 42)
            using.result()
        with pytest.raises(errors.ConnectionLost, match="may not have been routed"):
            client.drain()
        client.close()


def test_what_may_have_been_sent_is_not_sent_again(transports: list[FaultyTransport]) -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        for use in (lambda: client.publish("sensor", "heat", 1), lambda: client.call("math", "add", [1, 2])):
            transports[-1].fail_after_half(OSError(5, "bad luck"))
            with pytest.raises(errors.ConnectionLost) as caught:
                use()
            assert caught.value.delivered == "maybe"
            asking = InThread(lambda: client.has("math"))
            broker.accept_again()
            assert broker.read("HasObject") == {"object_name": "math"}
            broker.send({"HasObjectResult": {"object_name": "math", "exists": True}})
            assert asking.result()
        client.close()


def test_a_thread_whose_event_another_thread_could_not_send_goes_on(transports: list[FaultyTransport]) -> None:
    """The event of one waits in what the other sends."""
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        entered, ends = threading.Event(), threading.Event()

        def blocked(data: bytes) -> None:
            entered.set()
            assert ends.wait(PATIENCE)
            raise NothingSent("the broker is gone")

        transports[-1].send_instead = blocked
        first = InThread(lambda: client.publish("sensor", "heat", 1))
        assert entered.wait(PATIENCE)
        second = InThread(lambda: client.publish("sensor", "heat", 2))
        wait_for(lambda: client.link.session.queued)
        ends.set()
        broker.accept_again()
        assert [broker.read("Publish")["args"] for _ in range(2)] == [1, 2]
        first.result()
        second.result()
        client.close()


# Awkward brokers


def test_a_broker_that_does_not_answer_hello_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "ANSWER_TIMEOUT", 0.05)
    with ScriptedBroker() as broker:
        client = broker.connect()
        broker.hang_up()
        calling = InThread(lambda: client.call("math", "add"))
        broker.accept()
        assert broker.read_frame()
        assert broker.read_frame() == b"", "the client has not left"
        broker.accept_again()
        broker.answer(broker.read("Call"), 3)
        assert calling.result() == 3
        client.close()


def test_after_the_brokers_goodbye_calls_wait_for_the_next_connection() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        calling = InThread(lambda: client.call("math", "add"))
        call = broker.read("Call")
        broker.send({"Goodbye": {"reason": "it stops"}})
        wait_for(lambda: not client.link.session.ready)
        waiting = InThread(lambda: client.call("math", "mul"))
        broker.answer(call, 3)
        assert calling.result() == 3
        broker.accept_again()
        broker.answer(broker.read("Call"), 4)
        assert waiting.result() == 4
        client.close()


def test_a_broker_that_does_not_close_after_its_goodbye_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "GOODBYE_PATIENCE", 0.05)
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        calling = InThread(lambda: client.call("math", "add"))
        broker.read("Call")
        broker.send({"Goodbye": {"reason": "it stops"}})
        assert broker.read_frame() == b""
        assert isinstance(calling.error(), errors.ConnectionLost)
        client.close()


def test_closing_ends_the_waiting_for_a_broker(bus: Bus, client: Client) -> None:
    bus.stop_broker()
    events = InThread(lambda: list(client.subscribe("sensor", "heat")))
    waiting = [InThread(lambda: client.call("math", "add", timeout=None)) for _ in range(3)]
    wait_for(lambda: client.link.turns.led)
    client.close()
    for one in (*waiting, events):
        assert isinstance(one.error(), errors.ClientClosed)


def test_no_more_threads_wait_for_a_connection_than_may(
    bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MOST_WAITING", 1)
    bus.stop_broker()
    waiting = InThread(lambda: client.call("rob", "ping", timeout=None))
    wait_for(lambda: client.link._waiting)
    for use in (lambda: client.call("rob", "ping"), lambda: client.publish("a", "t")):
        with pytest.raises(errors.Overloaded, match="1 calls and publishers wait already for a connection") as caught:
            use()
        assert caught.value.delivered == "no"
    bus.start_broker()
    waiting.result()


# Callbacks


def test_each_connection_and_its_end_is_told_in_order(bus: Bus) -> None:
    told: list[str] = []

    def on_connect() -> None:
        told.append("connecting")
        assert client.has("rob") or bus.is_seed
        told.append("connected")

    clients: list[Client] = []
    with connect(bus.address, on_disconnect=lambda: told.append("lost")) as client:
        clients.append(client)
        client.link.tidings._on_connect = on_connect
        bus.stop_broker()
        bus.start_broker()
        client.has("math")
        assert told == ["lost", "connecting", "connected"]
    assert told == ["lost", "connecting", "connected", "lost"]


def test_the_first_connection_is_told_before_connect_returns(our_bus: Bus) -> None:
    told: list[str] = []
    with connect(our_bus.address, on_connect=lambda: told.append("connected")):
        assert told == ["connected"]


def test_a_callback_may_wait_while_another_thread_leads(our_bus: Bus) -> None:
    """It runs in the thread that connects, which reads for all: that must not wait for itself."""
    values: list[object] = []
    client = connect(our_bus.address, on_disconnect=lambda: values.append(client.call("echo", "back", ["again"])))
    events = client.subscribe("sensor", "heat")
    getting = InThread(lambda: [events.get(PATIENCE) for _ in range(2)])
    our_bus.stop_broker()
    our_bus.start_broker()
    wait_for(lambda: values)
    our_bus.publish("sensor", "heat", 1)
    assert getting.result() == [Gap("sensor", "heat", None), Event("sensor", "heat", 1)]
    assert values == ["again"]
    client.link.tidings._on_disconnect = None
    client.close()


def test_a_callback_that_fails_is_logged_and_called_again(our_bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("planted")

    for _ in range(2):
        with connect(our_bus.address, on_connect=fail, on_disconnect=fail):
            pass
    assert caplog.text.count("ValueError: planted") == 4


def test_a_loss_and_the_next_connection_are_logged(
    our_bus: Bus, our_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ipc_broker")
    assert our_client.link.transport is not None
    our_client.link.transport.close()
    assert our_client.has("rob")
    assert "the next use connects again" in caplog.text
    assert f"connected to {our_client.address} again" in caplog.text
