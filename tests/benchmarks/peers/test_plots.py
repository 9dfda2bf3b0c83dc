"""Charts are well-formed, in order, and to scale."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.peers.plots import COLOURS, Bar, bars

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [Bar("slow & old", 200.0, "broker"), Bar("ours", 50.0, "ours"), Bar("floor", 25.0, "reference")]


def drawn(*, low_is_good: bool) -> ElementTree.Element:
    return ElementTree.fromstring(bars("Time < 1 s", ROWS, low_is_good=low_is_good))


def test_the_best_is_on_top() -> None:
    for low_is_good, order in ((True, [25, 50, 200]), (False, [200, 50, 25])):
        rectangles = drawn(low_is_good=low_is_good).findall(f"{SVG}rect")
        widths = [float(each.attrib["width"]) for each in rectangles]
        assert [round(width / max(widths) * 200) for width in widths] == order
        heights = [float(each.attrib["y"]) for each in rectangles]
        assert heights == sorted(heights)


def test_names_values_and_colours_are_there() -> None:
    plot = drawn(low_is_good=True)
    texts = [each.text for each in plot.findall(f"{SVG}text")]
    assert texts == ["Time < 1 s", "shorter is better", "floor", "25.0", "ours", "50.0", "slow & old", "200"]
    fills = [each.attrib["fill"] for each in plot.findall(f"{SVG}rect")]
    assert fills == [COLOURS["reference"], COLOURS["ours"], COLOURS["broker"]]


def test_nothing_is_drawn_beyond_the_edge() -> None:
    plot = drawn(low_is_good=True)
    width = float(plot.attrib["width"])
    for each in plot.findall(f"{SVG}rect"):
        assert float(each.attrib["x"]) + float(each.attrib["width"]) < width


def test_all_may_be_nothing() -> None:
    assert "<rect" in bars("Lost", [Bar("ours", 0.0, "ours")], low_is_good=True)
