"""Calls of asyncio clients that go to their worker without the broker on their way, on real sockets."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from ipc_broker import Broker, BrokerConfig, Limits, Worker, connect, current_call
from ipc_broker.aio.client import Client
from ipc_broker.aio.link import Link
from ipc_broker.errors import (
    CallError,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchObject,
    TooLarge,
    WorkerLost,
)
from ipc_broker.messages import DirectOffer
from ipc_broker.session import direct as session_direct
from ipc_broker.session.direct import ASK_AFTER, MOST_IN_FLIGHT
from tests.aio.bus import broker_at, bus, serving, until
from tests.aio.direct import callers_of, go_direct, needs_direct, path_of, server_of, through_broker
from tests.aio.objects import Echo, Gate, cancelled, entered, let_through
from tests.aio.test_worker_modes import Named, kill, working

pytestmark = needs_direct


async def held_calls(client: Client, gate: Gate, count: int = 1) -> list[asyncio.Task[Any]]:
    """So many calls, each with its number, that went directly and wait at the gate, the worker's object `it`."""
    let_through(gate)
    await go_direct(client, "it", "wait")
    gate._open.clear()
    already = gate._entered
    calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(count)]
    await entered(gate, already + count)
    return calls


async def test_calls_that_go_often_go_directly_and_are_answered_as_before(address: str) -> None:
    async with broker_at(address) as broker, serving(address, it=Echo()), connect(address) as client:
        await go_direct(client, "it", "back", 1)
        before = through_broker(broker)
        for number in range(50):
            assert await client.call("it", "back", number) == number
        assert await asyncio.gather(*(client.call("it", "back", number) for number in range(500))) == list(range(500))
        assert through_broker(broker) == before
        with pytest.raises(CallError, match="has no method 'nothing'"):
            await client.call("it", "nothing")
        with pytest.raises(InvalidArgs):
            await client.call("it", "text", "no number")


async def test_what_a_method_learns_of_its_call_is_the_same(address: str) -> None:
    class Told:
        async def told(self) -> list[Any]:
            call = current_call()
            assert call.caller is not None
            return [call.caller.name, call.caller.pid, dict(call.headers), call.deadline is not None]

    async with broker_at(address), serving(address, it=Told()), connect(address, name="somebody") as client:
        before = await client.call("it", "told", timeout=5, headers={"tenant": "a"})
        await go_direct(client, "it", "told")
        assert before == ["somebody", os.getpid(), {"tenant": "a"}, True]
        assert await client.call("it", "told", timeout=5, headers={"tenant": "a"}) == before
        assert await client.call("it", "told", timeout=None) == ["somebody", os.getpid(), {}, False]


async def test_calls_that_are_in_flight_while_the_way_changes_begin_in_their_order(address: str) -> None:
    order: list[int] = []

    class Ordered:
        async def take(self, number: int) -> None:
            order.append(number)

    async with broker_at(address), serving(address, it=Ordered()), connect(address) as client:
        numbers = iter(range(100_000))
        while path_of(client, "it") is None:
            await asyncio.gather(*(client.call("it", "take", next(numbers)) for _ in range(7)))
        await asyncio.gather(*(client.call("it", "take", next(numbers)) for _ in range(200)))
        assert order == sorted(order)


async def test_more_calls_than_one_connection_takes_go_through_the_broker(address: str) -> None:
    gate = Gate()
    async with (
        broker_at(address) as broker,
        serving(address, it=gate, echo=Echo()) as worker,
        connect(address) as client,
    ):
        let_through(gate)
        await go_direct(client, "it", "wait")
        gate._open.clear()
        before, already = through_broker(broker), gate._entered
        calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(MOST_IN_FLIGHT + 300)]
        await entered(gate, already + len(calls))
        assert through_broker(broker) - before == 300
        let_through(gate)
        assert await asyncio.gather(*calls) == list(range(len(calls)))
        assert not worker._executor._running


async def test_what_is_too_large_is_refused_and_the_connection_stays(address: str) -> None:
    async with (
        broker_at(address, limits=Limits(max_frame=65_536)),
        serving(address, it=Echo()),
        connect(address) as client,
    ):
        path = await go_direct(client, "it", "back", 1)
        with pytest.raises(TooLarge, match=r"the call of 'it.size' takes"):
            await client.call("it", "size", "x" * 70_000)
        with pytest.raises(TooLarge, match=r"the result of 'it.text' takes .* bytes, over the limit of 65536"):
            await client.call("it", "text", 70_000)
        assert await client.call("it", "text", 60_000) == "x" * 60_000
        assert path_of(client, "it") is path


# How calls end


async def test_a_call_that_is_cancelled_or_too_late_cancels_its_method(address: str) -> None:
    gate = Gate()
    let_through(gate)
    async with bus(address, it=gate) as client:
        path = await go_direct(client, "it", "wait")
        gate._open.clear()
        already = gate._entered
        calling = asyncio.ensure_future(client.call("it", "wait"))
        await entered(gate, already + 1)
        calling.cancel()
        await cancelled(gate, 1)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.call("it", "wait", timeout=0.05)
        assert caught.value.delivered == "maybe"
        await cancelled(gate, 2)
        let_through(gate)
        assert await client.call("it", "wait", 3) == 3
        assert path_of(client, "it") is path
        assert not path.in_flight


async def test_calls_of_a_worker_that_is_lost_end_at_once(address: str) -> None:
    gate = Gate()
    async with broker_at(address), connect(address) as client, serving(address, it=gate) as worker:
        calls = await held_calls(client, gate, 3)
        kill(worker)
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(ended, WorkerLost)
            assert ended.delivered == "maybe"
        await cancelled(gate, 3)
        with pytest.raises(NoSuchObject):
            await client.call("it", "wait", timeout=1)


async def test_a_worker_of_which_only_the_broker_knows_that_it_is_gone(address: str) -> None:
    """It is frozen, say: nothing comes from it, and its direct connections stay open."""
    gate = Gate()
    async with broker_at(address) as broker, serving(address, it=gate) as worker, connect(address) as client:
        [calling] = await held_calls(client, gate)
        worker.interrupted = lambda: None  # type: ignore[method-assign]  # it does nothing when it loses the broker
        [peer] = [peer for peer in broker.router.peers if "it" in peer.registrations]
        broker.router.give_up(peer, "nothing has come from it", broker.time())
        broker.flush(broker.time())
        with pytest.raises(WorkerLost):
            await calling
        assert path_of(client, "it") is None
        await until(lambda: not client.link.direct_ends or callers_of(worker) == 0)


async def test_a_broker_that_is_killed_ends_the_calls_that_go_directly_too(address: str) -> None:
    gate = Gate()
    async with broker_at(address) as broker, serving(address, it=gate) as worker, connect(address) as client:
        [calling] = await held_calls(client, gate)
        for connection in list(broker._connections):
            connection.abort()
        with pytest.raises(ConnectionLost) as caught:
            await calling
        assert caught.value.delivered == "maybe"
        await cancelled(gate)
        await until(lambda: callers_of(worker) == 0)
        let_through(gate)
        assert await client.call("it", "wait", 2) == 2, "it goes on over the next connection"
        await go_direct(client, "it", "wait")


async def test_a_broker_that_stops_waits_for_the_calls_that_go_directly(address: str) -> None:
    gate = Gate()
    broker = Broker(BrokerConfig(listen=(address,)))
    await broker.start()
    async with serving(address, it=gate), connect(address) as client:
        calls = await held_calls(client, gate, 3)
        stopping = asyncio.ensure_future(broker.close())
        await until(lambda: not client.link.session.ready)
        assert not stopping.done()
        let_through(gate)
        assert await asyncio.gather(*calls) == [0, 1, 2]
        await stopping
        waiting = asyncio.ensure_future(client.call("it", "wait", "next"))
        async with broker_at(address):
            assert await waiting == "next"


async def test_a_client_that_is_closed_ends_its_calls(address: str) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker:
        client = await connect(address)
        [calling] = await held_calls(client, gate)
        await client.close()
        with pytest.raises((ConnectionLost, ClientClosed)):
            await calling
        await cancelled(gate)
        await until(lambda: callers_of(worker) == 0)
        assert not client.link.direct_ends


async def test_a_connection_that_ends_when_its_last_call_does_is_closed_with_its_client(address: str) -> None:
    """The worker has ended it, and still answers a call: it is none of those that are open, and must not be forgotten."""
    gate = Gate()
    async with broker_at(address), serving(address, it=gate) as worker:
        client = await connect(address)
        [calling] = await held_calls(client, gate)
        server_of(worker).send_back()
        await until(lambda: path_of(client, "it") is None)
        await client.close()
        assert not client.link.direct_ends
        with pytest.raises((ConnectionLost, ClientClosed)):
            await calling


# A worker that stops, and objects that go


async def test_a_worker_that_stops_hands_over_without_a_lost_call(address: str) -> None:
    async with broker_at(address), connect(address) as client:
        first = working(address, Named("first"))
        await first.__aenter__()
        await go_direct(client, "it", "name")
        async with working(address, Named("second"), "standby"):
            names: list[str] = []
            stopped = False

            async def call_on() -> None:
                while not stopped or names[-1] != "second":
                    names.append(await client.call("it", "name"))

            calling = asyncio.gather(*(call_on() for _ in range(10)))
            await until(lambda: len(names) > 100)
            await first.__aexit__(None, None, None)
            stopped = True
            await calling
            await go_direct(client, "it", "name")


async def test_a_worker_that_stops_answers_what_it_has(address: str) -> None:
    gate = Gate()
    async with broker_at(address), connect(address) as client:
        worker = Worker(address)
        worker.add("it", gate)
        await worker.__aenter__()
        calls = await held_calls(client, gate, 3)
        leaving = asyncio.ensure_future(worker.__aexit__(None, None, None))
        await until(lambda: path_of(client, "it") is None)
        with pytest.raises(NoSuchObject):
            await client.call("it", "wait", "late", timeout=1)
        let_through(gate)
        assert await asyncio.gather(*calls) == [0, 1, 2]
        await leaving
        assert not client.link.direct_ends


async def test_an_object_that_is_removed_ends_its_calls_and_is_called_no_more(address: str) -> None:
    gate = Gate()
    async with broker_at(address), serving(address, it=gate, echo=Echo()) as worker, connect(address) as client:
        await go_direct(client, "echo", "back")
        [calling] = await held_calls(client, gate)
        worker.remove("it")
        with pytest.raises(CallError) as caught:
            await calling
        assert caught.value.code in ("worker_lost", "cancelled")
        await cancelled(gate)
        with pytest.raises(NoSuchObject):
            await client.call("it", "wait", timeout=1)
        assert await client.call("echo", "back", 1) == 1
        let_through(gate)
        worker.add("it", gate)
        await client.wait_for("it", timeout=10)
        await go_direct(client, "it", "wait")


async def test_a_cap_that_is_set_later_holds(address: str) -> None:
    gate = Gate()
    let_through(gate)
    async with broker_at(address) as broker, serving(address, it=gate) as worker, connect(address) as client:
        await go_direct(client, "it", "wait")
        gate._open.clear()
        already = gate._entered
        worker._registered_as["it"] = "exclusive", 1
        worker._expose("it")
        await until(lambda: path_of(client, "it") is None)
        calls = [asyncio.ensure_future(client.call("it", "wait", number)) for number in range(3)]
        await until(lambda: broker.router.calls.waiting == 2)
        assert gate._entered == already + 1
        let_through(gate)
        assert await asyncio.gather(*calls) == [0, 1, 2]


# Those who look, and what the broker knows


async def test_while_somebody_looks_all_calls_are_seen_and_later_they_go_directly_again(address: str) -> None:
    async with broker_at(address) as broker, serving(address, it=Echo()) as worker, connect(address) as client:
        await go_direct(client, "it", "back")
        async with connect(address) as looker:
            records = looker.stream("rob", "monitor", {"object": "it"})
            assert (await anext(records))["kind"] == "begin"
            before = through_broker(broker)
            for number in range(ASK_AFTER + 5):
                assert await client.call("it", "back", number) == number
            assert through_broker(broker) - before == ASK_AFTER + 5
            await records.aclose()
        await until(lambda: not broker.router.observers)
        client.link.session.directs._counts.clear()  # it was refused meanwhile, and would ask again after many calls
        await go_direct(client, "it", "back")
        await until(lambda: callers_of(worker) == 1)


async def test_the_broker_counts_what_it_did_not_see(address: str) -> None:
    async with broker_at(address) as broker, serving(address, it=Echo()) as worker, connect(address) as client:
        await go_direct(client, "it", "back")
        server_of(worker)._tell()
        totals = broker.router.totals
        await client.drain()
        calls, results, errors = totals.calls, totals.results, totals.errors
        seen = through_broker(broker)
        for _ in range(10):
            await client.call("it", "back")
        with pytest.raises(InvalidArgs):
            await client.call("it", "text", "no number")
        assert through_broker(broker) == seen
        await until(lambda: totals.calls == calls + 11)
        assert (totals.results, totals.errors) == (results + 10, errors + 1)
        assert broker.router.directs.of("it") == 1


async def test_an_event_is_not_overtaken_by_a_call_that_is_made_after_it(address: str) -> None:
    class Follower:
        def __init__(self) -> None:
            self.known: list[int] = []

        async def count(self) -> int:
            return len(self.known)

    it = Follower()
    async with broker_at(address) as broker, serving(address, it=it, echo=Echo()) as worker, connect(address) as client:
        await worker.client.subscribe("sensor", "value", callback=lambda event: it.known.append(event.value))
        path = await go_direct(client, "it", "count")
        for number in range(0, 200, 2):
            await client.publish("sensor", "value", number)
            if number % 3 == 0:
                await client.call("echo", "back")  # another object's answer says nothing of this worker's events
            await client.publish("sensor", "value", number)
            assert await client.call("it", "count") == number + 2
        seen = through_broker(broker)
        assert await client.call("it", "count") == 200
        assert through_broker(broker) == seen
        assert path_of(client, "it") is path


# What is bounded


async def test_a_client_has_so_many_direct_connections_at_most(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_direct, "MOST_PATHS", 2)
    async with broker_at(address), serving(address, a=Echo(), b=Echo(), c=Echo()) as worker, connect(address) as client:
        await go_direct(client, "a", "back")
        await go_direct(client, "b", "back")
        for number in range(2 * ASK_AFTER):
            assert await client.call("c", "back", number) == number
        await client.drain()
        assert callers_of(worker) == 2
        assert path_of(client, "c") is None


async def test_a_worker_takes_so_many_and_the_others_call_through_the_broker(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipc_broker.aio.direct_server.MOST_CALLERS", 1)
    async with broker_at(address), serving(address, it=Echo()) as worker, connect(address) as client:
        await go_direct(client, "it", "back")
        async with connect(address) as second:
            for number in range(3 * ASK_AFTER):
                assert await second.call("it", "back", number) == number
            await until(lambda: not second.link.direct_ends)
            assert path_of(second, "it") is None
        assert callers_of(worker) == 1


async def test_a_worker_that_does_not_let_anybody_in_is_called_through_the_broker(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen, or has no descriptor left: no call goes there, and none has to wait."""
    async with broker_at(address) as broker, serving(address, it=Echo()) as worker, connect(address) as client:
        acceptor = server_of(worker)._acceptor
        assert acceptor is not None
        acceptor._unwatch()
        for number in range(3 * ASK_AFTER):
            assert await client.call("it", "back", number) == number
        assert through_broker(broker) >= 3 * ASK_AFTER
        assert len(client.link.direct_ends) == 1
        acceptor._watch()
        await until(lambda: path_of(client, "it") is not None)
        assert await client.call("it", "back", 1) == 1


async def test_nothing_is_left_of_many_that_come_and_go(address: str) -> None:
    async with broker_at(address) as broker, serving(address, it=Echo()) as worker:
        server = server_of(worker)
        for _ in range(3):
            for _ in range(5):
                async with connect(address) as client:
                    await go_direct(client, "it", "back")
            await until(lambda: not server._callers)
            assert not server._waiting
            assert not worker.client.link.direct_ends
            directs = broker.router.directs
            assert (directs._of_peer, directs._of_object, directs.leaving) == ({}, {}, set())


# Who it is


async def test_a_socket_of_another_process_is_not_called(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offers: list[DirectOffer] = []

    def offered_wrongly(link: Link, object_name: str, offer: DirectOffer) -> None:
        offers.append(offer)
        offered(link, object_name, DirectOffer(offer.address, offer.pid + 1))

    offered = Link._offered
    monkeypatch.setattr(Link, "_offered", offered_wrongly)
    async with broker_at(address), serving(address, it=Echo()) as worker, connect(address) as client:
        for number in range(2 * ASK_AFTER):
            assert await client.call("it", "back", number) == number
        assert offers
        assert not client.link.direct_ends
        assert callers_of(worker) == 0


async def test_a_wrong_address_is_refused_by_the_broker_and_no_call_is_lost(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client was let in by a worker that does not serve the object any more."""
    async with (
        broker_at(address),
        serving(address, it=Echo()),
        serving(address, other=Echo()) as other,
        connect(address) as client,
    ):

        def offered_wrongly(link: Link, object_name: str, offer: DirectOffer) -> None:
            offered(link, object_name, DirectOffer(server_of(other).address, offer.pid))

        offered = Link._offered
        monkeypatch.setattr(Link, "_offered", offered_wrongly)
        for number in range(5 * ASK_AFTER):
            calls = [client.call("it", "back", number) for _ in range(3)]
            assert await asyncio.gather(*calls) == [number] * 3
        await until(lambda: callers_of(other) == 0)


async def test_a_client_over_tcp_calls_through_the_broker() -> None:
    async with broker_at("tcp://127.0.0.1:0") as broker:
        where = broker.addresses[0]
        async with serving(where, it=Echo()) as worker, connect(where) as client:
            assert worker._direct is None
            for number in range(2 * ASK_AFTER):
                assert await client.call("it", "back", number) == number
            assert not client.link.direct_ends


async def test_a_burst_that_asks_more_than_once_makes_one_connection(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_direct, "ASK_AGAIN", ASK_AFTER)
    offers: list[str] = []

    def count(link: Link, object_name: str, offer: DirectOffer) -> None:
        offers.append(object_name)
        for _ in range(3):
            offered(link, object_name, offer)

    offered = Link._offered
    monkeypatch.setattr(Link, "_offered", count)
    async with broker_at(address), serving(address, it=Echo()) as worker, connect(address) as client:
        path = await go_direct(client, "it", "back")
        assert await asyncio.gather(*(client.call("it", "back", number) for number in range(300))) == list(range(300))
        assert offers
        await until(lambda: callers_of(worker) == 1)
        assert path_of(client, "it") is path
        assert len(client.link.direct_ends) == 1
