from __future__ import annotations

import pytest

from ipc_broker.cli.rates import percentile, rates_between
from ipc_broker.observation import MOST_LISTED, Measurement, ObjectMeasures


def measured(time: float, objects: dict[str, ObjectMeasures], since: float = 0.0, **counts: int) -> Measurement:
    counted = {"calls_in_flight": 0, "published": 0, "delivered": 0, "dropped": 0} | counts
    return Measurement(
        time=time,
        since=since,
        objects=objects,
        objects_total=len(objects),
        connections=[],
        connections_total=0,
        behind=[],
        **counted,
    )


def test_rates_are_what_happened_in_between() -> None:
    before = measured(10.0, {"a": ObjectMeasures(calls=100, errors=1, events=5)}, published=10, delivered=20, dropped=1)
    after = measured(
        12.0,
        {
            "b": ObjectMeasures(events=2),
            "a": ObjectMeasures(calls=160, errors=2, events=5, in_flight=3, waiting=1, latency={40: 60}),
            "idle": ObjectMeasures(),
        },
        published=30,
        delivered=80,
        dropped=4,
    )
    rates = rates_between(before, after)
    assert rates is not None
    assert (rates.seconds, rates.calls, rates.errors) == (2.0, 30.0, 0.5)
    assert (rates.published, rates.delivered, rates.dropped) == (10.0, 30.0, 3)
    busy, other, idle = rates.objects
    assert (busy.object, busy.calls, busy.errors, busy.events) == ("a", 30.0, 0.5, 0.0)
    assert (busy.in_flight, busy.waiting) == (3, 1)
    assert busy.p50 is not None
    assert (other.object, other.events, other.p50) == ("b", 1.0, None)
    assert idle.object == "idle"


def test_another_broker_and_another_count_give_no_rates() -> None:
    before = measured(10.0, {}, since=5.0)
    assert rates_between(before, measured(11.0, {}, since=10.5)) is None
    assert rates_between(before, measured(2.0, {}, since=5.0)) is None


def test_an_object_that_was_not_listed_before_has_no_sudden_rate() -> None:
    many = {str(number): ObjectMeasures(calls=1) for number in range(MOST_LISTED)}
    rates = rates_between(measured(1.0, many), measured(2.0, {"late": ObjectMeasures(calls=1_000_000)}))
    assert rates is not None
    assert rates.objects[0].calls == 0.0


def test_percentiles_are_within_the_buckets() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({40: 0}, 0.5) is None
    # The key 40 is for 1024 to 1218 microseconds.
    assert percentile({40: 100}, 0.5) == pytest.approx(1.117e-3, rel=0.01)
    answers = {40: 98, 80: 2}
    median, slow = percentile(answers, 0.5), percentile(answers, 0.99)
    assert median is not None
    assert slow is not None
    assert 1.024e-3 < median < 1.218e-3
    assert 1.048 < slow < 1.247
    assert percentile({0: 1}, 1.0) == pytest.approx(1.19e-6, rel=0.01)
