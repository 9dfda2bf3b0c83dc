"""What fuzzing has found, each as small as it can be."""

from __future__ import annotations

import pytest

from ipc_broker.cli.signature import UsageError, parse_arguments
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error_of, event, publish, subscribe
from tests.recording import Answer, RecordingSink
from tests.seed.frames import Json
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import subscribed_as


@pytest.mark.parametrize("pid", [10**30, -1])
def test_a_hello_with_a_process_id_that_there_is_not_is_refused(pid: int) -> None:
    """The broker could not have told any worker who calls: no encoding has that number."""
    peer = RawPeer(Bus())
    assert "pid" in str(error_of(peer.hello(pid=pid))["message"])


def test_a_peer_without_hello_gets_no_items_even_if_it_gives_credit() -> None:
    bus = Bus()
    worker, seed = extended_peer(bus, "logs"), RawPeer(bus)
    asked = call("1", "logs", "tail")
    asked["Call"]["credit"] = 1000
    seed.send(asked)
    given = worker.receive()[-1]["Call"]
    assert "credit" not in given
    worker.send({"Item": {"call_id": given["call_id"], "value": 1}})
    worker.receive()
    assert all("Item" not in message for message in seed.receive())


def test_a_peer_without_hello_has_no_patterns_even_if_it_gives_an_id() -> None:
    bus = Bus()
    publisher, seed = RawPeer(bus), RawPeer(bus)
    asked = subscribe("sensor.*", "x")
    asked["Subscribe"] |= {"id": 1, "credit": 1000, "overflow": "latest"}
    seed.send(asked)
    assert seed.receive() == [{"Subscribed": {"object_name": "sensor.*", "topic": "x"}}]
    publisher.send(publish("sensor.1", "x", 1), publish("sensor.*", "x", 2))
    assert seed.receive() == [event("sensor.*", "x", 2)]


def test_an_integer_may_have_any_number_of_leading_zeros() -> None:
    assert parse_arguments(["(iiii)", "0" * 5000, "+" + "0" * 5000 + "7", "-" + "0" * 5000 + "7", "-0"]) == [
        0,
        7,
        -7,
        0,
    ]
    with pytest.raises(UsageError, match="64-bit"):
        parse_arguments(["i", "1" + "0" * 5000])
    assert parse_arguments(["(ii)", str(2**63 - 1), str(-(2**63))]) == [2**63 - 1, -(2**63)]
    for beyond in (2**63, -(2**63) - 1, 10**19):
        with pytest.raises(UsageError, match="64-bit"):
            parse_arguments(["i", str(beyond)])


@pytest.mark.parametrize("field", [{"max_frame": -1}, {"prefix": "x" * 2000}, {"session": "x" * 2000}])
def test_a_welcome_that_makes_no_sense_is_none(field: dict[str, Json]) -> None:
    """A client takes it for a broker that knows no hello, and what it says still has a sense."""
    broker = ScriptedBroker()
    broker.open(**field)
    assert broker.session.ready
    assert broker.session.welcome is None


def test_a_subscription_that_missed_more_than_can_be_said_comes_back_all_the_same() -> None:
    broker = ScriptedBroker(encodings=("json",))
    broker.open()
    subscription = broker.session.subscribe("sensor", "x", RecordingSink(), Answer())
    broker.give(subscribed_as(subscription.id))
    most = 2**53 - 1
    for _ in range(2):
        broker.give({"Missed": {"subscription": subscription.id, "count": most}})
    broker.lose()
    broker.open()
    [asked] = [message["Subscribe"] for message in broker.sent() if "Subscribe" in message]
    assert asked["seen"] == most


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("topic", ["x", "*"])
def test_an_event_that_is_to_be_kept_where_none_is_may_be_told_in_any_way(retain: bool, topic: str) -> None:
    """Without `retain` it is an event as any other; a seed peer's topic may look like a pattern."""
    bus = Bus()
    publisher = RawPeer(bus)
    message = publish("sensor", topic, 1)
    message["Publish"] |= {"retain": retain, "if_absent": True}
    publisher.send(message)
    publisher.send(message)
    assert publisher.receive() == []
    assert len(bus.router.events.retained) == retain
