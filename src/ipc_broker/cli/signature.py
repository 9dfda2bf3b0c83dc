"""The words after OBJECT METHOD (or OBJECT TOPIC) on the command line -> one value.

| words | value |
| --- | --- |
| none | null |
| SIGNATURE WORD... | what the signature describes |
| KEY=VALUE... | a map |

A signature describes exactly one value:

| symbol | takes | gives |
| --- | --- | --- |
| `s` | a word, taken as it stands | a string |
| `i` | a word of decimal digits, perhaps with a sign | an integer of 64 bits |
| `f` | a decimal number | a finite floating point number |
| `b` | `true` or `false` | a boolean |
| `j` | JSON in one word | any value |
| `n` | no word | null |
| `(...)` | what its symbols take | a list |
| `{...}` | a key, then what the symbol takes, for each symbol | a map |

For `s` and `j` the word `-` stands for standard input (once), `@FILE` for the content of FILE, and `@@` begins a word
that really starts with `@`. Text is UTF-8 and is taken whole, its last newline included (`"$(cat FILE)"` drops it);
only a byte order mark is dropped. The keys of a map are always taken as they stand.

In KEY=VALUE the value is JSON where it reads as JSON (`10`, `-1.5`, `1e5`, `true`, `null`, `"10"`, `[1, 2]`,
`{"a": 1}`) and the text itself otherwise: `x=` is the empty string, `name=007` the string `007`, `at=@home` the string
`@home`. Only the first `=` divides. A first word made of nothing but signature symbols and brackets is a signature.
"""

from __future__ import annotations

import sys

from msgspec import DecodeError, ValidationError
from msgspec.json import decode

from .words import UsageError as UsageError

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO, TypeAlias, TypeVar

    JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
    Value = TypeVar("Value")

# Rust's serde_json reads 127 levels of nesting, and the message around the value takes two of them.
MAX_DEPTH = 125

_EXPECTED = {
    "s": "a string",
    "i": "a 64-bit integer",
    "f": "a finite number",
    "b": "true or false",
    "j": "JSON",
}
_CLOSING = {"(": ")", "{": "}"}
_SYMBOLS = frozenset("sifbjn(){}")
_INTEGERS = range(-(2**63), 2**63)
_WHAT_IS_POSSIBLE = (
    "give a signature and its words (s string, i integer, f number, b true/false, n null, j JSON, {...} map,\n"
    "(...) list), or KEY=VALUE words for a map, or nothing for null"
)


MOST_BYTES = 64 * 1024 * 1024
"""Read from a file or standard input: more than any frame holds."""


def read_source(source: str) -> str:
    """All of standard input (`-`) or of the file `source`, as text. Raises OSError or UnicodeDecodeError."""
    if source == "-":
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return _read_bounded(sys.stdin.buffer)
    with open(source, "rb") as file:
        return _read_bounded(file)


def _read_bounded(file: BinaryIO) -> str:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(f"it holds more than {MOST_BYTES} bytes, which no frame does")
    return data.decode("utf-8-sig")


def parse_arguments(words: Sequence[str], *, read: Callable[[str], str] = read_source) -> JsonValue:
    """The value that the words describe, at most MAX_DEPTH levels deep; UsageError when they describe none.

    `read` is given `-` or a file's name, and only once the number of words is known to be right.
    """
    if not words:
        return None
    value = _Builder(words[0], words[1:], read).build() if begins_with_signature(words) else _key_value_map(words)
    checked_depth(value)
    return value


def checked_depth(value: Value) -> Value:
    """The same. Raises UsageError when it is deeper than MAX_DEPTH."""
    if _is_too_deep(value):
        raise UsageError(f"the value is nested too deep: at most {MAX_DEPTH} levels are possible")
    return value


def begins_with_signature(words: Sequence[str]) -> bool:
    return bool(words and words[0]) and _SYMBOLS.issuperset(words[0])


class _Node:
    __slots__ = ("children", "position", "symbol")

    def __init__(self, symbol: str, position: int) -> None:
        self.symbol = symbol
        self.position = position
        self.children: list[_Node] = []

    def word_slots(self) -> Iterator[tuple[int, str]]:
        """For each word that this takes: the position of the symbol it is for, and what is expected."""
        if self.symbol in _EXPECTED:
            yield self.position, _EXPECTED[self.symbol]
        for child in self.children:
            if self.symbol == "{":
                yield child.position, "a key"
            yield from child.word_slots()


def _parse_signature(signature: str) -> _Node:
    top: list[_Node] = []
    unclosed: list[_Node] = []
    for position, symbol in enumerate(signature):
        if symbol in ")}":
            if not unclosed:
                raise _error_at(signature, position, f"nothing is open that {symbol!r} could close")
            opening = unclosed.pop().symbol
            if _CLOSING[opening] != symbol:
                raise _error_at(signature, position, f"{_CLOSING[opening]!r} is expected here, given {symbol!r}")
            continue
        node = _Node(symbol, position)
        (unclosed[-1].children if unclosed else top).append(node)
        if symbol in _CLOSING:
            if len(unclosed) == MAX_DEPTH:
                raise _error_at(signature, position, f"nested too deep: at most {MAX_DEPTH} levels are possible")
            unclosed.append(node)
    if unclosed:
        opened = unclosed[-1]
        raise _error_at(signature, opened.position, f"{opened.symbol!r} is never closed: {_CLOSING[opened.symbol]!r}")
    if len(top) > 1:
        raise _error_at(signature, top[1].position, "only one value is possible: put several in (...)")
    return top[0]


class _Builder:
    """Builds the value of one signature out of its words."""

    def __init__(self, signature: str, words: Sequence[str], read: Callable[[str], str]) -> None:
        self._signature = signature
        self._root = _parse_signature(signature)
        self._check_count(words)
        self._words = iter(words)
        self._read_source = read
        self._stdin_taken = False

    def build(self) -> JsonValue:
        return self._value(self._root)

    def _check_count(self, words: Sequence[str]) -> None:
        slots = list(self._root.word_slots())
        count = f"the signature takes {_counted(len(slots))}, given {len(words)}"
        if len(words) < len(slots):
            position, expected = slots[len(words)]
            raise _error_at(self._signature, position, f"{expected} is expected here, but no word is left: {count}")
        if len(words) > len(slots):
            extra = _shown(words[len(slots)])
            raise _error_at(self._signature, len(self._signature), f"too many words, from {extra} on: {count}")

    def _value(self, node: _Node) -> JsonValue:
        match node.symbol:
            case "n":
                return None
            case "(":
                return [self._value(child) for child in node.children]
            case "{":
                return self._map(node)
            case "s":
                return self._text(node, next(self._words))
            case "j":
                return self._json(node, next(self._words))
            case "i":
                return self._integer(node, next(self._words))
            case "f":
                return self._number(node, next(self._words))
            case _:
                return self._boolean(node, next(self._words))

    def _map(self, node: _Node) -> dict[str, JsonValue]:
        result: dict[str, JsonValue] = {}
        for child in node.children:
            key = _checked_text(next(self._words))
            if key in result:
                raise _error_at(self._signature, child.position, f"the key {_shown(key)} is given twice in one map")
            result[key] = self._value(child)
        return result

    def _text(self, node: _Node, word: str) -> str:
        if word.startswith("@@"):
            return _checked_text(word[1:])
        if word == "-":
            if self._stdin_taken:
                raise _error_at(self._signature, node.position, "standard input (-) can be read only once")
            self._stdin_taken = True
            return self._content(node, "-", "standard input")
        if word.startswith("@"):
            return self._content(node, word[1:], f"the file {word[1:]!r}")
        return _checked_text(word)

    def _content(self, node: _Node, source: str, name: str) -> str:
        if not source:
            raise _error_at(self._signature, node.position, "'@' needs a file's name (for a text write '@@')")
        try:
            return self._read_source(source)
        except OSError as error:
            reason = error.strerror or str(error)
        except UnicodeDecodeError:
            reason = "it is not UTF-8"
        except ValueError as error:  # a name with a null character in it
            reason = str(error)
        raise _error_at(self._signature, node.position, f"cannot read {name}: {reason}")

    def _json(self, node: _Node, word: str) -> JsonValue:
        try:
            return _decode_json(self._text(node, word))
        except DecodeError as error:
            given = f"JSON is expected, given {_shown(word)}: {error}"
        raise _error_at(self._signature, node.position, given)

    def _integer(self, node: _Node, word: str) -> int:
        digits = word[1:] if word[:1] in ("+", "-") else word
        if not (digits.isascii() and digits.isdigit()):
            raise self._unfit(node, word)
        # int() refuses very long texts, zeros included; 19 digits are enough for 64 bits.
        digits = digits.lstrip("0") or "0"
        value = int(digits[:20]) if word[:1] != "-" else -int(digits[:20])
        if len(digits) > 19 or value not in _INTEGERS:
            raise _error_at(self._signature, node.position, f"{_shown(word)} does not fit a 64-bit integer")
        return value

    def _number(self, node: _Node, word: str) -> float:
        if not set(word) <= set("0123456789+-.eE"):  # float() also takes `nan`, `inf`, `1_0` and spaces
            raise self._unfit(node, word)
        try:
            value = float(word)
        except ValueError:
            raise self._unfit(node, word) from None
        if abs(value) == float("inf"):
            raise _error_at(self._signature, node.position, f"{_shown(word)} is too large for a number")
        return value

    def _boolean(self, node: _Node, word: str) -> bool:
        if word not in ("true", "false"):
            raise self._unfit(node, word)
        return word == "true"

    def _unfit(self, node: _Node, word: str) -> UsageError:
        return _error_at(self._signature, node.position, f"{_EXPECTED[node.symbol]} is expected, given {_shown(word)}")


def _key_value_map(words: Sequence[str]) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key[:1] in ("", "{", "[", "(", '"'):
            raise _neither(word, first=word is words[0])
        if _checked_text(key) in result:
            raise UsageError(f"the key {_shown(key)} is given twice")
        result[key] = _json_or_text(key, _checked_text(text))
    return result


def _json_or_text(key: str, text: str) -> JsonValue:
    try:
        return _decode_json(text)
    except ValidationError as error:  # well-formed, but no number of 64 bits
        raise UsageError(f"the value of {_shown(key)} is no usable number: {error}") from None
    except DecodeError:
        return text


def _neither(word: str, *, first: bool) -> UsageError:
    if not first:
        return UsageError(f"{_shown(word)} is not KEY=VALUE, as the words before it are: every word must be")
    wrong = next((index for index, symbol in enumerate(word) if symbol not in _SYMBOLS), None)
    if word[:1] in ("{", "[", "(", '"') and wrong is not None:
        hint = f"{word[wrong]!r} at position {wrong + 1} is no signature symbol; for JSON put the signature j before it"
        return UsageError(f"{_shown(word)} is neither a signature nor KEY=VALUE: {hint};\n{_WHAT_IS_POSSIBLE}")
    return UsageError(f"{_shown(word)} is neither a signature nor KEY=VALUE:\n{_WHAT_IS_POSSIBLE}")


def _decode_json(text: str) -> JsonValue:
    try:
        value: JsonValue = decode(text)
    except RecursionError:
        raise UsageError(f"the JSON is nested too deep: at most {MAX_DEPTH} levels are possible") from None
    return value


def _checked_text(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{_shown(word)} is not valid UTF-8 text") from None
    return word


def _is_too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, (dict, list))]
        if not containers:
            return False
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _error_at(signature: str, position: int, problem: str) -> UsageError:
    start = max(0, position - 40)
    before = "..." if start else ""
    after = "..." if len(signature) > position + 40 else ""
    shown = before + signature[start : position + 40] + after
    return UsageError(f"{problem}\n   {shown}\n   {' ' * (len(before) + position - start)}^ position {position + 1}")


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")


def _counted(count: int) -> str:
    return "1 word" if count == 1 else f"{count} words"
