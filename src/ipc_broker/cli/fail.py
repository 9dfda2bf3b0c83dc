"""How `ipc-broker` ends when something is wrong: one line on stderr, and an exit status."""

from __future__ import annotations

import sys
from typing import NoReturn

from .output import write_note
from .render import render_message

WRONG, WRONG_USAGE, CANNOT_LISTEN = 1, 2, 3


def fail(error: Exception | str, status: int) -> NoReturn:
    tell(error)
    sys.exit(status)


def tell(error: Exception | str) -> None:
    write_note(f"ipc-broker: {render_message(str(error))}")
