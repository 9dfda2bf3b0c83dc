"""Files that say who may do what: only those that nobody else can change."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has access control lists instead", allow_module_level=True)

from ipc_broker.errors import ConfigError
from ipc_broker.identity.files import read_trusted, require_trusted_folder
from tests.identity.strangers import NOBODY, as_root


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text("größe", encoding="utf-8")
    path.chmod(0o644)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_trusted(str(path))
    return caught.value.message


def test_a_file_of_one_s_own_is_read(file: Path) -> None:
    assert read_trusted(str(file)) == "größe"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert refusal(file) == f"{file} can be changed by others than its owner: chmod go-w {file}"


def test_a_file_that_others_can_replace_is_refused(file: Path) -> None:
    file.parent.chmod(0o777)
    assert refusal(file) == f"{file.parent} can be changed by others than its owner: chmod go-w {file.parent}"
    file.parent.chmod(0o1777)
    assert read_trusted(str(file)) == "größe", "in a sticky folder nobody can"


def test_a_link_counts_for_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    target = tmp_path / "open" / "target.toml"
    target.write_text("", encoding="utf-8")
    (tmp_path / "open").chmod(0o777)
    link = tmp_path / "link.toml"
    link.symlink_to(target)
    assert refusal(link) == f"{target.parent} can be changed by others than its owner: chmod go-w {target.parent}"


@as_root
def test_a_file_of_somebody_else_is_refused(file: Path) -> None:
    os.chown(file, NOBODY, -1)
    message = refusal(file)
    assert message.startswith(f"{file} belongs to user '")
    assert message.endswith("who could change what it says: it must be your own or root's")


@as_root
def test_a_file_in_a_folder_of_somebody_else_is_refused(file: Path) -> None:
    os.chown(file.parent, NOBODY, -1)
    assert refusal(file).startswith(f"{file.parent} belongs to user '")


def test_what_cannot_be_read_is_named(file: Path, tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == f"cannot read {tmp_path / 'none.toml'}: No such file or directory"
    assert refusal(tmp_path).startswith(f"cannot read {tmp_path}: ")
    file.write_bytes(b"\xff")
    assert refusal(file).startswith(f"{file} is no text in UTF-8: ")


def test_nobody_waits_for_whoever_writes_to_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)
    assert refusal(file) == f"{file} is no regular file"


def test_a_folder_all_of_whose_files_are_read(tmp_path: Path, file: Path) -> None:
    require_trusted_folder(str(tmp_path))
    for wrong, expected in [(tmp_path / "none", "cannot read"), (file, "is no folder")]:
        with pytest.raises(ConfigError, match=expected):
            require_trusted_folder(str(wrong))
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigError, match="chmod go-w"):
        require_trusted_folder(str(tmp_path))
