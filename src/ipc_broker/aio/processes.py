"""The process of one service: started, listened to, and ended with all that it has started itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping

from ..activation.definition import ServiceDefinition

if sys.platform != "win32":
    import os

logger = logging.getLogger("ipc_broker")

LAST_LINES, LONGEST_LINE = 5, 500
"""Lines of what a service has written, and characters of each, that are told when it fails."""

LOGGED_LINES = 100
"""Lines of one service that are logged within a second: the log is there for others too."""

STOP_TIMEOUT = 10.0
"""Seconds from SIGTERM to SIGKILL: as long as a worker may drain."""

AFTER_END = 0.5
"""Seconds after its end in which what it had started may write, and end too."""


class LastWords:
    """What a service writes: all of it goes to the log, and the last to whoever has to be told why it failed."""

    def __init__(self, name: str, time: Callable[[], float]) -> None:
        self._name = name
        self._time = time
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._begun = b""
        self._second = 0
        self._logged = 0

    def feed(self, data: bytes) -> None:
        *lines, begun = (self._begun + data).split(b"\n")
        self._begun = begun[: 4 * LONGEST_LINE]  # more would not be told
        for line in lines:
            self._add(line)

    def end(self) -> None:
        """It writes no more."""
        self._add(self._begun)
        self._begun = b""

    def told(self) -> str:
        return f"its last words: {' / '.join(self._lines)}" if self._lines else ""

    def _add(self, raw: bytes) -> None:
        text = _printable(raw.decode("utf-8", "replace").strip()[:LONGEST_LINE])
        if not text:
            return
        self._lines.append(text)
        if int(self._time()) != self._second:
            if self._logged > LOGGED_LINES:
                logger.warning("%s: %d more lines within a second", self._name, self._logged - LOGGED_LINES)
            self._second, self._logged = int(self._time()), 0
        self._logged += 1
        if self._logged <= LOGGED_LINES:
            logger.info("%s: %s", self._name, text)


class ServiceProcess(asyncio.SubprocessProtocol):
    """Tells `began` its pid, and `ended` exactly once: why, and whether that is a failure."""

    def __init__(
        self,
        definition: ServiceDefinition,
        environ: Mapping[str, str],
        began: Callable[[str, int], None],
        ended: Callable[[str, str, bool], None],
    ) -> None:
        self._definition = definition
        self._environ = environ
        self._began = began
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._pid = 0
        self._stopping = False
        self._exited = asyncio.Event()
        self._silent = asyncio.Event()
        self._killing: asyncio.TimerHandle | None = None
        self.words = LastWords(definition.object, self._loop.time)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = self._loop.create_task(self._run())

    def stop(self) -> None:
        """May be called again."""
        self._stopping = True
        if self._pid and self._killing is None and not self._exited.is_set():
            self._signal(signal.SIGTERM)
            self._killing = self._loop.call_later(STOP_TIMEOUT, self._kill_late)

    def kill(self) -> None:
        if self._pid and not self._exited.is_set():
            self._signal(_KILL)

    async def _run(self) -> None:
        name, program = self._definition.object, self._definition.exec[0]
        try:
            transport, _ = await self._loop.subprocess_exec(
                lambda: self,
                *self._definition.exec,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,  # Ctrl-C at the broker's terminal is for the broker, which ends its services
            )
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            self._ended(name, f"'{program}' cannot be run ({reason})", True)
            return
        self._pid = transport.get_pid()
        self._began(name, self._pid)
        if self._stopping:
            self.stop()
        await self._exited.wait()
        status = transport.get_returncode()
        if self._killing is not None:
            self._killing.cancel()
        await self._end_of_others()
        transport.close()
        how = _how_it_ended(status if status is not None else 0)
        words = self.words.told()
        self._ended(name, f"{how}; {words}" if words else how, status != 0)

    async def _end_of_others(self) -> None:
        """What a process leaves behind, a worker behind a script, goes with it."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AFTER_END):
                await self._silent.wait()
        self._signal(_KILL)
        self.words.end()

    def _kill_late(self) -> None:
        logger.warning("the service of '%s' does not end: it is killed", self._definition.object)
        self.kill()

    # What the loop tells

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.words.feed(bytes(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._silent.set()

    def process_exited(self) -> None:
        self._exited.set()

    if sys.platform == "win32":

        def _signal(self, number: signal.Signals) -> None:
            import _winapi

            with contextlib.suppress(OSError):
                _winapi.TerminateProcess(_winapi.OpenProcess(1, False, self._pid), 1)

    else:

        def _signal(self, number: signal.Signals) -> None:
            """To all in its session."""
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, number)


if sys.platform == "win32":
    _KILL = signal.SIGTERM
else:
    _KILL = signal.SIGKILL


def _how_it_ended(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with exit status {status}"


def _printable(text: str) -> str:
    """What steers a terminal is shown, not obeyed."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
