from __future__ import annotations

import pytest

from ipc_broker.cli.terminal import Span, Terminal, cells, fitted

LINE = [Span("12:00 ", "dim"), Span("math.add", "bold"), Span("(a=1)")]


def texts(spans: list[Span]) -> str:
    return "".join(span.text for span in spans)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (30, "12:00 math.add(a=1)"),
        (19, "12:00 math.add(a=1)"),
        (18, "12:00 math.add(a=…"),
        (14, "12:00 math.ad…"),
        (8, "12:00 m…"),
        (1, "…"),
    ],
)
def test_a_line_is_cut_where_it_is_too_wide(width: int, text: str) -> None:
    cut = fitted(LINE, width)
    assert texts(cut) == text
    assert cells(cut) <= width


def test_wide_characters_count_twice() -> None:
    assert cells([Span("温度")]) == 4
    assert texts(fitted([Span("温度計")], 5)) == "温度…"
    assert texts(fitted([Span("温度計")], 4)) == "温 …"


def test_without_a_terminal_lines_are_plain_and_of_any_length(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    assert (terminal.is_terminal, terminal.width) == (False, None)
    assert terminal.shown(LINE) == "12:00 math.add(a=1)\n"


def test_colours_are_those_of_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    assert terminal.width == 33
    assert terminal.shown([Span("a", "bold red"), Span("b")]) == "\x1b[1;31ma\x1b[0mb\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Terminal().shown([Span("a", "bold red")]) == "a\n"
