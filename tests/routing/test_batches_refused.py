"""Batches that are refused, as a whole or in part, and what of them goes on all the same."""

from __future__ import annotations

import pytest

from ipc_broker.protocol.batching import LARGEST_TAKEN, MOST_TAKEN
from tests.memory import Bus, Client, RawPeer
from tests.messages import batch
from tests.routing.peers import PackedPeer, error_from, json_peer, packed, packed_peer, stats
from tests.routing.subscribers import subscribe_to, told
from tests.routing.test_batches import KINDS, Connect, kinds_of, known
from tests.seed.frames import Json, frame, frame_of


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def connect(request: pytest.FixtureRequest) -> Connect:
    kind: Connect = request.param
    return kind


def refusals(peer: RawPeer) -> list[tuple[str, str, str | None]]:
    return [(one.code, one.type, one.call_id) for one in map(error_from, peer.receive())]


@pytest.mark.parametrize(
    ("names", "code"),
    [(("rob", "object.lost"), "permission_denied"), (("sensor", "*"), "invalid_args"), ((">", "t"), "invalid_args")],
)
def test_what_nobody_may_publish_is_refused_for_each_event(
    bus: Bus, connect: Connect, names: tuple[str, str], code: str
) -> None:
    witness, publisher = connect(bus), connect(bus)
    subscribe_to(witness, ">", ">", 1)
    subscribe_to(witness, "rob", "object.lost", 2)
    publisher.send(batch(*names, 1, 2), batch(*names, 3))
    assert refusals(publisher) == [(code, "Publish", None)] * 3
    assert witness.receive() == []
    assert stats(publisher)["totals"]["published"] == 0


def test_the_brokers_own_events_are_its_own_also_where_others_listen(bus: Bus, connect: Connect) -> None:
    """The route is known then, which is where a batch would go on as it is."""
    witness, publisher = connect(bus), connect(bus)
    subscribe_to(witness, "rob", "object.registered", 1)
    connect(bus, "math")
    assert told(witness.receive()) == [{"object": "math"}]
    publisher.send(batch("rob", "object.registered", 1, 2))
    assert refusals(publisher) == [("permission_denied", "Publish", None)] * 2
    assert witness.receive() == []


@pytest.mark.parametrize("known_before", [True, False])
@pytest.mark.parametrize("values", ["no list", None, {"a": 1}, 5])
def test_what_is_no_list_is_refused(bus: Bus, connect: Connect, values: Json, known_before: bool) -> None:
    witness, publisher = connect(bus), connect(bus)
    subscribe_to(witness, "sensor", "t", 1)
    if known_before:
        known(publisher)
    publisher.send({"Batch": {"object_name": "sensor", "topic": "t", "values": values}}, batch("sensor", "t", 1))
    assert refusals(publisher) == [("invalid_args", "Batch", None)]
    assert told(witness.receive()) == [*["first"][: int(known_before)], 1]


@pytest.mark.parametrize("known_before", [True, False])
def test_too_many_events_are_refused_with_one_error(bus: Bus, connect: Connect, known_before: bool) -> None:
    """As many errors as values would be a hundred times what was sent."""
    witness, publisher = connect(bus), connect(bus)
    subscribe_to(witness, "sensor", "t", 1)
    if known_before:
        known(publisher)
    publisher.send(batch("sensor", "t", *[None] * (MOST_TAKEN + 1)), batch("rob", "t", *[None] * (MOST_TAKEN + 1)))
    refused, as_rob = (error_from(message) for message in publisher.receive())
    assert refused.message == f"a batch of {MOST_TAKEN + 1} events is over the limit of {MOST_TAKEN} events"
    assert (refused.code, as_rob.code) == ("too_large", "too_large")
    assert told(witness.receive()) == ["first"][: int(known_before)]


def test_too_many_bytes_are_refused_unread(bus: Bus) -> None:
    subscriber, publisher = packed_peer(bus, max_frame=2 * LARGEST_TAKEN), packed_peer(bus)
    subscribe_to(subscriber, "sensor", "t", 1)
    publisher.send(batch("sensor", "t", "x" * (LARGEST_TAKEN - 6)), batch("sensor", "t", "x" * (LARGEST_TAKEN - 5)))
    [refused] = map(error_from, publisher.receive())
    assert (refused.code, refused.type) == ("too_large", "Batch")
    assert refused.message == f"a batch of {LARGEST_TAKEN + 1} bytes is over the limit of {LARGEST_TAKEN} bytes"
    assert len(told(subscriber.receive())) == 1


def test_an_empty_batch_says_nothing(bus: Bus, connect: Connect) -> None:
    witness, publisher = connect(bus), connect(bus)
    subscribe_to(witness, "sensor", "t", 1)
    publisher.send(batch("sensor", "t"))
    known(publisher)
    publisher.send(batch("sensor", "t"))
    assert publisher.receive() == []
    assert told(witness.receive()) == ["first"]


def test_a_seed_peer_knows_no_batches(bus: Bus) -> None:
    seed, witness = RawPeer(bus), json_peer(bus)
    subscribe_to(witness, "sensor", "t", 1)
    seed.send(batch("sensor", "t", 1, 2))
    [refused] = seed.receive()
    assert str(refused["Error"]["message"]).startswith("unknown message 'Batch'")
    assert witness.receive() == []


def test_whoever_has_not_the_feature_may_send_batches_all_the_same(bus: Bus) -> None:
    witness, publisher = packed_peer(bus), packed_peer(bus, features=[])
    subscribe_to(witness, "sensor", "t", 1)
    publisher.send(batch("sensor", "t", 1, 2))
    assert told(witness.receive()) == [1, 2]


def test_values_that_a_subscriber_cannot_be_told_are_refused_one_by_one_and_missed_in_their_places(bus: Bus) -> None:
    reader, taker, seed, publisher = json_peer(bus), packed_peer(bus), RawPeer(bus), packed_peer(bus)
    seed.subscribe("sensor", "t")
    subscribe_to(reader, "sensor", "t", 1)
    subscribe_to(taker, "sensor", "t", 1)
    known(publisher)
    body = packed(batch("sensor", "t", 1, "bytes", 2, "bytes"))[4:].replace(b"\xa5bytes", b"\xc4\x01\xff")
    publisher.send_bytes(frame_of(body))
    assert told(reader.receive()) == ["first", 1, "missed 1", 2, "missed 1"]
    assert told(seed.receive()) == ["first", 1, 2]
    assert told(taker.receive()) == ["first", 1, b"\xff", 2, b"\xff"]
    assert refusals(publisher) == [("invalid_args", "Publish", None)] * 2


def test_values_that_are_too_large_for_a_subscriber_are_refused_one_by_one(bus: Bus) -> None:
    """Of a batch that is larger than what it takes as a frame."""
    reader, publisher = packed_peer(bus), packed_peer(bus)
    subscribe_to(reader, "sensor", "t", 1)
    known(publisher)
    publisher.send(batch("sensor", "t", 1, "x" * 70_000, 2, "y" * 60_000))
    assert told(reader.receive()) == ["first", 1, "missed 1", 2, "y" * 60_000]
    assert refusals(publisher) == [("too_large", "Publish", None)]


def test_lists_as_deep_as_can_just_be_read_end_nobody(bus: Bus, connect: Connect) -> None:
    """The broker looks into a batch a little deeper in its own calls than where the message was read."""
    witness, publisher = json_peer(bus), connect(bus)
    subscribe_to(witness, "sensor", "t", 1)
    known(publisher)
    witness.receive()
    for depth in range(800, 1000):
        if isinstance(publisher, PackedPeer):
            body = packed(batch("sensor", "t", 1, "deep"))[4:].replace(b"\xa4deep", b"\x91" * depth + b"\xc0")
        else:
            body = frame(batch("sensor", "t", 1, "deep"))[4:].replace(b'"deep"', b"[" * depth + b"]" * depth)
        publisher.send_bytes(frame_of(body))
        for refused in map(error_from, publisher.receive()):
            assert (refused.code, "nested too deeply" in refused.message) == ("invalid_args", True)
        came = witness.receive()
        assert kinds_of(came) in (["Event", "Event"], ["Batch"], ["Event", "Missed"], [])
    publisher.send(batch("sensor", "t", "last"))
    assert told(witness.receive()) == ["last"]


def test_values_that_nobody_can_read_go_to_those_who_read_them(bus: Bus) -> None:
    """The broker does not look into what it passes on; what is no text is found by whoever decodes it."""
    taker, client, publisher = packed_peer(bus), Client(bus), packed_peer(bus)
    subscribe_to(taker, "sensor", "t", 1)
    sink = client.subscribe("sensor", "t")
    known(publisher)
    body = packed(batch("sensor", "t", 1, "abc", 2))[4:].replace(b"\xa3abc", b"\xa3\xff\xff\xff")
    publisher.send_bytes(frame_of(body))
    bus.settle()
    assert sink.seen == ["first", 1, "missed 1", 2]
    assert publisher.receive() == []
    publisher.send(batch("sensor", "t", 3, 4))
    bus.settle()
    assert sink.seen[-2:] == [3, 4]
