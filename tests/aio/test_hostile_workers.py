"""Workers that do not answer as they should, on real sockets: each call of theirs ends, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from ipc_broker import Worker, connect
from ipc_broker.aio.client import Client
from ipc_broker.errors import CallError
from tests.aio.bus import RawPeer, broker_at, serving, until
from tests.aio.objects import Calculator
from tests.messages import call, register, result
from tests.seed.frames import frame, frame_of

Answer = Callable[[RawPeer, str], Awaitable[None]]


async def send_garbage(worker: RawPeer, call_id: str) -> None:
    worker.writer.write(frame_of(b"\xff\xfe\xfd"))


async def send_broken_value(worker: RawPeer, call_id: str) -> None:
    whole = frame(result(call_id, "bad", [1]))
    worker.writer.write(whole.replace(b"[1]", b"[1,"))


async def send_too_much(worker: RawPeer, call_id: str) -> None:
    worker.writer.write(b"\xff\xff\xff\xff")


async def answer_another_call(worker: RawPeer, call_id: str) -> None:
    worker.send(result(f"{call_id}0", "bad", "forged"))


async def answer_in_part(worker: RawPeer, call_id: str) -> None:
    worker.writer.write(b"\0\0\0\xff" + b'{"Result":')


async def half_close(worker: RawPeer, call_id: str) -> None:
    if not worker.writer.can_write_eof():
        pytest.skip("this transport cannot be half closed")
    worker.writer.write_eof()


async def break_off(worker: RawPeer, call_id: str) -> None:
    worker.writer.transport.abort()


async def unregister(worker: RawPeer, call_id: str) -> None:
    worker.send(call("1.u", "rob", "unregister", {"object_name": "bad"}))


ANSWERS: dict[Answer, tuple[str, str]] = {
    send_garbage: ("worker_lost", "maybe"),
    send_broken_value: ("worker_lost", "maybe"),
    send_too_much: ("worker_lost", "maybe"),
    answer_another_call: ("deadline_exceeded", "maybe"),
    answer_in_part: ("deadline_exceeded", "maybe"),
    half_close: ("worker_lost", "maybe"),
    break_off: ("worker_lost", "maybe"),
    unregister: ("worker_lost", "maybe"),
}


async def hello(worker: RawPeer) -> None:
    features = {"features": ["multiplex", "cancel"], "name": "hostile"}
    assert "Result" in await worker.ask(call("h", "rob", "hello", cast(Any, features)))


async def failure_of(calling: Awaitable[object]) -> CallError:
    with pytest.raises(CallError) as caught:
        await calling
    return caught.value


async def no_call_is_left(client: Client) -> None:
    stats = await client.call("rob", "stats")
    assert (stats["calls_in_flight"], stats["calls_waiting"]) == (0, 0)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
async def test_a_call_ends_whatever_its_worker_answers(address: str, answer: Answer) -> None:
    """The calls of another worker go on, also those of another object of the hostile one's callers."""
    timeout = 0.2 if "deadline" in ANSWERS[answer][0] else None
    async with broker_at(address) as broker, serving(broker.addresses[0], math=Calculator()):
        where = broker.addresses[0]
        async with RawPeer.at(where) as worker, connect(where) as client:
            await hello(worker)
            await worker.ask(register("bad"))
            calling = asyncio.ensure_future(failure_of(client.call("bad", "do", timeout=timeout)))
            given = (await worker.read())["Call"]["call_id"]
            await answer(worker, str(given))
            for number in range(100):
                assert await client.call("math", "add", [number, 1]) == {"sum": number + 1}
            failed = await calling
            assert (failed.code, failed.delivered) == ANSWERS[answer]
            assert (failed.object, failed.method) == ("bad", "do")
            await no_call_is_left(client)


async def test_a_worker_that_answers_somebody_elses_calls_ends_none_of_them(address: str) -> None:
    async with (
        broker_at(address) as broker,
        RawPeer.at(broker.addresses[0]) as worker,
        RawPeer.at(broker.addresses[0]) as forger,
        connect(broker.addresses[0]) as client,
    ):
        await hello(worker)
        await hello(forger)
        await worker.ask(register("good"))
        calling = asyncio.ensure_future(client.call("good", "do", timeout=None))
        given = str((await worker.read())["Call"]["call_id"])
        for _ in range(1000):
            forger.send(result(given, "good", "forged"))
        await until(lambda: broker.router.totals.late_answers == 1000)
        assert not calling.done()
        worker.send(result(given, "good", "real"))
        assert await calling == "real"
        await no_call_is_left(client)


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_worker_that_ends_between_its_registration_and_the_first_call(address: str, end: str) -> None:
    """The call finds nobody, or a worker whose end is not seen yet; in both cases it ends at once."""
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        for _ in range(50):
            async with RawPeer.at(broker.addresses[0]) as worker:
                await hello(worker)
                await worker.ask(register("short"))
                if end == "close":
                    worker.writer.close()
                else:
                    worker.writer.transport.abort()
                failed = await failure_of(client.call("short", "do", timeout=None))
                assert (failed.code, failed.delivered) in {("no_such_object", "no"), ("worker_lost", "maybe")}
        await no_call_is_left(client)


async def test_a_half_closed_caller_of_ours_is_gone_and_its_calls_are_cancelled(address: str) -> None:
    async with (
        broker_at(address) as broker,
        RawPeer.at(broker.addresses[0]) as worker,
        RawPeer.at(broker.addresses[0]) as caller,
    ):
        if not caller.writer.can_write_eof():
            pytest.skip("this transport cannot be half closed")
        await hello(worker)
        await worker.ask(register("math"))
        await hello(caller)
        prefix = f"{max(peer.id for peer in broker.router.peers)}."
        caller.send(call(f"{prefix}1", "math", "add"))
        assert (await worker.read())["Call"]["call_id"] == f"{prefix}1"
        caller.writer.write_eof()
        assert await worker.read() == {"Cancel": {"call_id": f"{prefix}1"}}
        assert await caller.rest() == b""
        worker.send(result(f"{prefix}1", "math", 1))
        await until(lambda: broker.router.totals.late_answers == 1)
        assert broker.router.calls.in_flight == 0


async def test_many_calls_end_when_one_worker_of_several_sends_garbage(address: str) -> None:
    """2,000 in flight at each of two workers: those of the one end with an error each, those of the other with a result."""
    async with (
        broker_at(address) as broker,
        RawPeer.at(broker.addresses[0]) as good,
        RawPeer.at(broker.addresses[0]) as bad,
        connect(broker.addresses[0]) as client,
    ):
        for worker, name in ((good, "good"), (bad, "bad")):
            await hello(worker)
            await worker.ask(register(name))
        calling = {
            name: [asyncio.ensure_future(client.call(name, "do", [number], timeout=None)) for number in range(2000)]
            for name in ("good", "bad")
        }
        given, _ = [[(await worker.read())["Call"] for _ in range(2000)] for worker in (good, bad)]
        await send_garbage(bad, "")
        failed = await asyncio.gather(*map(failure_of, calling["bad"]))
        assert {(one.code, one.delivered) for one in failed} == {("worker_lost", "maybe")}
        for fields in given:
            good.send(result(str(fields["call_id"]), "good", fields["args"]))
        assert await asyncio.gather(*calling["good"]) == [[number] for number in range(2000)]
        await no_call_is_left(client)


async def test_an_object_that_is_removed_while_calls_of_it_run(address: str) -> None:
    """As `unregister` above, by a worker of ours: the calls end, those of its other objects go on."""

    class Slow:
        async def wait(self) -> None:
            await asyncio.Event().wait()

    async with (
        broker_at(address) as broker,
        Worker(broker.addresses[0]) as worker,
        connect(broker.addresses[0]) as client,
    ):
        worker.add("slow", Slow())
        worker.add("math", Calculator())
        await client.wait_for("slow")
        running = [asyncio.ensure_future(failure_of(client.call("slow", "wait", timeout=None))) for _ in range(100)]
        await until(lambda: broker.router.calls.in_flight == 100)
        worker.remove("slow")
        failed = await asyncio.gather(*running)
        assert {(one.code, one.delivered) for one in failed} == {("worker_lost", "maybe")}
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        await no_call_is_left(client)
