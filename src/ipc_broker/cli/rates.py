"""Two measurements of a broker to what happened between them, a second."""

from __future__ import annotations

from msgspec import Struct

from ..observation import MOST_LISTED, Measurement, ObjectMeasures


class ObjectRates(Struct, frozen=True):
    """Of one object. The latencies are seconds, None where nothing was answered."""

    object: str
    calls: float
    errors: float
    events: float
    p50: float | None
    p99: float | None
    in_flight: int
    waiting: int


class Rates(Struct, frozen=True):
    """The objects that do most come first. Of `dropped` it is the number, not the rate."""

    seconds: float
    objects: list[ObjectRates]
    calls: float
    errors: float
    published: float
    delivered: float
    dropped: int


def rates_between(before: Measurement, after: Measurement) -> Rates | None:
    """None where the counters did not go on: another broker, or it has begun to count anew."""
    seconds = after.time - before.time
    if after.since != before.since or seconds <= 0:
        return None
    listed_all = len(before.objects) < MOST_LISTED
    objects = [
        _rates_of(name, before.objects.get(name, ObjectMeasures() if listed_all else measures), measures, seconds)
        for name, measures in after.objects.items()
    ]
    objects.sort(key=lambda one: (-(one.calls + one.events), -one.in_flight, one.object))
    return Rates(
        seconds=seconds,
        objects=objects,
        calls=sum(one.calls for one in objects),
        errors=sum(one.errors for one in objects),
        published=(after.published - before.published) / seconds,
        delivered=(after.delivered - before.delivered) / seconds,
        dropped=after.dropped - before.dropped,
    )


def _rates_of(name: str, before: ObjectMeasures, after: ObjectMeasures, seconds: float) -> ObjectRates:
    answers = {key: count - before.latency.get(key, 0) for key, count in after.latency.items()}
    return ObjectRates(
        object=name,
        calls=max(after.calls - before.calls, 0) / seconds,
        errors=max(after.errors - before.errors, 0) / seconds,
        events=max(after.events - before.events, 0) / seconds,
        p50=percentile(answers, 0.5),
        p99=percentile(answers, 0.99),
        in_flight=after.in_flight,
        waiting=after.waiting,
    )


def percentile(answers: dict[int, int], part: float) -> float | None:
    """Seconds under which this part of the answers came, as exactly as the buckets say: within a tenth."""
    total = sum(count for count in answers.values() if count > 0)
    if not total:
        return None
    rank = part * total
    passed = 0
    for key in sorted(answers):
        count = answers[key]
        if count > 0:
            if passed + count >= rank:
                return float(2.0 ** ((key + (rank - passed) / count) / 4)) / 1e6
            passed += count
    raise AssertionError("the last answer is the last percentile")
