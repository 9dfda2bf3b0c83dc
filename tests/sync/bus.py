"""A broker with a worker, on the event loop of another thread, for tests of the blocking client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, Generic, Self, TypeVar

from ipc_broker import Broker, Event, Worker, current_call, inline
from ipc_broker.sync import Subscription, connect
from tests.seed.broker import SeedBroker

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds until something that should happen at once counts as missing."""


class Echo:
    @inline
    def back(self, value: Any = None) -> Any:
        return value

    @inline
    def sequence(self, *values: Any) -> list[Any]:
        return list(values)

    @inline
    def named(self, **values: Any) -> dict[str, Any]:
        return values

    @inline
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @inline
    def text(self, size: int) -> str:
        return "x" * size


class Math:
    @inline
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}


class Tape:
    """Streams. The test sees how far the last one got."""

    def __init__(self) -> None:
        self._yielded = 0
        self._closed = threading.Event()

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    def count_in_thread(self, stop: int) -> Iterator[int]:
        yield from range(stop)

    async def fail(self, stop: int, text: str) -> AsyncIterator[int]:
        for number in range(stop):
            yield number
        raise ValueError(text)

    async def run(self, size: int = 0, pause: float = 0.0) -> AsyncIterator[list[Any]]:
        """Without end: the number of each item, and text of this size."""
        self._yielded = 0
        self._closed.clear()
        try:
            while True:
                self._yielded += 1
                yield [self._yielded, "x" * size]
                await asyncio.sleep(pause)
        finally:
            self._closed.set()

    async def headers(self) -> AsyncIterator[dict[str, str]]:
        yield dict(current_call().headers)


class Relay:
    """Calls on, with a blocking client."""

    def __init__(self, address: str) -> None:
        self._address = address

    def told(self) -> dict[str, Any]:
        """What the call says besides its arguments."""
        call = current_call()
        left = None if call.deadline is None else call.deadline - time.monotonic()
        return {"headers": dict(call.headers), "seconds": left}

    def relay(self, timeout: float | None = 30.0, headers: dict[str, str] | None = None) -> Any:
        with connect(self._address) as client:
            return client.call("relay", "told", timeout=timeout, headers=headers)

    def relay_stream(self) -> list[Any]:
        with connect(self._address) as client:
            return list(client.stream("tape", "headers"))

    def stream_without_end(self) -> None:
        with connect(self._address) as client:
            for _ in client.stream("tape", "run", {"pause": 0.001}):
                pass


class Gate:
    """Each `wait` ends when the test opens it, by its name."""

    def __init__(self) -> None:
        self._opened: dict[str, asyncio.Event] = {}
        self._entered: dict[str, threading.Event] = {}
        self._cancelled: dict[str, threading.Event] = {}
        self._closing = False

    async def wait(self, name: str) -> str:
        self._entered.setdefault(name, threading.Event()).set()
        if not self._closing:
            try:
                await self._opened.setdefault(name, asyncio.Event()).wait()
            except asyncio.CancelledError:
                self._cancelled.setdefault(name, threading.Event()).set()
                raise
        return name

    def _open(self, name: str) -> None:
        self._opened.setdefault(name, asyncio.Event()).set()

    def _open_all(self) -> None:
        self._closing = True
        for opened in self._opened.values():
            opened.set()


class Bus:
    """Runs while its `with` block does. The worker serves `echo`, `math`, `gate`, `tape` and `relay`."""

    def __init__(self, make_broker: Callable[[str], Broker | SeedBroker], address: str) -> None:
        self.address = address
        self._make_broker = make_broker
        self._gate = Gate()
        self._tape = Tape()
        self._serving = threading.Event()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="bus")

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._serving.wait(0.05):
            if self._ended.done():
                self._ended.result()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._ended.result()

    def entered(self, name: str) -> None:
        """Returns when the worker has got the call of `gate.wait(name)`."""
        assert self._gate._entered.setdefault(name, threading.Event()).wait(PATIENCE), f"no call of gate.wait({name!r})"

    def cancelled(self, name: str) -> None:
        """Returns when the call of `gate.wait(name)` was cancelled in the worker."""
        assert self._gate._cancelled.setdefault(name, threading.Event()).wait(PATIENCE), f"{name!r} was not cancelled"

    def open(self, name: str) -> None:
        """Lets the worker answer `gate.wait(name)`."""
        self._loop.call_soon_threadsafe(self._gate._open, name)

    @property
    def yielded(self) -> int:
        """Items that `tape.run` has made."""
        return self._tape._yielded

    def stream_closed(self) -> None:
        """Returns when `tape.run` has ended."""
        assert self._tape._closed.wait(PATIENCE), "the stream goes on"

    def publish(self, object_name: str, topic: str, *values: Any) -> None:
        """Returns when the broker has routed them."""

        async def publish() -> None:
            for value in values:
                await self._worker.client.publish(object_name, topic, value)
            await self._worker.client.drain()

        self.do(publish())

    def add(self, name: str, target: object) -> None:
        """Makes the worker serve another object; says nothing of when the broker knows."""

        async def add() -> None:
            self._worker.add(name, target)

        self.do(add())

    def stop_broker(self) -> None:
        """Its connections are closed when this returns."""
        self.do(self._brokers.aclose())

    def start_broker(self) -> None:
        """Another one, at the same address."""
        self.do(self._start_broker())

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with AsyncExitStack() as self._brokers:
            await self._start_broker()
            self._worker = Worker(self.address)
            self._worker.add("echo", Echo())
            self._worker.add("math", Math())
            self._worker.add("gate", self._gate)
            self._worker.add("tape", self._tape)
            self._worker.add("relay", Relay(self.address))
            async with self._worker:
                self._serving.set()
                await self._stopping.wait()
                self._gate._open_all()

    async def _start_broker(self) -> None:
        broker = self._make_broker(self.address)
        self.is_seed = isinstance(broker, SeedBroker)
        if isinstance(broker, SeedBroker):
            self.address = (await self._brokers.enter_async_context(broker)).address
        else:
            self.address = (await self._brokers.enter_async_context(broker)).addresses[0]


def take(events: Subscription, count: int) -> list[Any]:
    """The values of the next events."""
    values = []
    for _ in range(count):
        event = events.get(PATIENCE)
        assert isinstance(event, Event), event
        values.append(event.value)
    return values


class InThread(Generic[T]):
    """A function that runs in a thread of its own. A test that fails does not wait for it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        self.thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self.thread.start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            result = function()
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    @property
    def done(self) -> bool:
        return self._future.done()

    def result(self, timeout: float = PATIENCE) -> T:
        """What the function returned or raised. Fails when it hangs."""
        try:
            self._future.exception(timeout)
        except TimeoutError:
            raise AssertionError(f"the thread still waits after {timeout:g} s") from None
        return self._future.result()

    def error(self, timeout: float = PATIENCE) -> BaseException:
        """What the function raised."""
        try:
            result = self.result(timeout)
        except AssertionError:
            raise
        except BaseException as error:
            return error
        raise AssertionError(f"the thread should have raised, but returned {result!r}")
