"""Processes of another user, who has no rights here: for tests that run as root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NOBODY = 65534

_IS_ROOT = sys.platform != "win32" and os.geteuid() == 0
as_root = pytest.mark.skipif(not _IS_ROOT, reason="only root can start processes of another user")


@contextmanager
def stranger(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program of the standard library alone. It ends with the block, at the latest.

    It becomes the other user when it runs already, who may not be able to read this interpreter's files.
    """
    program = (
        f"import encodings.idna, os, socket, sys; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); {program}"
    )
    command = [sys.executable, "-I", "-S", "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
