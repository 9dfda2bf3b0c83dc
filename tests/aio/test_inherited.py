"""Sockets that systemd passes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.address import parse_address
from ipc_broker.aio.inherited import InheritedSocket, inherited_sockets, is_at, with_sockets
from ipc_broker.errors import ConfigError
from tests.aio.bus import plain_socket

if sys.platform == "win32":
    pytest.skip("there is no systemd on Windows", allow_module_level=True)


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="aio-") as folder:
        yield f"{folder}/bus.sock"


def passed(*sockets: socket.socket, **environ: str) -> list[InheritedSocket]:
    """As if systemd had passed these: they get descriptors in a row, high enough to be in nobody's way."""
    first = 700 + 10 * (os.getpid() % 20)
    for place, one in enumerate(sockets):
        os.dup2(one.fileno(), first + place)
        one.close()
    asked = {"LISTEN_PID": "7", "LISTEN_FDS": str(len(sockets))} | environ
    try:
        return inherited_sockets(asked, 7, first)
    finally:
        for place in range(len(sockets)):
            try:
                os.close(first + place)
            except OSError:
                continue  # it was taken over


def unix_socket(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    return listening


def test_they_are_known_by_name_and_address(path: str) -> None:
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    found = passed(unix_socket(path), tcp, LISTEN_FDNAMES="local")
    assert [(one.name, str(one.address)) for one in found] == [
        ("local", f"unix://{path}"),
        ("", f"tcp://127.0.0.1:{port}"),
    ]
    for one in found:
        assert not one.listening.get_inheritable()
        one.listening.close()


def test_there_are_none() -> None:
    assert inherited_sockets({}, 7) == []
    assert inherited_sockets({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, 7) == []
    assert inherited_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, 7) == []


def test_what_is_no_socket_to_listen_at_is_refused(path: str) -> None:
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with pytest.raises(
        ConfigError, match=r"descriptor \d+ \(log\), which systemd has passed, is no socket that listens"
    ):
        passed(datagrams, LISTEN_FDNAMES="log")
    with pytest.raises(ConfigError, match=r"\(without a name\), .*, is no socket that listens"):
        passed(socket.socket(socket.AF_UNIX))
    with pytest.raises(ConfigError, match="is no number of sockets"):
        passed(LISTEN_FDS="many")
    with pytest.raises(ConfigError, match="is no socket: "):
        passed(LISTEN_FDS="1")
    if sys.platform == "linux":
        with pytest.raises(ConfigError, match="a broker needs a path"):
            passed(unix_socket(f"\0{path}"))


def test_where_the_broker_listens_then(path: str) -> None:
    one = InheritedSocket("", parse_address(f"unix://{path}"), socket.socket())
    one.listening.close()
    assert with_sockets(BrokerConfig(), []).listen == BrokerConfig().listen
    assert with_sockets(BrokerConfig(), [one]).listen == (f"unix://{path}",)
    other = "tcp://127.0.0.1:1"
    assert with_sockets(BrokerConfig(listen=(other,)), [one]).listen == (other, f"unix://{path}")
    both = BrokerConfig(listen=(f"unix://{path}", other))
    assert with_sockets(both, [one]).listen == both.listen


def test_tls_is_spoken_where_the_settings_say_so() -> None:
    passed = parse_address("tcp://127.0.0.1:5124")
    assert is_at(passed, parse_address("tls://127.0.0.1:5124"))
    assert not is_at(passed, parse_address("tls://127.0.0.1:5125"))
    assert not is_at(passed, parse_address("unix:///127.0.0.1"))


async def test_a_port_that_other_machines_reach_needs_more_than_being_passed() -> None:
    [everywhere] = passed(socket.create_server(("0.0.0.0", 0)))
    config = with_sockets(BrokerConfig(), [everywhere])
    with pytest.raises(ConfigError, match="other machines could connect there"):
        await Broker(config, sockets=[everywhere]).start()
    everywhere.listening.close()


async def test_connections_that_came_before_the_broker_are_served(path: str) -> None:
    listening = unix_socket(path)
    with plain_socket(f"unix://{path}") as early:
        sockets = passed(listening)
        config = with_sockets(BrokerConfig(), sockets)
        async with Broker(config, sockets=sockets) as broker:
            assert broker.addresses == [f"unix://{path}"]
            async with connect(broker.addresses[0]) as client:
                assert await client.objects() == ["rob"]
            early.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(early, b'\0\0\0\x21{"HasObject":{"object_name":"a"}}')
            assert b"HasObjectResult" in await loop.sock_recv(early, 1000)
    assert Path(path).is_socket(), "it is not the broker's"
