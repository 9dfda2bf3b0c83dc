"""Services whose processes are real: how they are started, what they are told, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.aio import processes
from ipc_broker.errors import ActivationFailed, ConfigError, DeadlineExceeded, NoSuchObject, WorkerLost
from ipc_broker.routing import service
from tests.aio.bus import until
from tests.aio.services import WORKER, lives, service_of, services_at, state_of, write_service

if sys.platform == "win32":
    pytest.skip("the service speaks over a Unix socket", allow_module_level=True)


def script(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


async def test_two_calls_start_one_process_which_is_told_where_and_what(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("INHERITED", "yes")
    write_service(tmp_path, "disk", environment={"DISK_CACHE": "/var/cache"})
    async with services_at(address, tmp_path) as (broker, client), connect(address) as other:
        told, pid = await asyncio.gather(client.call("disk", "told"), other.call("disk", "pid"))
        assert (told["BROKER_ADDR"], told["IPC_BROKER_OBJECT"]) == (address, "disk")
        assert (told["DISK_CACHE"], told["INHERITED"]) == ("/var/cache", "yes")
        assert not {"LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(told)
        assert (state_of(broker, "disk").pid, state_of(broker, "disk").state) == (pid, "running")
        assert os.getsid(pid) == pid
    assert not lives(pid)


async def test_its_file_may_tell_it_another_address(address: str, tmp_path: Path) -> None:
    """And whatever else it is told, and has from the broker."""
    told = tmp_path / "told"
    write_service(
        tmp_path,
        "lamp",
        exec=script(f'echo "$BROKER_ADDR $IPC_BROKER_OBJECT $HOME" > {told}; exit 1'),
        environment={"BROKER_ADDR": "elsewhere", "IPC_BROKER_OBJECT": "x", "HOME": "/none"},
    )
    async with services_at(address, tmp_path) as (_, client):
        with pytest.raises(ActivationFailed):
            await client.call("lamp", "f")
    assert told.read_text(encoding="utf-8") == "elsewhere x /none\n"


async def test_one_that_is_stopped_before_it_has_begun_is_stopped(address: str, tmp_path: Path) -> None:
    """It is told as soon as there is a process, and need not be killed."""
    write_service(tmp_path, "disk", exec=[*WORKER, "silent"])
    async with services_at(address, tmp_path) as (broker, _):
        now = broker.time()
        service_of(broker, "disk").start(now)
        service_of(broker, "disk").stop(now)
        assert state_of(broker, "disk").pid is None
        await until(lambda: state_of(broker, "disk").state == "stopped")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            script("echo starts; echo no disk >&2; exit 3"),
            "it ended with exit status 3; its last words: starts / no disk",
        ),
        (script("exit 0"), "it ended with exit status 0"),
        (script("kill -KILL $$"), "it was ended by SIGKILL"),
        (["/no/such/program"], "'/no/such/program' cannot be run (No such file or directory)"),
        (["/"], "'/' cannot be run (Permission denied)"),
    ],
)
async def test_a_start_that_fails_tells_why_at_once(
    address: str, tmp_path: Path, command: list[str], reason: str
) -> None:
    write_service(tmp_path, "disk", exec=command)
    async with services_at(address, tmp_path) as (broker, client):
        started = time.monotonic()
        with pytest.raises(ActivationFailed) as caught:
            await client.call("disk", "free", timeout=60)
        assert time.monotonic() - started < 10
        assert str(caught.value).startswith(f"'disk' cannot be started: {reason}, before it served 'disk'")
        assert caught.value.delivered == "no"
        assert state_of(broker, "disk").state == "failed"


async def test_one_that_hangs_is_ended_when_its_time_is_over(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.05)
    write_service(tmp_path, "disk", exec=[*WORKER, "silent", "stubborn"], start_timeout=0.5)
    async with services_at(address, tmp_path) as (broker, client):
        with pytest.raises(ActivationFailed) as caught:
            await client.call("disk", "pid")
        assert "it did not serve 'disk' within 0.5 s; its last words: the service starts" in str(caught.value)
        await until(lambda: state_of(broker, "disk").state == "failed")


async def test_a_caller_waits_until_its_own_deadline(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk", exec=[*WORKER, "silent"])
    async with services_at(address, tmp_path) as (broker, client):
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            await client.call("disk", "pid", timeout=0.05)
        assert state_of(broker, "disk").state == "starting"


async def test_one_that_crashes_is_started_again_by_the_next_call(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk")
    async with services_at(address, tmp_path) as (broker, client):
        first = await client.call("disk", "pid")
        with pytest.raises(WorkerLost):
            await client.call("disk", "exit", 7)
        second = await client.call("disk", "pid")
        assert second != first
        assert state_of(broker, "disk").failures == 1
        assert "it ended with exit status 7" in state_of(broker, "disk").reason


async def test_one_that_is_restarted_needs_no_call(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FIRST_BACKOFF", 0.05)
    write_service(tmp_path, "disk", restart="always")
    async with services_at(address, tmp_path) as (broker, client):
        first = await client.call("disk", "pid")
        with pytest.raises(WorkerLost):
            await client.call("disk", "exit", 0)
        await until(lambda: state_of(broker, "disk").pid not in (None, first))


async def test_one_that_is_idle_ends_and_no_call_is_lost(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk", idle_stop=0.05)
    async with services_at(address, tmp_path) as (broker, client):
        first = await client.call("disk", "pid")
        await until(lambda: state_of(broker, "disk").state == "stopping")
        second = await client.call("disk", "pid")
        assert second != first
        assert not lives(first)
        await until(lambda: state_of(broker, "disk").state == "stopped")


async def test_what_a_script_leaves_behind_goes_with_it(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk", exec=script("sleep 600 & echo $!; exit 4"))
    async with services_at(address, tmp_path) as (_, client):
        with pytest.raises(ActivationFailed) as caught:
            await client.call("disk", "pid")
        child = int(str(caught.value).partition("its last words: ")[2].partition(",")[0])
        await until(lambda: not lives(child))


@pytest.mark.parametrize("how", ["close", "at once"])
async def test_the_broker_takes_its_services_along(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.05 if how == "close" else 60)
    write_service(tmp_path, "disk", exec=[*WORKER, "stubborn"])
    async with services_at(address, tmp_path, grace=0.1) as (broker, client):
        pid = await client.call("disk", "pid")
        closing = asyncio.ensure_future(broker.close())
        if how == "at once":
            launcher = broker.router.services.launcher
            await until(lambda: not broker.addresses and not broker.router.peers)
            assert launcher is not None
            broker.close_at_once()
        await closing
    assert not lives(pid)


async def test_a_call_that_waits_ends_when_the_broker_does(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk", exec=[*WORKER, "silent"])
    async with services_at(address, tmp_path, grace=0.05) as (broker, client):
        waiting = asyncio.ensure_future(client.call("disk", "pid"))
        await until(lambda: state_of(broker, "disk").pid)
        await broker.close()
        with pytest.raises(Exception, match=r"disk|connection"):
            await waiting


# Files that change


async def test_files_are_read_anew_and_never_by_halves(address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk")
    async with services_at(address, tmp_path) as (broker, client):
        pid = await client.call("disk", "pid")
        write_service(tmp_path, "paper")
        (tmp_path / "broken.toml").write_text("object = ")
        with pytest.raises(ConfigError, match=r"broken\.toml is no TOML"):
            broker.reload()
        with pytest.raises(NoSuchObject):
            await client.call("paper", "pid")
        (tmp_path / "broken.toml").unlink()
        (tmp_path / "disk.toml").unlink()
        broker.reload()
        await client.call("paper", "pid")
        await until(lambda: not lives(pid))
        with pytest.raises(NoSuchObject):
            await client.call("disk", "pid")


async def test_a_policy_that_makes_no_sense_leaves_the_services_as_they_were(address: str, tmp_path: Path) -> None:
    policy, folder = tmp_path / "policy.toml", tmp_path / "services"
    policy.write_text('default = "allow"')
    folder.mkdir()
    async with services_at(address, folder, policy=str(policy)) as (broker, _):
        write_service(folder, "disk")
        policy.write_text("default = 1")
        with pytest.raises(ConfigError):
            broker.reload()
        assert list(broker.router.services) == []


def test_a_broker_with_a_service_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    write_service(tmp_path, "rob")
    with pytest.raises(ConfigError, match=r"rob\.toml: object: 'rob' is the broker's own"):
        Broker(BrokerConfig(services=(str(tmp_path),)))
    with pytest.raises(ConfigError, match=r"cannot read .*none: No such file"):
        Broker(BrokerConfig(services=(str(tmp_path / "none"),)))


async def test_services_find_a_broker_that_listens_everywhere(tmp_path: Path) -> None:
    write_service(tmp_path, "disk", exec=script("echo $BROKER_ADDR"))
    config = BrokerConfig(listen=("tcp://0.0.0.0:0",), services=(str(tmp_path),), insecure=True)
    async with Broker(config) as broker:
        where = broker.addresses[0].replace("0.0.0.0", "127.0.0.1")
        service_of(broker, "disk").start(0)
        await until(lambda: state_of(broker, "disk").state == "failed")
        assert f"its last words: {where}," in state_of(broker, "disk").reason


# What they write


def test_last_words_are_few_short_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    words = processes.LastWords("disk", lambda: 0.0)
    assert words.told() == ""
    with caplog.at_level(logging.INFO, "ipc_broker"):
        for piece in (b"one\ntw", b"o\n\n", b"x" * 3000, b"y\n", b"\x1b[2J\xff caf\xc3\xa9\n", b"a\nb\nc\nlast"):
            words.feed(piece)
        words.end()
    assert words.told() == "its last words: \\x1b[2J\ufffd café / a / b / c / last"
    assert [record.message[:9] for record in caplog.records][:3] == ["disk: one", "disk: two", "disk: xxx"]
    assert max(len(record.message) for record in caplog.records) == processes.LONGEST_LINE + len("disk: ")


def test_a_service_that_writes_without_end_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    words = processes.LastWords("disk", lambda: now[0])
    with caplog.at_level(logging.INFO, "ipc_broker"):
        words.feed(b"again\n" * 10_000)
        now[0] = 1.0
        words.feed(b"quiet\n")
    messages = [record.message for record in caplog.records]
    assert len(messages) == processes.LOGGED_LINES + 2
    assert messages[-2:] == [f"disk: {10_000 - processes.LOGGED_LINES} more lines within a second", "disk: quiet"]
