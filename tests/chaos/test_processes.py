"""The processes of a run are started and ended as it was wanted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.plan import make_plan
from tests.chaos.processes import Processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")


def test_a_process_that_has_only_just_been_started_is_ended_too(tmp_path: Path) -> None:
    plan = make_plan(1, 3.0)
    actor = plan.actor("caller-1")
    with Processes(plan, tmp_path) as processes:
        processes.do("start", actor)
        processes.do("stop", actor)  # as it is, that cannot be done to it
        assert [deed.what for deed in processes.deeds] == ["start"]
        processes.end(actor)
        processes.wait_for_ends()
        assert [deed.what for deed in processes.deeds] == ["start", "stop", "end"]
        assert [(end.process, end.status) for end in processes.ends] == [("caller-1#1", 0)]
        processes.end(actor)  # nobody is there any more
        assert len(processes.deeds) == 3


def test_a_process_that_has_ended_by_itself_is_not_waited_for(tmp_path: Path) -> None:
    plan = make_plan(1, 3.0)
    actor = plan.actor("caller-1")
    with Processes(plan, tmp_path / "missing") as processes:  # so that it has nowhere to write
        processes.do("start", actor)
        processes.end(actor)
        assert processes.died() == ["caller-1#1"]
