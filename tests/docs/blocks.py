"""The fenced blocks of a Markdown document, and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
ONE_STORY = "one story"
"""The comment at the top of a document whose sections belong together."""
ONLY_SHOWN = "only shown"
"""The comment above a block that nobody can run, or that would change the machine: how to install, a file of systemd."""

_FENCE = re.compile(r"^( *)(`{3,})(.*)$")
_MARK = re.compile(r"^ *<!-- (.*) -->$")


class Block(NamedTuple):
    """`kind` is the word behind the fence, `mark` the comment that stands above it.

    `section` is the heading of level two, "" throughout a document that is one story.
    """

    document: str
    line: int
    section: str
    kind: str
    mark: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    return list(_read_blocks(document))


def blocks_of_kind(kind: str) -> list[Block]:
    """Of all documents."""
    return [block for document in DOCUMENTS for block in blocks_of(document) if block.kind == kind]


def _read_blocks(document: Path) -> Iterator[Block]:
    name = document.relative_to(ROOT).as_posix()
    section = mark = ""
    whole = False
    opening: re.Match[str] | None = None
    begun, lines = 0, list[str]()
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opening is not None:
            if fence is not None and fence[2] == opening[2] and not fence[3]:
                yield Block(name, begun, section, opening[3].strip(), mark, "\n".join(lines) + "\n")
                opening, mark = None, ""
            else:
                lines.append(line.removeprefix(opening[1]))
        elif fence is not None:
            opening, begun, lines = fence, number, []
        elif (comment := _MARK.match(line)) is not None:
            mark = comment[1]
            whole = whole or mark == ONE_STORY
        elif line:
            mark = ""
            if line.startswith("## ") and not whole:
                section = line[3:]
    if opening is not None:
        raise ValueError(f"{name}:{begun}: the block has no end")
