"""The checker finds what happens to events and must not, and takes what may."""

from __future__ import annotations

import pytest

from tests.chaos.publications import matches
from tests.chaos.story import Story
from tests.chaos.traces import NotDrained, NotPublished


@pytest.fixture
def story() -> Story:
    """Five events of a publisher that has drained; a subscriber that has settled, and whatever comes to it."""
    story = Story()
    story.publishes(1, 2, 3, 4, 5)
    story.drains(5)
    story.settles("plain#1")
    return story


def test_all_events(story: Story) -> None:
    story.gets("plain#1", 1, 2, 3, 4, 5)
    assert story.kinds() == []


@pytest.mark.parametrize("got", [(1, 2, 4, 5), (2, 3, 4, 5), (1, 2, 3, 4), ()])
def test_a_lost_event(story: Story, got: tuple[int, ...]) -> None:
    story.gets("plain#1", *got)
    assert set(story.kinds()) == {"lost", "wrong gap"}


def test_an_event_that_comes_twice(story: Story) -> None:
    story.gets("plain#1", 1, 2, 3, 3, 4, 5)
    assert story.kinds() == ["twice"]


def test_an_event_that_comes_twice_after_a_gap(story: Story) -> None:
    story.gets("plain#1", 1, 2, 3)
    story.misses("plain#1", 0)
    story.gets("plain#1", 2, 3, 4, 5)
    assert story.kinds() == ["twice", "twice"]


def test_events_in_another_order(story: Story) -> None:
    story.gets("plain#1", 1, 3, 2, 4, 5)
    assert "order" in story.kinds()


def test_an_event_that_nobody_has_published(story: Story) -> None:
    story.gets("plain#1", 1, 2, 3, 4, 5, 6)
    assert story.kinds() == ["never published"]


def test_an_event_of_another_topic(story: Story) -> None:
    story.publishes(6, topic="b")
    story.gets("plain#1", 1, 2, 3, 4, 5)
    story.gets("plain#1", 6, topic="b")
    assert story.kinds() == ["wrong event"]


def test_an_event_whose_publish_has_surely_failed(story: Story) -> None:
    story.publishes(6)
    story.says("publisher#1", NotPublished(at=10.7, number=6, code="disconnected", delivered="no", message=""))
    story.gets("plain#1", 1, 2, 3, 4, 5)
    assert story.kinds() == []
    story.gets("plain#1", 6)
    assert story.kinds() == ["came all the same"]


def test_a_gap_that_counts_right(story: Story) -> None:
    story.gets("plain#1", 1, 2)
    story.misses("plain#1", 2)
    story.gets("plain#1", 5)
    assert story.kinds() == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_gap_that_counts_wrong(story: Story, count: int) -> None:
    story.gets("plain#1", 1, 2)
    story.misses("plain#1", count)
    story.gets("plain#1", 5)
    assert story.kinds() == ["wrong gap"]


def test_a_gap_in_another_place(story: Story) -> None:
    story.gets("plain#1", 1)
    story.misses("plain#1", 2)
    story.gets("plain#1", 2, 5)
    assert story.kinds() == ["lost"]


def test_a_gap_of_an_unknown_size_needs_a_reason(story: Story) -> None:
    story.gets("plain#1", 1, 2)
    story.misses("plain#1", None, at=10.45)
    story.gets("plain#1", 5)
    assert story.kinds() == ["unknown gap"]
    story.does("kill", "broker#1", 10.35)
    story.starts("broker#2", 10.4)
    assert story.kinds() == []


def test_what_comes_after_a_gap_of_unknown_size_is_complete(story: Story) -> None:
    story.does("kill", "broker#1", 10.05)
    story.starts("broker#2", 10.1)
    story.misses("plain#1", None, at=10.15)
    story.gets("plain#1", 2, 3, 5)
    assert set(story.kinds()) == {"lost", "wrong gap"}


def test_what_was_published_before_the_subscription_may_come_or_not() -> None:
    story = Story()
    story.starts("plain#2", 9.0)  # subscribed between 10.0 and 11.0
    story.publishes(1, 2, 3, 12)
    story.gets("plain#1", 1, 2, 3, 12)
    story.gets("plain#2", 12)
    assert story.kinds() == []
    story.traces["plain#2"].pop()
    story.gets("plain#2", 1, 3, 12)
    assert set(story.kinds()) == {"lost", "wrong gap"}


def test_a_killed_subscriber_may_lose_the_end(story: Story) -> None:
    story.starts("plain#2", 5.0)
    story.gets("plain#1", 1, 2, 3, 4, 5)
    story.gets("plain#2", 1, 2)
    story.does("kill", "plain#2", 12.0)
    assert story.kinds() == []
    story.gets("plain#2", 4)
    assert set(story.kinds()) == {"lost", "wrong gap"}


# What is known of those whose publisher was lost


@pytest.fixture
def lossy() -> Story:
    """The publisher is killed after its fifth event."""
    story = Story()
    story.publishes(1, 2, 3, 4, 5)
    story.does("kill", "publisher#1", 10.6)
    story.settles("plain#1", "wild#1")
    return story


def test_a_killed_publisher_may_lose_the_end(lossy: Story) -> None:
    lossy.gets("plain#1", 1, 2, 3)
    lossy.gets("wild#1", 1, 2, 3)
    assert lossy.kinds() == []


def test_what_one_has_got_all_must_get(lossy: Story) -> None:
    lossy.gets("plain#1", 1, 2, 3)
    lossy.gets("wild#1", 1, 2, 3, 4)
    assert set(lossy.kinds()) == {"lost", "wrong gap"}


def test_nothing_is_lost_before_what_was_got(lossy: Story) -> None:
    lossy.gets("plain#1", 1, 2, 4)
    lossy.gets("wild#1", 1, 2, 4)
    assert lossy.kinds().count("lost") == 2


def test_what_was_acknowledged_is_not_lost(lossy: Story) -> None:
    lossy.gets("plain#1", 1, 2, 3)
    lossy.gets("wild#1", 1, 2, 3)
    lossy.acknowledges(4, 10.45)
    assert lossy.kinds().count("lost") == 2


def test_what_was_drained_is_not_lost(lossy: Story) -> None:
    lossy.gets("plain#1", 1, 2)
    lossy.gets("wild#1", 1, 2)
    lossy.drains(3, 10.35)
    assert lossy.kinds().count("lost") == 2


def test_a_drain_does_not_speak_for_what_an_earlier_one_gave_up() -> None:
    story = Story()
    story.publishes(1, 2, 3)
    story.does("cut", "publisher#1", 10.32)
    story.says("publisher#1", NotDrained(at=10.5, number=3, code="disconnected"))
    story.drains(3)
    story.gets("plain#1", 1, 2)
    story.settles("plain#1")
    assert story.kinds() == []


def test_a_publisher_that_goes_on_after_a_loss_has_lost_only_what_came_before() -> None:
    story = Story()
    story.publishes(1, 2, 3, 4, 5, 40, 41, 42)
    story.does("cut", "publisher#1", 10.55)
    story.gets("plain#1", 1, 2, 3, 40, 41, 42)
    story.settles("plain#1")
    assert story.kinds() == []
    story.traces["plain#1"] = [one for one in story.traces["plain#1"] if getattr(one, "number", 0) != 41]
    assert set(story.kinds()) == {"lost", "wrong gap"}


def test_what_nobody_can_lose_was_routed() -> None:
    story = Story()
    story.publishes(1)
    assert story.kinds() == ["not routed"]


# Other subscriptions


def test_the_latest_of_each_topic_may_come_in_another_order_than_those_of_others() -> None:
    story = Story()
    for topic, numbers in {"a": (1, 3, 4), "b": (2, 5)}.items():
        story.publishes(*numbers, topic=topic)
    story.traces["publisher#1"].sort(key=lambda record: record.at)
    story.drains(5)
    story.gets("latest#1", 1)
    story.misses("latest#1", 2)
    story.gets("latest#1", 5, topic="b")
    story.gets("latest#1", 4)
    story.settles("latest#1")
    story.gets("plain#1", 1, 3, 4)
    assert story.kinds() == []
    story.gets("latest#1", 3)
    assert "order" in story.kinds()


@pytest.fixture
def group() -> Story:
    story = Story()
    story.publishes(1, 2, 3, 4, object="jobs")
    story.drains(4)
    story.settles("one#1", "two#1")
    return story


def test_a_group_shares_its_events(group: Story) -> None:
    group.gets("one#1", 1, 3, object="jobs")
    group.gets("two#1", 2, 4, object="jobs")
    assert group.kinds() == []


def test_an_event_that_goes_to_two_members(group: Story) -> None:
    group.gets("one#1", 1, 3, object="jobs")
    group.gets("two#1", 2, 3, 4, object="jobs")
    assert group.kinds() == ["twice"]


def test_an_event_that_a_group_has_lost(group: Story) -> None:
    group.gets("one#1", 1, object="jobs")
    group.gets("two#1", 2, 4, object="jobs")
    assert group.kinds() == ["lost"]


def test_a_member_that_is_killed_takes_its_share_along(group: Story) -> None:
    group.does("kill", "one#1", 12.0)
    group.gets("one#1", 1, object="jobs")
    group.gets("two#1", 2, 4, object="jobs")
    assert group.kinds() == []


# Retained values


@pytest.fixture
def retained() -> Story:
    """Two values are retained before another subscriber comes."""
    story = Story()
    story.publishes(1, 2, topic="state", retain=True)
    story.drains(2)
    story.gets("wild#1", 1, 2, topic="state")
    story.starts("wild#2", 20.0)
    story.settles("wild#1", "wild#2")
    return story


def test_the_last_value_comes_to_who_subscribes_later(retained: Story) -> None:
    retained.gets("wild#2", 2, topic="state", retained=True)
    assert retained.kinds() == []


def test_an_old_value(retained: Story) -> None:
    retained.gets("wild#2", 1, topic="state", retained=True)
    assert retained.kinds() == ["old value"]


def test_no_value(retained: Story) -> None:
    assert retained.kinds() == ["no value"]


def test_what_only_came_as_a_retained_value_is_not_missing() -> None:
    """The publisher had not noticed yet that its broker was gone; it has given the value to the next one."""
    story = Story()
    story.does("kill", "broker#1", 10.05)
    story.starts("broker#2", 10.1)
    story.misses("wild#1", None, at=10.15)
    story.publishes(2, topic="state", retain=True)
    story.publishes(3)
    story.gets("wild#1", 2, topic="state", retained=True)
    story.gets("wild#1", 3)
    story.settles("wild#1")
    assert story.kinds() == []
    story.misses("wild#1", 3, at=11.0)
    assert story.kinds() == ["wrong gap"]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a", "a", True),
        ("a", "a.b", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("a.*", "a.b", True),
        (">", "a.b", True),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        ("b.>", "a.b", False),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits
