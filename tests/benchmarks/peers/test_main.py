"""The peers that need nothing installed are measured for real; how fast they are here proves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short name: a Unix socket's path has about 100 bytes."""
    return tmp_path_factory.mktemp("p")


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Temporary files go to `tmp_path`, so that what is left there is seen, and who still uses them."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers", "--json", str(tmp_path / "peers.json"), *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    """Its status, and what it printed."""
    with start(tmp_path, *arguments) as process:
        shown, complaints = process.communicate(timeout=55)
    return process.returncode, shown, complaints


def measured(tmp_path: Path) -> dict[str, Any]:
    """What was measured of each peer."""
    results = json.loads((tmp_path / "peers.json").read_bytes())
    return {peer["name"]: peer for peer in results["peers"]}


def left_behind(tmp_path: Path) -> list[str]:
    """The commands of processes that know the folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if str(tmp_path).encode() in command:
            commands.append(command.replace(b"\0", b" ").decode())
    return commands


def test_a_quick_run_of_calls(tmp_path: Path) -> None:
    status, shown, complaints = run(
        tmp_path, "--quick", "--only", "blocking", "--only", "echo-64", "--peers", "floor", "ours", "pipes"
    )

    assert status == 0, complaints
    peers = measured(tmp_path)
    assert set(peers) == {"floor", "ours", "pipes"}
    assert not any(peer["failed"] or peer["absent"] for peer in peers.values())
    for name, expected in (
        ("floor", {"blocking-p50", "blocking-p99"}),
        ("ours", {"blocking-p50", "blocking-p99", "blocking-cpu", "echo-64"}),
        ("pipes", {"blocking-p50", "blocking-p99", "blocking-cpu", "echo-64"}),
    ):
        [of_round] = peers[name]["rounds"]
        assert set(of_round) == expected
        assert all(each["values"][0] > 0 for figure, each in of_round.items() if figure != "blocking-cpu")
    assert "multiprocessing.connection" in shown
    assert [each.name for each in tmp_path.iterdir()] == ["peers.json"]
    assert left_behind(tmp_path) == []


def test_a_quick_run_of_events_and_connections(tmp_path: Path) -> None:
    works = ("events-1-8", "idle", "burst", "in-flight")
    status, _, complaints = run(
        tmp_path, "--quick", *(word for work in works for word in ("--only", work)), "--peers", "ours"
    )

    assert status == 0, complaints
    ours = measured(tmp_path)["ours"]
    assert ours["failed"] == {}
    [of_round] = ours["rounds"]
    values = {name: each["values"][0] for name, each in of_round.items()}
    assert values["events-1-8"] > 0
    assert values["events-1-8-lost"] == 0
    assert values["burst"] == 1000
    assert values["in-flight"] > 0
    assert values["server-memory"] > 1
    assert values["idle-latency"] > 0
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(find_spec("nats") is not None, reason="nats-py is here")
def test_a_peer_that_is_not_installed_is_reported_as_absent(tmp_path: Path) -> None:
    status, shown, complaints = run(tmp_path, "--quick", "--only", "in-flight", "--peers", "pipes", "nats")

    assert status == 0, complaints
    peers = measured(tmp_path)
    assert "nats-py is not installed" in peers["nats"]["absent"]
    assert peers["nats"]["rounds"] == []
    assert "absent: nats-py is not installed" in shown
    assert peers["pipes"]["lacks"] == {"in-flight": "a connection answers one request at a time"}


def test_a_page_is_made_of_what_was_measured_before(tmp_path: Path) -> None:
    stored = ROOT / "docs" / "benchmarks" / "results.json"
    with start(tmp_path, "--read", "--json", str(stored), "--page", str(tmp_path / "page.md")) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert "# Side by side with others" in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert (tmp_path / "page" / "blocking-p50.svg").exists()


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    with start(tmp_path, "--seconds", "30", "--rounds", "1", "--only", "clients", "--peers", "ours") as process:
        assert process.stderr is not None
        assert "round 1" in process.stderr.readline()
        while process.poll() is None and not any("Calls" in command for command in left_behind(tmp_path)):
            pass  # until callers run too, beside broker and worker
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    for arguments in (("--only", "nonsense"), ("--peers", "nonsense"), ("--rounds", "0")):
        status, _, complaints = run(tmp_path, *arguments)
        assert status == 2
        assert arguments[1] in complaints or "--rounds" in complaints
