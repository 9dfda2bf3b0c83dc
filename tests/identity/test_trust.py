"""Brokers of strangers are told nothing."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("who serves a named pipe is asked elsewhere", allow_module_level=True)

from ipc_broker.address import Address
from ipc_broker.errors import UntrustedBroker
from ipc_broker.identity.trust import require_trusted, trusted_users
from ipc_broker.identity.users import own_user, user_name
from tests.identity.strangers import NOBODY, as_root, line_of, stranger

LISTEN = (
    "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777);"
    " s.listen(); print('listening', flush=True); sys.stdin.read()"
)
LISTEN_ON_TCP = (
    "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); c, _ = s.accept();"
    " sys.stdin.read()"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One in which anybody may put something, as in /tmp."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.owner() == own_user() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o005)
    tmp_path.chmod(0o777)
    return tmp_path


def connected_to(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(path))
    return connected


def test_our_own_broker_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with connected_to(path) as connected:
            require_trusted(connected, Address("unix", str(path)), ())


@as_root
def test_a_squatted_path_is_not(folder: Path) -> None:
    path = folder / "x"
    address = Address("unix", str(path))
    name = user_name(NOBODY)
    with stranger(LISTEN, str(path)) as process:
        assert line_of(process) == "listening"
        with connected_to(path) as connected:
            expected = (
                f"what listens at {address} belongs to user '{name}', who is neither you nor root: nothing was sent"
            )
            with pytest.raises(UntrustedBroker, match=re.escape(expected)):
                require_trusted(connected, address, ["somebody-else"])
            for trusted in ([name], [str(NOBODY)], ["*"]):
                require_trusted(connected, address, trusted)


@as_root
def test_a_squatted_port_is_not() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells whose a TCP socket is")
    with stranger(LISTEN_ON_TCP) as process:
        port = int(line_of(process))
        with (
            socket.create_connection(("127.0.0.1", port)) as connected,
            pytest.raises(UntrustedBroker, match="nothing was sent"),
        ):
            require_trusted(connected, Address("tcp", "127.0.0.1", port), ())


def test_a_port_at_which_nobody_listens_any_more_is_not() -> None:
    """Whoever has accepted the connection may be anybody."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells whose a TCP socket is")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as connected:
        accepted, _ = listening.accept()
        listening.close()
        with accepted, pytest.raises(UntrustedBroker, match=r"nobody listens at .* any more: nothing was sent"):
            require_trusted(connected, Address("tcp", "127.0.0.1", port), ())


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, set()),
        (None, "bus, 1000,,", {"bus", "1000"}),
        (["bus"], "others", {"bus"}),
        ("bus", "others", {"bus"}),
        ([], "others", set()),
    ],
)
def test_who_is_trusted(argument: Collection[str] | None, variable: str | None, expected: set[str]) -> None:
    environ = {} if variable is None else {"BROKER_TRUST": variable}
    assert trusted_users(argument, environ) == expected


def test_users_have_names() -> None:
    assert user_name(os.getuid()) == own_user()
    assert user_name(3_999_999_999) == "3999999999"
