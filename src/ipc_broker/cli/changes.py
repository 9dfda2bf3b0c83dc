"""Which source files have changed: looked at again and again, which every system and every disk allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_NOT_SOURCES = ("__pycache__", "site-packages", "node_modules")

State = tuple[int, int]
"""When it was changed, and its size."""


class SourceFiles:
    """The Python files of some folders, as they were when it was asked last; hidden folders and environments aside."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._states = self._look()

    def changed(self) -> list[Path]:
        """Those that are new, gone or different since it was asked before."""
        before, self._states = self._states, self._look()
        paths = before.keys() | self._states.keys()
        return sorted(path for path in paths if before.get(path) != self._states.get(path))

    def _look(self) -> dict[Path, State]:
        return dict(state for folder in self._folders for state in _states(folder))


def _states(folder: str | Path) -> Iterator[tuple[Path, State]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # removed just now, or not ours to read
        return
    for entry in entries:
        name = entry.name
        if name.startswith(".") or name in _NOT_SOURCES:
            continue
        try:
            if entry.is_dir():
                if not entry.is_symlink() and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                    yield from _states(entry.path)
            elif name.endswith(".py"):
                status = entry.stat()
                yield Path(entry.path), (status.st_mtime_ns, status.st_size)
        except OSError:
            continue
