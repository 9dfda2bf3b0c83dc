"""What a method knows of the call that it answers, and what the calls that it makes inherit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ipc_broker import CallContextFilter, Event, SharedObject, Worker, connect, current_call, inline
from ipc_broker import sync as blocking
from ipc_broker.aio.client import Client
from ipc_broker.errors import CallCancelled, DeadlineExceeded, InvalidArgs, RemoteError, TooLarge
from tests.aio.bus import RawPeer, broker_at, bus, serving, until
from tests.messages import call, result

LONG = 5000.0
"""Seconds that the inner calls ask for: what is left of the outer call's 100 is much less."""


def _seen() -> dict[str, Any]:
    running = current_call()
    left = None if running.deadline is None else running.deadline - time.monotonic()
    return {"headers": dict(running.headers), "left": left}


class Target:
    """Tells what it sees, in each of the ways in which methods run."""

    async def on_loop(self) -> dict[str, Any]:
        return _seen()

    def in_thread(self) -> dict[str, Any]:
        return _seen()

    @inline
    def at_once(self) -> dict[str, Any]:
        return _seen()

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        yield _seen()
        yield _seen()

    def stream_in_thread(self) -> Any:
        yield _seen()


class Dynamic(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        return _seen()


class Relay:
    """Each method calls the target, and gives what that saw."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._worker: Worker | None = None
        self._other: Client | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def _client(self) -> Client:
        assert self._worker is not None
        return self._worker.client

    async def by_the_workers_client(self, headers: dict[str, str] | None = None) -> Any:
        return await self._client.call("target", "on_loop", timeout=LONG, headers=headers)

    async def by_another_client(self, headers: dict[str, str] | None = None) -> Any:
        assert self._other is not None
        return await self._other.call("target", "in_thread", timeout=None, headers=headers)

    async def by_a_stream(self, headers: dict[str, str] | None = None) -> Any:
        return await anext(self._client.stream("target", "stream", headers=headers))

    async def by_a_task(self, headers: dict[str, str] | None = None) -> Any:
        return await asyncio.create_task(self.by_the_workers_client(headers))

    async def by_a_thread_of_its_own(self, headers: dict[str, str] | None = None) -> Any:
        return await asyncio.to_thread(self.by_a_blocking_client, headers)

    def by_a_blocking_client(self, headers: dict[str, str] | None = None) -> Any:
        with blocking.connect(self._address) as client:
            return client.call("target", "at_once", timeout=LONG, headers=headers)

    def by_a_blocking_stream(self, headers: dict[str, str] | None = None) -> Any:
        with blocking.connect(self._address) as client:
            return next(client.stream("target", "stream_in_thread", timeout=LONG, headers=headers))

    def from_a_thread(self, headers: dict[str, str] | None = None) -> Any:
        calling = self._client.call("target", "on_loop", timeout=LONG, headers=headers)
        return asyncio.run_coroutine_threadsafe(calling, self._loop).result(20)

    @inline
    def at_once(self, headers: dict[str, str] | None = None) -> None:
        self._tasks.append(asyncio.create_task(self.by_the_workers_client(headers)))


@asynccontextmanager
async def relayed(address: str) -> AsyncIterator[tuple[Client, Relay]]:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        relay = Relay(where)
        async with (
            serving(where, target=Target(), dynamic=Dynamic()),
            serving(where, relay=relay) as relay._worker,
            connect(where) as relay._other,
            connect(where) as client,
        ):
            yield client, relay


# What the method sees


@pytest.mark.parametrize(
    ("name", "method"),
    [("target", "on_loop"), ("target", "in_thread"), ("target", "at_once"), ("dynamic", "any")],
)
async def test_headers_and_deadline_are_seen_wherever_a_method_runs(name: str, method: str, any_address: str) -> None:
    async with bus(any_address, target=Target(), dynamic=Dynamic()) as client:
        seen = await client.call(name, method, timeout=100, headers={"tenant": "a", "\u20ac": ""})
        assert seen["headers"] == {"tenant": "a", "\u20ac": ""}
        assert 0 < seen["left"] <= 100
        assert await client.call(name, method, timeout=None) == {"headers": {}, "left": None}


@pytest.mark.parametrize("method", ["stream", "stream_in_thread"])
async def test_streams_have_headers_and_a_deadline_too(method: str, address: str) -> None:
    async with bus(address, target=Target()) as client:
        async for seen in client.stream("target", method, timeout=100, headers={"tenant": "a"}):
            assert seen["headers"] == {"tenant": "a"}
            assert 0 < seen["left"] <= 100
        assert await anext(client.stream("target", method)) == {"headers": {}, "left": None}


async def test_a_method_knows_its_caller(any_address: str) -> None:
    class Who:
        async def on_loop(self) -> Any:
            return _who()

        def in_thread(self) -> Any:
            return _who()

        @inline
        def at_once(self) -> Any:
            return _who()

        async def stream(self) -> AsyncIterator[Any]:
            yield _who()

        def stream_in_thread(self) -> Iterator[Any]:
            yield _who()

    def _who() -> Any:
        caller = current_call().caller
        assert caller is not None
        if where.startswith("unix:") and sys.platform == "linux":
            assert caller.uid == os.getuid()
        return [caller.name, caller.pid]

    async with broker_at(any_address) as broker, serving(broker.addresses[0], who=Who()):
        where = broker.addresses[0]
        for name in ("thermostat", ""):
            async with connect(where, name=name) as client:
                for method in ("on_loop", "in_thread", "at_once"):
                    assert await client.call("who", method) == [name, os.getpid()]
                for method in ("stream", "stream_in_thread"):
                    assert await anext(client.stream("who", method)) == [name, os.getpid()]
        async with RawPeer.at(where) as seed:
            pid = os.getpid() if where.startswith("unix:") and sys.platform == "linux" else None
            assert await seed.ask(call("1", "who", "at_once")) == result("1", "who", ["", pid])


async def test_a_call_that_outlived_its_broker_is_not_taken_for_one_of_the_next(address: str) -> None:
    class Who:
        def __init__(self) -> None:
            self.go_on, self.entered, self.told = threading.Event(), threading.Event(), threading.Event()
            self.names: list[str | None] = []

        def late(self) -> None:
            self.entered.set()
            self.go_on.wait(20)
            caller = current_call().caller
            self.names.append(caller.name if caller is not None else None)
            self.told.set()

        @inline
        def name(self) -> str:
            caller = current_call().caller
            return caller.name if caller is not None else "unknown"

    who = Who()
    try:
        async with broker_at(address, grace=0) as broker:
            where = broker.addresses[0]
            worker = Worker(where)
            worker.add("who", who)
            await worker.__aenter__()
            async with connect(where, name="first") as client:
                with pytest.raises(DeadlineExceeded):
                    await client.call("who", "late", timeout=0.05)
                assert await asyncio.to_thread(who.entered.wait, 20)
                [kept] = {peer.id for peer in broker.router.peers if peer.name == "first"}
        await until(lambda: not worker.client.link.session.ready)
        async with broker_at(where) as broker:
            await until(lambda: worker.client.link.session.ready)
            while True:  # until the broker gives the same prefix again
                client = await connect(where, name="second")
                if kept in {peer.id for peer in broker.router.peers if peer.name == "second"}:
                    break
                await client.close()
            assert await client.call("who", "name") == "second"
            who.go_on.set()
            await asyncio.to_thread(who.told.wait, 20)
            assert who.names != ["second"]
            await client.close()
            await worker.__aexit__(None, None, None)
    finally:
        who.go_on.set()


# What log records say of it


class Noted(logging.Handler):
    """Keeps what the records say of the call, and their text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(CallContextFilter())
        self.setFormatter(
            logging.Formatter("%(ipc_object)s.%(ipc_method)s %(ipc_headers)s %(ipc_caller)s: %(message)s")
        )

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def noted() -> Iterator[Noted]:
    handler = Noted()
    logger = logging.getLogger("ipc_broker")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Logging:
    """Writes to the log, in each of the ways in which methods run."""

    def _log(self) -> None:
        logging.getLogger("ipc_broker.tests").warning("running")

    async def on_loop(self) -> None:
        self._log()

    def in_thread(self) -> None:
        self._log()

    @inline
    def at_once(self) -> None:
        self._log()

    async def stream(self) -> AsyncIterator[None]:
        self._log()
        yield None

    def stream_in_thread(self) -> Iterator[None]:
        self._log()
        yield None


@pytest.mark.parametrize("method", ["on_loop", "in_thread", "at_once", "stream", "stream_in_thread"])
async def test_records_tell_of_the_call_wherever_a_method_runs(method: str, noted: Noted, address: str) -> None:
    async with (
        broker_at(address) as broker,
        serving(broker.addresses[0], noisy=Logging()),
        connect(broker.addresses[0], name="thermostat") as client,
    ):
        if method.startswith("stream"):
            await anext(client.stream("noisy", method, headers={"tenant": "a"}))
        else:
            await client.call("noisy", method, headers={"tenant": "a"})
    who = f"'thermostat' (process {os.getpid()})"
    assert [line for line in noted.lines if line.endswith("running")] == [
        f"noisy.{method} {{'tenant': 'a'}} {who}: running"
    ]


@pytest.mark.parametrize("method", ["on_loop", "in_thread", "at_once"])
async def test_what_a_method_raised_is_logged_with_its_call(method: str, noted: Noted, address: str) -> None:
    class Failing:
        async def on_loop(self) -> None:
            raise ValueError("no")

        def in_thread(self) -> None:
            raise ValueError("no")

        @inline
        def at_once(self) -> None:
            raise ValueError("no")

    async with bus(address, failing=Failing()) as client:
        with pytest.raises(RemoteError):
            await client.call("failing", method)
    assert [line.partition(" ")[0] for line in noted.lines if "raised" in line] == [f"failing.{method}"]


# What the calls that it makes inherit

WAYS = [
    "by_the_workers_client",
    "by_another_client",
    "by_a_stream",
    "by_a_task",
    "by_a_thread_of_its_own",
    "by_a_blocking_client",
    "by_a_blocking_stream",
    "from_a_thread",
]


@pytest.mark.parametrize("way", WAYS)
async def test_headers_and_deadline_are_inherited(way: str, address: str) -> None:
    async with relayed(address) as (client, _):
        seen = await client.call("relay", way, timeout=100, headers={"tenant": "a", "trace": "1"})
        assert seen["headers"] == {"tenant": "a", "trace": "1"}
        assert 0 < seen["left"] <= 101
        own = {"headers": {"trace": "2", "more": "3"}}
        seen = await client.call("relay", way, own, timeout=100, headers={"tenant": "a", "trace": "1"})
        assert seen["headers"] == {"tenant": "a", "trace": "2", "more": "3"}


async def test_a_task_that_an_inline_method_began_inherits_too(address: str) -> None:
    async with relayed(address) as (client, relay):
        await client.call("relay", "at_once", timeout=100, headers={"tenant": "a"})
        seen = await relay._tasks[0]
        assert seen["headers"] == {"tenant": "a"}
        assert 0 < seen["left"] <= 101


async def test_without_a_deadline_none_is_inherited(address: str) -> None:
    async with relayed(address) as (client, _):
        seen = await client.call("relay", "by_the_workers_client", timeout=None)
        assert LONG - 100 < seen["left"] <= LONG
        assert await client.call("relay", "by_another_client", timeout=None) == {"headers": {}, "left": None}


async def test_a_shorter_timeout_of_its_own_counts(address: str) -> None:
    class Impatient:
        async def ask(self) -> Any:
            return await client.call("target", "on_loop", timeout=50)

    async with bus(address, target=Target(), impatient=Impatient()) as client:
        assert 0 < (await client.call("impatient", "ask", timeout=100))["left"] <= 50


@pytest.mark.parametrize("use", ["call", "stream"])
async def test_when_its_time_is_over_a_method_calls_nobody(use: str, address: str) -> None:
    ended: list[BaseException | None] = []
    done, go_on = threading.Event(), threading.Event()

    class Late:
        def ask(self) -> None:
            go_on.wait(20)
            try:
                with blocking.connect(where) as client:
                    if use == "call":
                        client.call("target", "on_loop", timeout=None)
                    else:
                        next(client.stream("target", "stream"))
                ended.append(None)
            except BaseException as error:
                ended.append(error)
            done.set()

    async with broker_at(address) as broker:
        where = broker.addresses[0]
        async with serving(where, target=Target(), late=Late()), connect(where) as client:
            try:
                with pytest.raises(DeadlineExceeded):
                    await client.call("late", "ask", timeout=0.05)
            finally:
                go_on.set()
            await asyncio.to_thread(done.wait, 20)
    [error] = ended
    assert isinstance(error, DeadlineExceeded)
    assert "was not called: the time of 'late.ask', which calls it, is over" in str(error)
    assert error.delivered == "no"


async def test_a_callback_that_a_method_subscribed_inherits_nothing(address: str) -> None:
    seen: list[dict[str, Any]] = []
    contexts: list[object] = []

    class Listener:
        async def start(self) -> None:
            await worker.client.subscribe("a", "t", callback=self._got)

        async def _got(self, event: Event) -> None:
            try:
                contexts.append(current_call())
            except LookupError:
                contexts.append(None)
            seen.append(await worker.client.call("target", "on_loop", timeout=LONG))

    async with broker_at(address) as broker, serving(broker.addresses[0], target=Target()):
        where = broker.addresses[0]
        async with serving(where, listener=Listener()) as worker, connect(where) as client:
            await client.call("listener", "start", timeout=100, headers={"tenant": "a"})
            await client.publish("a", "t", 1)
            await until(lambda: seen)
            assert contexts == [None]
            assert seen[0]["headers"] == {}
            assert seen[0]["left"] > 100


# Headers that cannot be sent


@pytest.mark.parametrize("headers", [{"a": 1}, {"a": None}, {"a": "\ud800"}, {1: "a"}])
async def test_headers_are_text(headers: Mapping[str, str], address: str) -> None:
    async with bus(address, target=Target()) as client:
        with pytest.raises((InvalidArgs, RemoteError)) as caught:
            await client.call("target", "on_loop", headers=headers)
        assert caught.value.delivered != "yes"
        assert (await client.call("target", "on_loop"))["headers"] == {}


async def test_headers_have_a_limit(address: str) -> None:
    async with bus(address, target=Target()) as client:
        with pytest.raises(TooLarge, match=r"the headers have \d+ characters, over the limit of 8192"):
            await client.call("target", "on_loop", headers={"a": "x" * 10_000})
        assert (await client.call("target", "on_loop", headers={"a": "x" * 8000}))["headers"] == {"a": "x" * 8000}


async def test_what_a_cancelled_inner_call_raised_is_told(address: str) -> None:
    """A method that does not catch what its own call raised answers with that."""

    class Outer:
        async def ask(self) -> Any:
            return await client.call("inner", "give_up")

    class Inner:
        async def give_up(self) -> None:
            raise asyncio.CancelledError

    async with bus(address, outer=Outer(), inner=Inner()) as client:
        with pytest.raises(CallCancelled, match="'inner' cancelled 'give_up'"):
            await client.call("inner", "give_up")
        with pytest.raises(RemoteError, match="'inner' cancelled 'give_up'") as caught:
            await client.call("outer", "ask")
        assert caught.value.type == "CallCancelled"
