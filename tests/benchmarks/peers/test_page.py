"""The page says what was measured, and why the rest was not."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.results import Results

from .small import results

DOCS = Path(__file__).resolve().parents[3] / "docs"


def section(heading: str) -> str:
    return page.page(results(), "benchmarks").partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_medians_stand_with_their_spread_and_the_best_is_bold() -> None:
    rows = section("One call after the other").splitlines()
    assert "| floor | 50.0 |" in rows
    assert "| ipc-broker | 75.0 (70.0\u201390.0) |" in rows
    assert "| Direct \\| fast | **40.0** |" in rows
    assert not any("Loser" in row or "Gone" in row for row in rows)


def test_what_was_lost_stands_beside_the_rate() -> None:
    rows = section("Events").splitlines()
    assert "| ipc-broker | 550,000 (500,000\u2013600,000) |" in rows
    assert "| Loser | **700,000**, 12 % lost |" in rows


def test_every_missing_figure_has_its_reason() -> None:
    rows = section("Why a figure is missing").splitlines()
    assert "| Loser | blocking | it has an asyncio client only |" in rows
    assert "| Direct \\| fast | events-1-1 | failed: a process ended too early |" in rows
    assert "| Gone | all | gone-py is not installed |" in rows


def test_peers_are_shown_with_versions_settings_and_promise() -> None:
    shown = section("What was compared")
    assert "### ipc-broker\n\nNothing is lost.\n\nipc-broker 0.1.0.\n\n- As it comes.\n" in shown
    assert "Absent: gone-py is not installed." in shown


def test_work_that_nobody_did_has_no_section() -> None:
    assert "## Idle connections" not in page.page(results(), "benchmarks")


def test_writing_it_makes_the_plots_that_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    page.write(results(), file)
    written = {path.name for path in (tmp_path / "benchmarks").iterdir()}
    assert written == {"blocking-p50.svg", "events-1-1.svg", "results.json"}
    text = file.read_text(encoding="utf-8")
    assert all(f"](benchmarks/{name})" in text for name in written)
    assert Results.read(tmp_path / "benchmarks" / "results.json") == results()


def test_the_page_of_the_documents_was_made_from_its_results(tmp_path: Path) -> None:
    page.write(Results.read(DOCS / "benchmarks" / "results.json"), tmp_path / "benchmarks.md")
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")]
    assert len(made) > 10
    for path in made:
        assert (DOCS / path).read_text(encoding="utf-8") == (tmp_path / path).read_text(encoding="utf-8"), (
            f"{path} was changed by hand, or page.py without it: python -m benchmarks.peers --read --json "
            "docs/benchmarks/results.json --page docs/benchmarks.md"
        )
