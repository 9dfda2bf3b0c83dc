from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import UNSET

from ipc_broker.cli.record_lines import MOST_OPEN, RecordLines, render_arguments
from ipc_broker.cli.terminal import cells
from ipc_broker.cli.watching import Seen
from ipc_broker.observation import Record, RecordKind

ADD: dict[str, Any] = {"call": "1.7", "object": "math", "method": "add"}
CALC = "'calc' (process 13)"


def seen(kind: RecordKind, value: object = UNSET, **fields: Any) -> Seen:
    return Seen(Record(kind, **fields), 0.0, value)


def shown(*records: Seen, rate: int = 1000, width: int | None = None, full: bool = False) -> list[str]:
    """The lines without the time of day."""
    lines = RecordLines(rate, full=full)
    texts = ["".join(span.text for span in line) for one in records for line in lines.lines(one, width)]
    return [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", text) for text in texts]


def test_a_call_and_its_answer_have_the_same_number() -> None:
    assert shown(
        seen("call", {"a": 10, "b": 32}, **ADD, peer="'web' (process 12)"),
        seen("call", [1], call="1.8", object="math", method="half", peer="'web' (process 12)"),
        seen("result", {"sum": 42}, **ADD, peer=CALC, seconds=0.00061, size=8),
        seen("error", call="1.8", object="math", method="half", peer=CALC, seconds=1.2, code="x", message="odd"),
        seen("call", **ADD, peer="'web' (process 12)", size=5000),
    ) == [
        "   #1 →          math.add(a=10, b=32)  'web' (process 12)",
        "   #2 →          math.half(1)  'web' (process 12)",
        "   #1 ←   610 µs math.add {\"sum\":42}  'calc' (process 13)",
        "   #2 ✗    1.2 s math.half x: odd  'calc' (process 13)",
        "   #3 →          math.add(4.88 KiB)  'web' (process 12)",
    ]


def test_a_stream() -> None:
    assert shown(
        seen("call", None, **ADD, peer="'web'", stream=True, headers={"tenant": "a b"}),
        seen("item", 1, **ADD, peer=CALC, seconds=0.5, size=1),
        seen("result", **ADD, peer=CALC, seconds=0.6),
        seen("cancel", **ADD, peer="'web'", seconds=1.0),
    ) == [
        "   #1 →          math.add() tenant=a b  'web'",
        "   #1 ⋯   500 ms math.add 1  'calc' (process 13)",
        "   #1 ←   600 ms math.add the stream ended  'calc' (process 13)",
        "   #2 ✗      1 s math.add cancelled by its caller  'web'",
    ]


def test_what_is_no_call() -> None:
    assert shown(
        seen("event", 25.6, object="sensor", method="heat", peer="'s' (process 1)", count=1, retained=True),
        seen("registered", object="math", peer=CALC),
        seen("lost", object="math", peer=CALC),
        seen("connected", peer=CALC),
        seen("disconnected", peer=CALC, message="it said goodbye"),
        seen("begin"),
        seen("missed", count=1234),
    ) == [
        "      •          sensor heat 25.6 retained  1 subscriber  's' (process 1)",
        "      +          math is served  'calc' (process 13)",
        "      -          math is lost  'calc' (process 13)",
        "      +          'calc' (process 13) connected",
        "      -          'calc' (process 13) disconnected: it said goodbye",
        "      !          watching from here on",
        "      !          1,234 records not shown: more than 1,000 a second",
    ]
    assert shown(seen("missed", count=1), rate=0) == ["      !          1 record not shown: they came too fast"]


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_a_line_fits_and_its_peer_stands_at_the_right(width: int) -> None:
    record = seen("result", "x" * 500, **ADD, peer=CALC, seconds=0.1, size=502)
    [line] = RecordLines(0).lines(record, width)
    assert cells(line) == width
    assert any(span.text.endswith("…") for span in line)
    if width >= 80:
        assert line[-1].text == CALC


def test_where_there_is_little_room_what_was_called_comes_first() -> None:
    assert shown(seen("call", [1], **ADD, peer=CALC, size=2), width=44)[0].endswith("math.add(1)")
    assert shown(seen("call", [1], **ADD, peer=CALC, size=2), width=70)[0].endswith(
        " math.add(1)             'calc' (process…"
    )


def test_a_payload_that_does_not_fit_is_whole_below_when_asked_for() -> None:
    first, below = shown(seen("result", "x" * 100, **ADD, peer=CALC, size=102), width=80, full=True)
    assert below == '    "' + "x" * 100 + '"'
    assert first.startswith("   #1 ←     0 µs math.add ")
    assert len(shown(seen("result", 1, **ADD, size=1), width=80, full=True)) == 1


def test_nothing_that_others_send_steers_the_terminal() -> None:
    evil = "\x1b[2J\n[bold]\u202e"
    lines = shown(
        seen("call", {evil: evil}, call="1", object=evil, method=evil, peer=evil, headers={evil: evil}),
        seen("error", call="1", object=evil, method=evil, peer=evil, code=evil, message=evil),
        seen("event", [evil], object=evil, method=evil, peer=evil),
        seen("registered", object=evil, peer=evil),
        seen("disconnected", peer=evil, message=evil),
    )
    assert len(lines) == 5
    for line in lines:
        assert line.isprintable()
        assert "[bold]" in line


def test_numbers_of_calls_whose_answers_are_missed_are_forgotten() -> None:
    lines = RecordLines(0)
    for number in range(MOST_OPEN + 1):
        lines.lines(seen("call", call=str(number), object="a", method="b"), None)
    [first] = lines.lines(seen("result", 1, call="0", object="a", method="b"), None)
    assert f"#{MOST_OPEN + 2} " in first[1].text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (None, "()"),
        ({"a": 1, "b c": "x"}, '(a=1, b c="x")'),
        ([1, None], "(1, null)"),
        ("x", '("x")'),
        (b"\x00", '({"base64":"AA=="})'),
    ],
)
def test_arguments_are_written_as_a_call(args: object, text: str) -> None:
    assert render_arguments(args) == text
