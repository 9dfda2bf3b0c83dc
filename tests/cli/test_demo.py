"""`rob demo`: what it shows, and that nothing stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import PATIENCE, ROB, environment, rob

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo puts its socket."""
    folder = tmp_path_factory.mktemp("demo")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_shows_a_call_an_event_and_an_error_and_leaves_nothing(temporary: Path) -> None:
    ended = rob("demo")
    assert (ended.status, ended.errors) == (0, "")
    steps = re.split(r"\n\d+\. ", ended.output)
    assert [step.splitlines()[0] for step in steps[1:]] == [
        "Start the broker",
        "Start a worker",
        "Call its method from the shell",
        "Call it from Python",
        "Subscribe to an event",
        "Publish one, from another process",
        "See a failure",
        "See another",
        "Stop everything",
    ]
    assert "$ rob call math add a=10 b=32\n   Result:\n   Map:\n      sum :: 42\n" in steps[3]
    assert "{'sum': 42}" in steps[4]
    assert "Result:\n   25.6\n" in steps[6]
    assert "No such object 'ghost'" in steps[7]
    assert "\x1b" not in ended.output
    assert list(temporary.iterdir()) == []


def test_json_has_a_document_for_each_step(temporary: Path) -> None:
    ended = rob("demo", "--json")
    assert (ended.status, ended.errors) == (0, "")
    steps = [json.loads(line) for line in ended.output.splitlines()]
    assert len(steps) == 9
    assert {"shell": "rob call math add a=10 b=32", "output": "\nResult:\nMap:\n   sum :: 42\n"}.items() <= steps[
        2
    ].items()


def test_settings_for_another_broker_do_not_disturb_it(temporary: Path) -> None:
    elsewhere = environment(BROKER_ADDR="unix:///nowhere", BROKER_DEBUG="error", IPC_BROKER_LISTEN="nonsense")
    ended = rob("demo", environ=elsewhere)
    assert (ended.status, ended.errors) == (0, "")


def test_an_address_of_ones_own(address: str) -> None:
    ended = rob("demo", address=address)
    assert (ended.status, ended.errors) == (0, "")
    assert f"listens on {address}" in ended.output


def test_an_address_that_is_taken(bus: str) -> None:
    ended = rob("demo", address=bus)
    assert ended.status == 1
    assert "rob: the demo failed: the broker ended" in ended.errors
    assert rob("list", address=bus).output == "echo\nmath\nrob\n"


@needs_signals
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_demo_that_is_ended_leaves_nothing(temporary: Path, name: str, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, *ROB, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Start a worker" in line:
                break
        children = _children_of(demo.pid)
        demo.send_signal(signal.Signals[name])
        _, errors = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, errors) == (status, "")
    assert children
    assert not any(is_alive(child) for child in children)
    assert list(temporary.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *ROB, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    ) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.stderr is not None
        assert demo.stderr.read() == ""
        assert demo.wait(PATIENCE) == 0
    assert list(temporary.iterdir()) == []


def _children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, encoding="ascii", check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]
