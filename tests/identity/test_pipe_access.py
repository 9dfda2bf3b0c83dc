"""The rights of a named pipe, as text; what Windows makes of it, tests/windows has."""

from __future__ import annotations

from ipc_broker.identity.pipe_access import CONNECT, descriptor_of

ALICE, BOB, STAFF = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-2001"
FILE_CREATE_PIPE_INSTANCE = 0x0004
FILE_GENERIC_READ, FILE_GENERIC_WRITE = 0x00120089, 0x00120116


def test_a_pipe_is_its_owner_s_and_for_the_system_and_administrators_only() -> None:
    assert descriptor_of(ALICE) == f"O:{ALICE}D:P(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)(A;;FA;;;{ALICE})"


def test_others_can_connect_and_nothing_else() -> None:
    assert descriptor_of(ALICE, [BOB, STAFF]) == (f"{descriptor_of(ALICE)}(A;;0x12019b;;;{BOB})(A;;0x12019b;;;{STAFF})")


def test_to_connect_is_to_read_and_to_write_but_not_to_serve() -> None:
    """Who can make an instance is told what was meant for the owner."""
    assert FILE_CREATE_PIPE_INSTANCE | CONNECT == FILE_GENERIC_READ | FILE_GENERIC_WRITE
    assert not CONNECT & FILE_CREATE_PIPE_INSTANCE


def test_nobody_is_named_twice() -> None:
    assert descriptor_of("S-1-5-18") == "O:S-1-5-18D:P(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)"
    assert descriptor_of(ALICE, [ALICE, "S-1-5-18", "S-1-5-32-544"]) == descriptor_of(ALICE)
    assert descriptor_of(ALICE, [BOB, BOB]) == descriptor_of(ALICE, [BOB])
