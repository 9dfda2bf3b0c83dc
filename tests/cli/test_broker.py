"""`ipc-broker` as a process."""

from __future__ import annotations

import re
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from ipc_broker.cli.children import Child
from ipc_broker.config import SECTIONS, BrokerConfig
from ipc_broker.sync import connect
from ipc_broker.version import VERSION
from tests.cli.programs import BROKER, PATIENCE, Ended, broker_at, environment, rob, run, start_broker

needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets and signals")


def path_of(address: str) -> Path:
    return Path(address.removeprefix("unix://"))


def test_it_says_where_it_listens(address: str) -> None:
    with start_broker("--listen", address, "--listen", "tcp://127.0.0.1:0") as broker:
        line = broker.wait_for_line(" listens on ", PATIENCE)
        first, second = line.rpartition(" listens on ")[2].split(", ")
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    ipc-broker ", line)
        assert first == address
        assert re.fullmatch(r"tcp://127\.0\.0\.1:[1-9]\d*", second)
        for where in (first, second):
            assert rob("list", address=where) == Ended(0, "rob\n", "")


@needs_unix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_removes_the_socket(address: str, number: signal.Signals) -> None:
    with broker_at(address) as broker:
        assert path_of(address).is_socket()
        broker.send_signal(number)
        assert broker.wait(PATIENCE) == 0
        assert not path_of(address).exists()
        assert broker.said[-1].endswith("stopping")


@needs_unix
def test_only_its_owner_can_use_the_socket(address: str) -> None:
    with broker_at(address):
        assert stat.S_IMODE(path_of(address).stat().st_mode) == 0o600


@needs_unix
def test_a_second_broker_is_refused(address: str) -> None:
    with broker_at(address) as first:
        ended = run(*BROKER, "--listen", address)
        assert (ended.status, ended.output) == (3, "")
        assert ended.errors.startswith(f"ipc-broker: cannot listen on {address}: ")
        assert len(ended.errors.splitlines()) == 1
        if sys.platform == "linux":
            assert f"process {first.pid}" in ended.errors
        assert rob("list", address=address).status == 0


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        ended = run(*BROKER, "--listen", address)
    assert (ended.status, ended.output) == (3, "")
    assert ended.errors.startswith(f"ipc-broker: cannot listen on {address}: ")
    assert len(ended.errors.splitlines()) == 1


@needs_unix
def test_a_stale_socket_is_replaced(address: str) -> None:
    with broker_at(address) as killed:
        killed.kill()
        killed.wait(PATIENCE)
        assert path_of(address).is_socket()
        with broker_at(address):
            assert rob("list", address=address) == Ended(0, "rob\n", "")


@needs_unix
def test_a_file_that_is_no_socket_is_left_alone(address: str) -> None:
    path_of(address).write_text("precious", encoding="utf-8")
    ended = run(*BROKER, "--listen", address)
    assert ended.status == 3
    assert path_of(address).read_text(encoding="utf-8") == "precious"


def test_settings_of_the_command_line_environment_and_file(address: str, tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(
        f'listen = ["{address}"]\nlog_level = "error"\n[limits]\nsubscriptions = 1\nnames = 5\n', encoding="utf-8"
    )
    settings = {"IPC_BROKER_LOG_LEVEL": "warn", "IPC_BROKER_LIMITS_SUBSCRIPTIONS": "2"}
    # The file alone says where; only a level that lets the ready line out lets this test go on.
    with start_broker("--config", str(file), "--log-level", "info", **settings) as broker:
        broker.wait_for_line(f" listens on {address}", PATIENCE)
        with connect(address) as client:
            client.subscribe("a", "1")
            client.subscribe("a", "2")
            with pytest.raises(Exception, match="subscriptions"):
                client.subscribe("a", "3")


def test_limits_as_options(address: str) -> None:
    with broker_at(address, "--limit-subscriptions", "1", "--grace", "0.5"), connect(address) as client:
        client.subscribe("a", "1")
        with pytest.raises(Exception, match="subscriptions"):
            client.subscribe("a", "2")


@pytest.mark.parametrize("level", ["trace", "debug"])
def test_every_log_level_is_understood(address: str, level: str) -> None:
    with broker_at(address, "--log-level", level):
        assert rob("list", address=address).status == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--listen", "nowhere"], "not an address: 'nowhere'"),
        (["--limit-calls", "0"], "$.limits.calls"),
        (["--grace", "-1"], "$.grace"),
        (["--config", "/no/such/file.toml"], "cannot read /no/such/file.toml"),
        (["--listen", "tls://127.0.0.1:0"], "tls"),
    ],
)
def test_settings_that_make_no_sense(options: list[str], expected: str) -> None:
    ended = run(*BROKER, *options)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("ipc-broker: ")
    assert expected in ended.errors
    assert len(ended.errors.splitlines()) == 1


@pytest.mark.parametrize("options", [["--lisen", "x"], ["--grace", "soon"], ["--log-level", "loud"], ["word"]])
def test_wrong_usage(options: list[str]) -> None:
    ended = run(*BROKER, *options)
    assert (ended.status, ended.output) == (2, "")
    assert "Usage: ipc-broker [OPTIONS]" in ended.errors


def test_a_setting_of_the_environment_that_makes_no_sense() -> None:
    ended = run(*BROKER, environ=environment(IPC_BROKER_GRACE="soon"))
    assert ended.status == 2
    assert "IPC_BROKER_GRACE='soon'" in ended.errors


def test_version() -> None:
    assert run(*BROKER, "--version") == Ended(0, f"ipc-broker {VERSION}\n", "")


def test_help_has_every_setting_with_its_description() -> None:
    ended = run(*BROKER, "--help", environ=environment(COLUMNS="200"))
    assert ended.status == 0
    for name in BrokerConfig.__struct_fields__:
        if name not in SECTIONS:
            assert f"--{name.replace('_', '-')} " in ended.output
    for section, prefix in (("limits", "limit"), ("quotas", "quota"), ("tls", "tls")):
        for name in SECTIONS[section].__struct_fields__:
            assert f"--{prefix}-{name.replace('_', '-')} " in ended.output
    assert "calls in flight of one connection" in " ".join(ended.output.split())


@needs_unix
def test_without_uvloop_the_standard_loop_serves(address: str) -> None:
    code = "import sys; sys.modules['uvloop'] = None; from ipc_broker.cli.broker import main; main()"
    with Child("ipc-broker", ["-W", "error", "-c", code, "--listen", address], environment()) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        assert rob("list", address=address) == Ended(0, "rob\n", "")
        assert broker.stop() == 0
        assert not path_of(address).exists()
