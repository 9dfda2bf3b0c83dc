"""Subscriptions at a broker of the Rust crate, which knows no ids: those to one topic share one on the wire."""

from __future__ import annotations

import pytest

from ipc_broker.errors import InvalidArgs
from ipc_broker.events import Event, Gap
from tests.messages import event
from tests.recording import Answer, RecordingSink
from tests.seed.frames import frame_of
from tests.session.scripted import ScriptedBroker
from tests.session.subscribing import NOW, SUBSCRIBE, SUBSCRIBED, start, stop, subscribed, subscribed_as, value


@pytest.fixture
def broker(seed_broker: ScriptedBroker) -> ScriptedBroker:
    return seed_broker


class LeavingSink(RecordingSink):
    """It unsubscribes while it is told."""

    def __init__(self, broker: ScriptedBroker) -> None:
        super().__init__()
        self._broker = broker

    def deliver(self, event: Event | Gap, size: int) -> None:
        super().deliver(event, size)
        stop(self._broker, self)


def start_leaving(broker: ScriptedBroker) -> LeavingSink:
    sink = LeavingSink(broker)
    sink.subscription = broker.session.subscribe("sensor", "temperature", sink, Answer())
    return sink


# Sharing


def test_a_subscription_is_asked_for_by_its_names_alone(broker: ScriptedBroker) -> None:
    sink, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()
    broker.give(SUBSCRIBED, value(1), value(2), event("sensor", "pressure", 3), event("other", "temperature", 4))
    assert answer.result is None
    assert sink.seen == [1, 2]


def test_several_subscriptions_to_one_topic_share_one_on_the_wire(broker: ScriptedBroker) -> None:
    (first, first_answer), (second, second_answer) = start(broker), start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not second_answer.done()
    broker.give(SUBSCRIBED)
    assert first_answer.done()
    assert second_answer.done()
    third, third_answer = start(broker)
    assert third_answer.done()
    assert broker.sent() == []
    broker.give(value(1))
    assert [sink.seen for sink in (first, second, third)] == [[1], [1], [1]]


def test_no_credit_is_given(broker: ScriptedBroker) -> None:
    sink = subscribed(broker)
    broker.give(*[value("x" * 60_000)] * 20)
    assert len(sink.seen) == 20
    assert broker.sent() == []


def test_sinks_of_one_topic_do_not_share_the_value_of_an_event(broker: ScriptedBroker) -> None:
    (first, _), (second, _) = start(broker), start(broker)
    broker.give(SUBSCRIBED, value([1, {"a": [2]}]))
    [mine], [theirs] = first.seen, second.seen
    assert mine == theirs == [1, {"a": [2]}]
    assert isinstance(mine, list)
    assert isinstance(theirs, list)
    assert mine is not theirs
    assert isinstance(mine[1], dict)
    assert isinstance(theirs[1], dict)
    assert mine[1] is not theirs[1]
    assert mine[1]["a"] is not theirs[1]["a"]


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_several_sinks_of_one_topic_survive_an_event_of_any_depth(broker: ScriptedBroker, depth: int) -> None:
    sinks = [start(broker)[0] for _ in range(2)]
    broker.give(SUBSCRIBED)
    body = b'{"Event":{"object_name":"sensor","topic":"temperature","args":%b}}' % (b"[" * depth + b"]" * depth)
    broker.session.receive_data(frame_of(body))
    broker.give(value(1))
    assert [len(sink.seen) for sink in sinks] == [2, 2]
    assert [sink.seen[1] for sink in sinks] == [1, 1]


def test_an_event_that_cannot_be_decoded_is_a_gap_for_each_of_its_sinks(broker: ScriptedBroker) -> None:
    (first, _), (second, _) = start(broker), start(broker)
    broker.give(SUBSCRIBED, value(1))
    unreadable = b'{"Event":{"object_name":"sensor","topic":"%b","args":1e999}}'
    broker.session.receive_data(frame_of(unreadable % b"temperature") + frame_of(unreadable % b"pressure"))
    broker.give(value(2))
    assert first.seen == second.seen == [1, "missed 1", 2]


def test_a_sink_that_leaves_while_an_event_is_delivered_does_not_keep_it_from_the_others(
    broker: ScriptedBroker,
) -> None:
    leaving = start_leaving(broker)
    staying, _ = start(broker)
    broker.give(SUBSCRIBED, value(1), value(2))
    assert (leaving.seen, staying.seen) == ([1], [1, 2])


def test_groups_overflow_and_their_like_are_refused(broker: ScriptedBroker) -> None:
    for more in ({"group": "g"}, {"overflow": "latest"}):
        with pytest.raises(InvalidArgs, match="no groups and no overflow") as raised:
            broker.session.subscribe("sensor", "temperature", RecordingSink(), Answer(), **more)
        assert raised.value.delivered == "no"
    assert broker.sent() == []


# Unsubscribing, which that broker cannot: it would send an event once for each time we had subscribed


def test_unsubscribing_is_local_and_subscribing_again_sends_nothing(broker: ScriptedBroker) -> None:
    first = subscribed(broker)
    assert stop(broker, first).done()
    assert broker.sent() == []
    broker.give(value(1))
    (second, answer), (third, also) = start(broker), start(broker)
    assert answer.done()
    assert also.done()
    assert broker.sent() == []
    broker.give(value(2))
    assert (first.seen, second.seen, third.seen) == ([], [2], [2])


def test_one_of_several_leaves_and_the_others_go_on(broker: ScriptedBroker) -> None:
    first, (second, _) = subscribed(broker), start(broker)
    assert stop(broker, first).done()
    assert stop(broker, first).done(), "twice does no harm"
    broker.give(value(1))
    assert (first.seen, second.seen) == ([], [1])
    assert broker.sent() == []


def test_a_subscription_made_again_at_once_waits_for_the_first_ones_confirmation(broker: ScriptedBroker) -> None:
    sink, first_answer = start(broker)
    stop(broker, sink)
    _, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()
    broker.give(SUBSCRIBED)
    assert answer.done()
    assert first_answer.done()


# A lost connection


def test_a_new_connection_subscribes_once_and_is_a_gap_for_each(broker: ScriptedBroker) -> None:
    first, (second, _) = subscribed(broker), start(broker)
    broker.give(value(1))
    broker.lose()
    assert first.seen == [1]
    broker.open_seed()
    assert broker.opened.done()
    assert broker.sent() == [SUBSCRIBE]
    broker.give(SUBSCRIBED, value(2))
    assert first.seen == second.seen == [1, "missed None", 2]


def test_a_sink_that_leaves_when_it_is_told_of_the_gap_does_no_harm(broker: ScriptedBroker) -> None:
    leaving, also_leaving = start_leaving(broker), start_leaving(broker)
    other = RecordingSink()
    other.subscription = broker.session.subscribe("sensor", "pressure", other, Answer())
    broker.give(*(subscribed_as(number) for number in (1, 2, 3)))
    broker.lose()
    broker.open_seed()
    assert broker.session.ready
    assert broker.opened.done()
    broker.give(SUBSCRIBED, value(1), event("sensor", "pressure", 2))
    assert (leaving.seen, also_leaving.seen, other.seen) == (["missed None"], ["missed None"], ["missed None", 2])


def test_a_second_subscription_right_after_a_new_connection_waits_for_the_confirmation(broker: ScriptedBroker) -> None:
    subscribed(broker)
    broker.lose()
    broker.open_seed()
    _, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()
    broker.give(SUBSCRIBED)
    assert answer.result is None


def test_a_new_connection_forgets_what_the_broker_kept(broker: ScriptedBroker) -> None:
    stop(broker, subscribed(broker))
    broker.lose()
    broker.open_seed()
    assert broker.sent() == []
    _, answer = start(broker)
    assert broker.sent() == [SUBSCRIBE]
    assert not answer.done()


def test_unsubscribing_without_a_connection_is_done_at_once(broker: ScriptedBroker) -> None:
    sink, answer = subscribed(broker), Answer()
    broker.lose()
    assert sink.subscription is not None
    broker.session.unsubscribe(sink.subscription, answer, NOW)
    assert answer.done()
    broker.open_seed()
    assert broker.sent() == []
