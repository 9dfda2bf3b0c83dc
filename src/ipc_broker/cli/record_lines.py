"""Records as lines for people: a call and its answer have the same short number, and the same colour."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from msgspec import UNSET

from .quantities import counted, duration, size
from .render import render_json, render_line, render_name
from .terminal import Span, cells, fitted
from .watching import Seen

MOST_OPEN = 10_000
"""Calls whose numbers are kept; the answers of some are among the records that were missed."""

LEFT_FIRST = 54
"""Cells that the left side of a line has before its right side gets any."""

LEAST_RIGHT = 12
"""Cells in which a name can still be known; with fewer the right side is left out."""

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow")
_ENDINGS = ("result", "error", "cancel")
_ANSWERS = ("item", *_ENDINGS)


class RecordLines:
    """Gives the lines of one record after the other. With `full`, payloads that do not fit are whole, below."""

    def __init__(self, rate: int, *, full: bool = False) -> None:
        """`rate` is how many records a second are shown at most, 0 for any number."""
        self._rate = rate
        self._full = full
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._last = 0

    def lines(self, seen: Seen, width: int | None) -> list[list[Span]]:
        """Each at most `width` cells long, None for any length; with `full` whatever is below the first is longer."""
        left, right = self._spans(seen)
        if width is None:
            return [[*left, Span("  "), *right] if right else left]
        payload = next((place for place, span in enumerate(left) if isinstance(span, _Payload)), None)
        below: list[list[Span]] = []
        if self._full and payload is not None and cells(left) > width - cells(right) - 2:
            below = [[Span("    " + left[payload].text)]]
            left = left[:payload]
        most = min(width // 3, width - LEFT_FIRST)
        if cells(right) > most:
            right = fitted(right, most) if most >= LEAST_RIGHT else []
        room = width - cells(right) - 2 if right else width
        left = fitted(left, room)
        return [[*left, Span(" " * (width - cells(left) - cells(right))), *right] if right else left, *below]

    def _spans(self, seen: Seen) -> tuple[list[Span], list[Span]]:
        """What stands on the left, and what on the right."""
        record, value = seen.record, seen.value
        clock = datetime.fromtimestamp(seen.at).strftime("%H:%M:%S.%f")[:-3]
        name = Span(f"{render_name(record.object)}.{render_name(record.method)}", "bold")
        peer = Span(render_line(record.peer), "dim")
        took = duration(record.seconds) if record.seconds or record.kind in _ANSWERS else ""
        number, colour = "", ""
        if record.call:
            number, colour = self._number(record.call, ends=record.kind in _ENDINGS)

        def line(sign: str, style: str, *spans: Span) -> list[Span]:
            return [
                Span(clock + " ", "dim"),
                Span(f"{number:>5} ", colour),
                Span(f"{sign} ", style),
                Span(f"{took:>8} "),
                *(span for span in spans if span.text),
            ]

        match record.kind:
            case "call":
                headers = "".join(f" {render_name(key)}={render_name(said)}" for key, said in record.headers.items())
                return line("→", colour, name, _arguments(value, record.size), Span(headers, "dim")), [peer]
            case "item":
                return line("⋯", colour, name, Span(" "), _payload(value, record.size)), [peer]
            case "result":
                if value is UNSET and not record.size:
                    return line("←", colour, name, Span(" the stream ended", "dim")), [peer]
                return line("←", colour, name, Span(" "), _payload(value, record.size)), [peer]
            case "error":
                what = f"{render_name(record.type or record.code)}: "
                message = _Payload(f" {what}{render_line(record.message)}", "red")
                return line("✗", "bold red", name, message), [peer]
            case "cancel":
                return line("✗", "yellow", name, Span(" cancelled by its caller", "yellow")), [peer]
            case "event":
                topic = Span(f"{render_name(record.object)} {render_name(record.method)}", "bold green")
                kept = Span(" retained", "dim") if record.retained else Span("")
                heard = Span(f"{counted(record.count, 'subscriber')}  ")
                return line("•", "green", topic, Span(" "), _payload(value, record.size), kept), [heard, peer]
            case "registered":
                return line("+", "green", Span(render_name(record.object), "bold"), Span(" is served")), [peer]
            case "lost":
                return line("-", "yellow", Span(render_name(record.object), "bold"), Span(" is lost")), [peer]
            case "connected":
                return line("+", "dim", peer, Span(" connected", "dim")), []
            case "disconnected":
                why = f": {render_line(record.message)}" if record.message else ""
                return line("-", "dim", peer, Span(f" disconnected{why}", "dim")), []
            case "missed":
                reason = f"more than {self._rate:,} a second" if self._rate else "they came too fast"
                text = f"{counted(record.count, 'record')} not shown: {reason}"
                return line("!", "bold yellow", Span(text, "yellow")), []
            case "begin":
                return line("!", "dim", Span("watching from here on", "dim")), []

    def _number(self, call: str, *, ends: bool) -> tuple[str, str]:
        number = self._numbers.pop(call, None)
        if number is None:
            self._last += 1
            number = self._last
        if not ends:
            self._numbers[call] = number
            if len(self._numbers) > MOST_OPEN:
                self._numbers.popitem(last=False)
        return f"#{number}", _COLOURS[number % len(_COLOURS)]


class _Payload(Span):
    """What may stand on a line of its own."""


def _payload(value: object, taken: int) -> Span:
    return Span(f"({size(taken)})", "dim") if value is UNSET else _Payload(render_json(value))


def _arguments(value: object, taken: int) -> Span:
    return Span(f"({size(taken)})", "dim") if value is UNSET else _Payload(render_arguments(value))


def render_arguments(value: object) -> str:
    """As one would write the call: `(a=10, b=32)`, `(10, 32)`, `()`."""
    if value is None:
        return "()"
    if isinstance(value, dict):
        return f"({', '.join(f'{render_name(str(key))}={render_json(item)}' for key, item in value.items())})"
    if isinstance(value, list):
        return f"({', '.join(map(render_json, value))})"
    return f"({render_json(value)})"
