from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli import signature
from ipc_broker.cli.signature import MAX_DEPTH, UsageError, parse_arguments, read_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipc_broker.cli.signature import JsonValue


def refuse_to_read(source: str) -> str:
    raise AssertionError(f"{source!r} must not be read")


def parse(*words: str, read: Callable[[str], str] = refuse_to_read) -> JsonValue:
    return parse_arguments(words, read=read)


def usage_error(*words: str, read: Callable[[str], str] = refuse_to_read) -> str:
    with pytest.raises(UsageError) as caught:
        parse_arguments(words, read=read)
    return str(caught.value)


def caret_position(message: str) -> int:
    """The index, in the signature, of the symbol that the caret stands under."""
    _problem, _signature, caret = message.split("\n")
    return caret.index("^") - 3


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("", None),
        ("n", None),
        ("s hello", "hello"),
        ("s -42", "-42"),
        ("s @@home", "@home"),
        ("s @@@", "@@"),
        ("i -42", -42),
        ("i +7", 7),
        ("i 007", 7),
        ("i 9223372036854775807", 2**63 - 1),
        ("i -9223372036854775808", -(2**63)),
        ("f 25.6", 25.6),
        ("f -1e-3", -0.001),
        ("f .5", 0.5),
        ("b true", True),
        ("b false", False),
        ('j {"a":[1,null]}', {"a": [1, None]}),
        ("{ii} a 10 b 32", {"a": 10, "b": 32}),
        ("{n} a", {"a": None}),
        ("{s} @key v", {"@key": "v"}),
        ("{s} - v", {"-": "v"}),
        ("{}", {}),
        ("()", []),
        ("(())", [[]]),
        ("(si{s}n) hello -42 k v", ["hello", -42, {"k": "v"}, None]),
        ("{i(s{b})f} a 1 b x c true d 2", {"a": 1, "b": ["x", {"c": True}], "d": 2.0}),
        ("a=10 b=32", {"a": 10, "b": 32}),
        ("x=", {"x": ""}),
        ("x=a=b", {"x": "a=b"}),
        ("name=007 v=1e5 w=-1.5 p=+5 h=.5", {"name": "007", "v": 100000.0, "w": -1.5, "p": "+5", "h": ".5"}),
        ("t=true u=True z=null nan=NaN", {"t": True, "u": "True", "z": None, "nan": "NaN"}),
        ('s="10" l=[1,2] m={"a":1} d=[draft]', {"s": "10", "l": [1, 2], "m": {"a": 1}, "d": "[draft]"}),
    ],
)
def test_words_make_a_value(words: str, value: JsonValue) -> None:
    result = parse(*words.split())
    assert result == value
    assert type(result) is type(value)


def test_words_may_be_empty_or_hold_spaces() -> None:
    assert parse("(ss)", "", " a b ") == ["", " a b "]
    assert parse("text=a b", "at=@home", "dash=-") == {"text": "a b", "at": "@home", "dash": "-"}


def test_f_gives_a_float_and_i_an_integer() -> None:
    assert [type(item) for item in (parse("f", "10"), parse("i", "10"))] == [float, int]


@pytest.mark.parametrize(
    ("words", "position", "parts"),
    [
        # too few and too many words
        ("{ii} a 10 b", 2, ["a 64-bit integer is expected here", "takes 4 words", "given 3"]),
        ("(si{s}n) hello -42", 4, ["a key is expected here", "takes 4 words", "given 2"]),
        ("s", 0, ["a string is expected here", "takes 1 word,", "given 0"]),
        ("i 1 2 3", 1, ["too many words, from '2' on", "takes 1 word,", "given 3"]),
        ("n x", 1, ["too many words", "'x'", "takes 0 words"]),
        # brackets
        ("(s a", 0, ["'(' is never closed", "')'"]),
        ("({s) a", 3, ["'}' is expected here", "given ')'"]),
        ("s) a", 1, ["nothing is open", "')'"]),
        ("} a", 0, ["nothing is open", "'}'"]),
        # several values
        ("ss a b", 1, ["only one value", "(...)"]),
        ("{s}{s} a b c d", 3, ["only one value"]),
        # values
        ("(si) a b", 2, ["a 64-bit integer is expected", "given 'b'"]),
        ("i 1.5", 0, ["a 64-bit integer is expected", "given '1.5'"]),
        ("i 1_000", 0, ["given '1_000'"]),
        ("i -", 0, ["given '-'"]),
        ("i ١٢", 0, ["given '١٢'"]),
        ("i 9223372036854775808", 0, ["'9223372036854775808' does not fit"]),
        ("i -9223372036854775809", 0, ["does not fit"]),
        ("f nan", 0, ["a finite number is expected", "given 'nan'"]),
        ("f -inf", 0, ["given '-inf'"]),
        ("f 1_0", 0, ["given '1_0'"]),
        ("f 1.2.3", 0, ["given '1.2.3'"]),
        ("f 1e400", 0, ["'1e400' is too large"]),
        ("b yes", 0, ["true or false is expected", "given 'yes'"]),
        ("(nj) {a:1}", 2, ["JSON is expected", "given '{a:1}'", "malformed"]),
        ("j 1e400", 0, ["JSON is expected", "out of range"]),
        ("{si} a x a 1", 2, ["the key 'a' is given twice"]),
        ("s @", 0, ["'@' needs a file's name", "'@@'"]),
    ],
)
def test_a_wrong_signature_or_word_is_pointed_at(words: str, position: int, parts: list[str]) -> None:
    message = usage_error(*words.split())
    assert caret_position(message) == position
    assert message.split("\n")[1].strip() == words.split()[0]
    for part in parts:
        assert part in message.split("\n")[0]


@pytest.mark.parametrize("word", ["hello", "", "siz", "{x}", "[1,2]", '{"a":', '{"a":"b=c"}', "=5", "-", "42"])
def test_a_word_that_is_neither_signature_nor_pair_says_what_is_possible(word: str) -> None:
    message = usage_error(word)
    assert f"{word!r} is neither a signature nor KEY=VALUE" in message
    for possible in ("s string", "i integer", "{...} map", "(...) list", "KEY=VALUE words", "nothing for null"):
        assert possible in message


def test_json_without_its_signature_gets_a_hint() -> None:
    assert "put the signature j before it" in usage_error('{"a": "b=c"}')


def test_wrong_pairs() -> None:
    assert "the key 'a' is given twice" in usage_error("a=1", "a=2")
    assert "'b' is not KEY=VALUE" in usage_error("a=1", "b")
    assert "'b' is not KEY=VALUE" in usage_error("a=1", "b", "a=1")
    assert "the value of 'a' is no usable number" in usage_error("a=1e400")


def test_bytes_that_are_not_utf8_are_refused() -> None:
    for words in (["s", "a\udcff"], ["{n}", "\udcff"], ["j", '"\udcff"'], ["k=\udcff"], ["\udcff=1"]):
        assert "is not valid UTF-8" in usage_error(*words)


def test_values_come_from_files_and_stdin() -> None:
    sources = {"-": "piped\n", "text file": "line 1\nline 2\n", "data.json": '{"a": [1]}\n'}
    words = ["(ssj)", "-", "@text file", "@data.json"]
    assert parse(*words, read=sources.__getitem__) == ["piped\n", "line 1\nline 2\n", {"a": [1]}]
    assert parse("j", "-", read=lambda source: f'"{source}"') == "-"


def test_stdin_is_read_once() -> None:
    message = usage_error("(ss)", "-", "-", read=lambda source: "text")
    assert "standard input (-) can be read only once" in message
    assert caret_position(message) == 2


def test_nothing_is_read_when_the_number_of_words_is_wrong() -> None:
    usage_error("(si)", "-")
    usage_error("(si)", "@file", "1", "2")


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert f"cannot read the file {missing!r}: No such file" in usage_error("s", f"@{missing}", read=read_source)
    assert "cannot read the file 'a\\x00b'" in usage_error("s", "@a\x00b", read=read_source)
    (tmp_path / "latin").write_bytes(b"\xe9")
    assert "it is not UTF-8" in usage_error("s", f"@{tmp_path / 'latin'}", read=read_source)


def test_json_from_a_file_names_the_file() -> None:
    message = usage_error("j", "@data.json", read=lambda source: "[1,")
    assert "given '@data.json'" in message


def test_read_source_takes_text_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text"
    file.write_bytes("\ufeffé\r\n\n".encode())
    assert read_source(str(file)) == "é\r\n\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("°C\n".encode()), encoding="latin-1"))
    assert read_source("-") == "°C\n"


def test_what_is_read_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device or a pipe may never end, and no frame holds so much."""
    assert signature.MOST_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr(signature, "MOST_BYTES", 10)
    file = tmp_path / "text"
    file.write_bytes(b"x" * 10)
    assert parse("s", f"@{file}", read=read_source) == "x" * 10
    file.write_bytes(b"x" * 11)
    message = f"cannot read the file {str(file)!r}: it holds more than 10 bytes"
    assert message in usage_error("s", f"@{file}", read=read_source)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 11)))
    assert "cannot read standard input: it holds more than 10 bytes" in usage_error("s", "-", read=read_source)


def test_a_closed_stdin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "cannot read standard input: standard input is closed" in usage_error("s", "-", read=read_source)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_nesting_is_limited() -> None:
    deepest = nested(MAX_DEPTH)
    assert json.dumps(parse("(" * MAX_DEPTH + ")" * MAX_DEPTH)) == deepest
    assert json.dumps(parse("j", deepest)) == deepest
    assert f"at most {MAX_DEPTH} levels" in usage_error("j", nested(MAX_DEPTH + 1))
    assert f"at most {MAX_DEPTH} levels" in usage_error("(j)", deepest)
    assert f"at most {MAX_DEPTH} levels" in usage_error(f"a={deepest}")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_endless_nesting_is_a_short_error(depth: int) -> None:
    for words in (["(" * depth], ["{" * depth + "}" * depth], ["j", nested(depth)], [f"a={nested(depth)}"]):
        message = usage_error(*words)
        assert "too deep" in message
        assert len(message) < 300


def test_long_signatures_and_words_are_cut_in_messages() -> None:
    message = usage_error("(" + "s" * 500 + "i" + "s" * 500 + ")", *["x"] * 500, "y" * 1000, *["x"] * 500)
    problem, shown, caret = message.split("\n")
    assert len(message) < 300
    assert "given 'yyy" in problem
    assert shown[caret.index("^")] == "i"
    assert caret.endswith("position 502")


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, msgspec; before = set(sys.modules)\n"
        "import ipc_broker.cli.signature, ipc_broker.cli.render\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('ipc_broker')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) <= {"msgspec.json"}


def describe(value: JsonValue) -> tuple[str, list[str]]:
    """A signature and words that stand for the value."""
    match value:
        case None:
            return "n", []
        case bool():
            return "b", ["true" if value else "false"]
        case int():
            return "i", [str(value)]
        case float():
            return "f", [repr(value)]
        case str():
            return "s", [value.replace("@", "@@", 1) if value.startswith("@") else value]
        case list():
            parts = [describe(item) for item in value]
            return "(" + "".join(sign for sign, _ in parts) + ")", [word for _, words in parts for word in words]
        case dict():
            signature, words = "", []
            for key, item in value.items():
                sign, inner = describe(item)
                signature += sign
                words += [key, *inner]
            return "{" + signature + "}", words


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS.filter(lambda text: text != "-"),  # the one text that `s` cannot say
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_can_be_said(value: JsonValue) -> None:
    signature, words = describe(value)
    result = parse(signature, *words)
    assert result == value
    assert parse("j", json.dumps(value)) == value
    if isinstance(result, float):
        assert math.isfinite(result)


@given(st.dictionaries(st.text("abz019_.-", min_size=1), VALUES))
def test_every_map_can_be_said_in_pairs(value: dict[str, JsonValue]) -> None:
    words = [f"{key}={json.dumps(item)}" for key, item in value.items()]
    assert parse(*words) == (value or None)


@given(st.lists(st.text("sinfbj{}()=@-a1. ") | st.text(), max_size=8))
def test_any_words_give_a_value_or_a_usage_error(words: list[str]) -> None:
    try:
        value = parse_arguments(words, read=lambda source: source)
    except UsageError:
        return
    json.dumps(value, allow_nan=False)
