"""A short soak, and that it would find what is wrong."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from ipc_broker import Event, Gap
from ipc_broker.errors import WorkerLost
from tests.soak import reports
from tests.soak.__main__ import main
from tests.soak.load import Intake, value
from tests.soak.processes import Process, SoakFailed
from tests.soak.reports import REPORT, Report, Tally

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short name for sockets, in which everything that is left would be seen."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in listed.read_text().split()}


def test_a_short_soak_finds_nothing_and_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = children()
    status = main(["--minutes", "0.1", "--seed", "1"])
    told = capsys.readouterr().out
    assert status == 0, told
    assert "faults: none" in told
    lines = [line for line in told.splitlines() if line.lstrip()[:1].isdigit() and "lives" not in line]
    assert len(lines) >= 5
    assert children() == before
    assert list(folder.iterdir()) == []


def test_ctrl_c_ends_it_with_the_report_so_far(folder: Path) -> None:
    soak = Process("soak", ["-m", "tests.soak", "--minutes", "0.1"], {"TMPDIR": str(folder)})
    try:
        soak.line("    1 ")  # the first line of figures
        os.kill(soak.pid, signal.SIGINT)
        assert soak.line("ended before its time") == ""
        assert soak.line("faults: ") == "none"
        assert soak.wait() == 0
    finally:
        soak.stop()
    assert list(folder.iterdir()) == []


def faults_of(tally: Tally, capsys: pytest.CaptureFixture[str]) -> list[str]:
    tally.tell()
    report = msgspec.json.decode(capsys.readouterr().out.removeprefix(REPORT), type=Report)
    assert report.faults == len(report.told)
    return report.told


def event(number: int, *, last: bool = False) -> Event:
    return Event("soak", "steady.x", value(number, last=last))


def test_an_event_that_is_lost_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    intake = Intake(tally, "plain")
    for number in (7, 8, 10, 11):
        intake.take(event(number))
    assert faults_of(tally, capsys) == ["plain: steady.x 9 was due, 10 came"]
    intake.take(Gap("soak", "steady.x", missed=3))
    assert faults_of(tally, capsys) == [f"plain: 3 events were lost: {Gap('soak', 'steady.x', missed=3)!r}"]


def test_a_member_of_a_group_gets_some_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    intake = Intake(tally, "group", group=True)
    for number in (1, 4, 5, 3):
        intake.take(event(number, last=number == 5))
    assert faults_of(tally, capsys) == ["group: steady.x 6 was due, 3 came"]
    assert intake.ended == {"steady.x"}


def test_a_call_that_fails_or_takes_too_long_is_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally()
    with tally.call("math.add"):
        pass
    assert faults_of(tally, capsys) == []
    with tally.call("math.add"):
        raise WorkerLost("the worker has gone")
    [told] = faults_of(tally, capsys)
    assert told.startswith("math.add: WorkerLost: the worker has gone at test_soak.py:")
    monkeypatch.setattr(reports, "BOUND", 0.0)
    with tally.call("math.add"):
        pass
    [told] = faults_of(tally, capsys)
    assert told.startswith("math.add took 0.00 s")


def test_a_process_that_ends_too_early_is_told_with_what_it_said() -> None:
    process = Process("mute", ["-c", "print('alas')"])
    try:
        with pytest.raises(SoakFailed, match="mute ended before it said 'ready'; it said:\n   alas"):
            process.line("ready")
    finally:
        process.stop()
