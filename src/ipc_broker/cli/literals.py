"""Values and texts from the bus as Python source: nothing in them can be anything else than a literal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .type_text import DEEPEST, quoted


def literal(value: Any, depth: int = 0) -> str | None:
    """Of what JSON can say; None for what has no literal, as infinity."""
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if value - value == 0 else None
    if isinstance(value, (list, dict)) and depth < DEEPEST:
        inner = value.values() if isinstance(value, dict) else value
        written = [literal(one, depth + 1) for one in inner]
        if None in written:
            return None
        if isinstance(value, list):
            return f"[{', '.join(map(str, written))}]"
        if all(isinstance(key, str) for key in value):
            return f"{{{', '.join(f'{quoted(key)}: {one}' for key, one in zip(value, written, strict=True))}}}"
    return None


def docstring(text: str, indent: str) -> list[str]:
    """Its lines, quotes included."""
    text = text.strip()
    body, last = (text[:-1], '\\"') if text.endswith('"') else (text, "")
    lines = [_escaped(line if line.strip() else "") for line in body.split("\n")]
    lines[-1] += last
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}" if line else "" for line in lines[1:]), f'{indent}"""']


def comment(text: str, indent: str) -> str:
    """On one line, whatever it holds."""
    return f"{indent}# {''.join(char if char.isprintable() else ' ' for char in text)}"


def _escaped(line: str) -> str:
    return "".join(_characters(line)).replace('"""', '\\"\\"\\"')


def _characters(line: str) -> Iterable[str]:
    for char in line:
        if char == "\\":
            yield "\\\\"
        elif char.isprintable():
            yield char
        else:
            yield repr(char)[1:-1]
