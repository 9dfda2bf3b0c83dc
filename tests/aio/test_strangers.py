"""Another user listens where the broker should: no client says a word to them, whichever it is, and whenever."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

if sys.platform != "linux":
    pytest.skip("only there both kinds of sockets tell whose they are", allow_module_level=True)

from ipc_broker import Broker, BrokerConfig, Worker, connect, sync
from ipc_broker.errors import DeadlineExceeded, UntrustedBroker
from tests.cli.programs import rob
from tests.end_to_end.processes import free_port
from tests.identity.strangers import as_root, line_of, stranger

pytestmark = as_root


@pytest.fixture(params=["unix", "tcp"])
def where(request: pytest.FixtureRequest, address: str) -> str:
    return address if request.param == "unix" else f"tcp://127.0.0.1:{free_port()}"


LISTEN = """
kind, where = sys.argv[1:]
listening = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(where if kind == "unix" else ("127.0.0.1", int(where)))
if kind == "unix":
    os.chmod(where, 0o777)
listening.listen()
print("listening", flush=True)
while True:
    print(listening.accept()[0].makefile("rb").read(), flush=True)
"""
"""Tells of each connection what came over it."""


@contextmanager
def squatting(address: str) -> Iterator[Popen[str]]:
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        Path(rest).parent.chmod(0o777)
    with stranger(f"exec({LISTEN!r})", scheme, rest if scheme == "unix" else rest.rpartition(":")[2]) as process:
        assert line_of(process) == "listening"
        try:
            yield process
        finally:
            process.kill()
            if scheme == "unix":
                Path(rest).unlink()
                Path(rest).parent.chmod(0o700)


async def by_asyncio(address: str) -> None:
    with pytest.raises(UntrustedBroker, match="nothing was sent"):
        await connect(address, token="secret")


async def by_blocking(address: str) -> None:
    with pytest.raises(UntrustedBroker, match="nothing was sent"):
        await asyncio.to_thread(sync.connect, address, token="secret")


async def by_worker(address: str) -> None:
    worker = Worker(address, token="secret")
    worker.add("thing", Path())
    with pytest.raises(UntrustedBroker, match="nothing was sent"):
        await worker.__aenter__()


async def by_rob(address: str) -> None:
    ended = await asyncio.to_thread(rob, "list", address=address)
    assert ended.status == 3
    assert "nothing was sent" in ended.errors


@pytest.mark.parametrize("use", [by_asyncio, by_blocking, by_worker, by_rob])
async def test_at_first(where: str, use: Callable[[str], Awaitable[None]]) -> None:
    with squatting(where) as process:
        await use(where)
        assert await asyncio.to_thread(line_of, process) == "b''"


async def test_when_the_broker_has_gone(where: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Broker(BrokerConfig(listen=(where,))), asyncio.timeout(20):
        client = await connect(where)
        blocking = await asyncio.to_thread(sync.connect, where)
    with squatting(where) as process:
        for _ in range(2):
            with pytest.raises(DeadlineExceeded, match="nothing was sent"):
                await client.call("rob", "ping", timeout=1)
            with pytest.raises(DeadlineExceeded, match="nothing was sent"):
                await asyncio.to_thread(blocking.call, "rob", "ping", timeout=1)
        for _ in range(4):
            assert await asyncio.to_thread(line_of, process) == "b''"
    assert sum("nothing was sent" in record.getMessage() for record in caplog.records) == 1
    async with Broker(BrokerConfig(listen=(where,))):
        assert await client.call("rob", "ping", timeout=20) == "pong"
        assert await asyncio.to_thread(blocking.call, "rob", "ping", timeout=20) == "pong"
        await client.close()
        await asyncio.to_thread(blocking.close)
