"""What mypy and pyright say of the files beside this one: nothing but where they are to, and the types that are shown there.

basedpyright stands in for pyright, of which it is a build; its settings are those of pyright.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import ipc_broker

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKED = ["services.py", "asyncio_client.py", "blocking_client.py", "wrong.py", "revealed.py"]

Place = tuple[str, int]
"""A file, and a line in it."""


class Said(NamedTuple):
    errors: set[Place]
    revealed: dict[Place, str]
    text: str


def _run(*words: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    return finished.stdout


def _mypy() -> Said:
    files = [str((HERE / name).relative_to(ROOT)) for name in CHECKED]
    text = _run("mypy", "--strict", "--output", "json", "--cache-dir", ".mypy_cache/typing", *files)
    errors: set[Place] = set()
    revealed: dict[Place, str] = {}
    for line in text.splitlines():
        told = json.loads(line)
        place = Path(told["file"]).name, told["line"]
        if told["severity"] == "error":
            errors.add(place)
        elif (shown := re.fullmatch(r'Revealed type is "(.*)"', told["message"])) is not None:
            revealed[place] = re.sub(r"(?:\w+\.)+", "", shown[1])
    return Said(errors, revealed, text)


def _pyright() -> Said:
    settings = str(HERE / "pyrightconfig.json")
    text = _run("basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", settings)
    told = json.loads(text)
    assert told["summary"]["filesAnalyzed"] >= len(CHECKED)
    errors: set[Place] = set()
    revealed: dict[Place, str] = {}
    for one in told["generalDiagnostics"]:
        place = Path(one["file"]).name, one["range"]["start"]["line"] + 1
        if one["severity"] in ("error", "warning"):
            errors.add(place)
        elif (shown := re.fullmatch(r'Type of ".*" is "(.*)"', one["message"])) is not None:
            revealed[place] = shown[1]
    return Said(errors, revealed, text)


def _marked(name: str, mark: str) -> dict[Place, str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    found = ((number, re.search(mark, line)) for number, line in enumerate(lines, 1))
    return {(name, number): match[1] for number, match in found if match is not None}


@pytest.mark.parametrize("check", [_mypy, _pyright])
def test_type_checkers_know_what_calls_return_and_what_does_not_fit(check: Callable[[], Said]) -> None:
    said = check()
    assert said.errors == set(_marked("wrong.py", r"  # (wrong)$")), said.text
    assert said.revealed == _marked("revealed.py", r"^ *reveal_type\(.*\)  # (.*)$"), said.text


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(ipc_broker.__file__).parent / "py.typed").exists()
