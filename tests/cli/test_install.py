"""The units of systemd, and how they are written."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipc_broker.cli import install as module
from ipc_broker.cli.broker import command
from ipc_broker.cli.units import Scope, units_for

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(module, "SYSTEM_FOLDER", tmp_path / "system")


def run(*words: str) -> Result:
    return CliRunner().invoke(command, ["install", *words], prog_name="ipc-broker")


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as its documentation says; names keep their case
    parser.read_string(text)
    return parser


def unit(scope: Scope, kind: str, command: Sequence[str] = ("/usr/bin/python3", "-m", "ipc_broker")) -> str:
    [text] = [one.text for one in units_for(scope, command) if one.file == f"ipc-broker.{kind}"]
    return text


@pytest.mark.parametrize(
    ("scope", "path", "mode"),
    [("user", "/tmp/ipc_broker.sock", "0600"), ("system", "/run/ipc-broker/bus.sock", "0666")],
)
def test_the_socket_is_there_before_the_broker(scope: Scope, path: str, mode: str) -> None:
    found = read(unit(scope, "socket"))
    assert found["Socket"]["ListenStream"] == path
    assert found["Socket"]["SocketMode"] == mode
    assert found["Install"]["WantedBy"] == "sockets.target"


@pytest.mark.parametrize("scope", ["user", "system"])
def test_the_broker_tells_that_it_is_ready_and_that_it_lives(scope: Scope) -> None:
    service = read(unit(scope, "service").replace("SystemCallFilter=~", "Without="))["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"] == "/usr/bin/python3 -m ipc_broker"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] == "on-failure"
    assert service["NoNewPrivileges"] == "yes"
    assert "PrivateTmp" not in service, "its services would not find the socket"
    if scope == "system":
        assert service["DynamicUser"] == "yes"
        assert service["ProtectSystem"] == "strict"
        assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/a b/python", '"/a b/python"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a;b", '"a;b"'),
        ("", '""'),
        ("-x", "-x"),
    ],
)
def test_words_mean_themselves(word: str, quoted: str) -> None:
    line = next(line for line in unit("user", "service", ["/bin/echo", word]).splitlines() if "ExecStart" in line)
    assert line == f"ExecStart=/bin/echo {quoted}"


def test_the_program_means_itself_too() -> None:
    line = next(line for line in unit("user", "service", ["/a $b %c/python"]).splitlines() if "ExecStart" in line)
    assert line == 'ExecStart="/a $b %%c/python"'


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd that could read them")
@pytest.mark.parametrize("scope", ["user", "system"])
def test_systemd_reads_them_as_they_are_meant(scope: Scope, tmp_path: Path) -> None:
    program = tmp_path / "a $HOME %h é/python"
    program.parent.mkdir()
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    for made in units_for(scope, [str(program), "-m", "ipc_broker"]):
        (tmp_path / made.file).write_text(made.text, encoding="utf-8")
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "ipc-broker.service")],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_print_writes_nothing(tmp_path: Path) -> None:
    for scope in ("user", "system"):
        result = run(f"--{scope}", "--print")
        assert result.exit_code == 0
        assert result.stdout.count("[Install]") == 2
        folder = tmp_path / "systemd" / "user" if scope == "user" else tmp_path / "system"
        assert f"# {folder / 'ipc-broker.service'}\n" in result.stdout
        assert f"ExecStart={shlex.quote(sys.executable)} -m ipc_broker\n" in result.stdout
    assert list(tmp_path.iterdir()) == []


@needs_linux
def test_units_of_a_user(tmp_path: Path) -> None:
    result = run("--user")
    folder = tmp_path / "systemd" / "user"
    assert result.exit_code == 0
    assert sorted(file.name for file in folder.iterdir()) == ["ipc-broker.service", "ipc-broker.socket"]
    assert (folder / "ipc-broker.socket").read_text() == unit("user", "socket")
    assert result.stdout.endswith(
        "systemctl --user daemon-reload\n    systemctl --user enable --now ipc-broker.socket\n"
    )


@needs_linux
def test_units_of_the_system(tmp_path: Path) -> None:
    result = run("--system")
    assert result.exit_code == 0
    assert "Environment=XDG_CONFIG_HOME=/etc\n" in (tmp_path / "system" / "ipc-broker.service").read_text()
    assert result.stdout.endswith("    systemctl daemon-reload\n    systemctl enable --now ipc-broker.socket\n")


@needs_linux
def test_what_somebody_has_changed_is_replaced_only_by_force(tmp_path: Path) -> None:
    assert run("--user").exit_code == 0
    assert run("--user").exit_code == 0, "nothing is different"
    service = tmp_path / "systemd" / "user" / "ipc-broker.service"
    before = service.read_text()
    service.write_text("mine")
    refused = run("--user")
    assert refused.exit_code == 1
    assert f"{service} says something else already; look at it, and replace it with --force" in refused.stderr
    assert service.read_text() == "mine"
    assert run("--user", "--force").exit_code == 0
    assert service.read_text() == before


@needs_linux
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "systemd").write_text("no folder")
    refused = run("--user")
    assert refused.exit_code == 1
    assert f"cannot write {tmp_path}/systemd" in refused.stderr


def test_it_has_to_be_said_for_whom() -> None:
    assert "say for whom: --user, or --system" in run().stderr


def test_elsewhere_there_is_no_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "docs/services.md" in run("--user").stderr
