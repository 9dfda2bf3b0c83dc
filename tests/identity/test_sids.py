"""What a SID says, without Windows."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from ipc_broker.identity.sids import ADMINISTRATORS, SYSTEM, is_root, is_sid, is_trusted_owner

OWN, ALICE, BOB = "S-1-5-21-1-2-3-1000", "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
EVERYONE, USERS, LOCAL_SERVICE, AUTHENTICATED = "S-1-1-0", "S-1-5-32-545", "S-1-5-19", "S-1-5-11"


@pytest.mark.parametrize("text", [OWN, SYSTEM, ADMINISTRATORS, EVERYONE, "s-1-5-18", "S-1-0x0123456789AB-7"])
def test_a_sid(text: str) -> None:
    assert is_sid(text)


@pytest.mark.parametrize(
    "text", ["", "alice", "1000", "S-1", "S-1-5", "S-1-5-", "S-2-5-18", f"{OWN} ", f"x{OWN}", "S-1-5-\u0661"]
)
def test_no_sid(text: str) -> None:
    assert not is_sid(text)


def test_root_is_the_system_and_administrators_only() -> None:
    assert all(map(is_root, (SYSTEM, ADMINISTRATORS)))
    assert not any(map(is_root, (OWN, EVERYONE, USERS, LOCAL_SERVICE, AUTHENTICATED, "")))


@pytest.mark.parametrize(
    ("owner", "trusted", "expected"),
    [
        (OWN, (), True),
        (SYSTEM, (), True),
        (ADMINISTRATORS, (), True),
        (ALICE, (), False),
        (ALICE, ("alice",), True),
        (ALICE, (ALICE,), True),
        (ALICE, ("bob", BOB), False),
        (ALICE, ("nobody",), False),
        (EVERYONE, ("nobody",), False),
    ],
)
def test_whose_broker_is_trusted(owner: str, trusted: Collection[str], expected: bool) -> None:
    assert is_trusted_owner(owner, OWN, trusted, {"alice": ALICE, "bob": BOB}.get) is expected
