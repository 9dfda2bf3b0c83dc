"""Whose the other end of a TCP connection is, asked of the real kernel."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

if sys.platform != "linux":
    pytest.skip("only Linux tells", allow_module_level=True)

from ipc_broker.identity import sock_diag
from ipc_broker.identity.sock_diag import is_loopback, tells_users, uid_at, uids_listening_at
from tests.identity.strangers import NOBODY, as_root, line_of, stranger

CONNECT_AND_WAIT = (
    "s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.sendall(b'x');"
    " print(s.getsockname()[1], flush=True); sys.stdin.readline(); s.close(); print('closed', flush=True);"
    " sys.stdin.readline()"
)


class Ends(NamedTuple):
    ours: socket.socket
    theirs: socket.socket

    def uid(self) -> int | None:
        return uid_at(self.ours.getsockname()[:2], self.ours.getpeername()[:2])


@pytest.fixture(params=["netlink", "/proc"], autouse=True)
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the kernel is asked; where there is no netlink, /proc is read."""
    if request.param == "/proc":

        def no_netlink(*arguments: object) -> bytes:
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))

        monkeypatch.setattr(sock_diag, "_ask", no_netlink)
        monkeypatch.setattr(sock_diag, "_listeners_by_netlink", no_netlink)
    return str(request.param)


@pytest.fixture(params=["127.0.0.1", "::1"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        listening.listen()
        with socket.create_connection(listening.getsockname()[:2]) as theirs:
            accepted, _ = listening.accept()
            with accepted:
                yield Ends(accepted, theirs)


def test_it_is_whose_process_connected(ends: Ends) -> None:
    assert ends.uid() == os.getuid()


def test_from_the_other_end_too(ends: Ends) -> None:
    assert Ends(ends.theirs, ends.ours).uid() == os.getuid()


def test_one_that_has_said_all_and_waits_for_the_answer_is_known_still(ends: Ends) -> None:
    ends.ours.shutdown(socket.SHUT_WR)
    assert ends.uid() == os.getuid()


def test_nobody_s_is_a_socket_that_was_closed_with_data_to_be_read(ends: Ends) -> None:
    where = ends.ours.getsockname()[:2], ends.ours.getpeername()[:2]
    ends.theirs.sendall(b"read me later")
    ends.theirs.close()
    assert uid_at(*where) is None


def test_nobody_s_is_a_connection_that_there_is_not(ends: Ends) -> None:
    host, port = ends.ours.getsockname()[:2]
    assert uid_at((host, port), (host, port)) is None


@as_root
def test_a_stranger_is_a_stranger_and_never_root() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with stranger(CONNECT_AND_WAIT, str(port)) as process:
            theirs = "127.0.0.1", int(line_of(process))
            accepted, _ = listening.accept()
            with accepted:
                assert uid_at(accepted.getsockname()[:2], theirs) == NOBODY
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
                assert line_of(process) == "closed"
                assert uid_at(accepted.getsockname()[:2], theirs) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_who_listens(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listening.listen()
        port = listening.getsockname()[1]
        assert uids_listening_at(("::1" if ":" in host else "127.0.0.1", port)) == {os.getuid()}
        assert uids_listening_at(("127.0.0.9", port)) == (set() if host in ("127.0.0.1", "::1") else {os.getuid()})


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        where = "127.0.0.1", unused.getsockname()[1]
    assert uids_listening_at(where) == set()


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False)])
def test_of_which_connections_the_system_tells(host: str, expected: bool) -> None:
    assert tells_users(host) is expected
