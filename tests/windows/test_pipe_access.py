"""Who may connect to a broker's pipe."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

import ipc_broker.sync
from ipc_broker import Broker, connect
from ipc_broker.errors import ConfigError, ConnectFailed, ListenFailed
from tests.aio.bus import until
from tests.windows.buses import PATIENCE, USERS, config_at, run

if sys.platform == "win32":
    import _winapi

    from ipc_broker.aio import pipes
    from ipc_broker.identity.accounts import account_name, own_sid
    from ipc_broker.identity.pipe_access import CONNECT, descriptor_of
    from ipc_broker.identity.pipe_ends import create_instance, open_end, owner_of
    from tests.windows.strangers import (
        STRANGER,
        as_windows_writes,
        descriptor_at,
        enforced,
        new_name,
        path_of,
        stranger_s_pipe,
    )
else:
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere


@pytest.fixture
def name() -> str:
    return new_name()


def test_every_instance_is_for_the_owner_and_for_this_machine_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    create = _winapi.CreateNamedPipe

    def recorded(path: str, open_mode: int, pipe_mode: int, *rest: Any) -> int:
        made.append((open_mode, pipe_mode))
        return create(path, open_mode, pipe_mode, *rest)

    monkeypatch.setattr(_winapi, "CreateNamedPipe", recorded)

    async def scenario() -> None:
        async with Broker(config_at(name)), connect(f"pipe://{name}"), connect(f"pipe://{name}"):
            seen: list[str] = []
            ends: list[int] = []
            try:
                for _ in range(3):
                    ends.append(await opened(name))
                    seen.append(descriptor_at(ends[-1]))
                assert set(seen) == {as_windows_writes(descriptor_of(own_sid()))}
            finally:
                for end in ends:
                    _winapi.CloseHandle(end)

    run(scenario)
    first = _winapi.FILE_FLAG_FIRST_PIPE_INSTANCE
    assert len(made) >= 4
    assert [bool(open_mode & first) for open_mode, _ in made] == [True] + [False] * (len(made) - 1)
    assert {pipe_mode for _, pipe_mode in made} == {0x00000008}, "PIPE_REJECT_REMOTE_CLIENTS, and bytes"


async def opened(name: str) -> int:
    """A client's end; as ours do, it waits for an instance."""
    while True:
        try:
            return open_end(path_of(name))
        except OSError as error:
            if error.winerror != _winapi.ERROR_PIPE_BUSY:
                raise
        await asyncio.sleep(0.001)


def test_others_are_let_in_by_name(name: str) -> None:
    async def scenario() -> None:
        config = config_at(name, allow_users=(STRANGER, "LOCAL SERVICE"), allow_groups=(account_name(USERS),))
        async with Broker(config):
            end = await opened(name)
            try:
                others = ["S-1-5-19", STRANGER, USERS]
                assert descriptor_at(end) == as_windows_writes(descriptor_of(own_sid(), others))
            finally:
                _winapi.CloseHandle(end)

    run(scenario)


@pytest.mark.parametrize("setting", ["allow_users", "allow_groups"])
def test_a_name_that_windows_does_not_know(name: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting}: there is no .* 'nobody-of-this-name' on this system"):
        Broker(config_at(name, **{setting: ("nobody-of-this-name",)}))


@enforced
def test_whom_no_right_is_given_cannot_connect(name: str) -> None:
    handle = create_instance(path_of(name), f"O:{own_sid()}D:P(A;;FA;;;{STRANGER})", first=True)
    try:
        with pytest.raises(ConnectFailed):
            ipc_broker.sync.connect(f"pipe://{name}", timeout=5)
        with pytest.raises(PermissionError):
            create_instance(path_of(name), descriptor_of(own_sid()), first=False)
    finally:
        _winapi.CloseHandle(handle)


@enforced
def test_who_may_connect_may_not_serve(name: str) -> None:
    """Our clients ask for no more than that; GENERIC_WRITE would be more."""
    handle = create_instance(path_of(name), f"O:{own_sid()}D:P(A;;{CONNECT:#x};;;{own_sid()})", first=True)
    try:
        with pytest.raises(PermissionError):
            create_instance(path_of(name), descriptor_of(own_sid()), first=False)
        everything = _winapi.GENERIC_READ | _winapi.GENERIC_WRITE
        with pytest.raises(PermissionError):
            _winapi.CreateFile(path_of(name), everything, 0, 0, _winapi.OPEN_EXISTING, 0, 0)
        _winapi.CloseHandle(open_end(path_of(name)))
    finally:
        _winapi.CloseHandle(handle)


def test_a_pipe_that_is_there_already_is_not_joined(name: str) -> None:
    async def scenario() -> None:
        with stranger_s_pipe(name), pytest.raises(ListenFailed, match="another process serves this pipe"):
            await Broker(config_at(name)).start()

    run(scenario)


def test_a_pipe_that_others_have_made_meanwhile_is_not_joined(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Instances that are made later have the rights that the first was given, whoever has made that."""
    looked = 0

    def another_s(handle: int) -> str | None:
        nonlocal looked
        looked += 1
        return STRANGER if looked == 1 else owner_of(handle)

    monkeypatch.setattr(pipes, "owner_of", another_s)

    async def scenario() -> None:
        async with Broker(config_at(name)), connect(f"pipe://{name}") as client:
            assert await client.call("rob", "ping") == "pong"
            async with connect(f"pipe://{name}", timeout=PATIENCE) as another:
                assert await another.call("rob", "ping") == "pong"

    run(scenario)
    told = [record.getMessage() for record in caplog.records if "accepted at" in record.getMessage()]
    assert told == [
        f"no more connections are accepted at pipe://{name} until this is over: '{STRANGER}' has made a pipe of this name"
        " meanwhile",
        f"connections are accepted at pipe://{name} again",
    ]


def test_who_comes_and_goes_at_once_keeps_nobody_out(name: str) -> None:
    async def scenario() -> None:
        async with Broker(config_at(name)) as broker:
            for _ in range(50):
                _winapi.CloseHandle(await opened(name))
            async with connect(f"pipe://{name}") as client:
                assert await client.call("rob", "ping") == "pong"
            await until(lambda: not broker.router.peers)

    run(scenario)


def test_a_broker_that_stops_leaves_no_pipe(name: str) -> None:
    async def scenario() -> None:
        for _ in range(3):
            async with Broker(config_at(name)), connect(f"pipe://{name}") as client:
                assert await client.call("rob", "ping") == "pong"
            with pytest.raises(ConnectFailed):
                await connect(f"pipe://{name}")

    run(scenario)
