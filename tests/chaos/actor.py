"""One process of an actor, seen from inside: what it is told, its trace, and the signals it gets.

SIGTERM asks it to end in good order, SIGUSR1 to lose its connection. `python -m tests.chaos.KIND ASSIGNMENT` starts one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
from msgspec import Struct

import ipc_broker
import ipc_broker.sync
from ipc_broker.address import parse_address
from ipc_broker.errors import ConnectFailed
from tests.chaos.plan import Actor
from tests.chaos.traces import Cut, Ready, Stopping, Surprise, Trace, now

RETRY = 0.05
"""Seconds until a broker that is not there is looked for again."""

MOST_DESCRIPTORS = 256
"""Below which a process finds its own sockets."""


class Assignment(Struct, frozen=True):
    """Which process it is: the actor's `incarnation`-th."""

    actor: Actor
    incarnation: int
    seed: int
    address: str
    trace: str

    @property
    def process(self) -> str:
        return f"{self.actor.name}#{self.incarnation}"


class Life:
    """All that one process has. `stopping` says that it was asked to end."""

    def __init__(self, assignment: Assignment) -> None:
        self.actor = assignment.actor
        self.process = assignment.process
        self.address = assignment.address
        self.seed = assignment.seed
        self.rng = Random(f"{assignment.seed} {assignment.process}")
        self.stopping = threading.Event()
        self.on_stop: Callable[[], None] = lambda: None
        signal.signal(signal.SIGTERM, lambda number, frame: self._stop())
        if sys.platform != "win32":
            signal.signal(signal.SIGUSR1, lambda number, frame: self._cut())
        # Last: whoever sees the file may send signals.
        self.trace = Trace(assignment.trace)

    def ready(self) -> None:
        self.trace.write(Ready(at=now()))

    def surprised(self, what: str) -> None:
        self.trace.write(Surprise(at=now(), what=what))

    def wait(self, seconds: float) -> None:
        """For threads. Shorter when the process is asked to end."""
        self.stopping.wait(seconds)

    def run(self, play: Callable[[], None]) -> None:
        """Whatever it raises is a surprise."""
        try:
            play()
        except SystemExit:  # it was asked to end before it had found a broker
            raise
        except BaseException:
            self.surprised(traceback.format_exc())
            raise

    def run_async(self, play: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        """The same on an event loop, of uvloop or not; `play` gets what is set when the process is asked to end."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            stopped = asyncio.Event()
            self.on_stop = lambda: void(loop.call_soon_threadsafe(stopped.set))
            if self.stopping.is_set():
                stopped.set()
            await play(stopped)

        factory: Callable[[], asyncio.AbstractEventLoop] | None = None
        if sys.platform != "win32" and self.rng.random() < 0.5:
            import uvloop

            factory = uvloop.new_event_loop

        def run() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main())

        self.run(run)

    def in_threads(self, *targets: Callable[[], None]) -> None:
        """Returns when all have ended, which they are to do when the process is asked to."""
        threads = [threading.Thread(target=self.run, args=(target,)) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # in pieces: signals are handled by this thread
                thread.join(0.1)

    async def connected(self) -> ipc_broker.Client:
        while True:
            try:
                return await ipc_broker.connect(self.address, name=self.process)
            except ConnectFailed:
                self._end_if_stopped()
                await asyncio.sleep(RETRY)

    def connected_blocking(self) -> ipc_broker.sync.Client:
        while True:
            try:
                return ipc_broker.sync.connect(self.address, name=self.process)
            except ConnectFailed:
                self._end_if_stopped()
                time.sleep(RETRY)

    def _end_if_stopped(self) -> None:
        if self.stopping.is_set():
            raise SystemExit(0)

    def _stop(self) -> None:
        if not self.stopping.is_set():
            self.trace.write(Stopping(at=now()))
            self.stopping.set()
            self.on_stop()

    def _cut(self) -> None:
        shut_down(self.address)
        self.trace.write(Cut(at=now()))


def shut_down(address: str) -> None:
    """Ends the connections of this process to the broker, below whoever uses them."""
    parsed = parse_address(address)
    target = parsed.location if parsed.scheme == "unix" else (parsed.location, parsed.port)
    for descriptor in range(3, MOST_DESCRIPTORS):
        with contextlib.suppress(OSError):  # not open, not connected, or lost already
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as duplicate:
                    if duplicate.getpeername() == target:
                        duplicate.shutdown(socket.SHUT_RDWR)


def void(value: object) -> None:
    """For a callback whose result nobody wants."""


def life_of_this_process() -> Life:
    return Life(msgspec.json.decode(sys.argv[1], type=Assignment))
