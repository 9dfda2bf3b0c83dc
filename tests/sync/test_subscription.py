"""Subscriptions of the blocking client."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ipc_broker import Event, errors
from ipc_broker.sync import Client, Subscription, connect
from tests.seed.frames import Message
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.scripted_broker import ScriptedBroker


def test_events_come_in_order_and_once(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "heat", *range(1000))
        assert take(events, 1000) == list(range(1000))
        assert events.pending == 0
        with pytest.raises(TimeoutError, match="no event of 'sensor' 'heat' within 0 s"):
            events.get(timeout=0)


def test_an_event_tells_where_it_comes_from(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "heat", {"celsius": 25.6})
        assert events.get(PATIENCE) == Event("sensor", "heat", {"celsius": 25.6}, retained=False)


def test_only_what_was_subscribed_comes(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "light", 1)
        bus.publish("other", "heat", 2)
        bus.publish("sensor", "heat", 3)
        assert take(events, 1) == [3]
        assert events.pending == 0


def test_stars_are_names_as_any_other_to_a_broker_of_the_rust_crate() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        subscribing = InThread(lambda: client.subscribe("sensor", "*"))
        assert broker.read("Subscribe") == {"object_name": "sensor", "topic": "*"}
        broker.send({"Subscribed": {"object_name": "sensor", "topic": "*"}})
        assert subscribing.result().topic == "*"
        client.close()


def test_iterating_until_the_loop_is_left(bus: Bus, client: Client) -> None:
    seen = []
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "heat", *range(10))
        for event in events:
            assert isinstance(event, Event)
            seen.append(event.value)
            if event.value == 9:
                break
    assert seen == list(range(10))


def test_events_that_come_during_a_call_are_kept(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        calling = InThread(lambda: client.call("gate", "wait", ["x"]))
        bus.entered("x")
        bus.publish("sensor", "heat", *range(100))
        bus.open("x")
        assert calling.result() == "x"
        assert take(events, 100) == list(range(100))


def test_a_timeout_loses_nothing(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        for timeout in (0, -1, 0.02):
            with pytest.raises(TimeoutError):
                events.get(timeout=timeout)
        bus.publish("sensor", "heat", 1, 2)
        assert take(events, 2) == [1, 2]


def test_what_has_come_can_be_taken_without_waiting(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "heat", 1)
        client.drain()  # the broker sends the event before its answer
        assert events.pending == 1
        assert events.get(timeout=0) == Event("sensor", "heat", 1)
        assert repr(events) == "<Subscription 'sensor' 'heat' open pending=0>"


# Closing


def test_after_closing_only_what_has_come_can_be_taken(bus: Bus, client: Client) -> None:
    events = client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", 1, 2)
    client.drain()
    events.close()
    events.close()
    bus.publish("sensor", "heat", 3)
    client.drain()
    assert [event.value for event in events if isinstance(event, Event)] == [1, 2]
    assert list(events) == []
    with pytest.raises(errors.ClientClosed, match="the subscription of 'sensor' 'heat' was closed"):
        events.get(timeout=1)
    assert repr(events) == "<Subscription 'sensor' 'heat' closed pending=0>"


def test_our_broker_forgets_a_closed_subscription(our_client: Client) -> None:
    before = our_client.call("rob", "stats")["subscriptions"]
    with our_client.subscribe("sensor", "heat"), our_client.subscribe("sensor", "heat"):
        assert our_client.call("rob", "stats")["subscriptions"] == before + 2
    assert our_client.call("rob", "stats")["subscriptions"] == before


def test_closing_the_client_ends_its_subscriptions(bus: Bus, client: Client) -> None:
    events = client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", 1)
    client.drain()
    client.close()
    assert [event.value for event in events if isinstance(event, Event)] == [1]
    with pytest.raises(errors.ClientClosed):
        events.get()
    events.close()


def test_a_thread_that_waits_learns_that_its_subscription_was_closed(client: Client) -> None:
    """It leads: nothing arrives that would wake it."""
    events = client.subscribe("sensor", "heat")
    waiting = InThread(lambda: list(events))
    wait_until_it_waits(client, events)
    events.close()
    assert waiting.result() == []


def test_a_thread_that_waits_learns_that_one_of_two_subscriptions_was_closed(client: Client) -> None:
    events, other = client.subscribe("sensor", "heat"), client.subscribe("sensor", "heat")
    waiting = InThread(lambda: list(events))
    wait_until_it_waits(client, events)
    events.close()
    assert waiting.result() == []
    other.close()


def test_two_threads_that_wait_learn_that_their_subscription_was_closed(client: Client) -> None:
    """One of them leads, the other follows."""
    events = client.subscribe("sensor", "heat")
    waiting = [InThread(lambda: list(events)), InThread(lambda: list(events))]
    wait_until_it_waits(client, events)
    events.close()
    assert [one.result() for one in waiting] == [[], []]


def test_threads_that_wait_learn_that_the_client_was_closed(client: Client) -> None:
    events, other = client.subscribe("sensor", "heat"), client.subscribe("sensor", "light")
    iterating = [InThread(lambda: list(events)), InThread(lambda: list(other))]
    getting = InThread(other.get)
    wait_until_it_waits(client, events)
    client.close()
    assert [one.result() for one in iterating] == [[], []]
    assert isinstance(getting.error(), errors.ClientClosed)


def wait_until_it_waits(client: Client, events: Subscription) -> None:
    """Until some thread reads the connection: then an event comes although the caller of this reads nothing."""
    with connect(client.address) as other, client.subscribe("wait", "until") as mine:
        deadline = time.monotonic() + PATIENCE
        while not mine.pending:
            assert time.monotonic() < deadline, f"no thread waits for {events}"
            other.publish("wait", "until")
            other.drain()


def test_leaving_the_block_on_an_exception_does_not_hang() -> None:
    """The broker confirms the subscription and never says a word again."""
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()

        def fail_in_the_block() -> None:
            with client.subscribe("sensor", "heat"):
                raise LookupError("own")

        failing = InThread(fail_in_the_block)
        broker.confirm_subscription()
        try:
            assert isinstance(failing.error(timeout=5), LookupError)
        finally:
            client.close()


def test_a_subscription_can_be_closed_when_the_broker_is_gone() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        subscribing = InThread(lambda: client.subscribe("sensor", "heat"))
        broker.confirm_subscription()
        events = subscribing.result()
        broker.hang_up()
        events.close()
        assert list(events) == []
        client.close()


# Several of them


def test_several_subscriptions_to_one_topic_each_get_every_event(bus: Bus, client: Client) -> None:
    first, second = client.subscribe("sensor", "heat"), client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", [1], [2])
    assert take(first, 2) == take(second, 2) == [[1], [2]]
    first.close()
    bus.publish("sensor", "heat", [3])
    assert take(second, 1) == [[3]]
    assert list(first) == []
    second.close()


def test_the_values_of_several_subscriptions_are_not_one_object(bus: Bus, client: Client) -> None:
    first, second = client.subscribe("sensor", "heat"), client.subscribe("sensor", "heat")
    bus.publish("sensor", "heat", {"list": [1]})
    mine: Any = take(first, 1)[0]
    mine["list"].append(2)
    assert take(second, 1) == [{"list": [1]}]


def test_subscribing_again_does_not_double_the_events(bus: Bus, client: Client) -> None:
    for number in range(3):
        with client.subscribe("sensor", "heat") as events:
            bus.publish("sensor", "heat", number)
            assert take(events, 1) == [number]
            client.drain()
            assert events.pending == 0


def test_nothing_comes_of_what_was_published_between_two_subscriptions(bus: Bus, client: Client) -> None:
    client.subscribe("sensor", "heat").close()
    bus.publish("sensor", "heat", "between")
    client.drain()
    with client.subscribe("sensor", "heat") as events:
        bus.publish("sensor", "heat", "after")
        assert take(events, 1) == ["after"]
        assert events.pending == 0


def test_a_subscription_that_the_broker_refuses(our_client: Client) -> None:
    with pytest.raises(errors.InvalidArgs):
        our_client.subscribe("sensor", "x" * 70_000)
    with our_client.subscribe("sensor", "heat") as events:
        assert events.open


def test_an_event_that_cannot_be_read_ends_nothing() -> None:
    good: Message = {"Event": {"object_name": "sensor", "topic": "heat", "args": 1}}
    with ScriptedBroker() as broker:
        client = broker.connect()
        subscribing = InThread(lambda: client.subscribe("sensor", "heat"))
        broker.confirm_subscription()
        events = subscribing.result()
        broker.send_body(b'{"Event":{"object_name":"sensor","topic":"heat","args":[1,}}')
        broker.send_body(b'{"Event":{"object_name":"sensor","topic":"heat","args":"\xff"}}')
        broker.send_body(b"null")
        broker.send(good)
        received = [events.get(PATIENCE)]
        while not isinstance(received[-1], Event):
            received.append(events.get(PATIENCE))
        assert received[-1] == Event("sensor", "heat", 1)
        client.close()
