"""The least that a bus in Python can be: what this machine makes of uvloop and msgspec, without any of our features.

One worker, JSON frames routed by call id, no names, errors, limits or checks. Where ours is slow and
this is too, it is the machine; where only ours is, it is us. Each role is a process:

    python -m benchmarks.bare broker|worker PATH
    python -m benchmarks.bare blocking|in-flight PATH SECONDS
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from msgspec import Raw, Struct

from .figures import Figure
from .latency import Latencies, latencies_of
from .processes import Bus

IN_FLIGHT = 100
WARM_UP = 500
ARGS = {"a": 10, "b": 32}


class Message(Struct, frozen=True, gc=False):
    """A call, with arguments, or its result, with a sum."""

    call_id: str
    is_call: bool
    payload: Raw


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Message).decode
_decode_payload = msgspec.json.Decoder().decode


def frame(call_id: str, is_call: bool, payload: object) -> bytes:
    body = _encode(Message(call_id, is_call, Raw(_encode(payload))))
    return len(body).to_bytes(4, "big") + body


class Peer(asyncio.Protocol):
    """Gives whole frames to `receive` and writes once a batch what was put into `outbox`."""

    def __init__(self, receive: Callable[[Peer, bytes], None]) -> None:
        self.outbox: list[bytes] = []
        self._receive = receive
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        start = 0
        while len(data) - start >= 4:
            stop = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if stop > len(data):
                break
            self._receive(self, data[start:stop])
            start = stop
        self._tail = data[start:]

    def flush(self) -> None:
        if self.outbox:
            self._transport.write(b"".join(self.outbox))
            self.outbox.clear()

    def close(self) -> None:
        self._transport.close()


async def serve_broker(path: str) -> None:
    callers: dict[str, Peer] = {}
    workers: list[Peer] = []
    loop = asyncio.get_running_loop()

    def receive(peer: Peer, received: bytes) -> None:
        message = _decode(received[4:])
        if not message.call_id:
            workers.append(peer)
            target = peer
        elif message.is_call:
            callers[message.call_id] = peer
            target = workers[0]
        else:
            target = callers.pop(message.call_id)
        if not target.outbox:
            loop.call_soon(target.flush)
        target.outbox.append(received)

    await loop.create_unix_server(lambda: Peer(receive), path)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def serve_worker(path: str) -> None:
    loop = asyncio.get_running_loop()

    running: dict[str, asyncio.Task[None]] = {}

    async def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def answer(peer: Peer, message: Message) -> None:
        result = frame(message.call_id, False, await add(**_decode_payload(message.payload)))
        if not peer.outbox:
            loop.call_soon(peer.flush)
        peer.outbox.append(result)
        del running[message.call_id]

    def receive(peer: Peer, received: bytes) -> None:
        message = _decode(received[4:])
        if not message.call_id:
            print("ready", flush=True)
            return
        running[message.call_id] = loop.create_task(answer(peer, message))

    _, peer = await loop.create_unix_connection(lambda: Peer(receive), path)
    peer.outbox.append(frame("", True, None))
    peer.flush()
    await asyncio.Event().wait()


def blocking_calls(path: str, seconds: float) -> Latencies:
    if sys.platform == "win32":
        raise SystemExit("the bare bus needs Unix sockets")
    samples: list[int] = []
    now = time.perf_counter_ns
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)

        def call(number: int) -> None:
            connection.sendall(frame(str(number), True, ARGS))
            _decode_payload(_decode(connection.recv(65536)[4:]).payload)

        for number in range(1, WARM_UP):
            call(number)
        end = now() + int(seconds * 1e9)
        while (start := now()) < end:
            call(start)
            samples.append(now() - start)
    return latencies_of(samples)


async def calls_in_flight(path: str, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[Raw]] = {}
    answered = 0

    def receive(peer: Peer, received: bytes) -> None:
        message = _decode(received[4:])
        waiting.pop(message.call_id).set_result(message.payload)

    _, peer = await loop.create_unix_connection(lambda: Peer(receive), path)
    end = loop.time() + seconds

    async def call_on(caller: int) -> None:
        nonlocal answered
        number = caller
        while loop.time() < end:
            number += IN_FLIGHT
            future = waiting[str(number)] = loop.create_future()
            if not peer.outbox:
                loop.call_soon(peer.flush)
            peer.outbox.append(frame(str(number), True, ARGS))
            _decode_payload(await future)
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(call_on(caller) for caller in range(IN_FLIGHT)))
    return answered / (time.perf_counter() - began)


class Bare:
    """Beside each figure of ours stands what the bare bus reaches in the same round."""

    name = "bare"
    figures = (Figure("bare-p50", "bare bus p50, us", "p50"), Figure("bare-in-flight", "bare bus calls/s", "rate"))

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        path = bus.address.removeprefix("unix://") + ".bare"
        processes = bus.processes
        module = [sys.executable, "-m", "benchmarks.bare"]
        Path(path).unlink(missing_ok=True)
        serving = [processes.start([*module, "broker", path])]
        try:
            processes.wait_line(serving[0], b"ready")
            serving.append(processes.start([*module, "worker", path]))
            processes.wait_line(serving[1], b"ready")
            latencies = msgspec.json.decode(
                processes.run([*module, "blocking", path, str(seconds)], seconds), type=Latencies
            )
            rate = msgspec.json.decode(processes.run([*module, "in-flight", path, str(seconds)], seconds), type=float)
        finally:
            for process in reversed(serving):
                processes.stop(process)
        return {"bare-p50": [latencies.p50], "bare-in-flight": [rate]}


def main(role: str, path: str, seconds: float = 0.0) -> None:
    answer: Any
    match role:
        case "broker":
            uvloop.run(serve_broker(path))
        case "worker":
            uvloop.run(serve_worker(path))
        case "blocking":
            answer = blocking_calls(path, seconds)
            print(msgspec.json.encode(answer).decode())
        case "in-flight":
            answer = uvloop.run(calls_in_flight(path, seconds))
            print(msgspec.json.encode(answer).decode())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
