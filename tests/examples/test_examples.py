"""Each example is run as its docstring says, and prints what it shows there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.stories import play
from tests.examples.sessions import docstring_of, session_of

FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
LISTED = re.compile(r"^\| \[`(\w+\.py)`\]\(\1\) \| (.+) \|$", re.MULTILINE)

of_each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)


@of_each
def test_it_does_what_its_docstring_shows(example: Path) -> None:
    play(session_of(example), ROOT)


@of_each
def test_it_is_small(example: Path) -> None:
    assert 20 <= len(example.read_text(encoding="utf-8").splitlines()) <= 80


def test_the_list_is_complete_and_says_what_the_docstrings_say() -> None:
    listed = LISTED.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    assert listed == [(example.name, docstring_of(example).splitlines()[0].rstrip(".")) for example in EXAMPLES]
