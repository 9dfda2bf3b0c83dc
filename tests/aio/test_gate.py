"""Who is let in, on real sockets: by whom the kernel says that it is."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any, cast

import pytest

if sys.platform != "linux":
    pytest.skip("other systems tell less", allow_module_level=True)

import grp
import pwd

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.aio import broker as broker_module
from ipc_broker.aio.gate import Entry, Gate
from ipc_broker.errors import ConfigError, PermissionDenied
from ipc_broker.security.principal import OWNER, Principal
from tests.aio.bus import plain_socket, until
from tests.identity.strangers import NOBODY, as_root, line_of, stranger
from tests.messages import call, register
from tests.seed.frames import frame

TCP = "tcp://127.0.0.1:0"
SAY = (
    "family, where, text = sys.argv[1:];"
    " s = socket.socket(socket.AF_UNIX if family == 'unix' else socket.AF_INET);"
    " s.connect(where if family == 'unix' else ('127.0.0.1', int(where))); s.sendall(bytes.fromhex(text));"
    " s.settimeout(10); data = b''.join(iter(lambda: s.recv(65536), b'')) if not sys.stdin.readline() else s.recv(65536);"
    " print(data.hex(), flush=True)"
)
"""Connects, says something, and tells what came: with an empty line on stdin the first piece, else all."""


@pytest.fixture
def open_address(address: str) -> str:
    """Whose folder others may enter."""
    Path(address.removeprefix("unix://")).parent.chmod(0o755)
    return address


def nobody() -> str:
    return pwd.getpwuid(NOBODY).pw_name


async def heard(where: str, *said: bytes) -> list[dict[str, Any]]:
    """What the broker answers to another user before it ends the connection, or to what was said."""
    scheme, _, rest = where.partition("://")
    location = rest if scheme == "unix" else rest.rpartition(":")[2]
    with stranger(SAY, scheme, location, b"".join(said).hex()) as process:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        data = bytes.fromhex(await asyncio.to_thread(line_of, process))
    messages: list[dict[str, Any]] = []
    while data:
        size = int.from_bytes(data[:4])
        messages.append(json.loads(data[4 : 4 + size]))
        data = data[4 + size :]
    return messages


# The broker's own user, and others


async def test_its_own_user_may_do_everything(any_address: str) -> None:
    async with Broker(BrokerConfig(listen=(any_address,))) as broker, connect(broker.addresses[0]) as client:
        assert "time" in await client.call("rob", "inspect")
        [peer] = broker.router.peers
        assert peer.principal is not None
        assert (peer.principal.uid, peer.principal.is_owner) == (os.getuid(), True)
        assert peer.handlers is broker.router.handlers


@as_root
@pytest.mark.parametrize("kind", ["local", "tcp"])
async def test_another_user_is_told_why_not(open_address: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    listen = open_address if kind == "local" else TCP
    async with Broker(BrokerConfig(listen=(listen,), allow_users=("daemon",))) as broker:
        [answer] = await heard(broker.addresses[0], frame(call("1", "rob", "hello")), frame(register("mine")))
        await until(lambda: not broker.router.peers)
        assert len(broker.router.names) == 0
    assert answer["Error"] == {
        "call_id": None,
        "object_name": "rob",
        "message": f"user '{nobody()}' may not use this broker, which is for user 'root': its settings allow_users and"
        " allow_groups let others in",
        "code": "permission_denied",
    }
    assert sum("is turned away" in record.getMessage() for record in caplog.records) == 1


@as_root
@pytest.mark.parametrize("kind", ["local", "tcp"])
@pytest.mark.parametrize("how", ["name", "number", "group"])
async def test_another_user_who_was_let_in(open_address: str, kind: str, how: str) -> None:
    group = grp.getgrgid(NOBODY).gr_name
    config = BrokerConfig(
        listen=(open_address if kind == "local" else TCP,),
        allow_users={"name": (nobody(),), "number": (str(NOBODY),), "group": ()}[how],
        allow_groups=(group,) if how == "group" else (),
    )
    async with Broker(config) as broker:
        assert await heard(broker.addresses[0], frame(register("mine"))) == [{"Registered": {"object_name": "mine"}}]
        [answer] = await heard(broker.addresses[0], frame(call("1", "rob", "inspect")))
        assert answer["Error"]["message"] == (
            f"user '{nobody()}' may not look at what others do on this bus: the default: only the broker's own user and"
            " root may do that"
        )


@as_root
async def test_nobody_else_reaches_a_socket_that_is_for_its_owner(open_address: str) -> None:
    path = open_address.removeprefix("unix://")
    program = (
        "s = socket.socket(socket.AF_UNIX)\ntry:\n s.connect(sys.argv[1])\nexcept PermissionError:\n print('refused')"
    )
    async with Broker(BrokerConfig(listen=(open_address,))):
        with stranger(f"exec({program!r})", path) as process:
            assert await asyncio.to_thread(line_of, process) == "refused"


@pytest.mark.parametrize(
    ("users", "groups", "mode"), [((), (), 0o600), (("daemon",), (), 0o666), ((), ("daemon",), 0o666)]
)
async def test_who_can_connect_at_all_is_said_by_the_mode_of_the_socket(
    address: str, users: tuple[str, ...], groups: tuple[str, ...], mode: int
) -> None:
    path = Path(address.removeprefix("unix://"))
    async with Broker(BrokerConfig(listen=(address,), allow_users=users, allow_groups=groups)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        inode = path.stat().st_ino
        path.rename(path.with_name("elsewhere"))  # while that is there, no other file gets its number
        await until(lambda: path.exists() and path.stat().st_ino != inode)
        assert stat.S_IMODE(path.stat().st_mode) == mode, "also of one that takes the place of a lost one"


async def test_who_has_to_go_may_say_something_first(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose hello finds a closed connection fails before it reads why."""
    refuse_all(monkeypatch)
    async with Broker(BrokerConfig(listen=(address,))) as broker:
        with plain_socket(address) as client:
            await until(lambda: broker.router.totals.refused_connections == 1)
            for _ in range(3):
                await asyncio.sleep(0)
            client.sendall(frame(call("h", "rob", "hello")))
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            data = b""
            while piece := await loop.sock_recv(client, 65_536):
                data += piece
            assert b"may not" in data


async def test_it_waits_for_their_words_only_for_a_while_and_for_few(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_all(monkeypatch)
    monkeypatch.setattr(broker_module, "LINGER", 0.05)
    monkeypatch.setattr(broker_module, "MOST_UNHEARD", 2)
    async with Broker(BrokerConfig(listen=(address,))) as broker:
        silent = [plain_socket(address) for _ in range(4)]
        await until(lambda: broker.router.totals.refused_connections == 4)
        await until(lambda: not broker._connections)
        assert not broker._unheard
        for one in silent:
            one.close()


def refuse_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "_on_this_machine", lambda gate, credentials: Entry(credentials, None, "you may not"))


# TCP


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_of_a_connection_whose_other_end_is_closed_nothing_is_heard(how: str) -> None:
    """Its data is there still, and nobody can tell any more whose it was; the kernel would say root."""
    async with Broker(BrokerConfig(listen=(TCP,))) as broker:
        with plain_socket(broker.addresses[0]) as client:  # accepted in a later turn of the loop
            client.sendall(frame(register("mine")))
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: broker.router.totals.refused_connections)
        await until(lambda: not broker._connections)
        assert broker.router.totals.connections == 0
        assert len(broker.router.names) == 0


async def test_an_end_that_only_sends_no_more_is_told_apart() -> None:
    async with Broker(BrokerConfig(listen=(TCP,))) as broker:
        with plain_socket(broker.addresses[0]) as client:
            client.sendall(frame(call("1", "rob", "ping")))
            client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            data = b""
            while piece := await asyncio.get_running_loop().sock_recv(client, 65_536):
                data += piece
        assert b"pong" in data


class FakeTransport:
    """Tells what a transport tells of a connection."""

    def __init__(self, **infos: object) -> None:
        self._infos = infos

    def get_extra_info(self, name: str) -> object:
        return self._infos.get(name)


def entry_of(gate: Gate, **infos: object) -> Entry:
    return gate.entry(cast(asyncio.BaseTransport, FakeTransport(**infos)))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_that_has_no_address_any_more_is_nobody_s(family: socket.AddressFamily) -> None:
    """Not taken for a local one, whose credentials are empty."""
    with socket.socket(family) as unconnected:
        for name in (None, ""):
            entry = entry_of(Gate(BrokerConfig()), socket=unconnected, peername=name, sockname=("127.0.0.1", 1))
            assert (entry.principal, entry.refusal) == (
                None,
                "the system does not tell whose this connection is: it has ended",
            )


def test_without_credentials_nobody_is_let_in() -> None:
    entry = entry_of(Gate(BrokerConfig()))
    assert entry.principal is None
    assert entry.refusal == "the system does not tell whose this connection is: its credentials are empty"


def test_what_the_system_cannot_answer_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr("ipc_broker.aio.gate.uid_at", fail)
    monkeypatch.setattr("ipc_broker.aio.gate.credentials_of", fail)
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        ends = {"peername": ("127.0.0.1", 2), "sockname": ("127.0.0.1", 1)}
        for entry in (entry_of(Gate(BrokerConfig()), socket=tcp, **ends), entry_of(Gate(BrokerConfig()), socket=local)):
            assert entry.principal is None
            assert entry.refusal == "the system does not tell whose this connection is: not here"


def test_whoever_comes_from_another_machine_has_to_show_a_token() -> None:
    with socket.socket() as tcp:
        ends = {"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 5123)}
        entry = entry_of(Gate(BrokerConfig()), socket=tcp, **ends)
        assert (entry.principal, entry.refusal, entry.credentials.address) == (None, "", "192.0.2.1:4711")
        open_to_all = entry_of(Gate(BrokerConfig(insecure=True)), socket=tcp, **ends)
        assert (open_to_all.principal, open_to_all.refusal) == (OWNER, "")


async def test_where_the_system_does_not_tell_whose_it_is_tcp_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As off Linux."""
    monkeypatch.setattr("ipc_broker.aio.gate.tells_users", lambda host: False)
    async with Broker(BrokerConfig(listen=(TCP,))) as broker:
        with pytest.raises(PermissionDenied, match="this address needs a token"):
            await connect(broker.addresses[0])
    async with Broker(BrokerConfig(listen=(TCP,), insecure=True)) as broker, connect(broker.addresses[0]) as client:
        assert await client.objects() == ["rob"]


def test_a_process_has_its_group_though_no_list_says_so() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        entry = entry_of(Gate(BrokerConfig()), socket=ours)
    assert isinstance(entry.principal, Principal)
    assert grp.getgrgid(os.getgid()).gr_name in entry.principal.groups


@pytest.mark.parametrize("where", ["0.0.0.0", "[::]"])
async def test_other_machines_are_not_let_in_without_being_asked_who_they_are(where: str) -> None:
    if where == "[::]" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    listen = f"tcp://{where}:0"
    broker = Broker(BrokerConfig(listen=(listen,)))
    with pytest.raises(ConfigError, match="other machines could connect there") as caught:
        await broker.start()
    for way_out in ("tls://", "ipc-broker token create", "--insecure"):
        assert way_out in caught.value.message
    assert broker.addresses == []
    await broker.close()


async def test_other_machines_are_let_in_where_that_is_wanted() -> None:
    async with Broker(BrokerConfig(listen=("tcp://0.0.0.0:0",), insecure=True)) as broker:
        port = broker.addresses[0].rpartition(":")[2]
        async with connect(f"tcp://127.0.0.1:{port}") as client:
            assert await client.objects() == ["rob"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BrokerConfig(allow_users=("alice",)), "allow_users: there is no user 'alice' on this system"),
        (BrokerConfig(allow_groups=("staff",)), "allow_groups: there is no group 'staff' on this system"),
    ],
)
def test_whom_to_let_in_must_be_known_where_the_system_asks_for_more_than_names(
    config: BrokerConfig, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows does, whose access control lists have SIDs."""
    monkeypatch.setattr("ipc_broker.aio.gate.as_known", {"bob": "S-1-5-21-1"}.get)
    with pytest.raises(ConfigError, match=message):
        Broker(config)
    assert Gate(BrokerConfig(allow_users=("bob",))).others == ("S-1-5-21-1",)
