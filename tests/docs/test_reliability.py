"""Each promise of docs/reliability.md has tests, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.blocks import ROOT
from tests.docs.test_tables import tables

RELIABILITY = ROOT / "docs" / "reliability.md"

SECTIONS = [
    "Calls",
    "Events",
    "Names",
    "Connections",
    "Bad input",
    "Who may do what",
    "Programs of the Rust crate",
    "Figures",
]
PROMISES = [row for rows in tables(RELIABILITY, "| promise | tests |") for row in rows]

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def functions_of(path: str) -> set[str]:
    """The functions at the top of a module that pytest collects."""
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        one.name
        for one in module.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_")
    }


def test_every_group_of_promises_is_there() -> None:
    headings = re.findall(r"^## (.*)$", RELIABILITY.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == SECTIONS
    assert len(tables(RELIABILITY, "| promise | tests |")) == len(SECTIONS) - 1


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[0][:60])
def test_every_promise_has_tests_that_are_there(row: list[str]) -> None:
    promise, tests = row
    assert promise.endswith(".")
    named = _TEST.findall(tests)
    assert named
    assert ", ".join(f"`{path}::{name}`" for path, name in named) == tests, "something else stands there"
    assert len(set(named)) == len(named)
    for path, name in named:
        assert name in functions_of(path), f"{path} has no {name}"


def test_no_promise_stands_twice() -> None:
    promises = [promise for promise, _ in PROMISES]
    assert len(set(promises)) == len(promises)
