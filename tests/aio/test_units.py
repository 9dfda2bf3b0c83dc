"""Services that systemd starts: what `systemctl` is asked for, by one that only writes down what it was asked."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from ipc_broker.aio import units
from ipc_broker.errors import ActivationFailed, NoSuchObject
from ipc_broker.routing import service
from tests.aio.bus import RawPeer, serving, until
from tests.aio.objects import Calculator
from tests.aio.services import services_at, state_of, write_service
from tests.messages import call

if sys.platform == "win32":
    pytest.skip("there is no systemd on Windows", allow_module_level=True)

_SYSTEMCTL = """#!/bin/sh
echo "systemctl $@" >> "$HERE/asked"
case "$*" in
*" start "*) [ ! -e "$HERE/hangs" ] || exec sleep 600; [ ! -e "$HERE/refuses" ] || { cat "$HERE/refuses"; exit 1; };;
*" show "*) cat "$HERE/state" 2>/dev/null || echo activating;;
*" stop "*) [ ! -e "$HERE/stays" ] || { echo "Access denied"; exit 4; };;
esac
"""
_JOURNALCTL = """#!/bin/sh
echo "journalctl $@" >> "$HERE/asked"
printf 'opens the disk\\nno disk\\n'
"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a systemd that is none: `refuses`, `state`, `stays` and `hangs` say how it behaves."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setattr(units, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(units, "_is_of_user", lambda: True)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "services"
    folder.mkdir()
    write_service(folder, "math", exec=None, systemd_unit="math.service", idle_stop=0.0)
    return folder


def asked(systemd: Path) -> list[str]:
    try:
        return (systemd / "asked").read_text().splitlines()
    except FileNotFoundError:
        return []


START = "systemctl --user --no-ask-password --no-pager start -- math.service"
STOP = "systemctl --user --no-ask-password --no-pager stop -- math.service"


async def test_a_call_starts_the_unit_and_waits_for_its_object(address: str, systemd: Path, folder: Path) -> None:
    async with services_at(address, folder) as (broker, client):
        calling = asyncio.ensure_future(client.call("math", "add", [1, 2]))
        await until(lambda: START in asked(systemd))
        async with serving(address, math=Calculator()):
            assert await calling == {"sum": 3}
            assert state_of(broker, "math").state == "running"
            assert state_of(broker, "math").pid is None
            await client.call("rob", "stopService", {"object": "math"})
            await until(lambda: STOP in asked(systemd))
        await until(lambda: state_of(broker, "math").state == "stopped")


async def test_a_unit_that_cannot_be_started_tells_why_at_once(address: str, systemd: Path, folder: Path) -> None:
    (systemd / "refuses").write_text("Interactive authentication required.\n")
    async with services_at(address, folder) as (_, client):
        with pytest.raises(ActivationFailed) as caught:
            await client.call("math", "add")
    said = (
        "systemctl start math.service: Interactive authentication required.; its last words: opens the disk / no disk"
    )
    assert said in str(caught.value)
    assert [line for line in asked(systemd) if line.startswith("journalctl --user --no-pager --since=@")]


@pytest.mark.parametrize("state", ["failed", "inactive"])
async def test_a_unit_that_fails_while_it_starts_tells_why_at_once(
    address: str, systemd: Path, folder: Path, state: str
) -> None:
    async with services_at(address, folder) as (_, client):
        calling = asyncio.ensure_future(client.call("math", "add"))
        await until(lambda: any(" show " in line for line in asked(systemd)))
        (systemd / "state").write_text(f"{state}\n")
        with pytest.raises(ActivationFailed, match=f"the unit math.service is {state}; its last words: opens"):
            await calling


async def test_a_unit_that_cannot_be_stopped_goes_on(
    address: str, systemd: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SETTLE", 0.05)
    (systemd / "stays").touch()
    async with services_at(address, folder) as (broker, client), serving(address, math=Calculator()):
        await client.call("rob", "stopService", {"object": "math"})
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        assert state_of(broker, "math").state == "running"


async def test_a_systemctl_that_hangs_is_not_waited_for(address: str, systemd: Path, folder: Path) -> None:
    (systemd / "hangs").touch()
    async with services_at(address, folder, grace=0.1) as (broker, client):
        calling = asyncio.ensure_future(client.call("math", "add"))
        await until(lambda: START in asked(systemd))
        await broker.close()
        with pytest.raises(Exception, match=r"math|connection"):
            await calling


async def test_without_systemctl(address: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with services_at(address, folder) as (_, client):
        with pytest.raises(ActivationFailed, match=r"systemctl cannot be run \(No such file or directory\)"):
            await client.call("math", "add")


async def test_a_unit_that_a_peer_names(address: str, systemd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    async with (
        services_at(address, folder, allow_units=("math",)) as (_, client),
        RawPeer.at(address) as seed,
    ):
        seed.send({"RegisterService": {"object_name": "other", "service_name": "other"}})
        seed.send({"RegisterService": {"object_name": "math", "service_name": "math"}})
        await seed.ask(call("1", "rob", "ping"))
        with pytest.raises(NoSuchObject):
            await client.call("other", "add")
        calling = asyncio.ensure_future(client.call("math", "add", [1, 2]))
        await until(lambda: START in asked(systemd))
        async with serving(address, math=Calculator()):
            assert await calling == {"sum": 3}


def test_whose_systemd_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemd").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not units._is_of_user()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert units._is_of_user()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    assert not units._is_of_user()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert not units._is_of_user()
