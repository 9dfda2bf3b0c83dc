"""The plan comes from the seed, and from nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.plan import make_plan


@pytest.mark.parametrize("restarts", [False, True])
def test_the_same_seed_gives_the_same_plan(restarts: bool) -> None:
    assert make_plan(1, 20.0, restarts=restarts) == make_plan(1, 20.0, restarts=restarts)
    assert make_plan(1, 20.0, restarts=restarts) != make_plan(2, 20.0, restarts=restarts)


def test_all_that_can_be_done_is_done_to_those_whom_it_may_be_done_to() -> None:
    done: Counter[tuple[str, str]] = Counter()
    for seed in range(20):
        plan = make_plan(seed, 60.0, restarts=True)
        done.update((action.what, plan.actor(action.actor).kind) for action in plan.actions)
        spared = {actor.name for actor in plan.actors if not actor.mortal} - {"broker"}
        assert not spared & {action.actor for action in plan.actions}
    for kind in ("worker", "caller", "publisher", "subscriber"):
        assert all(done[what, kind] for what in ("kill", "start", "freeze", "thaw", "cut", "stop"))
    assert all(done[what, "broker"] for what in ("kill", "start", "freeze", "thaw", "stop"))
