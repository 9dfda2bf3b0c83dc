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
