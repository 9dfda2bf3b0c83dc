"""Who a broker finds has connected to its pipe, and what they may do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.aio.gate import Gate
from ipc_broker.aio.permissions import read_policy
from ipc_broker.errors import CallError, ConnectFailed, PermissionDenied
from ipc_broker.identity.sids import ADMINISTRATORS, SYSTEM, is_sid
from ipc_broker.security.principal import OWNER, Principal
from tests.windows.buses import PATIENCE, USERS, config_at, run

if sys.platform == "win32":
    from ipc_broker.identity.accounts import Holder, account_name, own_sid
    from ipc_broker.identity.pipe_ends import PipeClient
    from tests.windows.strangers import IS_WINE, STRANGER, new_name
else:
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere


@pytest.fixture
def name() -> str:
    return new_name()


def test_the_broker_knows_whose_process_has_connected(name: str) -> None:
    async def scenario() -> None:
        async with Broker(config_at(name)) as broker:
            async with connect(f"pipe://{name}") as client:
                assert await client.call("rob", "ping") == "pong"
                [peer] = broker.router.peers
                assert peer.credentials.pid == os.getpid()
                assert peer.principal is not None
                assert (peer.principal.sid, peer.principal.user) == (own_sid(), account_name(own_sid()))
                assert peer.principal.is_owner
                assert all(map(is_sid, peer.principal.groups))
                assert "S-1-5-11" in peer.principal.groups, "authenticated users, of whom everybody is"
            program = (
                "import sys; from ipc_broker.sync import connect; client = connect(sys.argv[1]); print(flush=True);"
                " sys.stdin.read()"
            )
            command = [sys.executable, "-c", program, f"pipe://{name}"]
            pipe = subprocess.PIPE
            process = await asyncio.to_thread(subprocess.Popen, command, stdin=pipe, stdout=pipe)
            try:
                assert process.stdout is not None
                await asyncio.to_thread(process.stdout.readline)
                [peer] = broker.router.peers
                assert peer.credentials.pid == process.pid
            finally:
                await asyncio.to_thread(process.communicate, timeout=PATIENCE)

    run(scenario)


async def principal_at(name: str, config: BrokerConfig) -> tuple[Principal | None, str]:
    """What the broker has made of the only one who is there, and why they had to go."""
    async with Broker(config) as broker:
        try:
            async with connect(f"pipe://{name}"):
                [peer] = broker.router.peers
                return peer.principal, ""
        except (CallError, ConnectFailed) as error:
            return None, str(error)


@pytest.fixture
def comes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Holder | None], None]:
    """Makes Windows say that whoever connects is another."""

    def says(holder: Holder | None) -> None:
        monkeypatch.setattr("ipc_broker.aio.gate.client_of", lambda handle: PipeClient(4711, holder))

    return says


def test_others_have_their_own_rights(name: str, comes: Callable[[Holder | None], None]) -> None:
    async def scenario() -> None:
        comes(Holder(STRANGER, frozenset({USERS})))
        _, refused = await principal_at(name, config_at(name))
        assert f"user '{STRANGER}' may not use this broker" in refused
        for config in (config_at(name, allow_users=(STRANGER,)), config_at(name, allow_groups=(USERS,))):
            principal, refused = await principal_at(name, config)
            assert refused == ""
            assert principal == Principal(user=STRANGER, groups=frozenset({USERS}), sid=STRANGER)
        _, refused = await principal_at(name, config_at(name, allow_users=("LOCAL SERVICE",)))
        assert f"user '{STRANGER}' may not use this broker" in refused

    run(scenario)


@pytest.mark.parametrize("holder", [Holder(SYSTEM, frozenset()), Holder(STRANGER, frozenset({ADMINISTRATORS}))])
def test_the_system_and_administrators_are_as_root(
    name: str, holder: Holder, comes: Callable[[Holder | None], None]
) -> None:
    async def scenario() -> None:
        comes(holder)
        principal, _ = await principal_at(name, config_at(name))
        assert principal is not None
        assert principal.is_owner

    run(scenario)


def test_who_hides_is_the_owner_where_nobody_else_can_be(name: str, comes: Callable[[Holder | None], None]) -> None:
    async def scenario() -> None:
        comes(None)
        principal, _ = await principal_at(name, config_at(name))
        assert principal == OWNER
        _, refused = await principal_at(name, config_at(name, allow_users=(STRANGER,)))
        assert "token" in refused

    run(scenario)


def test_a_policy_by_user_and_group_holds(name: str, tmp_path: Path) -> None:
    own = account_name(own_sid())
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f"[[rule]]\nname = 'not I'\neffect = 'deny'\nusers = '{own if IS_WINE else own.upper()}'\ncall = 'cat.feed'\n"
        f"[[rule]]\nname = 'none of us'\neffect = 'deny'\ngroups = '{account_name(USERS)}'\ncall = 'dog.feed'\n",
        encoding="utf-8",
    )
    assert [sorted(rule.who.users | rule.who.groups) for rule in read_policy(str(policy)).rules] == [
        [own_sid()],
        [USERS],
    ]

    async def scenario() -> None:
        async with Broker(config_at(name, policy=str(policy))), connect(f"pipe://{name}") as client:
            with pytest.raises(PermissionDenied, match="the rule 'not I' of policy"):
                await client.call("cat", "feed")
            with pytest.raises(PermissionDenied, match="the rule 'none of us' of policy"):
                await client.call("dog", "feed")

    run(scenario)


def test_the_gate_names_whom_it_lets_in() -> None:
    assert Gate(BrokerConfig(allow_users=("SYSTEM",), allow_groups=(account_name(USERS),))).others == (SYSTEM, USERS)
