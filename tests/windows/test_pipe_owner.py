"""Whose pipe a client says something to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import ipc_broker.sync
from ipc_broker import connect
from ipc_broker.errors import ConnectFailed, UntrustedBroker
from tests.windows.buses import PATIENCE

if sys.platform == "win32":
    import _winapi

    from ipc_broker.identity.accounts import own_sid
    from ipc_broker.identity.pipe_access import descriptor_of
    from ipc_broker.identity.pipe_ends import create_instance
    from tests.windows.strangers import STRANGER, new_name, path_of, said_to, stranger_s_pipe
else:
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere


@pytest.fixture
def name() -> str:
    return new_name()


def clients() -> dict[str, Callable[..., Any]]:
    async def once(address: str, **settings: Any) -> None:
        await (await connect(address, timeout=0.5, **settings)).close()

    return {
        "asyncio": lambda address, **settings: asyncio.run(once(address, **settings)),
        "blocking": lambda address, **settings: ipc_broker.sync.connect(address, timeout=0.5, **settings).close(),
    }


@pytest.mark.parametrize("kind", clients())
def test_a_stranger_s_pipe_is_told_nothing(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"pipe://{name}"
    monkeypatch.delenv("BROKER_TRUST", raising=False)
    expected = (
        f"what listens at {address} belongs to user '{STRANGER}', who is neither you nor an administrator: nothing was"
    )
    with stranger_s_pipe(name) as handle:
        with pytest.raises(UntrustedBroker, match=expected):
            clients()[kind](address)
        assert said_to(handle) == 0
    with stranger_s_pipe(name), pytest.raises(UntrustedBroker, match=expected):
        clients()[kind](address, trust_users=["SYSTEM", "nobody-of-this-name"])


@pytest.mark.parametrize("kind", clients())
@pytest.mark.parametrize("trusted", [STRANGER, "*"])
def test_a_stranger_s_pipe_is_spoken_to_by_who_trusts_him(name: str, kind: str, trusted: str) -> None:
    with stranger_s_pipe(name) as handle:
        with pytest.raises(ConnectFailed, match="did not answer within"):
            clients()[kind](f"pipe://{name}", trust_users=[trusted])
        assert said_to(handle) > 0


@pytest.mark.parametrize("kind", clients())
def test_of_a_pipe_without_an_owner_nobody_knows_whose_it_is(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Wine's are that were made without access rights."""
    monkeypatch.setattr("ipc_broker.identity.pipe_ends.owner_of", lambda handle: None)
    handle = create_instance(path_of(name), descriptor_of(own_sid()), first=True)
    try:
        with pytest.raises(UntrustedBroker, match=r"this system does not tell whose the broker at .* is"):
            clients()[kind](f"pipe://{name}")
        assert said_to(handle) == 0
    finally:
        _winapi.CloseHandle(handle)


def test_rob_says_whom_it_does_not_trust(name: str) -> None:
    with stranger_s_pipe(name):
        ended = subprocess.run(
            [sys.executable, "-m", "ipc_broker.cli.rob", "ping", "--address", f"pipe://{name}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"belongs to user '{STRANGER}'" in ended.stderr
