"""Results survive a file, and tell why a figure is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.results import Results, number, reason_for, without_command

from .small import EVENTS, LOST, P50, results


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    results().write(tmp_path / "peers.json")
    assert Results.read(tmp_path / "peers.json") == results()


def test_a_summary_is_of_the_rounds_that_have_the_figure() -> None:
    floor, ours, _, direct, gone = results().peers
    summary = ours.summary(P50)
    assert summary is not None
    assert (summary.median, summary.low, summary.high, summary.ratio) == (75.0, 70.0, 90.0, 1.5)
    assert floor.summary(EVENTS) is None
    assert direct.summary(LOST) is None
    assert gone.summary(P50) is None


def test_reasons() -> None:
    _, ours, loser, direct, gone = results().peers
    assert reason_for(gone, "blocking") == "absent: gone-py is not installed"
    assert reason_for(direct, "events-1-1") == "failed: a process ended too early"
    assert reason_for(loser, "blocking") == "it has an asyncio client only"
    assert reason_for(ours, "idle") == "not measured"


def test_all_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results().show()
    shown = capsys.readouterr().out
    assert "1.50 x floor" in shown
    assert "absent: gone-py is not installed" in shown
    assert "events-1-1 failed: a process ended too early" in shown


def test_a_failure_is_told_without_its_command() -> None:
    told = without_command("python -m benchmarks.peers.x '{\"a\": 1}' ended too early; see its message above")
    assert told == "a process ended too early"
    assert without_command("['server', '-c'] ended with status 1") == "a process ended with status 1"
    assert without_command("12 events came after a later one") == "12 events came after a later one"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123, "0.12"), (9.87, "9.87"), (12.34, "12.3"), (123.4, "123"), (1234567.8, "1,234,568")]
)
def test_numbers(value: float, shown: str) -> None:
    assert number(value) == shown
