"""`rob services`, `rob start` and `rob stop`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc_broker.cli.services import text_of
from ipc_broker.observation import ServiceState
from tests.aio.services import WORKER, write_service
from tests.cli.programs import Ended, broker_at, rob
from tests.seed.broker import SeedBroker, running

if sys.platform == "win32":
    pytest.skip("the service speaks over a Unix socket", allow_module_level=True)


@pytest.fixture
def bus(address: str, tmp_path: Path) -> Iterator[str]:
    write_service(tmp_path, "disk")
    write_service(tmp_path, "math", exec=None, systemd_unit="math.service")
    write_service(tmp_path, "paper", exec=["/bin/sh", "-c", "echo no paper; exit 3"])
    write_service(tmp_path, "slow", exec=[*WORKER, "silent"], start_timeout=600.0)
    with broker_at(address, "--services", str(tmp_path)):
        yield address


def test_services_are_started_stopped_and_listed(bus: str) -> None:
    started = rob("start", "disk", address=bus)
    assert re.fullmatch(r"disk is running, process \d+\n", started.output)
    assert started.status == 0
    failed = rob("start", "paper", address=bus)
    assert (failed.status, failed.output) == (1, "")
    assert (
        "'paper' cannot be started: it ended with exit status 3; its last words: no paper, before it" in failed.errors
    )
    listed = rob("services", address=bus)
    assert listed.status == 0
    lines = listed.output.splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith(" ")] == [
        ["OBJECT", "STATE"],
        ["disk", "running"],
        ["math", "stopped"],
        ["paper", "failed"],
        ["slow", "stopped"],
    ]
    assert (
        lines[4] == "    failed once: it ended with exit status 3; its last words: no paper, before it served 'paper'"
    )
    found = {one["object"]: one for one in json.loads(rob("services", "--json", address=bus).output)}
    assert found["disk"]["state"] == "running"
    assert found["math"]["systemd_unit"] == "math.service"
    assert rob("stop", "disk", address=bus) == Ended(0, "disk is stopped\n", "")
    stopped = rob("stop", "disk", "--json", address=bus)
    assert json.loads(stopped.output)["state"] == "stopped"


def test_start_does_not_wait_for_ever(bus: str) -> None:
    ended = rob("start", "slow", "--timeout", "0.2", address=bus)
    assert ended.status == 1
    assert "'slow' is still starting after 0.2 s; `rob services` tells what becomes of it" in ended.errors


def test_what_is_no_service(bus: str) -> None:
    ended = rob("stop", "dusk", address=bus)
    assert ended.status == 1
    assert "there is no service of 'dusk'; `rob services` lists all" in ended.errors


def test_the_broker_of_the_rust_crate_tells_nothing_of_its_services() -> None:
    with running(SeedBroker()) as broker:
        for words in (["services"], ["start", "disk"]):
            ended = rob(*words, address=broker.address)
            assert ended.status == 1
            assert "is the Rust crate's: it does not tell" in ended.errors


def test_a_bus_without_services_says_how_to_have_some() -> None:
    assert text_of([]).startswith("no services: each is a file of the folders")


def test_the_table_shows_what_it_is_told_and_obeys_nothing() -> None:
    states = [
        ServiceState("disk", "failed", 125.0, failures=2, reason="no\x1b[2Jdisk", exec=("/bin/x", "a b", "\x1b")),
        ServiceState("a\nb", "running", 100_000.0, pid=7, systemd_unit="x.service"),
    ]
    assert text_of(states) == (
        "OBJECT  STATE    SINCE      PROCESS  STARTED BY\n"
        'disk    failed   2 min 5 s  -        /bin/x a b "\\u001b"\n'
        "    failed 2 times in a row: no\\u001b[2Jdisk\n"
        '"a\\nb"  running  1 d 4 h    7        x.service\n'
    )
