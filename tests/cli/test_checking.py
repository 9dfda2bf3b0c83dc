"""`ipc-broker check`: all that a broker would read, and what is wrong with it where."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cli.programs import BROKER, Ended, environment, run

if sys.platform == "win32":
    pytest.skip("modes and owners of files are those of Unix", allow_module_level=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a configuration folder that has everything."""
    folder = tmp_path / ".config" / "ipc-broker"
    (folder / "services").mkdir(parents=True)
    write(folder / "config.toml", 'listen = ["unix:///run/bus.sock"]\nallow_users = ["daemon"]\n')
    write(folder / "policy.toml", '[[rule]]\nname = "all"\nusers = "daemon"\ncall = ">"\n')
    write(folder / "services" / "disk.toml", f'object = "disk"\nexec = ["{sys.executable}", "-V"]\n')
    seed = {"type": "RegisterService", "object_name": "lamp", "service_name": "lamp"}
    (tmp_path / "service-activation").mkdir()
    write(tmp_path / "service-activation" / "lamp.json", json.dumps([seed]))
    return tmp_path


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def check(home: Path, *options: str) -> Ended:
    environ = environment(HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"))
    return run(*BROKER, *options, "check", environ=environ)


def wrong(home: Path, *options: str) -> list[str]:
    ended = check(home, *options)
    assert ended.status == 1
    lines = ended.errors.splitlines()
    assert all(line.startswith("ipc-broker: ") for line in lines)
    return [line.removeprefix("ipc-broker: ") for line in lines]


def test_all_is_well(home: Path) -> None:
    folder = home / ".config" / "ipc-broker"
    assert check(home) == Ended(
        0,
        "listens on unix:///run/bus.sock\n"
        "tokens: none\n"
        f"policy: 1 rules in {folder}/policy.toml; what none is about is denied\n"
        "services: disk, lamp\n",
        "",
    )


def test_there_may_be_nothing(tmp_path: Path) -> None:
    ended = check(tmp_path)
    assert (ended.status, ended.errors) == (0, "")
    assert "policy: none" in ended.output
    assert "services: none" in ended.output


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("config.toml", "lisen = 1", r"\S*/config.toml: Object contains unknown field `lisen`"),
        ("config.toml", "listen = [", r"\S*/config.toml is no TOML: .*"),
        ("config.toml", "[quotas]\ncalls = 0", r"\S*/config.toml: Expected `int` >= 1 - at `\$.quotas.calls`"),
        (
            "config.toml",
            'listen = ["tcp://0.0.0.0:5123"]',
            r"listen: tcp://0.0.0.0:5123: other machines could connect .*",
        ),
        ("config.toml", 'listen = ["tls://0.0.0.0:1"]', r"tls:// needs a certificate and its key: .*"),
        ("config.toml", 'allow_users = ["no-such"]', r"allow_users: there is no user 'no-such' on this system"),
        ("config.toml", 'allow_groups = ["no-such"]', r"allow_groups: there is no group 'no-such' on this system"),
        ("config.toml", 'policy = "/no/such"', r"cannot read /no/such: No such file or directory"),
        ("config.toml", r'policy = "a\u0000"', r"\S*/config.toml: policy: no file's name has a zero byte"),
        ("config.toml", r'tokens = "a\u0000"', r"\S*/config.toml: tokens: no file's name has a zero byte"),
        ("config.toml", r'services = ["a", "a\u0000"]', r"\S*/config.toml: services: no file's name has a zero byte"),
        ("config.toml", '[tls]\nkey = "a\\u0000"', r"\S*/config.toml: tls.key: no file's name has a zero byte.*"),
        ("config.toml", 'services = ["/no/such"]', r"cannot read /no/such: No such file or directory"),
        ("policy.toml", '[[rule]]\nname = "x"', r"\S*/policy.toml, rule 1 \('x'\): it is about nothing: .*"),
        ("tokens.toml", "token = 1", r"\S*/tokens.toml: Expected `array`, got `int` - at `\$.token`"),
        ("services/x.toml", "object = 1", r"\S*/services/x.toml: Expected `str`, got `int` - at `\$.object`"),
        ("services/x.toml", 'object = "x"', r"\S*/services/x.toml: give either exec or systemd_unit"),
        ("services/x.toml", "x", r"\S*/services/x.toml is no TOML: .*"),
        (
            "services/x.toml",
            'object = "x"\nexec = "/no/such"',
            r"\S*/services/x.toml: Expected `array`, got `str` - at `\$.exec`",
        ),
        (
            "services/x.toml",
            'object = "x"\nexec = ["/no/such"]',
            r"\S*/services/x.toml: exec: there is no program '/no/such' that can be run",
        ),
        (
            "services/x.toml",
            'object = "disk"\nsystemd_unit = "x.service"',
            r"\S*/services/x.toml: the object 'disk' has a service already, in \S*/services/disk.toml",
        ),
        ("../../service-activation/x.json", "{}", r"\S*/service-activation/x.json: Expected `array`, got `object`"),
        (
            "services/x.toml",
            'object = "a\\u0000"\nexec = ["x"]',
            r"\S*/services/x.toml: object: a zero byte cannot be said to a process",
        ),
        *(
            (name, "a = " + "[" * 5000, rf"\S*/{name} is no TOML that can be read: it is nested too deeply")
            for name in ("config.toml", "policy.toml", "tokens.toml", "services/x.toml")
        ),
        (
            "../../service-activation/x.json",
            '[{"type": "RegisterService", "object_name": "a", "service_name": "b", "x": ' + "[" * 100_000,
            r"\S*/service-activation/x.json: it is nested too deeply",
        ),
        ("../../service-activation/x.json", "[", r"\S*/service-activation/x.json: Input data was truncated"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(home: Path, name: str, text: str, expected: str) -> None:
    write(home / ".config" / "ipc-broker" / name, text)
    [line] = wrong(home)
    assert re.fullmatch(expected, line), line


@pytest.mark.parametrize("name", ["config.toml", "policy.toml", "services/disk.toml", "services"])
def test_what_others_can_change_is_wrong(home: Path, name: str) -> None:
    path = home / ".config" / "ipc-broker" / name
    path.chmod(0o777)
    assert wrong(home) == [f"{path} can be changed by others than its owner: chmod go-w {path}"]


def test_everything_that_is_wrong_is_said(home: Path) -> None:
    folder = home / ".config" / "ipc-broker"
    write(folder / "policy.toml", "x")
    write(folder / "services" / "a.toml", "x")
    write(folder / "services" / "b.toml", "x")
    assert [line.partition(" ")[0] for line in wrong(home)] == [
        str(folder / name) for name in ("policy.toml", "services/a.toml", "services/b.toml")
    ]


def test_whom_a_policy_speaks_of_and_nobody_knows_is_noted(home: Path) -> None:
    people = 'users = ["no-such", 4711]\ngroups = "no-such"\ntokens = "no-such"\nroles = "no-such"\n'
    write(home / ".config" / "ipc-broker" / "policy.toml", f'[[rule]]\nname = "x"\n{people}call = ">"\n')
    ended = check(home)
    assert (ended.status, ended.errors) == (0, "")
    assert [line for line in ended.output.splitlines() if "note" in line] == [
        "  note: rule 'x': there is no user 'no-such' on this system",
        "  note: rule 'x': there is no group 'no-such' on this system",
        "  note: rule 'x': there is no token 'no-such'",
        "  note: rule 'x': no token has the role 'no-such'",
    ]


def test_tokens_are_counted(home: Path) -> None:
    tokens = home / "tokens.toml"
    for name, expires in (("a", "1w"), ("b", "2w")):
        run(*BROKER, "--tokens", str(tokens), "token", "create", name, "--expires", expires)
    write(tokens, re.sub(r"expires = \d+", "expires = 5", tokens.read_text(encoding="utf-8"), count=1))
    ended = check(home, "--tokens", str(tokens))
    assert f"tokens: 2 in {tokens}, 1 of them expired\n" in ended.output


def test_options_are_checked_too(home: Path) -> None:
    assert wrong(home, "--limit-calls", "0") == ["the settings: Expected `int` >= 1 - at `$.limits.calls`"]
