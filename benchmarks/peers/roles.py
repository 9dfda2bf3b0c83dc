"""The processes of all peers: `python -m benchmarks.peers.NAME ORDER`, where the order is one of `orders.py` in JSON.

The work, its clocks and its counting are written here once. A peer's module calls `main` with its own ends.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable

import msgspec
import uvloop

from ..latency import latencies_of
from ..processes import BenchmarkFailed
from . import flow, line
from .orders import READY, Called, Calls, Idle, InFlight, Order, Publish, RunBroker, Serve, Subscribe
from .peer import AsyncioClient, BlockingClient, Ends, Peer, PipeliningClient

IN_FLIGHT = 100
TOGETHER = 10
"""Answers that a client without asyncio takes before it calls again, so that what is in flight stays near 100."""

WARM_UP = 200
"""Calls at most before the clock runs, and seconds."""
WARM_UP_SECONDS = 0.2

A, B, SUM = 10, 32, 42

LONGEST, LONGEST_SERVING = 150, 900
"""Seconds after which any role ends: a peer may never answer, and who started the role may be gone."""


def main(peer: Peer) -> None:
    if sys.platform == "win32":
        raise SystemExit("the peers are measured over Unix sockets")
    order = msgspec.json.decode(sys.argv[1], type=Order)
    signal.alarm(LONGEST_SERVING if isinstance(order, Serve | RunBroker) else LONGEST)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    answer = _obey(peer.ends, order)
    if answer is not None:
        say(msgspec.json.encode(answer).decode())


def say(text: str) -> None:
    print(text, flush=True)


def _obey(ends: Ends, order: Order) -> object:
    match order:
        case Serve():
            assert ends.serve is not None
            ends.serve(order.address, lambda: say(READY))
        case RunBroker():
            assert ends.broker is not None
            ends.broker(order.address)
        case Calls(client="blocking"):
            assert ends.blocking is not None
            return blocking_calls(ends.blocking(order.address), order)
        case Calls():
            return uvloop.run(asyncio_calls(ends, order))
        case InFlight():
            if ends.pipelining is not None:
                return pipelined_calls(ends.pipelining(order.address), order)
            return uvloop.run(calls_in_flight(ends, order))
        case Publish():
            flow.publish(ends, order)
        case Subscribe():
            return flow.subscribe(ends, order)
        case Idle(client="blocking"):
            hold_blocking(ends, order)
        case Idle():
            uvloop.run(hold_asyncio(ends, order))
    return None


def _check(result: int) -> None:
    if result != SUM:
        raise BenchmarkFailed(f"add({A}, {B}) answered {result!r}")


def _start(order: Calls | InFlight) -> None:
    """Returns when all who measure are ready."""
    gc.collect()
    say(READY)
    line.wait(order.line)


def blocking_calls(client: BlockingClient, order: Calls) -> Called:
    data = bytes(order.size)
    now = time.perf_counter_ns

    def call() -> None:
        if data:
            if len(client.echo(data)) != len(data):
                raise BenchmarkFailed("what came back is not what was sent")
        else:
            _check(client.add(A, B))

    end = now() + int(WARM_UP_SECONDS * 1e9)
    for _ in range(WARM_UP):
        call()
        if now() > end:
            break
    _start(order)
    samples: list[int] = []
    cpu, began = time.process_time(), now()
    end = began + int(order.seconds * 1e9)
    while (start := now()) < end:
        call()
        samples.append(now() - start)
    called = Called(len(samples), (now() - began) / 1e9, time.process_time() - cpu, latencies_of(samples))
    client.close()
    return called


async def asyncio_calls(ends: Ends, order: Calls) -> Called:
    client = await connect_asyncio(ends, order.address)
    data = bytes(order.size)
    now = time.perf_counter_ns

    async def call() -> None:
        if data:
            if len(await client.echo(data)) != len(data):
                raise BenchmarkFailed("what came back is not what was sent")
        else:
            _check(await client.add(A, B))

    end = now() + int(WARM_UP_SECONDS * 1e9)
    for _ in range(WARM_UP):
        await call()
        if now() > end:
            break
    await asyncio.to_thread(_start, order)
    samples: list[int] = []
    cpu, began = time.process_time(), now()
    end = began + int(order.seconds * 1e9)
    while (start := now()) < end:
        await call()
        samples.append(now() - start)
    called = Called(len(samples), (now() - began) / 1e9, time.process_time() - cpu, latencies_of(samples))
    await client.close()
    return called


def connect_asyncio(ends: Ends, address: str) -> Awaitable[AsyncioClient]:
    assert ends.asyncio is not None
    return ends.asyncio(address)


async def calls_in_flight(ends: Ends, order: InFlight) -> Called:
    """`IN_FLIGHT` tasks, each of which calls again as soon as it has its answer; counted in the midst of it."""
    client = await connect_asyncio(ends, order.address)
    answered = 0
    stopping = False

    async def call_on() -> None:
        nonlocal answered
        while not stopping:
            _check(await client.add(A, B))
            answered += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(call_on())
        await asyncio.sleep(WARM_UP_SECONDS)
        await asyncio.to_thread(_start, order)
        before, cpu, began = answered, time.process_time(), time.perf_counter()
        await asyncio.sleep(order.seconds)
        count, took, used = answered - before, time.perf_counter() - began, time.process_time() - cpu
        stopping = True
    await client.close()
    return Called(count, took, used, None)


def pipelined_calls(client: PipeliningClient, order: InFlight) -> Called:
    """The same from a client that blocks: as many calls are made as were answered."""
    for _ in range(IN_FLIGHT):
        client.begin(A, B)

    def go_on(seconds: float) -> tuple[int, float]:
        count, now = 0, time.perf_counter
        began = now()
        while now() - began < seconds:
            for _ in range(TOGETHER):
                _check(client.finish())
            for _ in range(TOGETHER):
                client.begin(A, B)
            count += TOGETHER
        return count, now() - began

    go_on(WARM_UP_SECONDS)
    _start(order)
    cpu = time.process_time()
    count, took = go_on(order.seconds)
    used = time.process_time() - cpu
    for _ in range(IN_FLIGHT):
        _check(client.finish())
    client.close()
    return Called(count, took, used, None)


def hold_blocking(ends: Ends, order: Idle) -> None:
    assert ends.blocking is not None
    clients = [ends.blocking(order.address) for _ in range(order.count)]
    for client in clients:
        _check(client.add(A, B))
    say(READY)
    threading.Event().wait()


async def hold_asyncio(ends: Ends, order: Idle) -> None:
    clients = [await connect_asyncio(ends, order.address) for _ in range(order.count)]
    for client in clients:
        _check(await client.add(A, B))
    say(READY)
    await asyncio.Event().wait()
