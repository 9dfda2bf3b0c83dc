"""The terminal session in the docstring of an example, as blocks that `tests.docs.stories` plays.

Its lines are indented. Those behind `$ ` are commands, with what they print below. One that ends with ` &` runs on in the
background; `kill %2` ends the second of these, `kill -9 %2` gives it no time for anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import ROOT, Block

_INDENT = "    "
_KILL = re.compile(r"kill (-9 )?%(\d+)")


def session_of(example: Path) -> list[Block]:
    return list(_read_session(example))


def docstring_of(example: Path) -> str:
    return ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""


def _read_session(example: Path) -> Iterator[Block]:
    jobs: list[str] = []
    mark = ""
    command: list[str] = []

    def block() -> Block:
        return Block(example.relative_to(ROOT).as_posix(), 1, "", "console", mark, "".join(command))

    for line in docstring_of(example).splitlines():
        if not line.startswith(_INDENT):
            continue
        line = line.removeprefix(_INDENT)
        if not line.startswith("$ "):
            command.append(f"{line}\n")
            continue
        if command or mark:
            yield block()
        mark, command = "", []
        if (kill := _KILL.fullmatch(line[2:])) is not None:
            mark = f"{'kills' if kill[1] else 'stops'} {jobs[int(kill[2]) - 1]}"
        elif line.endswith(" &"):
            jobs.append(line[2:-2])
            mark, command = "keeps running", [f"$ {jobs[-1]}\n"]
        else:
            command = [f"{line}\n"]
    yield block()
