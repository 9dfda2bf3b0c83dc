import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.deadlines import BUCKET_SECONDS, Deadlines

TIMES = st.floats(0, 1e9, allow_nan=False)
# Close together, so that many share a bucket.
NEAR_TIMES = st.floats(1000, 1001, allow_nan=False)


def test_nothing_waits_at_first() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.next_deadline() is None
    assert deadlines.expired(1e9) == []


@given(TIMES)
def test_none_expires_early_nor_later_than_a_bucket(deadline: float) -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("call", deadline)
    due = deadlines.next_deadline()
    assert due is not None
    assert deadline <= due <= deadline + BUCKET_SECONDS * 1.001
    assert deadlines.expired(deadline - BUCKET_SECONDS) == []
    assert deadlines.expired(due) == ["call"]
    assert deadlines.next_deadline() is None


@given(st.lists(NEAR_TIMES | TIMES, max_size=30))
def test_each_expires_once_in_the_order_of_time(times: list[float]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key, deadline in enumerate(times):
        deadlines.add(key, deadline)
    seen: list[int] = []
    while (due := deadlines.next_deadline()) is not None:
        now = deadlines.expired(due)
        assert now, "a timer that was asked for finds something to do"
        assert all(due - BUCKET_SECONDS * 1.001 <= times[key] <= due for key in now)
        seen += now
    assert sorted(seen) == list(range(len(times)))


@given(st.lists(NEAR_TIMES, max_size=30), st.sets(st.integers(0, 29)), NEAR_TIMES)
def test_a_key_deleted_from_its_bucket_never_expires(times: list[float], done: set[int], now: float) -> None:
    deadlines: Deadlines[int] = Deadlines()
    buckets = [deadlines.add(key, deadline) for key, deadline in enumerate(times)]
    for key in done & set(range(len(times))):
        del buckets[key][key]
    waiting = set(range(len(times))) - done
    if not waiting:
        assert deadlines.next_deadline() is None
    expired = deadlines.expired(now)
    assert set(expired) <= waiting
    assert {key for key in waiting if times[key] <= now - BUCKET_SECONDS * 1.001} <= set(expired)
    assert set(deadlines.expired(1002)) == waiting - set(expired)


# A step adds a deadline, deletes the key of an earlier one, or lets time pass.
STEPS = st.lists(st.tuples(st.sampled_from(["add", "delete", "pass"]), st.floats(1, 5, allow_nan=False)), max_size=30)


@given(STEPS)
def test_the_earliest_is_never_later_than_the_next_deadline(steps: list[tuple[str, float]]) -> None:
    """So that a shell whose timer is set to the next deadline needs to ask for it only when the earliest is before that."""
    deadlines: Deadlines[int] = Deadlines()
    waiting: dict[int, dict[int, None]] = {}
    now = 0.0
    for key, (step, seconds) in enumerate(steps):
        if step == "add":
            waiting[key] = deadlines.add(key, now + seconds)
        elif step == "delete" and waiting:
            first = min(waiting)
            del waiting.pop(first)[first]
        elif step == "pass":
            now += seconds / 10
            for expired in deadlines.expired(now):
                del waiting[expired]
        earliest, due = deadlines.earliest, deadlines.next_deadline()
        assert earliest <= (math.inf if due is None else due)
        assert deadlines.earliest == (math.inf if due is None else due), "asking makes it exact"
        assert (due is None) == (not waiting)


def test_an_earlier_deadline_is_known_at_once_and_a_later_one_changes_nothing() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.earliest == math.inf
    deadlines.add("late", 30.0)
    assert 30.0 <= deadlines.earliest <= 30.0 + BUCKET_SECONDS * 1.001
    deadlines.add("early", 10.0)
    assert 10.0 <= deadlines.earliest <= 10.0 + BUCKET_SECONDS * 1.001
    deadlines.add("later", 60.0)
    assert deadlines.earliest == deadlines.next_deadline()


def test_a_deleted_key_may_be_added_again_to_the_same_time() -> None:
    deadlines: Deadlines[str] = Deadlines()
    del deadlines.add("call", 10.0)["call"]
    assert deadlines.next_deadline() is None
    deadlines.add("call", 10.0)
    assert deadlines.expired(11.0) == ["call"]


def test_many_of_one_time_share_a_bucket() -> None:
    deadlines: Deadlines[int] = Deadlines()
    buckets = [deadlines.add(key, 10.0) for key in range(1000)]
    assert all(bucket is buckets[0] for bucket in buckets)
    assert deadlines.expired(10.1) == list(range(1000))


@pytest.mark.parametrize("count", [10_000])
def test_what_ended_leaves_nothing_behind(count: int) -> None:
    deadlines: Deadlines[int] = Deadlines()
    bucket = deadlines.add(-1, 30.0)
    for key in range(count):
        del deadlines.add(key, 30.0)[key]
    assert list(bucket) == [-1]
