"""Bar charts as SVG, in colours that can be read on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .results import number

WIDTH, LABELS, VALUES = 720, 210, 90
ROW, BAR, TOP, BOTTOM = 24, 14, 44, 10

TEXT, AXIS = "#7d848c", "#7d848c"
COLOURS = {"ours": "#e07b39", "reference": "#a3a9b0", "broker": "#5a8fc0", "direct": "#7fae8b"}


class Bar(NamedTuple):
    """`kind` is "ours", "broker" or "direct", or "reference" for what is no bus that one could pick."""

    label: str
    value: float
    kind: str


def bars(title: str, rows: Sequence[Bar], *, low_is_good: bool) -> str:
    """The best on top."""
    ordered = sorted(rows, key=lambda row: row.value, reverse=not low_is_good)
    height = TOP + ROW * len(ordered) + BOTTOM
    longest = max((row.value for row in ordered), default=0.0) or 1.0
    hint = "shorter is better" if low_is_good else "longer is better"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">',
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="18" font-size="15" font-weight="600">{escape(title)}</text>',
        f'<text x="{WIDTH}" y="18" text-anchor="end" font-size="12">{hint}</text>',
        f'<line x1="{LABELS}" y1="{TOP - 8}" x2="{LABELS}" y2="{height - BOTTOM}" stroke="{AXIS}" stroke-opacity="0.5"/>',
    ]
    for index, row in enumerate(ordered):
        y = TOP + ROW * index
        width = max(1.0, (WIDTH - LABELS - VALUES) * row.value / longest)
        middle = y + BAR / 2 + 4.5
        weight = ' font-weight="600"' if row.kind == "ours" else ""
        lines += [
            f'<text x="{LABELS - 8}" y="{middle:g}" text-anchor="end"{weight}>{escape(row.label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[row.kind]}"/>',
            f'<text x="{LABELS + width + 6:.1f}" y="{middle:g}"{weight}>{number(row.value)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
