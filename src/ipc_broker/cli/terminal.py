"""stdout as lines are shown on it: how wide it is, and whether it has colours.

A line is a list of spans. Their colours are the terminal's own sixteen, so that they fit to its background.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console

MORE = "…"

ANY_WIDTH = 250
"""Cells of tables where nobody counts them."""

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class Span(NamedTuple):
    """`style` is words out of bold, dim, red, green, yellow, blue, magenta, cyan."""

    text: str
    style: str = ""


class Terminal:
    """Where there is no terminal, or `NO_COLOR` is set, lines are plain; where there is none, of any length."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = ANY_WIDTH
        self.is_terminal = self.console.is_terminal
        # Old Windows consoles have colours, but not by codes in the text.
        self.has_colours = (
            self.console.color_system is not None and not self.console.no_color and not self.console.legacy_windows
        )

    @property
    def width(self) -> int | None:
        """Cells in a line, None where nobody counts them. It changes with the window."""
        return self.console.width if self.is_terminal else None

    def shown(self, spans: Iterable[Span]) -> str:
        """The line, with its newline."""
        if not self.has_colours:
            return "".join(span.text for span in spans) + "\n"
        return "".join(_coloured(span) for span in spans) + "\n"


def _coloured(span: Span) -> str:
    if not span.style:
        return span.text
    return f"\x1b[{';'.join(_CODES[word] for word in span.style.split())}m{span.text}\x1b[0m"


def cells(spans: Iterable[Span]) -> int:
    """How wide a line is."""
    return sum(cell_len(span.text) for span in spans)


def fitted(spans: Iterable[Span], width: int) -> list[Span]:
    """The line, cut where it is wider; it ends with `…` then."""
    kept: list[Span] = []
    for span in spans:
        taken = cell_len(span.text)
        if taken > width:
            if width > 0:
                kept.append(Span(set_cell_size(span.text, width - 1) + MORE, span.style))
            elif kept and not kept[-1].text.endswith(MORE):
                last = kept[-1]
                kept[-1] = Span(set_cell_size(last.text, cell_len(last.text) - 1) + MORE, last.style)
            return kept
        kept.append(span)
        width -= taken
    return kept
