"""Ctrl-C, at any moment, leaves a blocking client at work for the other threads and for whoever goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import PATIENCE, environment
from tests.end_to_end.processes import worker_at

if sys.platform == "win32":
    pytest.skip("needs a timer that sends signals", allow_module_level=True)

PROGRAM = Path(__file__).with_name("interrupted_process.py")


@pytest.mark.parametrize("method", ["rob ping", "echo back"])
def test_nobody_hangs_after_thousands_of_interruptions(local_bus: str, method: str) -> None:
    """The broker answers some calls; others go directly to their worker, and through the broker where that was cut off."""
    program = [sys.executable, str(PROGRAM), local_bus, "2000", *method.split()]
    with worker_at(local_bus):
        ended = subprocess.run(
            program, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr[-2000:]
