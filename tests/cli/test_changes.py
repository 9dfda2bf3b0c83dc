from __future__ import annotations

from pathlib import Path

from ipc_broker.cli.changes import SourceFiles


def test_what_is_new_gone_or_different_has_changed(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    one, two = tmp_path / "one.py", inner / "two.py"
    one.write_text("1")
    two.write_text("2")
    files = SourceFiles([tmp_path])
    assert files.changed() == []
    two.write_text("22")
    new = tmp_path / "new.py"
    new.write_text("")
    assert files.changed() == [two, new]
    assert files.changed() == []
    one.unlink()
    assert files.changed() == [one]


def test_only_sources_count(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    for folder in (tmp_path / ".hidden", tmp_path / "__pycache__", tmp_path / "site-packages", environment):
        folder.mkdir()
    (environment / "pyvenv.cfg").write_text("")
    files = SourceFiles([tmp_path])
    for folder in tmp_path.iterdir():
        (folder / "some.py").write_text("")
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "missing.py")
    assert files.changed() == []


def test_a_folder_that_is_gone_has_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.py").write_text("")
    files = SourceFiles([folder])
    (folder / "a.py").unlink()
    folder.rmdir()
    assert files.changed() == [folder / "a.py"]
