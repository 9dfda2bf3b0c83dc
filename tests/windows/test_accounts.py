"""Users and groups as Windows knows them, and where people name them."""

from __future__ import annotations

import subprocess
import sys

import pytest

if sys.platform == "win32":
    from ipc_broker.identity.accounts import account_name, own_sid, sid_of
    from ipc_broker.identity.sids import ADMINISTRATORS, SYSTEM, is_sid
    from tests.windows.buses import PATIENCE, USERS
    from tests.windows.strangers import IS_WINE, STRANGER, new_name
else:
    pytest.skip("named pipes need Windows", allow_module_level=True)
assert sys.platform == "win32"  # so that mypy leaves out the rest elsewhere


def test_this_user_has_a_sid_and_a_name() -> None:
    assert is_sid(own_sid())
    own = account_name(own_sid())
    assert not is_sid(own)
    spellings = (own, own_sid(), own_sid().lower())
    for spelled in spellings if IS_WINE else (*spellings, own.lower(), own.upper()):
        assert sid_of(spelled) == own_sid()


def test_names_of_others() -> None:
    assert sid_of("SYSTEM") == SYSTEM
    assert account_name(SYSTEM) == r"NT AUTHORITY\SYSTEM"
    assert sid_of(account_name(ADMINISTRATORS)) == ADMINISTRATORS
    assert sid_of("nobody-of-this-name") is None
    assert sid_of("1000") is None
    assert sid_of("") is None
    assert account_name(STRANGER) == STRANGER
    assert account_name("no SID") == "no SID"


@pytest.mark.parametrize("program", ["broker", "policy"])
def test_ipc_broker_knows_users_by_name(program: str) -> None:
    words = {
        "broker": ["--listen", f"pipe://{new_name()}", "--allow-users", "nobody-of-this-name", "check"],
        "policy": ["policy", "check", "--as", "user=nobody-of-this-name", "call", "cat.feed"],
    }
    complaints = {
        "broker": "allow_users: there is no user 'nobody-of-this-name' on this system",
        "policy": "--as user=nobody-of-this-name: there is no such user on this system",
    }
    ended = ipc_broker_with(*words[program])
    assert ended.returncode != 0
    assert complaints[program] in ended.stderr


def test_policy_check_for_the_own_user() -> None:
    ended = ipc_broker_with("policy", "check", "--as", f"user={account_name(own_sid())}", "monitor")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert account_name(own_sid()) in ended.stdout
    ended = ipc_broker_with("policy", "check", "--as", "user=LOCAL SERVICE", "call", "cat.feed")
    assert "may not use this broker" in ended.stdout
    ended = ipc_broker_with(
        *("--allow-groups", account_name(USERS), "policy", "check", "--as", f"group={account_name(USERS).lower()}"),
        *("call", "cat.feed"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def ipc_broker_with(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipc_broker", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
