"""`ipc-broker token`, as a command."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ipc_broker.cli.tokens import Lifetime
from ipc_broker.security.tokens import TokenRefused, parse_tokens
from tests.cli.programs import BROKER, PATIENCE, Ended, environment, run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "tokens.toml"


def token(file: Path, *words: str) -> Ended:
    return run(*BROKER, "--tokens", str(file), "token", *words)


def test_a_token_is_shown_once_and_only_its_hash_is_kept(file: Path) -> None:
    made = token(file, "create", "ci", "--expires", "30d", "--role", "builder")
    assert (made.status, made.errors) == (0, f"It is shown only now; its hash is in {file}.\n")
    assert re.fullmatch(r"ipcb_[0-9a-f]{12}_[0-9a-f]{64}\n", made.output)
    text = file.read_text(encoding="utf-8")
    assert made.output.strip().rpartition("_")[2] not in text
    tokens = parse_tokens(text, str(file))
    record = tokens.verify(made.output.strip(), tokens.records[0].created)
    assert (record.name, record.role) == ("ci", "builder")
    assert record.expires == record.created + 30 * 86_400
    with pytest.raises(TokenRefused):
        tokens.verify(made.output.strip(), record.expires)
    assert [one.name for one in file.parent.iterdir()] == ["tokens.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no modes")
def test_its_file_is_for_its_owner_alone_and_stays_as_it_was_made(file: Path) -> None:
    token(file, "create", "ci")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o640)
    token(file, "create", "other")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_tokens_are_listed_without_their_secrets(file: Path) -> None:
    assert token(file, "list") == Ended(0, "", f"There are no tokens in {file}.\n")
    token(file, "create", "ci", "--role", "builder")
    token(file, "create", "for-a-while", "--expires", "1w")
    listed = token(file, "list").output.splitlines()
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert listed[0] == "NAME         ROLE     CREATED               EXPIRES"
    assert re.fullmatch(rf"ci           builder  {date}  never", listed[1])
    assert re.fullmatch(rf"for-a-while  -        {date}  {date}", listed[2])
    file.write_text(re.sub(r"expires = \d+", "expires = 5", file.read_text(encoding="utf-8")), encoding="utf-8")
    assert token(file, "list").output.splitlines()[2].endswith("UTC  expired")


def test_a_token_is_revoked(file: Path) -> None:
    token(file, "create", "ci")
    token(file, "create", "other")
    assert token(file, "revoke", "ci") == Ended(0, "", "The token 'ci' is revoked.\n")
    assert [one.name for one in parse_tokens(file.read_text(encoding="utf-8"), str(file)).records] == ["other"]
    assert token(file, "revoke", "ci") == Ended(1, "", f"ipc-broker: there is no token 'ci' in {file}\n")


def test_two_tokens_cannot_have_the_same_name(file: Path) -> None:
    token(file, "create", "ci")
    before = file.read_bytes()
    again = token(file, "create", "ci")
    assert (again.status, again.output) == (1, "")
    assert again.errors == ("ipc-broker: there is a token 'ci' already: revoke it first (ipc-broker token revoke ci)\n")
    assert file.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no locks of folders")
def test_several_at_once_lose_nothing(file: Path) -> None:
    command = [sys.executable, *BROKER, "--tokens", str(file), "token", "create"]
    running = [
        subprocess.Popen(
            [*command, f"t{number}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        )
        for number in range(4)
    ]
    assert [process.wait(PATIENCE) for process in running] == [0] * 4
    records = parse_tokens(file.read_text(encoding="utf-8"), str(file)).records
    assert sorted(one.name for one in records) == ["t0", "t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["create", "a b"], 2, "'a b' is no name"),
        (["create", "ci", "--role", "a b"], 2, "'a b' is no role"),
        (["create", "ci", "--expires", "30"], 2, "'30' is no duration: give a number and s, m, h, d or w, as in 30d"),
        (["create"], 2, "Missing argument 'NAME'"),
        (["destroy"], 2, "No such command 'destroy'"),
        (["revoke", "ci"], 1, "there is no token 'ci'"),
    ],
)
def test_what_makes_no_sense_changes_nothing(file: Path, words: list[str], status: int, expected: str) -> None:
    ended = token(file, *words)
    assert (ended.status, ended.output) == (status, "")
    assert expected in ended.errors
    assert not file.exists()


@pytest.mark.parametrize("words", [["create", "ci"], ["list"], ["revoke", "ci"]])
def test_a_file_that_makes_no_sense_is_left_alone(file: Path, words: list[str]) -> None:
    file.parent.mkdir()
    file.write_text("token = 5\n", encoding="utf-8")
    ended = token(file, *words)
    assert (ended.status, ended.output) == (1, "")
    assert ended.errors.startswith(f"ipc-broker: {file}: ")
    assert file.read_text(encoding="utf-8") == "token = 5\n"


def test_without_a_file_there_are_no_tokens() -> None:
    ended = run(*BROKER, "--tokens", "", "token", "list")
    assert ended.status == 2
    assert "name a file for them (--tokens FILE)" in ended.errors


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("2m", 120), ("3h", 10_800), ("30d", 2_592_000), ("1w", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert Lifetime().convert(text, None, None) == seconds
