"""A broker for tests of blocking programs, of processes, and of what really goes over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

from ..address import parse_address
from ..aio.broker import Broker
from ..aio.worker import Mode, Worker
from ..config import BrokerConfig, Limits
from ..errors import ConfigError, IPCError
from .stopping import end_at_once

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds for what takes milliseconds, until it counts as hanging."""

_numbers = itertools.count(1)


class BackgroundBroker:
    """A broker in a thread with an event loop of its own, on a socket that nobody else knows; its methods block.

        with BackgroundBroker() as broker:
            broker.serve("math", Calculator())
            with connect(broker.address) as client: ...

    On Windows it is a named pipe. Programs in other processes can connect too.
    """

    def __init__(self, *, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._folder = ""
        self.address = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: Future[None] = Future()
        self._broker: Broker | None = None

    def __repr__(self) -> str:
        state = "closed" if self._loop is None else "stopped" if self._broker is None else "running"
        return f"<BackgroundBroker {self.address} {state}>"

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise IPCError("this broker runs already; the fixture `ipc_broker` needs no `with`")
        self._folder, self.address = _own_place()
        self._ended = Future()
        begun: Future[None] = Future()
        # A daemon: should it hang, the process can end all the same.
        self._thread = threading.Thread(target=self._run, args=(begun,), name="ipc_broker of a test", daemon=True)
        self._thread.start()
        try:
            begun.result(PATIENCE)
        except BaseException:
            self._thread.join(PATIENCE)
            self._remove_place()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Raises IPCError when the broker's loop has died before."""
        thread, loop = self._thread, self._loop
        assert thread is not None
        if loop is not None and not self._ended.done():
            with contextlib.suppress(RuntimeError):  # it dies in this very moment, as is said below
                loop.call_soon_threadsafe(self._closing.set)
        thread.join(PATIENCE)
        self._remove_place()
        if thread.is_alive():
            raise IPCError(f"the broker's thread did not end within {PATIENCE:g} s: {_BLOCKED}")
        self._loop = None
        self._require_alive()

    # The broker and its workers

    def serve(self, name: str, target: object, *, mode: Mode = "exclusive", concurrency: int | None = None) -> None:
        """Serves an object by a worker of its own, which bears its name; returns when it is registered.

        Its `async def` methods run in the broker's thread, and must not block it. Raises NameTaken.
        """
        self._do(self._serve(name, target, mode, concurrency))

    def kill(self, name: str) -> None:
        """The connections that bear the name end without a word, as when their process is killed. They may come back at once."""
        self._do(self._kill(name))

    def stop(self) -> None:
        """The broker is gone without a word, as when its process is killed. Its workers wait for the next one."""
        self._do(self._stop())

    def start(self) -> None:
        """Another broker at the same address, which knows nothing of the one before it."""
        self._do(self._start())

    def restart(self) -> None:
        """Gone and back: all connections are lost, and clients and workers come back by themselves."""
        self.stop()
        self.start()

    # Its thread

    def _run(self, begun: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._live(begun))
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _live(self, begun: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        await self._start()
        begun.set_result(None)
        async with AsyncExitStack() as self._workers:
            try:
                await self._closing.wait()
            finally:  # the broker first, so that the methods that still run are cancelled
                await self._stop()

    async def _serve(self, name: str, target: object, mode: Mode, concurrency: int | None) -> None:
        self._running()
        worker = Worker(self.address, name=name)
        worker.add(name, target, mode=mode, concurrency=concurrency)
        await self._workers.enter_async_context(worker)

    async def _kill(self, name: str) -> None:
        peers = self._running().router.peers
        named = [peer for peer in peers if name and peer.name == name]
        if not named:
            known = ", ".join(sorted({repr(peer.name) for peer in peers if peer.name})) or "none with a name"
            raise ValueError(
                f"nobody called {name!r} is connected; there is {known}; give one a name by connect(name=...) or"
                " Worker(name=...)"
            )
        for peer in named:
            peer.shell.abort()

    async def _start(self) -> None:
        if self._broker is not None:
            raise IPCError("this broker runs already; stop() it first, or restart()")
        broker = Broker(BrokerConfig(listen=(self.address,), grace=0, limits=self._limits))
        await broker.start()
        self._broker = broker

    async def _stop(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            await end_at_once(broker)

    def _running(self) -> Broker:
        if self._broker is None:
            raise IPCError("this broker is stopped; start() it first")
        return self._broker

    # From the test's thread

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None or self._ended.done():
            coroutine.close()
            self._require_alive()
            raise IPCError(
                "this broker does not run: `with BackgroundBroker() as broker:`, or the fixture `ipc_broker`"
            )
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise IPCError("a method that the broker's thread runs cannot wait for that thread; use the test's own")
        result = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return result.result(PATIENCE)
        except TimeoutError:
            if result.done():
                raise
            result.cancel()
            self._require_alive()
            raise IPCError(f"the broker's thread did not answer within {PATIENCE:g} s: {_BLOCKED}") from None

    def _require_alive(self) -> None:
        if self._ended.done() and (error := self._ended.exception()) is not None:
            raise IPCError(f"the broker of this test died: its event loop ended with {error!r}") from error

    def _remove_place(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder)


_BLOCKED = "an `async def` or `@inline` method blocks it; make that a plain `def`, which runs in a thread of its own"


def _own_place() -> tuple[str, str]:
    """A folder to be removed afterwards, "" for none, and an address there."""
    if sys.platform == "win32":
        return "", f"pipe://ipc_broker-{os.getpid()}-{next(_numbers)}"
    folder = tempfile.mkdtemp(prefix="ipc-")
    try:
        parse_address(f"unix://{folder}/bus.sock")
    except ConfigError:  # the path of a socket must be short, and TMPDIR need not be
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="ipc-", dir="/tmp")
    return folder, f"unix://{folder}/bus.sock"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that a broker has in a process of its own."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
