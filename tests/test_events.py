import pytest

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
    assert Event("a", "b", 1) != Event("a", "b", 2)
    event: object = Event("a", "b", None)
    assert event != Gap("a", "b", None)


@pytest.mark.parametrize("item", [Event("a", "b", 1), Gap("a", "b", 1)])
def test_neither_can_be_changed(item: Event | Gap) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(item, "topic", "c")  # noqa: B010 - an assignment would not pass the type checker
