"""Where the tasks of a loop wait, as somebody looks for it who wrote the test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

MOST = 5
"""Places that are shown: more would hide the one that matters."""

_FOREIGN = tuple(str(folder) for folder in (Path(__file__).parents[1], Path(asyncio.__file__).parent))


def waiting_places(loop: asyncio.AbstractEventLoop) -> str:
    """File, line and function of each task's innermost line outside of this package and asyncio; "" when there is none."""
    places: dict[str, None] = {}  # in order, each once
    for task in asyncio.all_tasks(loop):
        own = [frame for frame in _frames(task.get_coro()) if not frame.f_code.co_filename.startswith(_FOREIGN)]
        if own:
            code = own[-1].f_code
            places[f"{Path(code.co_filename).name}:{own[-1].f_lineno} ({code.co_name})"] = None
    return ", ".join(sorted(places)[:MOST])


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Of a suspended coroutine, and of all that it awaits, the innermost last."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
