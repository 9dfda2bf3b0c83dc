"""Nobody passes the starting line before it is released."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from benchmarks.peers.line import StartingLine, is_open, wait

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the peers are measured over Unix sockets")


def test_all_wait_until_it_is_released(tmp_path: Path) -> None:
    passed = threading.Semaphore(0)

    def run() -> None:
        wait(str(line.path))
        passed.release()

    with StartingLine(tmp_path / "line") as line:
        runners = [threading.Thread(target=run) for _ in range(3)]
        for runner in runners:
            runner.start()
        assert not is_open(str(line.path))
        assert not passed.acquire(blocking=False)
        line.release()
        for runner in runners:
            runner.join()
        assert is_open(str(line.path))
    assert all(passed.acquire(blocking=False) for _ in runners)


def test_who_comes_late_passes(tmp_path: Path) -> None:
    with StartingLine(tmp_path / "line") as line:
        pass
    wait(str(line.path))
    assert is_open(str(line.path))
