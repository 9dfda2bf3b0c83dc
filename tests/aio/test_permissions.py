"""Policy and tokens of a running broker: read when it starts, on SIGHUP, and tokens as soon as they change."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs SIGHUP, and owners of files", allow_module_level=True)

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.aio import broker as broker_module
from ipc_broker.aio.running import run_broker
from ipc_broker.errors import ConfigError, PermissionDenied
from ipc_broker.security.tokens import ID_BYTES, SECRET_BYTES, TokenRecord, format_tokens, make_token
from tests.aio.bus import until

NO_PINGS = '[[rule]]\nname = "no cats"\neffect = "deny"\ncall = "cat.*"\n'
DENIED = "the rule 'no cats' of policy.toml"


def write(path: Path, text: str) -> None:
    """As a whole, as those do who change files that others read."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.rename(path)


def make(name: str, lifetime: float | None = None) -> tuple[str, TokenRecord]:
    return make_token(name, time.time(), os.urandom(ID_BYTES + SECRET_BYTES), lifetime=lifetime)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    write(path, NO_PINGS)
    return path


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(broker_module, "LOOK_EVERY", 0.01)
    return tmp_path / "tokens.toml"


# Policies


async def test_a_policy_holds_from_the_first_moment(address: str, policy: Path) -> None:
    async with Broker(BrokerConfig(listen=(address,), policy=str(policy))), connect(address) as client:
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.call("cat", "feed")


async def test_there_is_no_broker_without_the_policy_that_it_was_to_have(address: str, policy: Path) -> None:
    spoilers: list[Callable[[], None]] = [
        lambda: write(policy, "rule = 1"),
        lambda: policy.chmod(0o666),
        lambda: policy.unlink(),
    ]
    for spoil in spoilers:
        write(policy, NO_PINGS)
        spoil()
        with pytest.raises(ConfigError, match=str(policy)):
            Broker(BrokerConfig(listen=(address,), policy=str(policy)))
    assert not Path(address.removeprefix("unix://")).exists()


async def test_sighup_reads_it_anew_and_keeps_the_old_one_where_that_makes_no_sense(
    address: str, policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ready: asyncio.Future[Broker] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(run_broker(BrokerConfig(listen=(address,), policy=str(policy)), ready))
    await ready
    async with connect(address) as client:
        write(policy, NO_PINGS.replace("cat", "dog"))
        await hangup(caplog, "1 rules and 0 tokens hold now")
        with pytest.raises(PermissionDenied, match=r"dog\.feed"):
            await client.call("dog", "feed")
        assert not await client.has("cat")
        write(policy, "default = 5")
        await hangup(caplog, f"policy, tokens and services stay as they were: {policy}: ")
        with pytest.raises(PermissionDenied, match=r"dog\.feed"):
            await client.call("dog", "feed")
    signal.raise_signal(signal.SIGTERM)
    await running


async def hangup(caplog: pytest.LogCaptureFixture, expected: str) -> None:
    caplog.clear()
    signal.raise_signal(signal.SIGHUP)
    await until(lambda: any(record.getMessage().startswith(expected) for record in caplog.records))


async def test_sighup_heeds_which_files_the_configuration_names_now(
    address: str, policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ready: asyncio.Future[Broker] = asyncio.get_running_loop().create_future()
    without, later = BrokerConfig(listen=(address,)), BrokerConfig(listen=(address,), policy=str(policy))
    running = asyncio.ensure_future(run_broker(without, ready, lambda: later))
    await ready
    async with connect(address) as client:
        await hangup(caplog, "1 rules and 0 tokens hold now")
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.call("cat", "feed")
    signal.raise_signal(signal.SIGTERM)
    await running
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_of_policy_and_tokens_both_are_replaced_or_none(address: str, policy: Path, tokens: Path) -> None:
    token, record = make("ci")
    write(tokens, format_tokens([record]))
    config = BrokerConfig(listen=(address,), policy=str(policy), tokens=str(tokens))
    async with Broker(config) as broker, connect(address, token=token) as client:
        write(policy, "")
        tokens.chmod(0o666)
        with pytest.raises(ConfigError, match=str(tokens)):
            broker.reload()
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.call("cat", "feed")


# Tokens


async def test_a_token_that_is_made_while_the_broker_runs_holds_at_once(address: str, tokens: Path) -> None:
    async with Broker(BrokerConfig(listen=(address,), tokens=str(tokens))) as broker:
        token, record = make("ci")
        with pytest.raises(PermissionDenied, match="does not know the token"):
            await connect(address, token=token)
        write(tokens, format_tokens([record]))
        await until(lambda: broker._permissions._tokens.records)
        async with connect(address, token=token) as client:
            assert await client.objects() == ["rob"]
            [peer] = [peer for peer in broker.router.peers if peer.principal is not None]
            assert peer.principal is not None
            assert peer.principal.token == "ci"


async def test_a_token_that_is_revoked_ends_its_connections(address: str, tokens: Path) -> None:
    (token, record), (other, other_record) = make("ci"), make("other")
    write(tokens, format_tokens([record, other_record]))
    ended = asyncio.Event()
    async with (
        Broker(BrokerConfig(listen=(address,), tokens=str(tokens))),
        connect(address, token=other) as stays,
        connect(address, token=token, on_disconnect=ended.set),
    ):
        write(tokens, format_tokens([other_record]))
        await ended.wait()
        with pytest.raises(PermissionDenied, match="or it was revoked"):
            await connect(address, token=token)
        assert await stays.objects() == ["rob"]


async def test_a_token_that_expires_ends_its_connections(address: str, tokens: Path) -> None:
    token, record = make("ci", lifetime=60)
    write(tokens, format_tokens([record]))
    ended = asyncio.Event()
    async with (
        Broker(BrokerConfig(listen=(address,), tokens=str(tokens))),
        connect(address, token=token, on_disconnect=ended.set),
    ):
        with pytest.MonkeyPatch.context() as later:
            now = time.time
            later.setattr("ipc_broker.aio.permissions.time.time", lambda: now() + 61)
            await ended.wait()
            with pytest.raises(PermissionDenied, match="the token 'ci' has expired"):
                await connect(address, token=token)


async def test_tokens_that_make_no_sense_change_nothing_and_are_told_once(
    address: str, tokens: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, record = make("ci", lifetime=60)
    write(tokens, format_tokens([record]))
    ended = asyncio.Event()
    async with (
        Broker(BrokerConfig(listen=(address,), tokens=str(tokens))) as broker,
        connect(address, token=token, on_disconnect=ended.set),
    ):
        write(tokens, "token = 5")
        await until(lambda: caplog.records)
        looks, look = 0, broker.router.gatekeeper.look

        def counted(wall_clock: float, now: float) -> None:
            nonlocal looks
            looks += 1
            look(wall_clock, now)

        monkeypatch.setattr(broker.router.gatekeeper, "look", counted)  # to see that it goes on
        await until(lambda: looks >= 5)
        [told] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert told.getMessage().startswith(f"the tokens stay as they were: {tokens}: ")
        assert not ended.is_set()
        with pytest.MonkeyPatch.context() as later:
            now = time.time
            later.setattr("ipc_broker.aio.permissions.time.time", lambda: now() + 61)
            await ended.wait()  # what has expired ends all the same
