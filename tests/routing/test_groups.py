"""Of a group's members one gets each event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc_broker.config import Limits
from ipc_broker.routing.subscriptions import choose
from tests.memory import Bus, RawPeer
from tests.messages import publish
from tests.routing.peers import json_peer, packed_peer
from tests.routing.subscribers import (
    PAUSE,
    PLENTY,
    RESUME,
    event_credit,
    missed,
    subscribe_to,
    subscription_of,
    told,
    unsubscribe,
)
from tests.seed.frames import Json


def members(bus: Bus, count: int, credit: int = PLENTY, topic: str = "a", group: str = "g") -> list[RawPeer]:
    kinds: list[Callable[[Bus], RawPeer]] = [json_peer, packed_peer]
    joined = [kinds[number % 2](bus) for number in range(count)]
    for peer in joined:
        subscribe_to(peer, "sensor", topic, 1, credit, group=group)
    return joined


def send(publisher: RawPeer, *values: Json, topic: str = "a") -> None:
    publisher.send(*(publish("sensor", topic, value) for value in values))
    publisher.bus.settle()


def shares(peers: list[RawPeer]) -> list[list[Json]]:
    return [told(peer.receive()) for peer in peers]


@pytest.fixture
def publisher(bus: Bus) -> RawPeer:
    return json_peer(bus)


def test_each_event_goes_to_one_member_in_turn(bus: Bus, publisher: RawPeer) -> None:
    group = members(bus, 3)
    send(publisher, *range(9))
    got = shares(group)
    assert sorted(value for share in got for value in share if isinstance(value, int)) == list(range(9))
    assert [len(share) for share in got] == [3, 3, 3]


def test_other_groups_and_those_in_none_get_every_event(bus: Bus, publisher: RawPeer) -> None:
    group, other, same_name = members(bus, 2), members(bus, 2, group="h"), members(bus, 2, topic="*")
    alone, seed = json_peer(bus), RawPeer(bus)
    subscribe_to(alone, "sensor", "a", 1)
    seed.subscribe("sensor", "a")
    send(publisher, *range(10))
    for peers in (group, other, same_name):
        assert [len(share) for share in shares(peers)] == [5, 5]
    assert told(alone.receive()) == told(seed.receive()) == list(range(10))


def test_two_members_may_be_of_one_peer(bus: Bus, publisher: RawPeer) -> None:
    peer = json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1, group="g")
    subscribe_to(peer, "sensor", "a", 2, group="g")
    send(publisher, 1, 2, 3, 4)
    messages = peer.receive()
    assert told(messages) == [1, 2, 3, 4]
    assert sorted(str(message["Event"]["subscription"]) for message in messages) == ["1", "1", "2", "2"]


def test_a_member_without_credit_is_passed_over(bus: Bus, publisher: RawPeer) -> None:
    slow, quick = members(bus, 2, credit=0)
    quick.send(event_credit(1, PLENTY))
    bus.settle()
    send(publisher, *range(5))
    assert shares([slow, quick]) == [[], [0, 1, 2, 3, 4]]
    slow.send(event_credit(1, PLENTY))
    bus.settle()
    send(publisher, 5, 6)
    assert sorted(map(len, shares([slow, quick]))) == [1, 1]


def test_when_no_member_has_credit_the_one_with_the_least_to_take_gets_it(bus: Bus, publisher: RawPeer) -> None:
    group = members(bus, 3, credit=0)
    send(publisher, *("x" * 100 for _ in range(9)))
    assert [len(subscription_of(peer, 1).backlog) for peer in group] == [3, 3, 3]
    for peer in group:
        peer.send(event_credit(1, PLENTY))
    assert [len(share) for share in shares(group)] == [3, 3, 3]


def test_a_member_that_waits_with_events_keeps_their_order(bus: Bus, publisher: RawPeer) -> None:
    group = members(bus, 2, credit=0)
    send(publisher, *range(6))
    group[0].send(event_credit(1, 1))
    bus.settle()
    send(publisher, *range(6, 9))
    for peer in group:
        peer.send(event_credit(1, PLENTY))
    got = shares(group)
    assert all(share == sorted(share, key=str) for share in got)
    assert sorted(str(value) for share in got for value in share) == [str(value) for value in range(9)]


def test_publishers_wait_only_when_all_members_are_full() -> None:
    bus = Bus(Limits(backlog=1000))
    publisher, group = json_peer(bus), members(bus, 2, credit=0)
    send(publisher, *("x" * 400 for _ in range(4)))
    assert publisher.receive() == []
    send(publisher, "x" * 400)
    assert publisher.receive() == [PAUSE]
    bus.advance(3)
    assert publisher.receive() == [RESUME]
    send(publisher, "y")  # the other one still takes some
    assert [subscription_of(peer, 1).lagging for peer in group].count(True) == 1
    for peer in group:
        peer.send(event_credit(1, PLENTY))
    assert sum(map(len, shares(group))) == 6
    assert bus.router.events.backpressure.dropped == 0


def test_a_lagging_member_gets_nothing_while_another_does_not_lag() -> None:
    bus = Bus(Limits(backlog=1000))
    publisher, (lagging, good) = json_peer(bus), members(bus, 2, credit=0)
    good.send(event_credit(1, 1))
    bus.settle()
    send(publisher, *("x" * 400 for _ in range(8)))
    bus.advance(3)
    good.send(event_credit(1, PLENTY))
    before = len(told(good.receive()))
    send(publisher, *range(10))
    lagging_missed = subscription_of(lagging, 1).missed
    assert (len(told(good.receive())), lagging_missed) == (10, 0)
    assert before >= 1


def test_who_lags_or_is_away_comes_last(bus: Bus) -> None:
    group = deque(subscription_of(peer, 1) for peer in members(bus, 3, credit=0))
    for one, (detached, lagging, size) in zip(
        group, [(True, True, 0), (False, True, 10), (False, False, 20)], strict=True
    ):
        one.detached, one.lagging, one.backlog_bytes = detached, lagging, size
    for size in (20, 10, 0):
        one = choose(group)
        assert one.backlog_bytes == size
        group.remove(one)


def test_the_events_of_a_member_that_leaves_go_to_the_others_from_then_on(bus: Bus, publisher: RawPeer) -> None:
    first, second, third = members(bus, 3)
    first.disconnect()
    send(publisher, *range(4))
    assert [len(share) for share in shares([second, third])] == [2, 2]
    unsubscribe(second, 1)
    send(publisher, *range(4))
    assert shares([second, third]) == [[], [0, 1, 2, 3]]
    third.disconnect()
    send(publisher, 1)
    second.disconnect()
    publisher.disconnect()
    bus.assert_empty()


def test_an_event_that_its_member_cannot_be_told_is_missed_there_and_refused(bus: Bus) -> None:
    publisher, peer = packed_peer(bus), json_peer(bus)
    subscribe_to(peer, "sensor", "a", 1, group="g")
    publisher.send({"Publish": {"object_name": "sensor", "topic": "a", "args": b"\x00"}})  # type: ignore[dict-item]
    assert peer.receive() == [missed(1, 1)]
    [refusal] = publisher.receive()
    assert refusal["Error"]["code"] == "invalid_args"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.sampled_from("ab")),
            st.tuples(st.just("credit"), st.integers(0, 2)),
            st.tuples(st.just("receive"), st.integers(0, 2)),
        ),
        max_size=50,
    )
)
def test_every_event_reaches_the_group_once(steps: list[tuple[str, str | int]]) -> None:
    bus = Bus()
    publisher, group = json_peer(bus), members(bus, 3, credit=0, topic="*")
    published = 0
    got: list[Json] = []
    for step, which in steps:
        if step == "publish":
            send(publisher, published, topic=str(which))
            published += 1
        elif step == "credit":
            group[int(which)].send(event_credit(1, 150))
        else:
            got += told(group[int(which)].receive())
    for peer in group:
        peer.send(event_credit(1, PLENTY))
        got += told(peer.receive())
    assert sorted(map(int, map(str, got))) == list(range(published))
