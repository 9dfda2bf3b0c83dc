"""Brokers of both kinds, over every transport, and clients of them."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ipc_broker.sync.link
from ipc_broker import Broker, BrokerConfig, Limits
from ipc_broker.destination import Destination
from ipc_broker.sync import Client, connect
from ipc_broker.sync.transport import Transport, open_transport
from tests.insecure import INSECURE
from tests.seed.broker import SeedBroker
from tests.sync.bus import Bus
from tests.sync.faulty_transport import FaultyTransport

TCP = "tcp://127.0.0.1:0"
OURS = ["ours-tcp"] if sys.platform == "win32" else ["ours-unix", "ours-tcp"]
DEFAULT_LIMITS = Limits()
SEEDS = ["seed-tcp"] if sys.platform == "win32" else ["seed-unix", "seed-tcp", "seed-not-ready"]


@contextmanager
def running_bus(kind: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[Bus]:
    with tempfile.TemporaryDirectory(prefix="sync-") as folder:  # the path of a socket must be short
        address = TCP if kind.endswith("tcp") else f"unix://{folder}/bus.sock"

        def make_broker(address: str) -> Broker | SeedBroker:
            if kind.startswith("seed"):
                return SeedBroker(address, not_ready=kind == "seed-not-ready")
            return Broker(BrokerConfig(listen=(address,), grace=0, limits=limits, insecure=INSECURE))

        with Bus(make_broker, address) as bus:
            yield bus


@pytest.fixture(params=OURS + SEEDS)
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    """A broker of each kind, with a worker."""
    with running_bus(request.param) as bus:
        yield bus


@pytest.fixture
def our_bus() -> Iterator[Bus]:
    """Our broker, with a worker."""
    with running_bus(OURS[0]) as bus:
        yield bus


@pytest.fixture
def client(bus: Bus) -> Iterator[Client]:
    client = connect(bus.address)
    yield client
    client.close()


@pytest.fixture
def our_client(our_bus: Bus) -> Iterator[Client]:
    client = connect(our_bus.address)
    yield client
    client.close()


@pytest.fixture
def seed_client() -> Iterator[Client]:
    """A client of a broker that speaks the Rust crate's protocol only."""
    with running_bus(SEEDS[0]) as bus:
        client = connect(bus.address)
        yield client
        client.close()


@pytest.fixture
def transports(monkeypatch: pytest.MonkeyPatch) -> list[FaultyTransport]:
    """The transports of the clients that connect from now on."""
    made: list[FaultyTransport] = []

    def open_faulty(destination: Destination, timeout: float | None) -> Transport:
        made.append(FaultyTransport(open_transport(destination, timeout)))
        return made[-1]

    monkeypatch.setattr(ipc_broker.sync.link, "open_transport", open_faulty)
    return made


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt in the main thread, as in a program that runs by itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
