from __future__ import annotations

from ipc_broker.cli.findings import Finding
from ipc_broker.cli.why import lines_of


def texts(findings: list[Finding], width: int = 40) -> list[str]:
    return ["".join(span.text for span in line) for line in lines_of(findings, "Nothing is stuck.", width)]


def test_findings_stand_under_their_heads_with_what_to_do() -> None:
    findings = [
        Finding("calls", "'a' of 'b' has been at its worker for 31 s and longer", "look at it"),
        Finding("calls", "another"),
        Finding("events", "'x' is behind"),
    ]
    assert texts(findings) == [
        "Calls that take long",
        "  'a' of 'b' has been at its worker for",
        "  31 s and longer.",
        "    Look at it.",
        "  Another.",
        "",
        "Events that wait",
        "  'x' is behind.",
    ]


def test_a_number_is_not_parted_from_its_unit() -> None:
    assert texts([Finding("events", "'x' has taken nothing for 23 s, and 18,000 events were dropped")], 31)[1:] == [
        "  'x' has taken nothing for",
        "  23 s, and 18,000 events were",
        "  dropped.",
    ]


def test_that_nothing_is_stuck_is_said_and_who_has_gone_all_the_same() -> None:
    assert texts([]) == ["Nothing is stuck."]
    assert texts([Finding("departures", "'x' was lost")]) == [
        "Nothing is stuck.",
        "",
        "Gone without goodbye",
        "  'x' was lost.",
    ]
