"""Connecting and listening, over every kind of address."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import cast

import pytest

from ipc_broker.address import Address, parse_address
from ipc_broker.aio import transport
from ipc_broker.aio.listening import listen, raise_descriptor_limit
from ipc_broker.aio.transport import open_connection
from ipc_broker.destination import Destination
from ipc_broker.errors import ConfigError, ConnectFailed, ListenFailed
from tests.aio.bus import until

NOT_HERE = "unix:///tmp/x.sock" if sys.platform == "win32" else "pipe://ipc_broker_test"


class Recorder(asyncio.Protocol):
    """Keeps what comes, and echoes it where it is told to."""

    def __init__(self, echo: bool = False) -> None:
        self.data = b""
        self.echo = echo
        self.made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.arrived.set()
        if self.echo:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.fixture(params=["local", "tcp://127.0.0.1:0", "tcp://[::1]:0"])
def any_address(request: pytest.FixtureRequest, address: str) -> Address:
    if request.param.startswith("tcp://[") and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    return parse_address(address if request.param == "local" else request.param)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_bytes_go_both_ways(any_address: Address) -> None:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder(echo=True))
        return accepted[-1]

    listener = await listen(any_address, accept)
    caller = await open_connection(Destination(str(listener.address), {}), Recorder, 5)
    caller.transport.write(b"hello")
    await caller.arrived.wait()
    assert (caller.data, accepted[0].data) == (b"hello", b"hello")
    listener.close()
    caller.transport.close()
    await caller.lost.wait()
    await accepted[0].lost.wait()


async def test_the_listener_knows_the_real_port() -> None:
    listener = await listen(parse_address("tcp://127.0.0.1:0"), asyncio.Protocol)
    assert listener.address.scheme == "tcp"
    assert listener.address.location == "127.0.0.1"
    assert listener.address.port > 0
    listener.close()


async def test_a_listener_that_was_closed_accepts_no_more_but_keeps_what_it_accepted(any_address: Address) -> None:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder(echo=True))
        return accepted[-1]

    listener = await listen(any_address, accept)
    early = await open_connection(Destination(str(listener.address), {}), Recorder, 5)
    await until(lambda: accepted)
    await accepted[0].made
    listener.close()
    with pytest.raises(ConnectFailed):
        await open_connection(Destination(str(listener.address), {}), Recorder, 5)
    early.transport.write(b"still here")
    await early.arrived.wait()
    assert early.data == b"still here"
    early.transport.close()
    await early.lost.wait()
    await accepted[0].lost.wait()


async def test_where_nothing_listens_the_error_says_how_to_start_a_broker(any_address: Address) -> None:
    listener = await listen(any_address, asyncio.Protocol)
    where = listener.address
    listener.close()
    with pytest.raises(ConnectFailed) as caught:
        await open_connection(Destination(str(where), {}), asyncio.Protocol, 5)
    assert str(caught.value).startswith(f"no broker at {where} (")
    assert str(caught.value).endswith(f"); start one with: ipc-broker --listen {where}")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_port_in_use_is_told_as_such() -> None:
    listener = await listen(parse_address("tcp://127.0.0.1:0"), asyncio.Protocol)
    with pytest.raises(ListenFailed) as caught:
        await listen(listener.address, asyncio.Protocol)
    assert str(caught.value).startswith(f"cannot listen on {listener.address}: ")
    assert str(caught.value).endswith("; is another broker running there?")
    listener.close()


async def test_a_host_that_cannot_be_found() -> None:
    nowhere = parse_address("tcp://no-such-host.invalid:5123")
    with pytest.raises(ConnectFailed, match=r"no broker at tcp://no-such-host\.invalid:5123 \(.+\); start one"):
        await open_connection(Destination(str(nowhere), {}), asyncio.Protocol, 20)
    with pytest.raises(ListenFailed, match=r"cannot listen on tcp://no-such-host\.invalid:5123: .+"):
        await listen(nowhere, asyncio.Protocol)


async def test_what_the_platform_lacks_is_refused_with_what_it_has() -> None:
    foreign = parse_address(NOT_HERE)
    with pytest.raises(ConfigError, match=r"use \w+://"):
        await open_connection(Destination(str(foreign), {}), asyncio.Protocol, 5)
    with pytest.raises(ConfigError, match=r"use \w+://"):
        await listen(foreign, asyncio.Protocol)


@pytest.mark.parametrize("timeout", [5.0, None])
async def test_the_kernel_giving_up_is_a_failed_connection(
    timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def give_up(*arguments: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(transport, "open_unix", give_up)
    with pytest.raises(ConnectFailed, match="unix:///tmp/far"):
        await open_connection(Destination("/tmp/far", {}), asyncio.Protocol, timeout)


async def test_connecting_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*arguments: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(transport, "open_unix", never)
    with pytest.raises(ConnectFailed, match=r"no broker answered at unix:///tmp/far within 0\.01 s"):
        await open_connection(Destination("/tmp/far", {}), asyncio.Protocol, 0.01)


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such limit")
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        raise_descriptor_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == before[1]
        assert soft == (10_240 if hard == resource.RLIM_INFINITY else min(hard, 1_048_576))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
