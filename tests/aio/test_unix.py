"""Unix sockets: private, stale, alive, or not sockets at all."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("Windows' Python has no Unix sockets", allow_module_level=True)

import fcntl

from ipc_broker.address import Address
from ipc_broker.aio.listening import listen
from ipc_broker.credentials import Credentials
from ipc_broker.errors import ListenFailed
from ipc_broker.identity.peer import credentials_of

LISTEN_AND_TELL = (
    "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
    " print('listening', flush=True); sys.stdin.read()"
)


@pytest.fixture
def where(address: str) -> Address:
    return Address("unix", address.removeprefix("unix://"))


@pytest.fixture
def path(where: Address) -> Path:
    return Path(where.location)


def leave_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


class Accepted(asyncio.Protocol):
    """Tells who connected."""

    def __init__(self, told: asyncio.Future[Credentials]) -> None:
        self._told = told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._told.set_result(credentials_of(transport.get_extra_info("socket")))
        transport.close()


async def test_only_its_owner_can_connect_from_the_first_moment(
    where: Address, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    class Watched(socket.socket):
        def bind(self, name: Any) -> None:
            super().bind(name)
            modes.append(stat.S_IMODE(path.stat().st_mode))

    mask = os.umask(0o000)
    try:
        monkeypatch.setattr(socket, "socket", Watched)
        listener = await listen(where, asyncio.Protocol)
        monkeypatch.undo()
        assert os.umask(0o000) == 0o000, "the process's umask was not put back"
    finally:
        os.umask(mask)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()


async def test_a_stale_socket_is_replaced(where: Address, path: Path) -> None:
    leave_stale_socket(path)
    path.chmod(0o666)
    listener = await listen(where, asyncio.Protocol)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(where.location)
    listener.close()


async def test_a_live_socket_is_refused_with_the_name_of_its_process(where: Address, path: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - the loop has nothing else to do
        [sys.executable, "-c", LISTEN_AND_TELL, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"listening\n"
        before = path.stat().st_ino
        with pytest.raises(ListenFailed) as caught:
            await listen(where, asyncio.Protocol)
        other.communicate(b"")
    if sys.platform == "linux":
        name = Path(sys.executable).name[:15]
        assert str(caught.value) == (
            f"cannot listen on {where}: process {other.pid} ({name}) listens there already; "
            "stop it or choose another address"
        )
    assert "listens there already; stop it or choose another address" in str(caught.value)
    assert path.stat().st_ino == before


async def test_a_live_socket_that_accepts_nothing_is_refused_too(where: Address, path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere a full backlog refuses connections, as a stale socket does")
    with socket.socket(socket.AF_UNIX) as stuck, socket.socket(socket.AF_UNIX) as first:
        stuck.bind(str(path))
        stuck.listen(0)
        first.connect(str(path))
        with pytest.raises(ListenFailed, match="a process that accepts no connections listens there already"):
            await listen(where, asyncio.Protocol)


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_what_is_no_socket_stays_untouched(kind: str, where: Address, path: Path) -> None:
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(ListenFailed) as caught:
        await listen(where, asyncio.Protocol)
    assert str(caught.value).startswith(f"cannot listen on {where}: ")
    assert "no socket; remove it or choose another" in str(caught.value)
    assert path.is_dir() if kind == "folder" else path.read_text() == "precious"


async def test_a_folder_that_is_missing(where: Address, path: Path) -> None:
    inside = Address("unix", f"{path.parent}/missing/bus.sock")
    with pytest.raises(ListenFailed, match=f"cannot listen on {inside}: No such file or directory"):
        await listen(inside, asyncio.Protocol)


async def test_a_relative_path_is_one_in_the_current_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    listener = await listen(Address("unix", "here.sock"), asyncio.Protocol)
    assert path.with_name("here.sock").is_socket()
    listener.close()
    assert not path.with_name("here.sock").exists()


async def test_two_that_start_at_the_same_moment_do_not_take_each_others_place(where: Address, path: Path) -> None:
    leave_stale_socket(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(ListenFailed, match=f"another broker is just starting in {path.parent}; try again"):
            await listen(where, asyncio.Protocol)
    finally:
        os.close(descriptor)
    (await listen(where, asyncio.Protocol)).close()


async def test_the_file_is_removed_on_close(where: Address, path: Path) -> None:
    listener = await listen(where, asyncio.Protocol)
    assert path.is_socket()
    listener.close()
    assert not path.exists()


async def test_somebody_elses_file_is_not_removed_on_close(where: Address, path: Path) -> None:
    listener = await listen(where, asyncio.Protocol)
    other = await listen(Address("unix", f"{path}.new"), asyncio.Protocol)
    Path(f"{path}.new").rename(path)  # while both exist, so that their inodes differ
    listener.close()
    assert path.is_socket()
    other.close()
    path.unlink()


async def test_a_file_that_is_gone_already_is_no_error(where: Address, path: Path) -> None:
    listener = await listen(where, asyncio.Protocol)
    path.unlink()
    listener.close()
    assert not path.exists()


async def test_the_kernel_says_who_connected(where: Address) -> None:
    if sys.platform != "linux":
        pytest.skip("known on Linux only")
    told: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()
    listener = await listen(where, lambda: Accepted(told))
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(where.location)
        assert await told == Credentials(pid=os.getpid(), uid=os.getuid(), gid=os.getgid())
    listener.close()


async def test_over_tcp_nobody_says_who_connected() -> None:
    told: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()
    listener = await listen(Address("tcp", "127.0.0.1", 0), lambda: Accepted(told))
    with socket.create_connection(("127.0.0.1", listener.address.port)):
        assert await told == Credentials()
    listener.close()
