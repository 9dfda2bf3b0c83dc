"""What systemd is told of the broker's state, as sd_notify(3) does: a few words in a datagram."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping

if sys.platform != "win32":
    import socket
    import time

logger = logging.getLogger("ipc_broker")


class Notifier:
    """Says nothing where systemd does not ask (NOTIFY_SOCKET). With a watchdog (WATCHDOG_USEC) it gives a sign of life as
    long as the event loop goes round.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        self._watched = _watchdog_seconds(environ, pid) if self._path else 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._trouble = ""

    def ready(self, status: str = "") -> None:
        """It has started, or has read its settings anew. Begins with the signs of life."""
        self._tell("READY=1", f"STATUS={_one_line(status)}")
        if self._watched and self._timer is None:
            self._give_sign()

    def reloading(self) -> None:
        """`ready` has to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={_monotonic_microseconds()}")

    def stopping(self) -> None:
        """Signs of life go on until `close`."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_sign(self) -> None:
        """Twice in the time after which systemd would end the broker."""
        self._timer = asyncio.get_running_loop().call_later(self._watched / 2, self._give_sign)
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._path:
            return
        try:
            _send(self._path, "\n".join(lines).encode())
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                logger.warning("systemd cannot be told %s at %s: %s", lines[0], self._path, trouble)
            self._trouble = trouble


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """0 for none."""
    text, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    return int(text) / 1e6 if text.isdecimal() and whose == str(pid) else 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())


if sys.platform == "win32":

    def _send(path: str, message: bytes) -> None:
        raise OSError("there is no systemd on Windows")

    def _monotonic_microseconds() -> int:
        return 0

else:

    def _send(path: str, message: bytes) -> None:
        """Raises OSError. An `@` stands for the zero byte of the abstract namespace."""
        where = "\0" + path[1:] if path.startswith("@") else path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(where)
            sender.send(message)

    def _monotonic_microseconds() -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
