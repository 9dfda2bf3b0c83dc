"""Short runs, by real processes, with the seed that never changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.call_rules import outcomes
from tests.chaos.checker import check
from tests.chaos.plan import make_plan
from tests.chaos.report import command, describe
from tests.chaos.scenario import play
from tests.chaos.traces import Got

SEED = 4


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
@pytest.mark.parametrize("restarts", [False, True])
def test_nothing_is_lost_and_nothing_hangs(tmp_path: Path, restarts: bool) -> None:
    plan = make_plan(SEED, 3.0, restarts=restarts)
    history = play(plan, tmp_path)
    faults = check(history)
    assert not faults, f"{describe(faults, history)}\n\nagain: {command(plan)}"
    # And it has been what it is for.
    assert {deed.what for deed in history.deeds} >= {"start", "kill", "freeze", "thaw", "stop"}
    assert outcomes(history)["results"] > 100
    assert sum(isinstance(record, Got) for life in history.of_kind("subscriber") for record in life.trace) > 100
