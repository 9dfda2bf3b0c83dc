"""The checker finds who ends badly, does not come back, and what is left behind. The other rules have their own tests."""

from __future__ import annotations

import msgspec
import pytest

from tests.chaos.checker import MOST_GROWTH, check
from tests.chaos.history import History
from tests.chaos.story import CLOSING, Story
from tests.chaos.traces import Surprise


@pytest.fixture
def story() -> Story:
    return Story()


def test_nothing_is_wrong(story: Story) -> None:
    assert story.faults() == []


def test_a_process_that_dies(story: Story) -> None:
    story.ends_with("caller#1", 1, 10.0)
    story.died = ("caller#1",)
    assert story.kinds() == ["died"]


def test_a_process_that_does_not_end_well(story: Story) -> None:
    story.does("stop", "caller#1", 10.0)
    story.ends_with("caller#1", -9, 20.0)
    assert story.kinds() == ["bad end"]


def test_a_process_that_is_surprised(story: Story) -> None:
    story.says("caller#1", Surprise(at=10.0, what="EOFError"))
    assert story.kinds() == ["surprise"]


def test_memory_that_grows(story: Story) -> None:
    story.broker = msgspec.structs.replace(story.broker, rss=(30_000_000, 30_000_001 + MOST_GROWTH))
    assert story.kinds() == ["memory"]


@pytest.mark.parametrize("after", [13, 15])
def test_descriptors_that_are_not_as_before(story: Story, after: int) -> None:
    story.broker = msgspec.structs.replace(story.broker, descriptors=(14, after))
    assert story.kinds() == ["descriptors"]


@pytest.mark.parametrize("name", ["connections", "objects", "subscriptions", "calls_in_flight", "calls_waiting"])
def test_what_the_broker_has_left_over(story: Story, name: str) -> None:
    story.broker.stats[name] += 1
    assert story.kinds() == ["left over"]


def back(story: Story) -> list[str]:
    """What is found when the story's last seconds were calm."""
    history = story.history()
    calm = History(
        history.plan, history.deeds, story.traces, history.ends, calm=30.0, closing=CLOSING, broker=history.broker
    )
    return sorted(fault.what.partition(" ")[0] for fault in check(calm) if fault.kind == "not back")


def test_who_does_not_come_back(story: Story) -> None:
    assert back(story) == ["caller#1", "publisher#1"]
    for number in range(20):
        story.calls(str(number), 31.0)
        story.fails(str(number), 31.1, "no_such_object", "no")
    story.publishes(*range(230, 250))
    story.gets("wild#1", *range(230, 250))
    assert back(story) == ["caller#1", "latest#1", "plain#1"]
    story.calls("20", 31.0)
    story.runs("20", 31.1)
    story.returns("20", 31.2)
    story.gets("plain#1", *range(230, 250))
    story.gets("latest#1", 249)
    assert back(story) == []
