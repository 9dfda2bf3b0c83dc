"""`ipc-broker policy check`: who may do what, and why."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("has no numbers of users", allow_module_level=True)

import grp
import pwd

from tests.cli.programs import BROKER, Ended, run

NOBODY = pwd.getpwuid(65534).pw_name
GROUP = grp.getgrgid(65534).gr_name

POLICY = """
[[rule]]
name = "never"
effect = "deny"
call = "disk.erase"

[[rule]]
name = "operators"
groups = ["operators"]
call = "disk.*"
monitor = true

[[rule]]
name = "builders"
roles = "builder"
register = "builds.>"
publish = "builds.>"
subscribe = "builds.>"
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(POLICY, encoding="utf-8")
    return str(file)


def check(policy: str, *words: str, settings: tuple[str, ...] = ("--allow-users", NOBODY)) -> Ended:
    return run(*BROKER, "--policy", policy, *settings, "policy", "check", *words)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["--as", "uid=65534", "call", "disk.format"],
            1,
            f"user '{NOBODY}' may not call 'disk.format': the default of policy.toml: what no rule allows is denied",
        ),
        (
            ["--as", f"user={NOBODY}", "--as", "group=operators", "call", "disk.format"],
            0,
            f"user '{NOBODY}' may call 'disk.format': the rule 'operators' of policy.toml",
        ),
        (
            ["--as", f"user={NOBODY}", "--as", "group=operators", "call", "disk.erase"],
            1,
            f"user '{NOBODY}' may not call 'disk.erase': the rule 'never' of policy.toml",
        ),
        (
            ["--as", f"uid={os.geteuid()}", "call", "lamp.on"],
            0,
            f"user '{pwd.getpwuid(os.geteuid()).pw_name}' may call 'lamp.on': the default: the broker's own user and root"
            " may do everything",
        ),
        (
            ["--as", "uid=65534", "--as", "group=operators", "monitor"],
            0,
            f"user '{NOBODY}' may look at what others do on this bus: the rule 'operators' of policy.toml",
        ),
        (
            ["--as", "token=ci", "--as", "role=builder", "register", "builds.linux"],
            0,
            "token 'ci' may serve 'builds.linux': the rule 'builders' of policy.toml",
        ),
        (
            ["--as", "token=ci", "--as", "role=builder", "subscribe", ">"],
            1,
            "token 'ci' may not subscribe to '>': the default of policy.toml: what no rule allows is denied",
        ),
        (
            ["--as", "role=builder", "publish", "builds.done"],
            0,
            "an unknown user may publish 'builds.done': the rule 'builders' of policy.toml",
        ),
        (
            ["--as", "token=ci", "administer"],
            1,
            "token 'ci' may not administer this broker: the default: only the broker's own user and root may do that",
        ),
    ],
)
def test_who_may_do_what_and_why(policy: str, words: list[str], status: int, said: str) -> None:
    assert check(policy, *words) == Ended(status, said + "\n", "")


def test_whoever_is_not_let_in_may_do_nothing(policy: str) -> None:
    ended = check(policy, "--as", "uid=65534", "--as", "group=operators", "call", "disk.format", settings=())
    assert ended.status == 1
    assert ended.output.startswith(f"user '{NOBODY}' may not use this broker, which is for user '")
    by_group = check(
        policy,
        "--as",
        "uid=65534",
        "--as",
        "group=operators",
        "call",
        "disk.format",
        settings=("--allow-groups", GROUP),
    )
    assert by_group.status == 0


def test_a_token_comes_with_its_role(policy: str, tmp_path: Path) -> None:
    tokens = ("--tokens", str(tmp_path / "tokens.toml"))
    run(*BROKER, *tokens, "token", "create", "ci", "--role", "builder")
    assert check(policy, "--as", "token=ci", "register", "builds.x", settings=tokens).status == 0
    assert check(policy, "--as", "token=other", "register", "builds.x", settings=tokens).status == 1


def test_without_a_policy() -> None:
    ended = run(*BROKER, "--allow-users", NOBODY, "policy", "check", "--as", f"user={NOBODY}", "call", "a.b")
    assert ended == Ended(0, f"user '{NOBODY}' may call 'a.b': the default: whoever is admitted may do that\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["call", "a.b"], "Missing option '--as'"),
        (["--as", "uid=0"], "Missing argument 'ACTION'"),
        (["--as", "alice", "call", "a.b"], "--as alice: give one of uid=..., user=..., group=..., token=..., role=..."),
        (["--as", "uid=x", "call", "a.b"], "--as uid=x: there is no such user on this system"),
        (["--as", "user=no-such-user", "call", "a.b"], "--as user=no-such-user: there is no such user on this system"),
        (["--as", "uid=0", "dance", "a.b"], "'dance' is not one of"),
        (["--as", "uid=0", "call"], "call what? Give object and member"),
        (["--as", "uid=0", "call", "disk"], "'disk' has no method: give both with a dot between, as in disk.method"),
        (["--as", "uid=0", "publish", "disk"], "'disk' has no topic"),
        (["--as", "uid=0", "register"], "register what? Give an object"),
        (["--as", "uid=0", "monitor", "disk"], "monitor is about no object"),
        (["--as", "uid=0", "call", "a..b"], "'a..b' has an empty segment"),
        (["--as", "uid=0", "call", "rob.monitor"], "what may be asked of 'rob' is said by monitor and administer"),
    ],
)
def test_wrong_usage(policy: str, words: list[str], expected: str) -> None:
    ended = check(policy, *words)
    assert (ended.status, ended.output) == (2, "")
    assert expected in ended.errors


def test_a_policy_that_makes_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[[rule]]\nname = "x"\ncall = "disk"\n', encoding="utf-8")
    ended = check(str(file), "--as", "uid=0", "call", "a.b")
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors == (
        f"ipc-broker: {file}, rule 1 ('x'): call: 'disk' has no method: write 'disk.*' for all of them\n"
    )
