"""Percentiles from counts."""

from __future__ import annotations

import pytest

from tests.soak.latencies import Latencies


def test_percentiles_are_a_little_too_high_at_most() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 101):
        latencies.add(milliseconds / 1000)
    assert 0.050 <= latencies.percentile(50) <= 0.050 * 1.1
    assert 0.099 <= latencies.percentile(99) <= 0.100
    assert latencies.percentile(100) == latencies.worst == 0.1


def test_nothing_takes_no_time() -> None:
    assert Latencies().percentile(50) == 0.0
    latencies = Latencies()
    latencies.add(0.0)
    assert latencies.percentile(99) == 0.0


def test_counts_of_several_are_added() -> None:
    one, other = Latencies(), Latencies()
    one.add(0.001)
    other.add(1.0)
    one.merge(other.counts, other.worst)
    assert one.percentile(50) == pytest.approx(0.001, rel=0.1)
    assert one.percentile(100) == one.worst == 1.0


def test_memory_does_not_grow_with_what_is_counted() -> None:
    latencies = Latencies()
    for number in range(10_000):
        latencies.add(0.0001 + number / 1e6)
    assert len(latencies.counts) < 70
