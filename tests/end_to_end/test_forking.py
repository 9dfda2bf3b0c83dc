"""A process that forks keeps its clients; its children can use none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import PATIENCE, environment
from tests.end_to_end.processes import worker_at

PROGRAM = Path(__file__).with_name("forking_process.py")

if sys.platform == "win32":
    pytest.skip("Windows has no fork", allow_module_level=True)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_child_is_told_and_the_parent_goes_on(bus: str, kind: str) -> None:
    program = [sys.executable, "-W", "error", str(PROGRAM), kind, bus]
    with worker_at(bus):
        ended = subprocess.run(
            program, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    said = dict(line.split(": ", 1) for line in ended.stdout.splitlines())
    uses = ("call", "publish", "has") if kind == "asyncio" else ("call", "publish", "get", "next", "has")
    for use in uses:
        assert said[f"child {use}"] == (
            f"ClientClosed: the client of {bus} belongs to the process that forked; connect in this one"
        )
    if sys.platform == "linux":
        assert said["child descriptor"] in ("/dev/null", "closed")
    assert said["parent"] == "the child ended with 0"
    assert (said["parent event"], said["parent call"]) == ("3", "4")
    if kind == "blocking":
        assert (said["child another"], said["parent item"]) == ("2", "1")
