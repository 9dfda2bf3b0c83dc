"""Growth is told from what only looks like it."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from tests.soak.judge import (
    DESCRIPTORS,
    FULL_LENGTH,
    LEAST_SAMPLES,
    MEMORY,
    allowed_blocks,
    allowed_memory,
    growth,
    lower_quartile,
)

MIB = 1 << 20
START = 30 * MIB
SECONDS = 600


def memory(shape: Callable[[float], float], seconds: int = SECONDS, noise: float = 100_000) -> list[float]:
    """One sample a second; `shape` gives the bytes above `START` at a moment from 0 to 1, to which noise is added."""
    rng = Random(1)
    return [START + shape(second / seconds) + rng.uniform(-noise, noise) for second in range(seconds)]


def grows(samples: list[float], seconds: float = SECONDS) -> bool:
    return growth("memory", samples, allowed_memory(seconds)) is not None


def test_a_leak_of_a_mebibyte_in_ten_minutes_is_growth() -> None:
    assert grows(memory(lambda moment: MIB * moment))


def test_a_leak_behind_a_warm_up_is_growth() -> None:
    assert grows(memory(lambda moment: 3 * MIB * min(moment * 10, 1) + MIB * moment))


def test_a_leak_in_steps_is_growth() -> None:
    assert grows(memory(lambda moment: 0.25 * MIB * math.floor(moment * 8)))


def test_a_long_run_shows_a_slow_leak() -> None:
    assert grows(memory(lambda moment: MIB * moment, seconds=6000), 6000)


def test_a_short_run_shows_a_fast_leak_only() -> None:
    assert grows(memory(lambda moment: 200 * MIB * moment, seconds=30), 6)
    assert not grows(memory(lambda moment: MIB * moment, seconds=30), 6)


@pytest.mark.parametrize(
    "shape",
    [
        lambda moment: 0.0,
        lambda moment: 5 * MIB * min(moment * 4, 1),
        lambda moment: 5 * MIB * (1 - math.exp(-moment * 15)),
        lambda moment: MIB * math.sin(moment * 60),
        lambda moment: MIB * (moment * 60 % 1),
        lambda moment: 50 * MIB if 0.8 < moment < 0.9 else 0.0,
        lambda moment: -MIB * moment,
        lambda moment: MIB * (moment > 0.95),
        lambda moment: 0.1 * MIB * moment,
    ],
    ids=["nothing", "warm-up", "flattens", "waves", "saw", "burst", "shrinks", "end", "slow"],
)
def test_what_is_no_leak_is_tolerated(shape: Callable[[float], float]) -> None:
    assert not grows(memory(shape))


def test_a_descriptor_left_open_every_minute_is_growth() -> None:
    rng = Random(1)
    leaking = [20 + second // 60 + rng.choice((0, 0, 1, 4)) for second in range(SECONDS)]
    steady = [20 + rng.choice((0, 0, 1, 4)) for _ in range(SECONDS)]
    assert growth("descriptors", leaking, DESCRIPTORS) is not None
    assert growth("descriptors", steady, DESCRIPTORS) is None


def test_growth_says_which_figure_and_by_how_much() -> None:
    grown = growth("the broker's descriptors", [10, 10, 10, 10, 1510, 1510], DESCRIPTORS)
    assert str(grown) == "the broker's descriptors grew by 1,500, from 10 to 1,510; 2 is allowed"


def test_just_what_is_allowed_is_no_growth() -> None:
    assert growth("x", [0, 0, 0, 0, 2, 2], 2) is None
    assert growth("x", [0, 0, 0, 0, 2.1, 2.1], 2) is not None


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="5 samples of memory tell nothing"):
        growth("memory", [1.0] * (LEAST_SAMPLES - 1), 1)


def test_a_short_run_is_allowed_more_in_proportion() -> None:
    assert allowed_memory(FULL_LENGTH) == allowed_memory(10 * FULL_LENGTH) == MEMORY
    assert allowed_memory(FULL_LENGTH / 4) == 4 * MEMORY
    assert allowed_blocks(FULL_LENGTH / 2) == 2 * allowed_blocks(FULL_LENGTH)


def test_the_lower_quartile_is_what_a_quarter_stays_below() -> None:
    assert lower_quartile([4, 1, 3, 2]) == 2
    assert lower_quartile([7]) == 7
