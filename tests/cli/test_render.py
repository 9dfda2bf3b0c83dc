import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli.render import render_json, render_text, render_tree

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
STEERING = ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\x85", "\r", "\n", "\u2028", "\u202e", "\u2066", "\ufeff"]


def test_a_call_prints_what_the_interface_promises() -> None:
    assert render_text({"sum": 42}) == "\nResult:\nMap:\n   sum :: 42\n"


def test_an_event_prints_what_the_interface_promises() -> None:
    assert render_text("25.6°C") == '\nResult:\n"25.6°C"\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-42, "-42"),
        (2**64 - 1, "18446744073709551615"),
        (25.6, "25.6"),
        (10.0, "10.0"),
        (math.inf, "inf"),
        ("", '""'),
        ('say "hi" \\', '"say \\"hi\\" \\\\"'),
        ({}, "Map: (empty)"),
        ([], "List: (empty)"),
        (["a", None, -3], 'List:\n   0 :: "a"\n   1 :: null\n   2 :: -3'),
    ],
)
def test_each_kind_of_value(value: object, text: str) -> None:
    assert render_tree(value) == text


def test_nested_values_are_indented_under_their_key() -> None:
    value = {"celsius": 25.6, "tags": ["a", {"deep": [True]}, []], "unit": {}, "end": "°C"}
    assert render_tree(value).splitlines() == [
        "Map:",
        "   celsius :: 25.6",
        "   tags :: List:",
        '      0 :: "a"',
        "      1 :: Map:",
        "         deep :: List:",
        "            0 :: true",
        "      2 :: List: (empty)",
        "   unit :: Map: (empty)",
        '   end :: "°C"',
    ]


@pytest.mark.parametrize("key", ["", " a", "a ", 'a"b', "a :: b", "a\nb"])
def test_a_key_that_could_be_misread_is_quoted(key: str) -> None:
    assert render_tree({key: 1}) == f"Map:\n   {json.dumps(key)} :: 1"


@pytest.mark.parametrize("char", STEERING)
def test_nothing_that_steers_a_terminal_gets_out(char: str) -> None:
    value = {f"key{char}": [f"text{char}[31m"]}
    assert char not in render_tree(value).replace("\n", "")
    assert len(render_tree(value).splitlines()) == 3
    assert char not in render_json(value)
    assert json.loads(render_json(value)) == value


@pytest.mark.parametrize("text", ["naïve", "日本語", "👩‍🚀", "25\u00a0°C", "שלום"])
def test_other_languages_stay_readable(text: str) -> None:
    assert render_tree(text) == f'"{text}"'
    assert render_json(text) == f'"{text}"'


def test_a_lone_surrogate_can_be_written_as_utf8() -> None:
    assert render_tree("a\udc80").encode() == b'"a\\udc80"'


def test_deep_nesting_is_rendered() -> None:
    value: object = "bottom"
    for _ in range(2_000):
        value = [value]
    assert render_tree(value).endswith('0 :: "bottom"')


@given(JSON_VALUES)
def test_json_is_one_line_with_the_same_value(value: object) -> None:
    document = render_json(value)
    assert len(document.splitlines()) == 1
    assert json.loads(document) == value


@given(st.text())
def test_a_string_is_rendered_as_json_on_one_line(text: str) -> None:
    rendered = render_tree(text)
    assert len(rendered.splitlines()) == 1
    assert json.loads(rendered) == text


@given(JSON_VALUES)
def test_each_entry_of_a_value_has_one_line(value: object) -> None:
    def entries(part: object) -> int:
        inner = list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else []
        return len(inner) + sum(map(entries, inner))

    assert len(render_tree(value).splitlines()) == 1 + entries(value)
