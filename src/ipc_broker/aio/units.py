"""The unit of one service, started and stopped by `systemctl`: whether that is allowed, systemd and its polkit say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Coroutine

from ..activation.definition import ServiceDefinition
from .processes import LAST_LINES, LONGEST_LINE

LOOK_EVERY = 1.0
"""Seconds between two looks at a unit that starts: whether it has failed, which nobody else would tell."""


class ServiceUnit:
    """Tells `ended` when it fails while it starts, and when it was stopped. What happens between is systemd's."""

    def __init__(
        self,
        definition: ServiceDefinition,
        is_starting: Callable[[str], bool],
        ended: Callable[[str, str, bool], None],
    ) -> None:
        self.name = definition.systemd_unit
        self._object_name = definition.object
        self._is_starting = is_starting
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._do(self._start())

    def stop(self) -> None:
        self._do(self._stop())

    def abandon(self) -> list[asyncio.Task[None]]:
        """Asks systemd no more; what it was asked for it goes on with. Gives what has still to end."""
        if self._task is None or self._task.done():
            return []
        self._task.cancel()
        return [self._task]

    def _do(self, what: Coroutine[None, None, None]) -> None:
        """One at a time: what comes later is what is wanted."""
        earlier = self.abandon()
        self._task = asyncio.get_running_loop().create_task(self._after(earlier, what))

    async def _after(self, earlier: list[asyncio.Task[None]], what: Coroutine[None, None, None]) -> None:
        try:
            if earlier:
                await asyncio.wait(earlier)
            await what
        finally:
            what.close()

    async def _start(self) -> None:
        since = int(time.time())
        status, said = await _ask("systemctl", "start", "--", self.name)
        if status != 0:
            await self._tell_failure(f"systemctl start {self.name}: {said}", since)
            return
        while self._is_starting(self._object_name):
            _, state = await _ask("systemctl", "show", "--property=ActiveState", "--value", "--", self.name)
            if state in ("failed", "inactive"):
                await self._tell_failure(f"the unit {self.name} is {state}", since)
                return
            await asyncio.sleep(LOOK_EVERY)

    async def _stop(self) -> None:
        status, said = await _ask("systemctl", "stop", "--", self.name)
        reason = f"systemctl stop {self.name}: {said}" if status else "it was stopped"
        self._ended(self._object_name, reason, status != 0)

    async def _tell_failure(self, reason: str, since: int) -> None:
        lines = (f"--since=@{since}", f"--lines={LAST_LINES}", "--output=cat", "--quiet")
        status, said = await _ask("journalctl", *lines, f"--unit={self.name}")
        words = " / ".join(line[:LONGEST_LINE] for line in said.splitlines()) if status == 0 else ""
        self._ended(self._object_name, f"{reason}; its last words: {words}" if words else reason, True)


async def _ask(program: str, *words: str) -> tuple[int, str]:
    """Exit status, and what it said."""
    options = ["--user"] if _is_of_user() else []
    if program == "systemctl":
        options.append("--no-ask-password")
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, *options, "--no-pager", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        return 127, f"{program} cannot be run ({error.strerror or error})"
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        raise
    said = output.decode("utf-8", "replace").strip()
    status = process.returncode or 0
    return status, said[-LAST_LINES * LONGEST_LINE :] or (f"exit status {status}" if status else "")


def _is_of_user() -> bool:
    """Whether a user's own manager is to be asked, and not the system's: it is there for whoever has logged in but root."""
    if sys.platform == "win32" or os.geteuid() == 0:
        return False
    return os.path.isdir(os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "systemd"))
