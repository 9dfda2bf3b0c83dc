"""Quotas on real sockets: who is over the rate waits, and nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from ipc_broker import Broker, BrokerConfig, Event, connect
from ipc_broker.aio.gate import Entry, Gate
from ipc_broker.config import Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.errors import ConnectFailed
from ipc_broker.security.principal import OWNER, Principal
from tests.aio.bus import plain_socket, until
from tests.messages import call, publish
from tests.seed.frames import frame

SOMEBODY = Principal(1000, "somebody")


class Door:
    """Whoever connects is `who`."""

    def __init__(self) -> None:
        self.who = OWNER


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr(Gate, "entry", lambda gate, transport: Entry(Credentials(), door.who))
    return door


async def test_who_sends_too_much_waits_and_loses_nothing(any_address: str, door: Door) -> None:
    config = BrokerConfig(listen=(any_address,), quotas=Quotas(rate=1000))
    async with Broker(config) as broker:
        where = broker.addresses[0]
        async with connect(where) as owner, owner.subscribe("sensor", "heat") as events:
            door.who = SOMEBODY
            with plain_socket(where) as hog:
                hog.sendall(b"".join(frame(publish("sensor", "heat", number)) for number in range(1400)))
                await until(lambda: any(not peer.reads for peer in broker.router.peers))
                # Neither are its other connections read from, not even those that it opens now.
                with plain_socket(where) as other:
                    other.sendall(frame(call("1", "rob", "ping")))
                    await until(lambda: len(broker.router.peers) == 3)
                    assert await owner.call("rob", "ping") == "pong"
                    assert sum(not peer.reads for peer in broker.router.peers) == 2
                    received = [await events.get(10) for _ in range(1400)]
                    assert received == [Event("sensor", "heat", number) for number in range(1400)]
                    other.setblocking(False)
                    assert b"pong" in await asyncio.get_running_loop().sock_recv(other, 65_536)


async def test_a_connection_too_many_is_told_by_the_clients(address: str, door: Door) -> None:
    door.who = SOMEBODY
    async with (
        Broker(BrokerConfig(listen=(address,), quotas=Quotas(connections=1))) as broker,
        connect(broker.addresses[0]) as one,
    ):
        with pytest.raises(ConnectFailed, match=r"have 1 connections, the quota \(quotas\.connections\)"):
            await connect(broker.addresses[0])
        assert await one.objects() == ["rob"]
