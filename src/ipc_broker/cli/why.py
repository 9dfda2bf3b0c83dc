"""`rob why`: what is stuck, who is slow, who has gone, and what one can do about it."""

from __future__ import annotations

import re
from textwrap import wrap

from msgspec import to_builtins

from ..observation import Inspection
from .connecting import ask_only_ours, checked_address, connected, json_line
from .findings import Finding, findings_of, summary
from .output import write_result
from .terminal import Span, Terminal
from .words import Request

_HEADS = {
    "calls": "Calls that take long",
    "events": "Events that wait",
    "connections": "Connections that do not read",
    "departures": "Gone without goodbye",
}
_WIDEST = 100
_BEHIND_NUMBER = re.compile(r"(?<=\d) (?=\w)")


def why(request: Request) -> None:
    with connected(checked_address(request), request) as client:
        ask_only_ours(client, "inspect")
        inspection = client.call("rob", "inspect", timeout=request.patience, returns=Inspection)
    findings = findings_of(inspection)
    if request.json:
        write_result(json_line({"findings": to_builtins(findings), **to_builtins(inspection)}))
        return
    terminal = Terminal()
    width = min(terminal.width or _WIDEST, _WIDEST)
    write_result("".join(map(terminal.shown, lines_of(findings, summary(inspection), width))))


def lines_of(findings: list[Finding], nothing: str, width: int) -> list[list[Span]]:
    """`nothing` is what to say when nothing is wrong now; who has gone is told all the same."""
    lines: list[list[Span]] = []
    if all(one.topic == "departures" for one in findings):
        lines.append([Span(nothing, "green")])
    topic = ""
    for one in findings:
        if one.topic != topic:
            topic = one.topic
            lines += [[Span("")]] if lines else []
            lines.append([Span(_HEADS[topic], "bold cyan")])
        text = one.text[0].upper() + one.text[1:] + "."
        hint = f"{one.hint[0].upper()}{one.hint[1:]}." if one.hint else ""
        lines += [[Span(line)] for line in _wrapped(text, width, "  ")]
        lines += [[Span(line, "dim")] for line in _wrapped(hint, width, "    ")]
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """A number is not parted from its unit."""
    lines = wrap(_BEHIND_NUMBER.sub("\N{NO-BREAK SPACE}", text), width, initial_indent=indent, subsequent_indent=indent)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
