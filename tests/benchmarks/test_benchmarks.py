"""The benchmarks run, count right and leave nothing behind; how fast it is here proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks measure Unix sockets")


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Temporary files go to `tmp_path`, so that what is left there is seen."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--json", str(tmp_path / "bench.json"), *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short name: a Unix socket's path has about 100 bytes."""
    return tmp_path_factory.mktemp("b")


def test_a_quick_run(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "blocking")

    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "bench.json").read_bytes())
    [measured] = report["rounds"]
    assert set(measured) == {"floor-p50", "floor-p99", "blocking-p50", "blocking-p99"}
    [floor], [call] = measured["floor-p50"]["values"], measured["blocking-p50"]["values"]
    assert floor > 0 < call
    assert measured["blocking-p50"]["ratios"] == [pytest.approx(call / floor)]
    assert measured["floor-p50"]["values"] <= measured["floor-p99"]["values"]
    goals = {each["figure"]["name"]: each["reached"] for each in report["summaries"]}
    assert goals["blocking-p50"] is (call / floor <= 1.5)
    assert goals["floor-p50"] is None
    assert "blocking client p50" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["bench.json"]


def test_the_bare_bus_answers(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "bare")

    assert done.returncode == 0, done.stderr
    [measured] = json.loads((tmp_path / "bench.json").read_bytes())["rounds"]
    assert all(measured[name]["values"][0] > 0 for name in ("bare-p50", "floor-p50"))
    assert measured["bare-in-flight"]["values"][0] > 0


def test_every_event_is_counted(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "events-1")

    assert done.returncode == 0, done.stderr
    assert "events/s to 1" in done.stdout
    [measured] = json.loads((tmp_path / "bench.json").read_bytes())["rounds"]
    assert measured["events-1"]["values"][0] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_it_costs_to_be_looked_at(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "watching")

    assert done.returncode == 0, done.stderr
    [measured] = json.loads((tmp_path / "bench.json").read_bytes())["rounds"]
    for work in ("calls", "events"):
        assert all(rate > 0 for rate in measured[f"{work}-unwatched"]["values"])
        for kind in ("monitor", "measure"):
            assert all(left > 0 for left in measured[f"{work}-{kind}"]["values"])
            assert len(measured[f"{work}-{kind}-cost"]["values"]) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_faults_are_survived_and_measured(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "faults")

    assert done.returncode == 0, done.stderr
    [measured] = json.loads((tmp_path / "bench.json").read_bytes())["rounds"]
    names = {"burst-2000", "burst-20000", "frozen", "killed-100", "restart-listens", "restart-15"}
    assert set(measured) == {"floor-p50", "floor-p99", *names}
    values = {name: measured[name]["values"][0] for name in names}
    assert values["frozen"] >= 0.2, "the frozen subscriber held up nobody"
    assert values["killed-100"] > 0
    assert 0 < values["restart-listens"] < values["restart-15"]
    assert [each.name for each in tmp_path.iterdir()] == ["bench.json"]


def test_an_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "nonsense")

    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert not (tmp_path / "bench.json").exists()
