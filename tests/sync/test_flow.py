"""Who has to wait: publishers while the broker asks for a pause, and the broker for what subscribers give back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ipc_broker.sync.client
import ipc_broker.sync.publishing
from ipc_broker import Event, Limits, errors
from ipc_broker.session.subscriptions import GRANT, WINDOW
from ipc_broker.sync import Client, Subscription, connect
from ipc_broker.sync.calls import LOOK_EVERY
from tests.seed.frames import Message, frame
from tests.sync.bus import PATIENCE, InThread, take
from tests.sync.conftest import OURS, running_bus
from tests.sync.faulty_transport import FaultyTransport
from tests.sync.scripted_broker import ScriptedBroker

PAUSE: Message = {"Pause": {}}
RESUME: Message = {"Resume": {}}
TEXT = "x" * 10_000


def publish(client: Client, *values: Any) -> None:
    for value in values:
        client.publish("sensor", "heat", value)


def event(number: int, value: Any = TEXT) -> Message:
    return {"Event": {"object_name": "sensor", "topic": "heat", "args": value, "subscription": number}}


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with ScriptedBroker() as broker:
        yield broker


@contextmanager
def scripted_client(broker: ScriptedBroker) -> Iterator[Client]:
    client = broker.connect_as_ours()
    yield client
    client.close()


def pause(broker: ScriptedBroker, client: Client) -> None:
    """Returns when the client knows that it is to pause."""
    asking = InThread(lambda: client.has("anything"))
    broker.read("HasObject")
    broker.send(PAUSE)
    broker.send({"HasObjectResult": {"object_name": "anything", "exists": False}})
    asking.result()
    assert client.link.session.paused


def says_nothing(broker: ScriptedBroker) -> bool:
    broker.connection.settimeout(0.05)
    try:
        broker.read_frame()
    except TimeoutError:
        return True
    finally:
        broker.connection.settimeout(PATIENCE)
    return False


# Pause


def test_publishing_waits_for_the_end_of_a_pause(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client:
        pause(broker, client)
        publishing = [InThread(lambda: client.publish("sensor", "heat", 1)) for _ in range(3)]
        assert says_nothing(broker)
        assert not any(one.done for one in publishing)
        broker.send(RESUME)
        for one in publishing:
            assert broker.read("Publish")["args"] == 1
            one.result()
        client.publish("sensor", "heat", 2)
        assert broker.read("Publish")["args"] == 2


def test_calls_and_events_go_on_during_a_pause(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client:
        subscribing = InThread(lambda: client.subscribe("sensor", "heat"))
        wish = broker.confirm_subscription()
        events = subscribing.result()
        pause(broker, client)
        publishing = InThread(lambda: client.publish("sensor", "heat", 1))
        taking = InThread(lambda: take(events, 2))
        calling = InThread(lambda: client.call("math", "add"))
        call = broker.read("Call")
        broker.send(event(int(str(wish["id"])), "one"))
        broker.answer(call, 3)
        broker.send(event(int(str(wish["id"])), "two"))
        assert calling.result() == 3
        assert taking.result() == ["one", "two"]
        assert not publishing.done
        broker.send(RESUME)
        publishing.result()


def test_a_pause_is_noticed_though_nobody_reads(broker: ScriptedBroker) -> None:
    count = 100
    with scripted_client(broker) as client:
        broker.send(PAUSE)
        publishing = InThread(lambda: publish(client, *[TEXT] * count))
        came = 0
        while not says_nothing(broker):
            came += 1
        assert 0 < came <= LOOK_EVERY / len(TEXT) + 2
        broker.send(RESUME)
        for _ in range(count - came):
            assert broker.read("Publish")["args"] == TEXT
        publishing.result()


def test_a_pause_is_noticed_behind_events_that_nobody_takes(
    broker: ScriptedBroker, transports: list[FaultyTransport]
) -> None:
    with scripted_client(broker) as client:
        coming = [frame(event(1))] * 50 + [frame(PAUSE)]
        waits, ends = threading.Event(), threading.Event()

        def recv() -> bytes:
            """What has come; then there is nothing, and at last the end."""
            if coming:
                return coming.pop(0)
            if client.link.session.paused:
                waits.set()
                assert ends.wait(PATIENCE)
                return b""
            raise TimeoutError("nothing came")

        transports[0].recv_instead = recv
        published: list[int] = []

        def publish_on() -> None:
            for number in range(100):
                client.publish("sensor", "heat", TEXT)
                published.append(number)

        publishing = InThread(publish_on)
        assert waits.wait(PATIENCE)
        assert not publishing.done
        client.close()
        ends.set()
        assert isinstance(publishing.error(), errors.ConnectionLost | errors.ClientClosed)
        assert len(published) <= LOOK_EVERY / len(TEXT) + 2


def test_looking_for_a_pause_ends_though_other_things_keep_arriving(
    broker: ScriptedBroker, transports: list[FaultyTransport]
) -> None:
    with scripted_client(broker) as client:
        transports[0].recv_instead = lambda: frame(event(1))
        publishing = InThread(lambda: publish(client, *[TEXT] * 30))
        for _ in range(30):
            broker.read("Publish")
        publishing.result()


def test_a_pause_that_does_not_end_is_left_to_the_broker(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may read no more. The publisher is not kept for ever."""
    with scripted_client(broker) as client:
        pause(broker, client)
        monkeypatch.setattr(ipc_broker.sync.publishing, "DEFAULT_TIMEOUT", 0.05)
        client.publish("sensor", "heat", 1)
        assert broker.read("Publish")["args"] == 1


def test_a_drain_leaves_an_event_that_still_waits_to_the_next_drain(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client:
        pause(broker, client)
        publishing = InThread(lambda: client.publish("sensor", "heat", 1))
        draining = InThread(client.drain)
        broker.answer(broker.read("Call"), None)
        draining.result()
        assert not publishing.done
        broker.send(RESUME)
        assert broker.read("Publish")["args"] == 1
        publishing.result()
        assert client.publishing.undrained
        draining = InThread(client.drain)
        broker.answer(broker.read("Call"), None)
        draining.result()


@pytest.mark.parametrize("end", ["lost", "closed"])
def test_a_publisher_that_waits_learns_that_the_connection_is_gone(broker: ScriptedBroker, end: str) -> None:
    with scripted_client(broker) as client:
        pause(broker, client)
        publishing = InThread(lambda: client.publish("sensor", "heat", 1))
        while not client.link.turns.led:
            assert not publishing.done
        if end == "closed":
            client.close()
            assert isinstance(publishing.error(), errors.ConnectionLost | errors.ClientClosed)
        else:
            broker.accept_again()
            assert broker.read("Publish")["args"] == 1
            publishing.result()


def test_everything_arrives_though_the_subscriber_is_slower() -> None:
    """Far more than the broker keeps; the same client publishes and takes."""
    count = 300
    limits = Limits(backlog=100_000, stall=60)
    with running_bus(OURS[0], limits) as bus, connect(bus.address) as client, connect(bus.address) as other:
        with client.subscribe("sensor", "heat") as events, other.subscribe("sensor", "*") as same:
            publishing = InThread(lambda: publish(client, *([n, TEXT] for n in range(count))))
            for number in range(count):
                for each in (events, same):
                    [value] = take(each, 1)
                    assert value[0] == number
            publishing.result()
        assert client.call("rob", "stats")["totals"]["dropped"] == 0


# Credit


@contextmanager
def subscribed(broker: ScriptedBroker, client: Client) -> Iterator[tuple[Subscription, int]]:
    """A subscription, and its id."""
    subscribing = InThread(lambda: client.subscribe("sensor", "heat"))
    wish = broker.confirm_subscription()
    assert wish["credit"] == WINDOW
    yield subscribing.result(), int(str(wish["id"]))


def send_and_take(broker: ScriptedBroker, events: Subscription, number: int, count: int) -> int:
    """The bytes that were taken."""
    sent = frame(event(number))
    for _ in range(count):
        broker.connection.sendall(sent)
        assert isinstance(events.get(PATIENCE), Event)
    return len(sent) * count


def come(broker: ScriptedBroker, client: Client, events: Subscription, number: int) -> None:
    """Events come, far more than is given back at once, and are not taken."""
    asking = InThread(lambda: client.has("anything"))
    broker.read("HasObject")
    for _ in range(20):
        broker.send(event(number))
    broker.send({"HasObjectResult": {"object_name": "anything", "exists": False}})
    asking.result()
    assert events.pending == 20


def test_what_was_taken_is_given_back(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        few = GRANT // len(frame(event(number)))
        taken = send_and_take(broker, events, number, few)
        client.publish("sensor", "heat", "first")
        assert broker.read("Publish")["args"] == "first"  # so little is not worth a message
        taken += send_and_take(broker, events, number, 1)
        assert broker.read("EventCredit") == {"subscription": number, "bytes": taken}
        taken = send_and_take(broker, events, number, few + 1)
        assert broker.read("EventCredit") == {"subscription": number, "bytes": taken}


def test_what_only_came_is_not_given_back(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        come(broker, client, events, number)
        client.publish("sensor", "heat", "first")
        assert broker.read("Publish")["args"] == "first"


def test_a_thread_gives_back_though_another_reads(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        leading = InThread(lambda: client.call("gate", "wait", timeout=None))
        call = broker.read("Call")
        taken = send_and_take(broker, events, number, 7)
        assert broker.read("EventCredit") == {"subscription": number, "bytes": taken}
        assert not leading.done
        broker.answer(call, None)
        leading.result()


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_what_the_kernel_does_not_take_is_given_back_later(
    broker: ScriptedBroker, transports: list[FaultyTransport], role: str
) -> None:
    """Taking events waits for no one; and nobody has to send something else first."""
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        if role == "follower":
            InThread(lambda: client.link.wait_until(lambda: client.link.closed, None))
            while not client.link.turns.led:
                pass
        transports[0].refuse()
        taken = send_and_take(broker, events, number, 7)
        waiting = InThread(events.get)
        transports[0].accept()
        assert broker.read("EventCredit") == {"subscription": number, "bytes": taken}
        broker.send(event(number, "more"))
        assert waiting.result() == Event("sensor", "heat", "more")


def test_what_cannot_be_sent_at_once_goes_with_what_is_being_sent(
    broker: ScriptedBroker, transports: list[FaultyTransport]
) -> None:
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        transport = transports[0]
        credits: list[int] = []

        def send(data: bytes) -> None:
            """While this thread sends, another takes events."""
            transport.send_instead = None
            taking = InThread(lambda: send_and_take(broker, events, number, 7))
            credits.append(taking.result())
            transport.inner.send(data, 1)

        transport.send_instead = send
        client.publish("sensor", "heat", "slow")
        assert broker.read("Publish")["args"] == "slow"
        assert broker.read("EventCredit") == {"subscription": number, "bytes": credits[0]}


def test_a_closed_subscription_gives_nothing_back(broker: ScriptedBroker) -> None:
    with scripted_client(broker) as client, subscribed(broker, client) as (events, number):
        come(broker, client, events, number)
        closing = InThread(events.close)
        call = broker.read("Call")
        assert (call["object_name"], call["method"], call["args"]) == ("rob", "unsubscribe", {"id": number})
        broker.answer(call, None)
        closing.result()
        assert len(list(events)) == 20
        client.publish("sensor", "heat", "first")
        assert broker.read("Publish")["args"] == "first"


def test_a_subscription_that_is_not_confirmed_is_given_up(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would take its events, and their publishers would wait."""
    monkeypatch.setattr(ipc_broker.sync.client, "DEFAULT_TIMEOUT", 0.05)
    with scripted_client(broker) as client:
        subscribing = InThread(lambda: client.subscribe("sensor", "heat"))
        wish = broker.read("Subscribe")
        call = broker.read("Call")
        assert (call["method"], call["args"]) == ("unsubscribe", {"id": wish["id"]})
        broker.answer(call, None)
        assert isinstance(subscribing.error(), TimeoutError)


# What the broker says besides


def test_a_notice_is_logged_where_a_handler_may_use_the_client(our_client: Client) -> None:
    published: list[str] = []

    class ToTheBus(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            published.append(record.getMessage())
            our_client.publish("log", record.levelname, record.getMessage())

    handler = ToTheBus()
    logging.getLogger("ipc_broker").addHandler(handler)
    try:
        our_client.publish("rob", "object.lost", "a lie")
        draining = InThread(our_client.drain)
        draining.result()
    finally:
        logging.getLogger("ipc_broker").removeHandler(handler)
    assert len(published) == 1
    assert "only the broker publishes as 'rob'" in published[0]
