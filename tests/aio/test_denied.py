"""What is denied, as the programs of this package see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, Worker, connect, sync
from ipc_broker.errors import PermissionDenied
from tests.insecure import INSECURE

POLICY = """
[[rule]]
name = "no cats"
effect = "deny"
call = "cat.*"
register = "cat"
publish = "cat.>"
subscribe = "cat.>"
monitor = true
"""
RULE = "the rule 'no cats' of policy.toml"


@asynccontextmanager
async def bus(address: str, tmp_path: Path) -> AsyncIterator[str]:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY, encoding="utf-8")
    async with Broker(BrokerConfig(listen=(address,), policy=str(file), insecure=INSECURE)) as broker:
        yield broker.addresses[0]


async def test_the_asyncio_client(address: str, tmp_path: Path) -> None:
    async with bus(address, tmp_path) as where, connect(where) as client:
        with pytest.raises(PermissionDenied, match=RULE) as caught:
            await client.call("cat", "feed")
        assert (caught.value.object, caught.value.method, caught.value.delivered) == ("cat", "feed", "no")
        with pytest.raises(PermissionDenied, match=RULE):
            await client.subscribe("cat", "*")
        with pytest.raises(PermissionDenied, match=RULE):
            await client.publish("cat", "meow", 1, ack=True)
        with pytest.raises(PermissionDenied, match=RULE):
            async for _ in client.stream("rob", "monitor"):
                pass
        await client.publish("cat", "meow", 1)
        await client.publish("dog", "bark", 1, ack=True)
        assert await client.objects() == ["rob"]


async def test_the_blocking_client(address: str, tmp_path: Path) -> None:
    def use(where: str) -> None:
        with sync.connect(where) as client:
            with pytest.raises(PermissionDenied, match=RULE):
                client.call("cat", "feed")
            with pytest.raises(PermissionDenied, match=RULE):
                client.subscribe("cat", "*")
            with pytest.raises(PermissionDenied, match=RULE):
                client.publish("cat", "meow", 1, ack=True)
            assert client.objects() == ["rob"]

    async with bus(address, tmp_path) as where:
        await asyncio.to_thread(use, where)


async def test_a_worker(address: str, tmp_path: Path) -> None:
    async with bus(address, tmp_path) as where:
        worker = Worker(where)
        worker.add("cat", object())
        with pytest.raises(PermissionDenied, match=RULE):
            await worker.serve()
