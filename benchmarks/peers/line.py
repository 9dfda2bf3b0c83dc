"""The line where all who measure wait until everybody is ready: a lock on a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self


class StartingLine:
    """Within the block nobody passes `wait`, until `release` lets all go. Who comes later passes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        _lock(self._file.fileno(), exclusive=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        self._file.close()


def wait(path: str) -> None:
    with open(path, "rb") as file:
        _lock(file.fileno())


def is_open(path: str) -> bool:
    """Whether `wait` would return at once."""
    with open(path, "rb") as file:
        try:
            _lock(file.fileno(), at_once=True)
        except BlockingIOError:
            return False
        return True


def _lock(descriptor: int, *, exclusive: bool = False, at_once: bool = False) -> None:
    if sys.platform == "win32":
        raise NotImplementedError("the peers are measured over Unix sockets")
    import fcntl

    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    fcntl.flock(descriptor, kind | fcntl.LOCK_NB if at_once else kind)
