from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ipc_broker.activation.folders import read_services, seed_folder
from ipc_broker.errors import ConfigError

DISK = 'object = "disk"\nexec = ["worker"]'
MATH = '[{"type": "RegisterService", "object_name": "math", "service_name": "math"}]'


def test_services_of_all_folders(tmp_path: Path) -> None:
    own, seed = tmp_path / "own", tmp_path / "seed"
    for folder in (own, seed):
        folder.mkdir()
    (own / "disk.toml").write_text(DISK)
    (own / "README.md").write_text("ours")
    (own / ".disk.toml.swp").write_text("?")
    (own / ".hidden.toml").write_text("?")
    (seed / "math.json").write_text(MATH)
    found = read_services([str(own)], [str(seed), str(tmp_path / "none")])
    assert [one.object for one in found] == ["disk", "math"]
    assert read_services([str(own), str(own)]) == found[:1]


def test_a_folder_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none: No such file"):
        read_services([str(tmp_path / "none")])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file is no folder"):
        read_services([], [str(tmp_path / "file")])


def test_two_services_of_one_object_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(DISK)
    (tmp_path / "b.toml").write_text(DISK)
    with pytest.raises(ConfigError, match=r"b\.toml: the object 'disk' has a service already, in .*a\.toml"):
        read_services([str(tmp_path)])


def test_files_that_make_no_sense_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"a\.toml is no text in UTF-8"):
        read_services([str(tmp_path)])
    (tmp_path / "a.toml").write_text("object = 1")
    with pytest.raises(ConfigError, match=r"a\.toml: "):
        read_services([str(tmp_path)])
    (tmp_path / "a.toml").unlink()
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*a\.toml"):
        read_services([str(tmp_path)])


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX")
def test_what_others_could_write_is_not_run_in_our_name(tmp_path: Path) -> None:
    (tmp_path / "disk.toml").write_text(DISK)
    (tmp_path / "disk.toml").chmod(0o666)
    with pytest.raises(ConfigError, match=r"disk\.toml can be changed by others than its owner"):
        read_services([str(tmp_path)])
    (tmp_path / "disk.toml").chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="can be changed by others than its owner"):
        read_services([], [str(tmp_path)])
    tmp_path.chmod(0o700)
    assert len(read_services([str(tmp_path)])) == 1


def test_where_the_rust_crates_broker_looks() -> None:
    assert seed_folder() == os.path.join(os.path.expanduser("~"), "service-activation")
