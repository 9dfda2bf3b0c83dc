"""A socket's file that is lost under a running listener."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

if sys.platform == "win32":
    pytest.skip("Windows' Python has no Unix sockets", allow_module_level=True)

from ipc_broker.address import Address
from ipc_broker.aio import unix
from ipc_broker.aio.listening import Listener, listen
from ipc_broker.errors import ListenFailed
from tests.aio.bus import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(unix, "ASK_EVERY", 0.05)


@pytest.fixture
def path(address: str) -> Path:
    """In a folder of its own."""
    folder = Path(address.removeprefix("unix://")).parent / "run"
    folder.mkdir()
    return folder / "bus.sock"


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@asynccontextmanager
async def listening_at(path: Path) -> AsyncIterator[Listener]:
    listener = await listen(Address("unix", str(path)), Echo)
    try:
        yield listener
    finally:
        listener.close()
        await listener.wait_closed()


@contextlib.contextmanager
def somebody_else_at(path: Path, backlog: int = 5) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(backlog)
        other.setblocking(False)
        yield other


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.setblocking(False)
    return client


async def echo(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"?")
    return await loop.sock_recv(client, 10)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


async def test_it_is_made_anew_and_who_is_connected_stays(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening_at(path) as listener:
        with connected(path) as early:
            assert await echo(early) == b"?"
            path.unlink()
            await until(path.exists)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with connected(path) as late:
                assert await echo(late) == b"?"
            assert await echo(early) == b"?"
        assert said(caplog) == [
            (logging.WARNING, f"somebody removed the socket of {listener.address}: there is a new one now")
        ]
        path.unlink()
        await until(path.exists)
    assert not path.exists()


async def test_who_connected_in_the_moment_before_is_not_forgotten(path: Path) -> None:
    async with listening_at(path):
        with connected(path) as early:
            path.unlink()
            await until(path.exists)
            assert await echo(early) == b"?"


async def test_a_stale_socket_in_its_place_is_replaced(path: Path) -> None:
    async with listening_at(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        await until(lambda: answers(path))
    assert not path.exists()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


async def test_somebody_elses_socket_is_left_alone_until_it_goes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening_at(path) as listener:
        with connected(path) as early:
            assert await echo(early) == b"?"
            with somebody_else_at(Path(f"{path}.new"), backlog=100) as other:
                Path(f"{path}.new").rename(path)
                theirs = path.stat().st_ino
                for _ in range(3):  # it is asked more than once
                    asked, _ = await asyncio.get_running_loop().sock_accept(other)
                    asked.close()
                assert path.stat().st_ino == theirs
                [(level, message)] = said(caplog)
                assert level == logging.ERROR
                assert message.startswith(
                    f"the socket of {listener.address} is gone, and nobody can connect there for now: cannot listen on"
                )
                assert "listens there already" in message
            assert path.exists()  # it is stale now
            await until(lambda: answers(path))
            assert await echo(early) == b"?"
        assert said(caplog)[1:] == [(logging.WARNING, f"listens on {listener.address} again")]


async def test_somebody_elses_file_is_left_alone_until_it_goes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening_at(path) as listener:
        path.unlink()
        path.write_text("precious")
        await until(lambda: caplog.records)
        await asyncio.sleep(4 * unix.ASK_EVERY)
        assert path.read_text() == "precious"
        assert len(caplog.records) == 1
        assert "there is a file there that is no socket" in caplog.records[0].getMessage()
        path.unlink()
        await until(lambda: answers(path))
        assert said(caplog)[1:] == [(logging.WARNING, f"listens on {listener.address} again")]


async def test_a_folder_that_is_gone_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening_at(path) as listener:
        shutil.rmtree(path.parent)
        await until(lambda: caplog.records)
        await asyncio.sleep(10 * unix.LOOK_EVERY)
        assert [level for level, _ in said(caplog)] == [logging.ERROR]
        assert "No such file or directory" in caplog.records[0].getMessage()
        path.parent.mkdir()
        await until(lambda: answers(path))
        assert said(caplog)[1:] == [(logging.WARNING, f"listens on {listener.address} again")]


async def test_a_folder_that_became_a_file_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening_at(path):
        shutil.rmtree(path.parent)
        path.parent.write_text("a file")
        await until(lambda: caplog.records)
        path.parent.unlink()
        path.parent.mkdir()
        await until(lambda: answers(path))


async def test_one_that_was_moved_away_and_back_is_said_to_be_there_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening_at(path) as listener:
        with monkeypatch.context() as patched:

            def full(*arguments: object) -> socket.socket:
                raise OSError(errno.EMFILE, "Too many open files")

            patched.setattr(unix, "_listen_at", full)
            moved = path.rename(path.with_name("elsewhere"))
            await until(lambda: caplog.records)
            moved.rename(path)
            await until(lambda: len(caplog.records) == 2)
        assert [message for _, message in said(caplog)] == [
            f"the socket of {listener.address} is gone, and nobody can connect there for now:"
            f" cannot listen on {listener.address}: Too many open files",
            f"listens on {listener.address} again",
        ]
        with connected(path) as client:
            assert await echo(client) == b"?"


async def test_on_close_somebody_elses_socket_stays_and_nothing_is_made_anew(path: Path) -> None:
    async with listening_at(path):
        with somebody_else_at(Path(f"{path}.new")):
            Path(f"{path}.new").rename(path)
    assert path.is_socket()
    await asyncio.sleep(5 * unix.LOOK_EVERY)
    assert path.is_socket()
    assert not answers(path)


async def test_two_listeners_do_not_take_the_place_from_each_other(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening_at(path):
        path.unlink()
        try:
            second = await listen(Address("unix", str(path)), Echo)
        except ListenFailed:  # the first was quicker
            await until(lambda: answers(path))
            return
        inode = os.stat(path).st_ino
        await until(lambda: caplog.records)
        assert os.stat(path).st_ino == inode
        second.close()
        await until(lambda: answers(path))


async def test_a_file_that_cannot_be_removed_does_not_keep_it_from_closing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    async with listening_at(path) as listener:
        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", refuse)
            listener.close()
        assert not answers(path)
        assert said(caplog) == [
            (logging.WARNING, f"the socket of {listener.address} cannot be removed: Permission denied")
        ]
    path.unlink(missing_ok=True)
