"""Calls that come one by one over a direct connection: their results need no turn in its queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipc_broker import inline
from ipc_broker.aio import direct_server
from ipc_broker.messages import Error, Result
from ipc_broker.protocol.encodings import MSGPACK
from tests.aio.bus import broker_at, serving
from tests.aio.direct import RawCaller, needs_direct, server_of
from tests.aio.test_direct_server import call_of, let_in

pytestmark = needs_direct


async def test_a_call_that_comes_alone_ends_as_any_other(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_server, "REPORT_EVERY", 1000.0)  # until then it counts

    class Every:
        async def quick(self, value: int) -> int:
            return value

        async def slow(self, value: int) -> int:
            await asyncio.sleep(0)
            return value

        async def large(self, value: int) -> bytes:
            return b"x" * value

        async def wrong(self, value: int) -> object:
            return object()

        async def fails(self, value: int) -> int:
            raise ValueError(value)

        async def cancels(self, value: int) -> int:
            raise asyncio.CancelledError

        @inline
        def in_line(self, value: int) -> int:
            return value

        def in_thread(self, value: int) -> int:
            return value

    async def outcome(method: str, args: Any) -> Any:
        caller.send(call_of("77.1", method, args))
        [answer] = await caller.read()
        assert answer.call_id == "77.1"
        if isinstance(answer, Error):
            return answer.code
        assert isinstance(answer, Result)
        return MSGPACK.decode_any(answer.value)

    async with broker_at(address), serving(address, it=Every()) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        for method in ("quick", "slow", "in_line", "in_thread"):
            for number in range(3):
                assert await outcome(method, [number]) == number
        assert await outcome("quick", ["text"]) == "invalid_args"
        assert await outcome("large", [1000]) == b"x" * 1000
        [server_side] = server_of(worker)._callers
        assert await outcome("large", [server_side.connection.send_limit]) == "too_large"
        assert await outcome("wrong", [1]) == "remote_error"
        assert await outcome("fails", [1]) == "remote_error"
        assert await outcome("cancels", [1]) == "cancelled"
        assert await outcome("nothing", [1]) == "no_such_method"
        assert await outcome("quick", [7]) == 7
        assert not worker._executor._running
        assert server_of(worker).calls == 20


async def test_a_caller_that_reads_nothing_and_calls_one_by_one_is_not_read_from_for_long(address: str) -> None:
    class Large:
        def __init__(self) -> None:
            self.made = 0

        async def make(self) -> bytes:
            self.made += 1
            return b"x" * 50_000

    it = Large()
    async with broker_at(address), serving(address, it=it) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
        [server_side] = server_of(worker)._callers
        count = 0
        while server_side.transport.is_reading():
            caller.send(call_of(f"77.{count}", "make"))
            count += 1
            for _ in range(5):  # turns of the loop, in which it comes there and is answered
                await asyncio.sleep(0)
        assert direct_server.MOST_UNREAD < server_side.connection.queued < direct_server.MOST_UNREAD + 200_000
        caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
        results = await caller.read(count)
        assert [result.call_id for result in results] == [f"77.{number}" for number in range(count)]
