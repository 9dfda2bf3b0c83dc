"""The configuration folder: what `ipc-broker` uses where nothing else is said."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from ipc_broker.cli.folder import configuration_folder, default_config, default_settings
from ipc_broker.errors import CallError, PermissionDenied
from ipc_broker.sync import connect
from tests.cli.programs import BROKER, PATIENCE, environment, rob, run, start_broker

if sys.platform == "win32":
    pytest.skip("needs Unix sockets and signals", allow_module_level=True)

NO_CATS = '[[rule]]\nname = "no cats"\neffect = "deny"\ncall = "cat.*"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ipc-broker"
    folder.mkdir()
    return folder


@pytest.mark.skipif(sys.platform == "darwin", reason="which has another place for it")
def test_where_it_is() -> None:
    assert configuration_folder({"XDG_CONFIG_HOME": "/etc/xdg"}) == Path("/etc/xdg/ipc-broker")
    assert configuration_folder({}) == Path("~/.config/ipc-broker").expanduser()
    assert configuration_folder({"XDG_CONFIG_HOME": "relative"}) == Path("~/.config/ipc-broker").expanduser()


def test_what_is_there_is_used(folder: Path) -> None:
    tokens = str(folder / "tokens.toml")
    assert default_config(folder) is None
    assert default_settings(folder) == {"tokens": tokens}
    for name in ("config.toml", "policy.toml"):
        (folder / name).write_text("", encoding="utf-8")
    (folder / "services").mkdir()
    assert default_config(folder) == str(folder / "config.toml")
    assert default_settings(folder) == {
        "tokens": tokens,
        "policy": str(folder / "policy.toml"),
        "services": [str(folder / "services")],
    }


def test_a_broker_reads_it_and_again_on_sighup(folder: Path, address: str) -> None:
    (folder / "config.toml").write_text(f'listen = ["{address}"]\n', encoding="utf-8")
    with start_broker(XDG_CONFIG_HOME=str(folder.parent)) as broker:
        broker.wait_for_line(f" listens on {address}", PATIENCE)
        with connect(address) as client:
            assert not client.has("cat")
            (folder / "policy.toml").write_text(NO_CATS, encoding="utf-8")
            broker.send_signal(signal.SIGHUP)
            broker.wait_for_line(" 1 rules and 0 tokens hold now", PATIENCE)
            with pytest.raises(PermissionDenied, match=r"the rule 'no cats' of policy\.toml"):
                client.call("cat", "feed")
            (folder / "policy.toml").write_text("[[rule]]\n", encoding="utf-8")
            broker.send_signal(signal.SIGHUP)
            line = broker.wait_for_line(" policy, tokens and services stay as they were: ", PATIENCE)
            assert line.endswith(
                f"{folder}/policy.toml, rule 1: it needs a name, which those are told whom it concerns"
            )
            with pytest.raises(PermissionDenied):
                client.call("cat", "feed")


def test_tokens_are_made_and_revoked_while_a_broker_runs(folder: Path, address: str) -> None:
    environ = {"XDG_CONFIG_HOME": str(folder.parent)}
    with start_broker("--listen", address, **environ) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        made = run(*BROKER, "token", "create", "ci", environ=environment(**environ))
        broker.wait_for_line(" 1 tokens hold now", PATIENCE)
        with connect(address, token=made.output.strip()) as client:
            assert client.objects() == ["rob"]
            assert run(*BROKER, "token", "revoke", "ci", environ=environment(**environ)).status == 0
            broker.wait_for_line(" 0 tokens hold now", PATIENCE)
            with pytest.raises(CallError):
                client.call("rob", "ping", timeout=0.5)


@pytest.mark.parametrize("name", ["config.toml", "policy.toml", "tokens.toml"])
def test_what_others_can_write_is_refused(folder: Path, address: str, name: str) -> None:
    (folder / name).write_text("", encoding="utf-8")
    (folder / name).chmod(0o666)
    ended = run(*BROKER, "--listen", address, environ=environment(XDG_CONFIG_HOME=str(folder.parent)))
    assert (ended.status, ended.output) == (2, "")
    where = folder / name
    assert ended.errors == f"ipc-broker: {where} can be changed by others than its owner: chmod go-w {where}\n"


def test_what_is_said_weighs_more(folder: Path, address: str) -> None:
    (folder / "config.toml").write_text('log_level = "loud"\n', encoding="utf-8")
    (folder / "policy.toml").write_text("rubbish", encoding="utf-8")
    other = folder / "other.toml"
    other.write_text("", encoding="utf-8")
    options = ("--listen", address, "--config", str(other), "--policy", "")
    with start_broker(*options, XDG_CONFIG_HOME=str(folder.parent)) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        assert rob("list", address=address).output == "rob\n"
