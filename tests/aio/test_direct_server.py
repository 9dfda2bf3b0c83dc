"""What a worker takes over direct connections, whoever is at their other ends."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from ipc_broker import Worker, connect, inline
from ipc_broker.aio import direct_server
from ipc_broker.messages import Call, Cancel, Credit, Direct, DirectEnded, Error, Publish, Result
from ipc_broker.protocol.encodings import MSGPACK
from tests.aio.bus import broker_at, serving, until
from tests.aio.direct import RawCaller, callers_of, go_direct, needs_direct, server_of
from tests.aio.objects import Calculator, Echo, Gate, cancelled, entered
from tests.identity.strangers import as_root, line_of, stranger

pytestmark = needs_direct


def call_of(call_id: str, method: str = "back", args: Any = None, object_name: str = "it", **fields: Any) -> Call:
    return Call(call_id, object_name, method, MSGPACK.encode_payload(args), **fields)


def admit(worker: Worker, prefix: str, object_name: str = "it", pid: int | None = None) -> None:
    """What the broker says of a caller."""
    server = server_of(worker)
    server.admit(Direct(object_name, server.address, prefix, os.getpid() if pid is None else pid))


async def let_in(worker: Worker, caller: RawCaller, prefix: str = "77.") -> None:
    caller.greet(prefix)
    [welcome] = await caller.read()
    assert welcome == Direct("it", "", memory=True)
    admit(worker, prefix)


async def test_calls_wait_until_the_broker_has_named_the_caller(address: str) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker, RawCaller.of(worker) as caller:
        caller.greet("77.")
        caller.send(call_of("77.1", "wait"), call_of("77.2", "wait"))
        assert await caller.read() == [Direct("it", "", memory=True)]
        await asyncio.sleep(0)
        assert not gate._entered
        admit(worker, "77.")
        await entered(gate, 2)


async def test_whoever_is_named_and_is_not_there_is_forgotten(address: str) -> None:
    async with broker_at(address), serving(address, it=Echo()) as worker:
        for number in range(5):
            admit(worker, f"{number}.")
        assert not server_of(worker)._waiting


async def test_another_process_than_the_broker_has_named_is_not_let_in(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker, RawCaller.of(worker) as caller:
        caller.greet("77.")
        caller.send(call_of("77.1", "wait"))
        await caller.read()
        admit(worker, "77.", pid=os.getpid() + 1)
        assert await caller.ended() == []
        assert not gate._entered
        assert f"it is process {os.getpid()}, and the broker named {os.getpid() + 1}" in caplog.text


@as_root
async def test_another_user_is_not_heard(address: str) -> None:
    program = (
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1]); print('connected', flush=True); "
        "print(s.recv(100) or 'closed', flush=True)"
    )
    loop = asyncio.get_running_loop()
    async with broker_at(address), serving(address, it=Echo()) as worker:
        with stranger(program, server_of(worker).address) as process:
            assert await loop.run_in_executor(None, line_of, process) == "connected"
            assert await loop.run_in_executor(None, line_of, process) == "closed"
        assert callers_of(worker) == 0
        await loop.shutdown_default_executor()


async def test_the_place_of_another_caller_cannot_be_taken(address: str) -> None:
    gate = Gate()
    async with (
        broker_at(address),
        serving(address, it=gate) as worker,
        RawCaller.of(worker) as first,
        RawCaller.of(worker) as second,
    ):
        first.greet("77.")
        await first.read()
        second.greet("77.")
        assert await second.ended() == []
        admit(worker, "77.")
        first.send(call_of("77.1", "wait"))
        await entered(gate)


@pytest.mark.parametrize(
    "said",
    [
        call_of("77.1"),
        Direct("it", "", ""),
        DirectEnded(),
        b"\0\0\0\1\xc1",
        b"\0\0\0\0",
    ],
    ids=["call", "nobody", "another", "garbage", "nothing"],
)
async def test_whoever_does_not_say_first_who_it_is_has_to_go(address: str, said: Any) -> None:
    async with broker_at(address), serving(address, it=Echo()) as worker, RawCaller.of(worker) as caller:
        if isinstance(said, bytes):
            caller.writer.write(said)
        else:
            caller.send(said)
        assert await caller.ended() == []
        await until(lambda: callers_of(worker) == 0)


@pytest.mark.parametrize(
    "said",
    [
        call_of("78.1"),
        Cancel("78.1"),
        Credit("77.1", 100),
        Publish("it", "topic", MSGPACK.null),
        Result("77.1", "it", MSGPACK.null),
        Direct("it", "", "78."),
    ],
    ids=lambda said: type(said).__name__,
)
async def test_what_has_no_place_there_ends_the_connection_and_its_calls(address: str, said: Any) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        caller.send(call_of("77.1", "wait"))
        await entered(gate)
        caller.send(said)
        assert await caller.ended() == []
        await cancelled(gate)
        assert not worker._executor._running


@pytest.mark.parametrize("garbage", [b"\0\0\0\3\xff\xfe\xfd", b"\xff\xff\xff\xff"])
async def test_garbage_ends_the_connection_and_nobody_else_notices(address: str, garbage: bytes) -> None:
    async with (
        broker_at(address),
        serving(address, it=Echo()) as worker,
        connect(address) as client,
        RawCaller.of(worker) as caller,
    ):
        await go_direct(client, "it", "back")
        await let_in(worker, caller)
        caller.writer.write(garbage)
        assert await caller.ended() == []
        assert await client.call("it", "back", 1) == 1
        await until(lambda: callers_of(worker) == 1)


async def test_a_call_of_another_object_goes_back(address: str) -> None:
    async with broker_at(address), serving(address, it=Echo(), other=Echo()) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        caller.send(call_of("77.1", object_name="other"))
        [error] = await caller.read()
        assert isinstance(error, Error)
        assert (error.call_id, error.code) == ("77.1", "indirect")


async def test_whoever_is_not_named_in_time_gets_its_calls_back_and_has_to_go(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(direct_server, "NAMED_WITHIN", 0.0)
    monkeypatch.setattr(direct_server, "REPORT_EVERY", 0.01)
    async with (
        broker_at(address),
        serving(address, it=gate) as worker,
        RawCaller.of(worker) as silent,
        RawCaller.of(worker) as caller,
    ):
        caller.greet("77.")
        caller.send(call_of("77.1", "wait"))
        [welcome, told, back] = await caller.ended()
        assert (welcome, told) == (Direct("it", "", memory=True), DirectEnded(server_of(worker).address))
        assert isinstance(back, Error)
        assert (back.call_id, back.code) == ("77.1", "indirect")
        assert await silent.ended() == [DirectEnded(server_of(worker).address)]
        await until(lambda: callers_of(worker) == 0)
        admit(worker, "77.")
        assert not gate._entered


async def test_a_worker_ends_calls_whose_time_is_over_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their caller is frozen, say, and cannot cancel them."""
    monkeypatch.setattr(direct_server, "REPORT_EVERY", 0.01)

    class Stubborn:
        def __init__(self) -> None:
            self.cancelled = 0
            self.turns = 0
            self.ends = asyncio.Event()

        async def work(self) -> int:
            while not self.ends.is_set():
                try:
                    await self.ends.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
            return self.cancelled

    it = Stubborn()
    async with broker_at(address), serving(address, it=it) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        server = server_of(worker)
        reports = 0

        def counted(now: float) -> None:
            nonlocal reports
            reports += 1
            end_overdue(now)

        end_overdue = server.executor.end_overdue
        monkeypatch.setattr(server.executor, "end_overdue", counted)
        caller.send(call_of("77.1", "work", timeout_ms=1))
        await until(lambda: it.cancelled)
        seen = reports
        await until(lambda: reports > seen + 5)
        it.ends.set()
        [result] = await caller.read()
        assert isinstance(result, Result)
        assert MSGPACK.decode_any(result.value) == 1


async def test_a_call_whose_time_is_over_says_so_whoever_counts_first(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller counts in steps: the worker's word may be there before."""
    monkeypatch.setattr(direct_server, "REPORT_EVERY", 0.01)
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        caller.send(call_of("77.1", "wait", timeout_ms=1), call_of("77.2", "wait", timeout_ms=3_600_000))
        [error] = await caller.read()
        assert isinstance(error, Error)
        assert (error.call_id, error.code) == ("77.1", "deadline_exceeded")
        assert error.message == "'it' did not answer 'wait' within 0.001 s"
        caller.send(Cancel("77.2"))
        [error] = await caller.read()
        assert isinstance(error, Error)
        assert (error.call_id, error.code) == ("77.2", "cancelled")


async def test_a_caller_that_reads_nothing_is_not_read_from_for_long(address: str) -> None:
    class Large:
        def __init__(self) -> None:
            self.made = 0

        @inline
        def make(self) -> bytes:
            self.made += 1
            return b"x" * 50_000

    it = Large()
    count = 2000
    async with broker_at(address), serving(address, it=it) as worker, RawCaller.of(worker) as caller:
        await let_in(worker, caller)
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's streams do that by themselves
        caller.send(*(call_of(f"77.{number}", "make", headers={"long": "x" * 5000}) for number in range(count)))
        [server_side] = server_of(worker)._callers
        await until(lambda: server_side.connection.queued > direct_server.MOST_UNREAD)
        await until(lambda: not server_side.transport.is_reading())
        made = it.made
        assert made < count
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.made == made
        caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
        results = await caller.read(count)
        assert [result.call_id for result in results] == [f"77.{number}" for number in range(count)]


async def test_a_caller_that_has_gone_cancels_its_calls(address: str) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker:
        async with RawCaller.of(worker) as caller:
            await let_in(worker, caller)
            caller.send(call_of("77.1", "wait"), call_of("77.2", "wait"))
            await entered(gate, 2)
            caller.send(Cancel("77.1"))
            [error] = await caller.read()
            assert isinstance(error, Error)
            assert (error.call_id, error.code) == ("77.1", "cancelled")
        await cancelled(gate, 2)
        async with RawCaller.of(worker) as caller:
            await let_in(worker, caller)
            caller.send(call_of("77.3", "wait"))
            await entered(gate, 3)
            server_of(worker).caller_gone("77.")
            assert await caller.ended() == []
            await cancelled(gate, 3)


async def test_a_caller_that_is_busy_elsewhere_when_the_worker_stops_knows_what_it_could_not_send(address: str) -> None:
    """As a blocking client between two calls: it reads nothing, and its next call must not be lost."""
    async with broker_at(address):
        worker = Worker(address)
        worker.add("it", Echo())
        await worker.__aenter__()
        async with RawCaller.of(worker) as caller:
            await let_in(worker, caller)
            caller.send(call_of("77.1", "back", 1))
            await caller.read()
            caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
            server = server_of(worker)
            server.send_back()
            [server_side] = server._callers
            caller.send(call_of("77.2", "back", 2))
            server_side.take_no_more()
            connected = caller.writer.get_extra_info("socket")
            with pytest.raises(BrokenPipeError):
                os.write(connected.fileno(), b"x")
            await server_side.gone
            caller.reader._transport.resume_reading()  # type: ignore[attr-defined]
            [told, back] = await caller.ended()
            assert told == DirectEnded(server.address)
            assert isinstance(back, Error)
            assert (back.call_id, back.code) == ("77.2", "indirect")
        await worker.__aexit__(None, None, None)


async def test_over_two_connections_calls_are_told_apart(address: str) -> None:
    async with (
        broker_at(address),
        serving(address, it=Calculator()) as worker,
        RawCaller.of(worker) as first,
        RawCaller.of(worker) as second,
    ):
        await let_in(worker, first, "7.")
        await let_in(worker, second, "77.")
        for number in range(20):
            first.send(call_of(f"7.{number}", "add", [number, 1]))
            second.send(call_of(f"77.{number}", "mul", [number, 2]))
        for caller, prefix, expected in (
            (first, "7.", [{"sum": number + 1} for number in range(20)]),
            (second, "77.", [{"product": number * 2} for number in range(20)]),
        ):
            results = {result.call_id: MSGPACK.decode_any(result.value) for result in await caller.read(20)}
            assert results == {f"{prefix}{number}": value for number, value in enumerate(expected)}


async def test_when_it_cannot_listen_all_calls_come_through_the_broker(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(where: str) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(direct_server, "listen_for_callers", refuse)
    async with broker_at(address) as broker, serving(address, it=Echo()), connect(address) as client:
        for number in range(60):
            assert await client.call("it", "back", number) == number
        [peer] = [peer for peer in broker.router.peers if "it" in peer.registrations]
        assert not peer.direct_address
