"""Zenoh: eclipse-zenoh's clients on a router, which runs in a Python process, as the wheel holds no other."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec

from . import maths
from .orders import RunBroker
from .peer import Ends, Peer, Ready, Take, not_installed
from .place import Place, Served
from .roles import main

TIMEOUT = 30.0
CONNECTIONS = 300


def missing() -> str:
    return not_installed("eclipse-zenoh")


def start(place: Place) -> Served:
    path = place.socket_path()
    endpoint = f"unixsock-stream/{path}"
    address = f"{endpoint}{'#wide' if place.wide else ''}"
    router = place.start_role(PEER.module, msgspec.json.encode(RunBroker(endpoint)).decode())
    place.processes.wait_line(router, b"ready")
    return Served(address, [router])


def _open(mode: str, **settings: object) -> Any:
    import zenoh

    config = zenoh.Config()
    for key, value in {"mode": mode, "scouting/multicast/enabled": False, **settings}.items():
        config.insert_json5(key, json.dumps(value))
    return zenoh.open(config)


def _connect(address: str) -> Any:
    return _open("client", **{"connect/endpoints": [address.partition("#")[0]]})


def run_broker(address: str) -> None:
    session = _open(
        "router",
        **{
            "listen/endpoints": [address],
            "transport/unicast/max_sessions": 20_000,
            "transport/unicast/accept_pending": 5_000,
        },
    )
    print("ready", flush=True)
    threading.Event().wait()
    session.close()


def serve(address: str, ready: Ready) -> None:
    session = _connect(address)

    def add(query: Any) -> None:
        query.reply("math/add", maths.answer("add", query.payload.to_bytes()), express=True)

    def echo(query: Any) -> None:
        query.reply("math/echo", query.payload.to_bytes(), express=True)

    session.declare_queryable("math/add", add, complete=True)
    session.declare_queryable("math/echo", echo, complete=True)
    ready()
    threading.Event().wait()


class Blocking:
    def __init__(self, address: str) -> None:
        self._session = _connect(address)
        self._add = self._session.declare_querier("math/add", express=True, timeout=TIMEOUT)
        self._echo = self._session.declare_querier("math/echo", express=True, timeout=TIMEOUT)

    def add(self, a: int, b: int) -> int:
        return maths.sum_of(self._call(self._add, maths.args(a, b)))

    def echo(self, data: bytes) -> bytes:
        return self._call(self._echo, data)

    def _call(self, querier: Any, data: bytes) -> bytes:
        for reply in querier.get(payload=data):
            result: bytes = reply.ok.payload.to_bytes()
            return result
        raise RuntimeError("the query ended without a reply")

    def close(self) -> None:
        self._session.close()


class Pipelining:
    def __init__(self, address: str) -> None:
        from collections import deque

        self._session = _connect(address)
        self._querier = self._session.declare_querier("math/add", express=False, timeout=TIMEOUT)
        self._waiting: deque[Any] = deque()

    def begin(self, a: int, b: int) -> None:
        self._waiting.append(self._querier.get(payload=maths.args(a, b)))

    def finish(self) -> int:
        for reply in self._waiting.popleft():
            return maths.sum_of(reply.ok.payload.to_bytes())
        raise RuntimeError("the query ended without a reply")

    def close(self) -> None:
        self._session.close()


class Publisher:
    def __init__(self, address: str) -> None:
        import zenoh

        self._session = _connect(address)
        self._congestion = zenoh.CongestionControl.BLOCK if address.endswith("#wide") else zenoh.CongestionControl.DROP
        self._publishers: dict[str, Any] = {}

    def publish(self, topic: str, data: bytes) -> None:
        if (publisher := self._publishers.get(topic)) is None:
            publisher = self._session.declare_publisher(topic, congestion_control=self._congestion)
            self._publishers[topic] = publisher
        publisher.put(data)

    def flush(self) -> None:
        """Zenoh sends in a thread of its own, and does not tell when it has."""

    def close(self) -> None:
        self._session.close()


def subscribe(address: str, topic: str, take: Take) -> None:
    session = _connect(address)
    ended = threading.Event()

    def receive(sample: Any) -> None:
        if not ended.is_set() and take(sample.payload.to_bytes()):
            ended.set()

    session.declare_subscriber(topic, receive)
    ended.wait()
    session.close()


PEER = Peer(
    name="zenoh",
    title="Zenoh (router)",
    start=start,
    missing=missing,
    ends=Ends(
        serve=serve,
        blocking=Blocking,
        pipelining=Pipelining,
        publisher=Publisher,
        subscriber=subscribe,
        broker=run_broker,
    ),
    distributions=("eclipse-zenoh",),
    settings=(
        "clients on a router, which is Zenoh's own in Rust, in a process that does nothing else; a Unix socket; no scouting",
        "declared queriers and publishers; callbacks; queries and replies one at a time are `express`, not kept for a batch",
        f"{CONNECTIONS} idle connections in place of 1,000: the router, with `max_sessions` raised, took no more than 351",
        "but for the burst, publishers block on congestion, so that nothing is dropped",
    ),
    promise=(
        "Publishers drop on congestion unless told to block; several workers may answer a query, and one that nobody answers "
        "ends without a word."
    ),
    most_connections=CONNECTIONS,
    lacks={"asyncio": "its Python API blocks or calls back"},
)


if __name__ == "__main__":
    main(PEER)
