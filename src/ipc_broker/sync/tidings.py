"""What a link has to tell of itself: to the log, and to the functions that a program gave for its connections."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Notified = Callable[[], Any]
"""A function without arguments."""


class Tidings:
    """Collects them where locks are held, and tells them, in order, where none is: a handler may use the client."""

    def __init__(self, on_connect: Notified | None, on_disconnect: Notified | None) -> None:
        self.due: deque[Notified] = deque()
        self.being_told = False
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._telling = threading.Lock()
        self.log: Callable[[str, str], None] = _to_log
        """Takes a level, "info" or "warning", and a message."""

    def connected(self) -> None:
        if self._on_connect is not None:
            self.due.append(self._on_connect)

    def disconnected(self) -> None:
        if self._on_disconnect is not None:
            self.due.append(self._on_disconnect)

    def info(self, message: str) -> None:
        self.due.append(lambda: self.log("info", message))

    def warning(self, message: str) -> None:
        self.due.append(lambda: self.log("warning", message))

    def tell(self) -> None:
        """Nothing while somebody tells: another thread, or one of these functions."""
        while self.due and self._telling.acquire(blocking=False):
            try:
                self.being_told = True
                while self.due:
                    self._tell_one(self.due.popleft())
            finally:
                self.being_told = False
                self._telling.release()

    def _tell_one(self, notified: Notified) -> None:
        try:
            notified()
        except Exception:
            _log().exception("%r, which is called for connections, failed", notified)


def _to_log(level: str, message: str) -> None:
    getattr(_log(), level)("%s", message)


def _log() -> Any:
    import logging  # not earlier: most programs never need it, and it takes time to import

    return logging.getLogger("ipc_broker")
