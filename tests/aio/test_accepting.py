"""Accepting where the system has no room for more, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from ipc_broker.address import Address
from ipc_broker.aio import accepting
from ipc_broker.aio.accepting import Acceptor
from tests.aio.bus import until

WHERE = Address("tcp", "127.0.0.1", 5123)  # for messages


class Full(socket.socket):
    """A listening socket at which nobody can be accepted while `failure` is set."""

    failure = 0
    asked = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if self.failure:
            raise OSError(self.failure, os.strerror(self.failure))
        return super().accept()


class Served(asyncio.Protocol):
    def __init__(self, made: list[Served]) -> None:
        self._made = made
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._made.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.fixture
def listening() -> Iterator[Full]:
    with bound() as listening:
        yield listening


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "RETRY", 0.01)
    monkeypatch.setattr(accepting, "CALM", 0.05)


@pytest.fixture
def made() -> list[Served]:
    return []


def bound() -> Full:
    listening = Full(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    return listening


def connected(listening: socket.socket) -> socket.socket:
    client = socket.create_connection(listening.getsockname(), 5)
    client.setblocking(False)
    return client


async def echo(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"?")
    return await loop.sock_recv(client, 10)


async def end(acceptor: Acceptor, made: list[Served]) -> None:
    acceptor.close()
    await acceptor.wait_closed()
    for served in made:
        served.transport.abort()
        await served.lost.wait()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_it_pauses_serves_those_who_are_there_and_goes_on(
    number: int, listening: Full, made: list[Served], quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with connected(listening) as early, contextlib.ExitStack() as late:
        assert await echo(early) == b"?"
        listening.failure = number
        clients = [late.enter_context(connected(listening)) for _ in range(3)]
        asked = listening.asked
        await until(lambda: listening.asked >= asked + 3)
        assert await echo(early) == b"?"
        assert len(made) == 1
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith(
            f"no more connections are accepted at {WHERE} until this is over: {os.strerror(number)}"
        )
        assert ("ulimit" in record.getMessage()) == (number == errno.EMFILE)
        listening.failure = 0
        for client in clients:
            assert await echo(client) == b"?"
        await until(lambda: len(caplog.records) == 2)
        assert caplog.records[1].getMessage() == f"connections are accepted at {WHERE} again"
    await end(acceptor, made)


async def test_at_the_limit_each_place_that_gets_free_is_taken_and_the_log_stays_quiet(
    listening: Full, made: list[Served], quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "CALM", 10.0)
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            listening.failure = errno.EMFILE
            client = clients.enter_context(connected(listening))
            asked = listening.asked
            await until(lambda asked=asked: listening.asked >= asked + 2)  # type: ignore[misc]  # it is the loop's
            listening.failure = 0
            assert await echo(client) == b"?"
    assert len(caplog.records) == 1
    await end(acceptor, made)


async def test_a_pause_ends_with_the_acceptor(listening: Full, made: list[Served], quick: None) -> None:
    listening.failure = errno.EMFILE
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with connected(listening):
        await until(lambda: listening.asked)
        await end(acceptor, made)
        asked = listening.asked
        await asyncio.sleep(5 * accepting.RETRY)
        assert listening.asked == asked


async def test_whoever_has_gone_before_he_was_accepted_keeps_nobody_waiting(
    listening: Full, made: list[Served]
) -> None:
    with connected(listening) as gone:
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it is reset, not closed
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with connected(listening) as client:
        assert await echo(client) == b"?"
    await end(acceptor, made)


async def test_more_than_one_turn_takes_are_accepted_one_turn_later(
    listening: Full, made: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "AT_ONCE", 2)
    with contextlib.ExitStack() as clients:
        for _ in range(7):
            clients.enter_context(connected(listening))
        acceptor = Acceptor(listening, WHERE, lambda: Served(made))
        await until(lambda: len(made) == 7)
    await end(acceptor, made)


async def test_what_was_accepted_in_the_last_moment_is_waited_for(listening: Full, made: list[Served]) -> None:
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with connected(listening):
        await until(lambda: listening.asked)
        acceptor.close()
        await acceptor.wait_closed()
        assert len(made) == 1
    await end(acceptor, made)


async def test_it_moves_to_another_socket_and_forgets_nobody(listening: Full, made: list[Served]) -> None:
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    other = bound()
    with connected(listening) as early, connected(other) as late:
        acceptor.move_to(other)
        assert await echo(early) == b"?"
        assert await echo(late) == b"?"
        assert listening.fileno() == -1
    await end(acceptor, made)


async def test_it_moves_to_another_socket_in_a_pause_too(listening: Full, made: list[Served], quick: None) -> None:
    listening.failure = errno.EMFILE
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    other = bound()
    with connected(listening), connected(other) as late:
        await until(lambda: listening.asked)
        acceptor.move_to(other)
        assert await echo(late) == b"?"
    await end(acceptor, made)


async def test_connections_that_wait_for_their_peer_are_looked_after_by_the_kernel(
    listening: Full, made: list[Served]
) -> None:
    acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    with connected(listening):
        await until(lambda: made)
        accepted = made[0].transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 6
    await end(acceptor, made)


async def test_a_connection_that_the_loop_cannot_take_is_told_and_closed(
    listening: Full, made: list[Served], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()

    async def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "connect_accepted_socket", refuse)
        acceptor = Acceptor(listening, WHERE, lambda: Served(made))
        with connected(listening) as unlucky:
            assert await loop.sock_recv(unlucky, 10) == b""
    assert [record.getMessage() for record in caplog.records] == [
        f"a connection at {WHERE} came to nothing: No space left on device"
    ]
    with connected(listening) as client:
        assert await echo(client) == b"?"
    await end(acceptor, made)


async def test_a_loop_that_cannot_tell_when_a_socket_is_readable(
    listening: Full, made: list[Served], quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Windows' Proactor loop is one."""
    loop = asyncio.get_running_loop()
    sock_accept = loop.sock_accept
    full = False

    def no_readers(*arguments: object) -> None:
        raise NotImplementedError

    async def accept(listening: socket.socket) -> tuple[socket.socket, Any]:
        if full:
            raise OSError(errno.EMFILE, "Too many open files")
        return await sock_accept(listening)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "add_reader", no_readers)
        patched.setattr(loop, "sock_accept", accept)
        acceptor = Acceptor(listening, WHERE, lambda: Served(made))
    patched.undo()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "sock_accept", accept)
        with connected(listening) as first:
            assert await echo(first) == b"?"
            full = True
            with connected(listening) as second:
                assert await echo(second) == b"?"  # it was waited for already
                await until(lambda: caplog.records)
                with connected(listening) as third:
                    assert await echo(first) == b"?"
                    full = False
                    assert await echo(third) == b"?"
        await until(lambda: len(caplog.records) == 2)
        await end(acceptor, made)
