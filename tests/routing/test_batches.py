"""Events that come as one message: who gets them so, and that nothing else is different."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.protocol.batching import MOST_TAKEN, ROOM
from tests.memory import Bus, Client, RawPeer
from tests.messages import batch, call, publish, result
from tests.routing.peers import ALL_FEATURES, PackedPeer, json_peer, packed, packed_peer, stats
from tests.routing.subscribers import (
    PAUSE,
    PLENTY,
    RESUME,
    event_credit,
    event_for,
    publish_with,
    subscribe_to,
    subscription_of,
    told,
    told_in_all,
)
from tests.seed.frames import Json, Message, frame

Connect = Callable[..., RawPeer]
KINDS: list[Connect] = [json_peer, packed_peer]
WITHOUT = [feature for feature in ALL_FEATURES if feature != "batches"]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def connect(request: pytest.FixtureRequest) -> Connect:
    kind: Connect = request.param
    return kind


def batch_for(id: int, object_name: str, topic: str, *values: Json) -> Message:
    return {"Batch": {**batch(object_name, topic, *values)["Batch"], "subscription": id}}


def known(publisher: RawPeer, topic: str = "t") -> None:
    """The first event of a topic goes alone, so that the broker knows its route then."""
    publisher.send(publish("sensor", topic, "first"))
    publisher.bus.settle()


def kinds_of(messages: list[Message]) -> list[str]:
    return [next(iter(message)) for message in messages]


# Who gets them as they are


def test_a_batch_goes_on_as_one_with_the_id_of_each_subscription(bus: Bus, connect: Connect) -> None:
    first, second, publisher = connect(bus), connect(bus), connect(bus)
    subscribe_to(first, "sensor", "t", 1)
    subscribe_to(first, "sensor", "*", 2)
    subscribe_to(second, "sensor", "t", 7)
    known(publisher)
    for peer in (first, second):
        peer.receive()
    publisher.send(batch("sensor", "t", 1, [2], None))
    assert sorted(first.receive(), key=str) == [
        batch_for(1, "sensor", "t", 1, [2], None),
        batch_for(2, "sensor", "t", 1, [2], None),
    ]
    assert second.receive() == [batch_for(7, "sensor", "t", 1, [2], None)]
    assert publisher.receive() == []


def test_the_first_events_of_a_topic_come_one_by_one_also_after_a_subscription(bus: Bus, connect: Connect) -> None:
    subscriber, publisher = connect(bus), connect(bus)
    subscribe_to(subscriber, "sensor", "t", 1)
    for _ in range(2):
        publisher.send(batch("sensor", "t", 1, 2), batch("sensor", "t", 3, 4))
        assert subscriber.receive() == [
            event_for(1, "sensor", "t", 1),
            event_for(1, "sensor", "t", 2),
            batch_for(1, "sensor", "t", 3, 4),
        ]
        subscribe_to(connect(bus), "sensor", "*", 9)


def test_whoever_cannot_take_batches_gets_the_events_one_by_one(bus: Bus) -> None:
    publisher = packed_peer(bus)
    taker, seed = packed_peer(bus), RawPeer(bus)
    seed.subscribe("sensor", "t")
    subscribe_to(taker, "sensor", "t", 1)
    without, in_json, member, oldest, latest = others = [
        packed_peer(bus, features=WITHOUT),
        json_peer(bus),
        *(packed_peer(bus) for _ in range(3)),
    ]
    subscribe_to(without, "sensor", "t", 1)
    subscribe_to(in_json, "sensor", "t", 1)
    subscribe_to(member, "sensor", "t", 1, group="g")
    subscribe_to(oldest, "sensor", "t", 1, overflow="drop_oldest")
    subscribe_to(latest, "sensor", "t", 1, overflow="latest")
    plain = packed_peer(bus)
    plain.subscribe("sensor", "t")
    known(publisher)
    for peer in (taker, seed, plain, *others):
        peer.receive()
    publisher.send(batch("sensor", "t", 1, 2))
    assert taker.receive() == [batch_for(1, "sensor", "t", 1, 2)], "whatever the others take"
    for peer in others:
        assert peer.receive() == [event_for(1, "sensor", "t", 1), event_for(1, "sensor", "t", 2)]
    for peer in (seed, plain):
        assert [message["Event"] for message in peer.receive()] == [
            {"object_name": "sensor", "topic": "t", "args": value} for value in (1, 2)
        ]
    assert publisher.receive() == []


def test_a_subscription_that_is_disconnected_when_too_much_waits_takes_batches(bus: Bus, connect: Connect) -> None:
    subscriber, publisher = connect(bus), connect(bus)
    subscribe_to(subscriber, "sensor", "t", 1, overflow="disconnect")
    known(publisher)
    subscriber.receive()
    publisher.send(batch("sensor", "t", 1, 2))
    assert subscriber.receive() == [batch_for(1, "sensor", "t", 1, 2)]


def test_batches_of_another_encoding_are_taken_apart_for_each(bus: Bus) -> None:
    json_one, packed_one = json_peer(bus), packed_peer(bus)
    for peer in (json_one, packed_one):
        subscribe_to(peer, "sensor", "t", 1)
    for publisher in (json_peer(bus), packed_peer(bus)):
        known(publisher)
        for peer in (json_one, packed_one):
            peer.receive()
        publisher.send(batch("sensor", "t", 1, 2))
        for peer in (json_one, packed_one):
            alike = isinstance(peer, PackedPeer) == isinstance(publisher, PackedPeer)
            messages = peer.receive()
            assert kinds_of(messages) == (["Batch"] if alike else ["Event", "Event"])
            assert told(messages) == [1, 2]


def test_what_is_larger_than_clients_make_them_comes_one_by_one(bus: Bus, connect: Connect) -> None:
    """A batch takes credit, waits and is missed as a whole: it must not be as large as a publisher likes."""
    subscriber, publisher = connect(bus, max_frame=10 * ROOM), connect(bus)
    subscribe_to(subscriber, "sensor", "t", 1)
    known(publisher)
    subscriber.receive()
    large: list[Json] = ["x" * (ROOM // 4)] * 4
    publisher.send(batch("sensor", "t", *large), batch("sensor", "t", *large[:3]))
    messages = subscriber.receive()
    assert kinds_of(messages) == ["Event"] * 4 + ["Batch"]
    assert told(messages) == large + large[:3]


@pytest.mark.parametrize("count", [1, MOST_TAKEN])
def test_from_one_event_to_the_most_that_are_taken(bus: Bus, connect: Connect, count: int) -> None:
    subscriber, publisher = connect(bus), connect(bus)
    subscribe_to(subscriber, "sensor", "t", 1)
    known(publisher)
    publisher.send(batch("sensor", "t", *range(count)))
    assert told(subscriber.receive()) == ["first", *range(count)]
    assert publisher.receive() == []


# Order


def test_events_keep_their_order_among_all_else_that_their_publisher_says(bus: Bus, connect: Connect) -> None:
    subscriber, publisher = connect(bus, "math"), connect(bus)
    subscribe_to(subscriber, "sensor", "*", 1)
    known(publisher)
    publisher.send(
        batch("sensor", "t", 1, 2),
        call(f"{publisher.prefix}1", "math", "add", 3),
        publish("sensor", "t", 4),
        publish_with("sensor", "t", 5, call_id="ack"),
        batch("sensor", "u", 6, 7),
        publish_with("sensor", "t", 8, retain=True),
        batch("sensor", "t", 9, 10),
    )
    values: list[Json] = []
    for message in subscriber.receive():
        if "Call" in message:
            values.append(message["Call"]["args"])
        elif "Caller" not in message:
            values += told([message])
    assert values == ["first", *range(1, 11)]
    assert publisher.receive() == [result("ack", "sensor")]


# Credit, backlog, lag


def test_a_batch_is_sent_while_there_is_credit_and_takes_what_it_is_long(bus: Bus, connect: Connect) -> None:
    subscriber, publisher = connect(bus), connect(bus)
    known(publisher)
    subscribe_to(subscriber, "sensor", "t", 1, 1)
    known(publisher)
    assert told(subscriber.receive()) == ["first"]
    publisher.send(batch("sensor", "t", 1, 2), batch("sensor", "t", 3, 4), publish("sensor", "t", 5))
    assert subscriber.receive() == []
    one = subscription_of(subscriber, 1)
    size = len((packed if isinstance(subscriber, PackedPeer) else frame)(batch_for(1, "sensor", "t", 1, 2)))
    assert one.backlog_bytes > 2 * size
    subscriber.send(event_credit(1, 1 - one.credit))
    assert told(subscriber.receive()) == [1, 2]
    assert one.credit == 1 - size
    subscriber.send(event_credit(1, PLENTY))
    assert told(subscriber.receive()) == [3, 4, 5]
    assert (one.backlog_bytes, one.credit) == (0, PLENTY + 1 - size - len_of(subscriber, 3, 4) - len_of(subscriber, 5))


def len_of(peer: RawPeer, *values: Json) -> int:
    message = batch_for(1, "sensor", "t", *values) if len(values) > 1 else event_for(1, "sensor", "t", *values)
    return len((packed if isinstance(peer, PackedPeer) else frame)(message))


def test_publishers_pause_for_batches_that_wait_and_those_that_are_lost_are_counted_one_by_one(
    connect: Connect,
) -> None:
    bus = Bus(Limits(backlog=1000, stall=2.0))
    subscriber, publisher, other = connect(bus), connect(bus), connect(bus)
    subscribe_to(subscriber, "sensor", "t", 1, 1)
    subscribe_to(other, "sensor", "t", 1)
    known(publisher)
    sent = 0
    while publisher.receive() != [PAUSE]:
        publisher.send(batch("sensor", "t", *("x" * 100 for _ in range(4))))
        sent += 4
    bus.advance(2.1)
    assert publisher.receive() == [RESUME]
    publisher.send(batch("sensor", "t", *range(5)), publish("sensor", "t", 5), batch("sensor", "t"))
    bus.settle()
    assert publisher.receive() == [], "nobody waits for it any more"
    assert bus.router.events.backpressure.dropped == 6
    assert stats(publisher)["totals"]["published"] == 1 + sent + 6
    assert stats(publisher)["totals"]["delivered"] == 2 * (1 + sent) + 6
    subscriber.send(event_credit(1, PLENTY))
    assert told(subscriber.receive()) == ["first", *["x" * 100] * sent, "missed 6"]
    publisher.send(batch("sensor", "t", 7, 8))
    assert subscriber.receive() == [batch_for(1, "sensor", "t", 7, 8)]
    assert told_in_all(told(other.receive())) == 1 + sent + 8


def test_a_publisher_that_goes_on_in_spite_of_a_pause_is_not_read_from(bus: Bus) -> None:
    bus = Bus(Limits(backlog=1000))
    subscriber, publisher = packed_peer(bus), packed_peer(bus)
    subscribe_to(subscriber, "sensor", "t", 1, 1)
    known(publisher)
    while publisher.peer.reads:
        publisher.send(*[batch("sensor", "t", *["x" * 1000] * 16)] * 64)
        bus.settle()
        assert publisher.peer.overrun < 20 * 1024 * 1024
    subscriber.send(event_credit(1, PLENTY))
    bus.settle()
    assert publisher.peer.reads


def test_who_comes_back_is_told_how_many_events_of_batches_it_missed(bus: Bus) -> None:
    client, publisher = Client(bus), Client(bus)
    sink = client.subscribe("sensor", "t")
    for value in range(10):
        publisher.publish("sensor", "t", value)
    bus.settle()
    client.link.disconnect()
    for value in range(20):
        publisher.publish("sensor", "t", value)
    bus.settle()
    client.connect()
    publisher.publish("sensor", "t", "last")
    bus.settle()
    assert sink.seen == [*range(10), "missed 20", "last"]


def test_what_was_not_read_when_the_connection_was_lost_is_missed(bus: Bus) -> None:
    client, publisher = Client(bus), Client(bus)
    sink = client.subscribe("sensor", "t")
    sink.takes = False
    for value in range(3):
        publisher.publish("sensor", "t", value)
    bus.settle()
    client.link.stop_taking()
    for value in range(7):
        publisher.publish("sensor", "t", value)
    bus.settle()
    client.link.disconnect()
    client.connect()
    assert sink.seen == [0, 1, 2, "missed 7"]


# Groups


def test_the_members_of_a_group_take_turns_whichever_way_the_events_come(bus: Bus, connect: Connect) -> None:
    members, publisher = [connect(bus) for _ in range(3)], connect(bus)
    for member in members:
        subscribe_to(member, "sensor", "t", 1, group="g")
    publisher.send(publish("sensor", "t", 0), batch("sensor", "t", 1, 2, 3), publish("sensor", "t", 4))
    publisher.send(batch("sensor", "t", *range(5, 9)))
    assert [told(member.receive()) for member in members] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_member_that_is_ended_by_the_first_event_of_a_batch_gets_none_of_the_others() -> None:
    bus = Bus(Limits(backlog=1000))
    left = packed_peer(bus, features=["batches"])  # it does not come back, so that nothing is kept for it
    stays, publisher, witness = (packed_peer(bus) for _ in range(3))
    subscribe_to(left, "sensor", "t", 1, group="g")
    subscribe_to(stays, "sensor", "t", 1, group="g")
    subscribe_to(left, "sensor", "t", 2, 1, overflow="disconnect")
    subscribe_to(witness, "sensor", "t", 1)
    known(publisher)
    publisher.send(batch("sensor", "t", *(f"{number}{'x' * 500}" for number in range(10))))
    assert [str(value)[0] for value in told(stays.receive())] == list("0123456789")
    assert [str(value)[0] for value in told(witness.receive())] == list("f0123456789")
    assert left.peer not in bus.router.peers
    assert kinds_of(left.receive()) == ["Event", "Event", "Error"]


def test_a_subscriber_that_is_ended_in_the_midst_of_a_batch_leaves_the_others_theirs() -> None:
    bus = Bus(Limits(backlog=1000))
    ended, other, publisher = json_peer(bus), json_peer(bus), packed_peer(bus)
    subscribe_to(ended, "sensor", "t", 1, 1, overflow="disconnect")
    subscribe_to(other, "sensor", "t", 1)
    known(publisher)
    publisher.send(batch("sensor", "t", *(f"{number}{'x' * 500}" for number in range(9))))
    assert [str(value)[0] for value in told(other.receive())[1:]] == list("012345678")
    assert kinds_of(ended.receive()) == ["Event", "Error"]
    assert ended.peer.closing or ended.ended
    assert publisher.receive() == []
