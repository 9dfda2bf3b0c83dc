"""`rob completion`, and the scripts that it prints, in the shells that there are."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from ipc_broker.cli.completing import SHELLS
from ipc_broker.cli.completion_scripts import SCRIPTS
from tests.cli.programs import PATIENCE, ROB, Ended, environment, rob, run

# As bash sets it before it asks for what may stand at the end of the line.
ASK_BASH = """
{script}
COMP_LINE={line}
COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ echo "compopt $*"; }}
_rob {rob} && printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_the_scripts() -> None:
    for shell in SHELLS:
        assert rob("completion", shell) == Ended(0, SCRIPTS[shell], "")
        assert json.loads(rob("completion", shell, "--json").output) == {"shell": shell, "script": SCRIPTS[shell]}
    ended = rob("completion", "bsh")
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("rob: SHELL is one of bash, zsh, fish; given 'bsh'; did you mean bash?\n")


def completed(address: str, *words: str) -> str:
    """Asked until there is an answer: a broker that takes its time is not waited for."""
    deadline = monotonic() + PATIENCE
    while True:
        ended = rob("__complete", "--address", address, *words)
        assert (ended.status, ended.errors) == (0, "")
        if ended.output or monotonic() > deadline:
            return ended.output


def test_candidates_come_with_what_they_are(shop: str) -> None:
    assert completed(shop, "call", "shop", "order", "co") == "count=\tint, may be left out\n"
    assert completed(shop, "call", "shop", "sal") == "sales\tEach as it happens.\n"
    assert completed(shop, "listen", "") == "opaque\nrob\nshop\n"
    assert rob("__complete", "replay", "") == Ended(1, "", "")
    assert rob("__complete").output.startswith("call\t")


def test_without_a_broker_it_is_silent(address: str) -> None:
    for words in (
        ("call", ""),
        ("call", "math", "a"),
        ("call", "math", "add", ""),
        ("listen", "math", ""),
        ("tree", ""),
    ):
        assert rob("__complete", "--address", address, *words) == Ended(0, "", "")
    assert rob("__complete", "--address", "ftp://nowhere", "call", "") == Ended(0, "", "")


def test_a_broker_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert rob("__complete", "--address", address, "call", "") == Ended(0, "", "")


def test_it_starts_without_what_takes_long_to_import(shop: str) -> None:
    code = (
        "import sys; from ipc_broker.cli.rob import main; status = main();"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    ended = run("-c", code, "__complete", "--address", shop, "call", "shop", "price", "")
    assert ended.status == 0
    assert {"asyncio", "click", "difflib", "inspect", "json", "logging", "rich"}.isdisjoint(ended.errors.split())


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_the_shell_reads_its_script(shell: str) -> None:
    checked = subprocess.run([shell, "-n"], input=SCRIPTS[shell].encode(), capture_output=True, timeout=PATIENCE)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no bash of its own")
@pytest.mark.parametrize(
    ("line", "words", "expected"),
    [
        ("rob call sh", ["rob", "call", "sh"], "shop\n"),
        ("rob call shop price col", ["rob", "call", "shop", "price", "col"], "compopt -o nospace\ncolor=\n"),
        ("rob call shop price color=", ["rob", "call", "shop", "price", "color", "="], "red\n"),
        ("rob call shop order express=t", ["rob", "call", "shop", "order", "express", "=", "t"], "true\n"),
        ("rob --timeout=1 call  sh", ["rob", "--timeout", "=", "1", "call", "sh"], "shop\n"),
        ("rob call --header a=b shop lab", ["rob", "call", "--header", "a", "=", "b", "shop", "lab"], "label\n"),
        ("rob replay f", ["rob", "replay", "f"], "compopt -o filenames\nfile name\n"),
        ("rob call ghost ", ["rob", "call", "ghost", ""], "\n"),
    ],
)
def test_bash(shop: str, tmp_path: Path, line: str, words: list[str], expected: str) -> None:
    program = tmp_path / "rob"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {shlex.join(ROB)} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "file name").touch()
    script = ASK_BASH.format(script=SCRIPTS["bash"], line=shlex.quote(line), words=shlex.join(words), rob="rob")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environ = environment(BROKER_ADDR=shop, PATH=path)
    deadline = monotonic() + PATIENCE
    while True:
        asked = subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environ,
            timeout=PATIENCE,
        )
        if asked.stdout == expected or monotonic() > deadline:  # a broker that takes its time is not waited for
            break
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, expected, "")
