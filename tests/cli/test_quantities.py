from __future__ import annotations

import pytest

from ipc_broker.cli.quantities import age, counted, duration, rate, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 µs"),
        (0.00061, "610 µs"),
        (0.0123, "12.3 ms"),
        (0.9996, "1 s"),
        (1.234, "1.23 s"),
        (31.0, "31 s"),
        (59.7, "1 min"),
        (119.7, "2 min"),
        (125.0, "2 min 5 s"),
        (3599.9, "1 h"),
        (7500.0, "2 h 5 min"),
        (86_399.0, "1 d"),
        (200_000.0, "2 d 8 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_age_is_whole_seconds() -> None:
    assert [age(seconds) for seconds in (0.2, 5.08, 59.6, 125.0)] == ["0 s", "5 s", "1 min", "2 min 5 s"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (1_234_567, "1.18 MiB"), (5 << 40, "5 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_counts_have_their_plural() -> None:
    assert [counted(count, "call") for count in (0, 1, 1234)] == ["0 calls", "1 call", "1,234 calls"]
    assert counted(2, "more", "more") == "2 more"


def test_rates() -> None:
    assert [rate(value) for value in (0, 0.01, 0.4, 9.96, 12_345.6)] == ["0", "<0.1", "0.4", "10", "12,346"]
