"""Values on the terminal: as a tree for a person, or as one line of JSON for a program.

What other programs send is shown, never obeyed: every character that could steer a terminal or reorder a line is
written as its JSON escape.
"""

from __future__ import annotations

from math import isfinite

from msgspec.json import encode

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator

_INDENT = "   "
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Direction marks and overrides, and line and paragraph separators: these change how the text around them is read.
_MISLEADING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def render_text(value: object) -> str:
    """What `rob` prints for one value: an empty line, `Result:`, and the value as a tree; it ends with a newline."""
    return f"\nResult:\n{render_tree(value)}\n"


def render_tree(value: object) -> str:
    """The value alone, with no newline at the end.

    A map or list is `Map:` or `List:` with one `key :: value` line for each entry below it, three spaces further in; a
    list's keys are its indices. Everything else is one JSON value.
    """
    lines = [_head(value)]
    open_entries = [_entries(value)]
    while open_entries:  # a loop, since values may be nested deeper than Python can recurse
        entry = next(open_entries[-1], None)
        if entry is None:
            open_entries.pop()
            continue
        key, inner = entry
        lines.append(f"{_INDENT * len(open_entries)}{key} :: {_head(inner)}")
        open_entries.append(_entries(inner))
    return "\n".join(lines)


def render_json(value: object) -> str:
    """The value as one JSON document on one line, with no newline at the end.

    Bytes are `{"base64": "..."}`, and numbers that JSON has not the strings "nan", "inf" and "-inf".
    """
    document = encode(_sayable(value), enc_hook=repr).decode()
    # JSON allows these characters inside strings only, so each may become an escape wherever it stands.
    return document if document.isprintable() else "".join(map(_escaped_if_unsafe, document))


def _sayable(value: object) -> object:
    """The value in what JSON can say without changing it in silence."""
    if isinstance(value, dict):
        return {key: _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(item) for item in value]
    if isinstance(value, bytes):
        return {"base64": value}  # which is what msgspec makes of bytes
    if isinstance(value, float) and not isfinite(value):
        return repr(value)
    return value


def render_message(text: str) -> str:
    """A text for people, which may span lines."""
    return "".join(char if char == "\n" else _escaped_if_unsafe(char) for char in text)


def render_line(text: str) -> str:
    """A text for people, on one line."""
    return text if text.isprintable() else "".join(map(_escaped_if_unsafe, text))


def _entries(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        return ((render_name(str(key)), inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ((str(index), inner) for index, inner in enumerate(value))
    return iter(())


def _head(value: object) -> str:
    if isinstance(value, dict):
        return "Map:" if value else "Map: (empty)"
    if isinstance(value, (list, tuple)):
        return "List:" if value else "List: (empty)"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return repr(value)  # JSON has no word for an infinity, and `null` would hide it
    if isinstance(value, bytes):
        return f"{len(value)} bytes: {value.hex(' ')}" if value else "0 bytes"
    return render_json(value)


def render_name(key: str) -> str:
    """A name or a key as it stands, or quoted where it could be mistaken for something else."""
    is_plain = key.isprintable() and key == key.strip() and key != "" and '"' not in key and "::" not in key
    return key if is_plain else _quoted(key)


def _quoted(text: str) -> str:
    return '"' + "".join(_SHORT_ESCAPES.get(char) or _escaped_if_unsafe(char) for char in text) + '"'


def _escaped_if_unsafe(char: str) -> str:
    code = ord(char)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or char in _MISLEADING:
        return f"\\u{code:04x}"
    return char
