"""Whatever happens: each subscriber of batches sees what it would have seen of single events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_broker.config import Limits
from tests.memory import Bus, RawPeer
from tests.messages import batch, call, publish, result
from tests.routing.peers import ALL_FEATURES, PackedPeer, error_from, json_peer, packed, packed_peer, stats
from tests.routing.subscribers import (
    PLENTY,
    assert_in_their_places,
    event_credit,
    publish_with,
    subscribe_to,
    subscription_of,
    told,
    told_in_all,
)
from tests.routing.test_batches import KINDS, WITHOUT, Connect
from tests.seed.frames import Json, Message, frame, frame_of

TOPICS = ["a", "b"]
VALUES: st.SearchStrategy[Json] = st.sampled_from([None, 1, "x" * 300, [1, {"a": []}], "bytes", 2**63])
RUNS = st.lists(VALUES, max_size=6)
SUBSCRIBERS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["seed", "json", "packed", "json without", "packed without", "packed", "packed"]),
            "topic": st.sampled_from([*TOPICS, "*", ">"]),
            "group": st.sampled_from(["", "", "", "g"]),
            "overflow": st.sampled_from(["", "", "drop_oldest", "latest", "disconnect"]),
            "credit": st.sampled_from([0, 1, 500, PLENTY]),
        }
    ),
    min_size=1,
    max_size=4,
)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(TOPICS), RUNS),
        st.tuples(st.just("publish"), st.sampled_from(TOPICS), RUNS),
        st.tuples(st.just("acknowledged"), st.sampled_from(TOPICS), VALUES),
        st.tuples(st.just("retained"), st.sampled_from(TOPICS), VALUES),
        st.tuples(st.just("credit"), st.integers(0, 3), st.integers(0, 1000)),
        st.tuples(st.just("unsubscribe"), st.integers(0, 3), st.none()),
        st.tuples(st.just("disconnect"), st.integers(0, 3), st.none()),
        st.tuples(st.just("subscribe"), st.integers(0, 3), st.none()),
    ),
    max_size=25,
)


class Scene:
    """A bus with a publisher that says runs of events in batches, or one by one, and its subscribers."""

    def __init__(self, publisher: Connect, wishes: list[dict[str, Json]], *, batches: bool) -> None:
        self.bus = Bus()
        self.publisher = publisher(self.bus)
        self.batches = batches
        self.published = 0
        self.subscribers: list[RawPeer | None] = []
        self.wishes = wishes
        self.told: list[list[Json]] = [[] for _ in wishes]
        self.refused: list[tuple[str, str]] = []
        for wish in wishes:
            kind = str(wish["kind"])
            features = WITHOUT if kind.endswith("without") else ALL_FEATURES
            connects: dict[str, Connect] = {"seed": RawPeer, "json": json_peer, "packed": packed_peer}
            connect = connects[kind.partition(" ")[0]]
            self.subscribers.append(connect(self.bus) if kind == "seed" else connect(self.bus, features=features))
        for place in range(len(wishes)):
            self.subscribe(place)

    def subscribe(self, place: int) -> None:
        peer, wish = self.subscribers[place], self.wishes[place]
        if peer is None or peer.peer.subscriptions:
            return
        if wish["kind"] == "seed":
            peer.subscribe("sensor", TOPICS[0])
        else:
            fields = {name: wish[name] for name in ("group", "overflow")}
            credit = wish["credit"]
            assert isinstance(credit, int)
            subscribe_to(peer, "sensor", str(wish["topic"]), 1, credit, **fields)

    def say(self, *messages: Message) -> None:
        in_msgpack = isinstance(self.publisher, PackedPeer)
        for message in messages:
            body = (packed if in_msgpack else frame)(message)[4:]
            self.publisher.send_bytes(frame_of(body.replace(b"\xa5bytes", b"\xc4\x01\xff") if in_msgpack else body))
        self.bus.settle()

    def play(self, what: str, which: str | int, how: Json) -> None:
        if isinstance(which, str):
            values: list[Json] = how if what == "publish" else [how]  # type: ignore[assignment]  # of a run
            self.published += len(values)
            if what != "publish":
                more: dict[str, Json] = {"retain": True} if what == "retained" else {"call_id": "ack"}
                self.say(publish_with("sensor", which, how, **more))
            elif self.batches:
                self.say(batch("sensor", which, *values))
            else:
                self.say(*(publish("sensor", which, value) for value in values))
        elif which < len(self.wishes) and (peer := self.subscribers[which]) is not None:
            extended = bool(peer.prefix) and bool(peer.peer.subscriptions)
            if what == "credit" and extended:
                assert isinstance(how, int)
                peer.send(event_credit(1, how))
            elif what == "unsubscribe" and extended:
                self.take_all(which)
                peer.send(call(f"{peer.prefix}u", "rob", "unsubscribe", {"id": 1}))
                assert peer.receive() == [result(f"{peer.prefix}u", "rob", True)]
            elif what == "disconnect":
                self.take_all(which)
                peer.disconnect()
                self.subscribers[which] = None
            elif what == "subscribe":
                self.read(which)
                self.subscribe(which)
        for place in range(len(self.wishes)):
            self.read(place)
        errors = [message for message in self.publisher.receive() if "Error" in message]
        self.refused += [(one.code, one.message) for one in map(error_from, errors)]

    def read(self, place: int) -> None:
        peer = self.subscribers[place]
        if peer is not None:
            self.told[place] += told(peer.receive())

    def take_all(self, place: int) -> None:
        peer = self.subscribers[place]
        if peer is not None and peer.prefix and peer.peer.subscriptions:
            peer.send(event_credit(1, PLENTY))
        self.read(place)


@pytest.mark.parametrize("publisher", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=150, deadline=None)
@given(wishes=SUBSCRIBERS, happenings=HAPPENINGS)
def test_each_subscriber_sees_what_it_would_have_seen_of_single_events(
    publisher: Connect, wishes: list[dict[str, Json]], happenings: list[tuple[str, str | int, Json]]
) -> None:
    alone, together = (Scene(publisher, wishes, batches=batches) for batches in (False, True))
    for scene in (alone, together):
        for what, which, how in happenings:
            scene.play(what, which, how)
        for place in range(len(wishes)):
            scene.take_all(place)
    assert together.told == alone.told
    assert together.refused == alone.refused
    events, single = together.bus.router.events, alone.bus.router.events
    assert events.published == single.published == alone.published
    assert (events.delivered, events.reached, events.backpressure.dropped) == (
        single.delivered,
        single.reached,
        single.backpressure.dropped,
    )
    for scene in (alone, together):
        for peer in (scene.publisher, *scene.subscribers):
            if peer is not None:
                peer.disconnect()
        scene.bus.assert_empty()


PIECES = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(st.integers(0, 400), max_size=8)),
        st.tuples(st.just("publish"), st.lists(st.integers(0, 400), max_size=8)),
        st.tuples(st.just("credit"), st.integers(0, 3000)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("subscriber", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("overflow", ["", "drop_oldest", "latest"])
@settings(max_examples=60, deadline=None)
@given(pieces=PIECES, credit=st.integers(0, 500))
def test_what_came_of_batches_and_what_was_missed_are_together_what_was_published(
    subscriber: Connect, overflow: str, pieces: list[tuple[str, int | list[int]]], credit: int
) -> None:
    bus = Bus(Limits(backlog=1000, stall=2.0))
    reader, other, publisher = subscriber(bus), packed_peer(bus), packed_peer(bus)
    subscribe_to(reader, "sensor", "t", 1, credit, overflow=overflow)
    subscribe_to(other, "sensor", "t", 1)
    published = 0
    got: list[Json] = []
    for what, how in pieces:
        if isinstance(how, list):
            publisher.send(batch("sensor", "t", *(f"{published + at:06}{'x' * size}" for at, size in enumerate(how))))
            published += len(how)
        elif what == "credit":
            reader.send(event_credit(1, how))
        else:
            bus.advance(how)
        got += told(reader.receive())
        one = subscription_of(reader, 1)
        assert one.credit <= 0 or not one.backlog
        if overflow != "latest":
            assert_in_their_places(got)
    reader.send(event_credit(1, PLENTY))
    got += told(reader.receive())
    one = subscription_of(reader, 1)
    assert told_in_all(got) == published == one.position
    assert (one.backlog_bytes, one.gap, one.dropped, one.lagging, one.full) == (0, 0, 0, False, False)
    assert [int(str(value)[:6]) for value in told(other.receive())] == list(range(published))
    totals = stats(other)["totals"]
    assert totals["published"] == published
    assert totals["delivered"] + totals["dropped"] == 2 * published
    for peer in (reader, other, publisher):
        peer.disconnect()
    bus.assert_empty()
