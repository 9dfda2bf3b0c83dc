from typing import Any

import msgspec
import pytest
from msgspec import Raw

from ipc_broker import messages
from ipc_broker.events import Event, Gap


def test_an_event_is_not_retained_unless_said() -> None:
    event = Event("sensor", "temperature", {"celsius": 25.6})
    assert (event.object, event.topic, event.value, event.retained) == (
        "sensor",
        "temperature",
        {"celsius": 25.6},
        False,
    )
    assert Event("sensor", "temperature", 1, retained=True).retained


def test_a_gap_of_unknown_size_has_none() -> None:
    assert Gap("sensor", "temperature").missed is None
    assert Gap("sensor", "temperature", 3).missed == 3


def test_events_and_gaps_are_told_apart_by_match() -> None:
    def told(item: Event | Gap) -> str:
        match item:
            case Event(object, topic, value):
                return f"{object}.{topic}={value}"
            case Gap(_, _, missed):
                return f"missed {missed}"

    assert told(Event("sensor", "temperature", 25.6)) == "sensor.temperature=25.6"
    assert told(Gap("sensor", "temperature", 3)) == "missed 3"


def test_equal_events_are_equal_and_a_gap_is_no_event() -> None:
    assert Event("a", "b", [1]) == Event("a", "b", [1])
    event: object = Event("a", "b", None)
    assert event != Gap("a", "b", None)
    assert event != ("a", "b", None)


@pytest.mark.parametrize(
    "other",
    [Event("x", "b", 1), Event("a", "x", 1), Event("a", "b", 2), Event("a", "b", 1, retained=True)],
    ids=repr,
)
def test_an_event_with_another_object_topic_value_or_age_is_another(other: Event) -> None:
    assert Event("a", "b", 1) != other


def test_by_which_subscription_it_came_is_no_part_of_an_event() -> None:
    event = Event("a", "b", 1, subscription_id=7)
    assert event == Event("a", "b", 1, subscription_id=8)
    assert "7" not in repr(event)
    assert event.subscription_id == 7


def test_an_event_may_hold_what_has_no_hash_and_has_none_itself() -> None:
    with pytest.raises(TypeError, match="unhashable type: 'Event'"):
        hash(Event("a", "b", 1))
    assert hash(Gap("a", "b", 1)) == hash(Gap("a", "b", 1))


def test_an_event_prints_as_it_is_written() -> None:
    assert repr(Event("a", "b", {"c": [1]})) == "Event(object='a', topic='b', value={'c': [1]})"
    assert repr(Event("a", "b", None, retained=True)) == "Event(object='a', topic='b', value=None, retained=True)"
    for event in (Event("a", "b", 1.5), Event("a", "b", "x", retained=True)):
        assert eval(repr(event)) == event


@pytest.mark.parametrize("coder", [msgspec.json, msgspec.msgpack], ids=lambda coder: coder.__name__)
@pytest.mark.parametrize(
    "wire",
    [
        messages.Event("a", "b", Raw(), subscription=7, retained=True),
        messages.Event("a", "b", Raw()),
    ],
)
def test_an_event_is_decoded_as_it_stands_on_the_wire(coder: Any, wire: messages.Event) -> None:
    wire = msgspec.structs.replace(wire, args=Raw(coder.encode([1, "x"])))
    event = coder.decode(coder.encode(wire), type=Event)
    assert event == Event("a", "b", [1, "x"], retained=wire.retained)
    assert event.subscription_id == wire.subscription


@pytest.mark.parametrize("item", [Event("a", "b", 1), Gap("a", "b", 1)])
def test_neither_can_be_changed(item: Event | Gap) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(item, "topic", "c")  # noqa: B010 - an assignment would not pass the type checker
