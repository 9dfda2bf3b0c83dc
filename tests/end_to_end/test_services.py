"""Services on demand with real programs: `ipc-broker`, workers that it starts, and `rob`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ipc_broker.cli.children import Child
from ipc_broker.errors import ActivationFailed
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at, environment, rob, start_broker
from tests.end_to_end.processes import until

if sys.platform == "win32":
    pytest.skip("the broker reads its files again at SIGHUP", allow_module_level=True)

WORKER = [sys.executable, "-W", "error", str(Path(__file__).with_name("service_process.py"))]


def write_service(folder: Path, name: str, command: list[str], more: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(f'object = "{name}"\nexec = {json.dumps(command)}\n{more}', encoding="utf-8")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_call_of_the_command_line_starts_a_worker_that_goes_with_the_broker(
    local_address: str, tmp_path: Path
) -> None:
    write_service(tmp_path, "disk", WORKER, "start_timeout = 30")
    with broker_at(local_address, "--services", str(tmp_path)) as broker:
        ended = rob("call", "disk", "free", "s", "TB", "--json", address=local_address)
        assert (ended.status, ended.output, ended.errors) == (0, '"7 TB"\n', "")
        with connect(local_address) as client:
            pid = client.call("disk", "pid")
        assert broker.stop() == 0
    until(lambda: is_gone(pid), "the worker ends")


def test_a_start_that_fails_is_told_at_once_with_the_last_words(local_address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "disk", [sys.executable, "-S", "-c", "import nothing_like_this"])
    with broker_at(local_address, "--services", str(tmp_path)) as broker:
        started = time.monotonic()
        ended = rob("call", "disk", "free", address=local_address)
        assert time.monotonic() - started < 10
        broker.wait_for_line("disk: ModuleNotFoundError: No module named 'nothing_like_this'", PATIENCE)
    assert ended.status != 0
    assert "'disk' cannot be started: it ended with exit status 1; its last words: " in ended.errors
    assert "ModuleNotFoundError: No module named 'nothing_like_this'" in ended.errors


def test_the_usual_folder_is_read_and_read_again_at_sighup(local_address: str, tmp_path: Path) -> None:
    folder = tmp_path / "ipc-broker" / "services"
    settings = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    with start_broker("--listen", local_address, **settings) as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        write_service(folder, "disk", ["/no/such/program"])
        (folder / "broken.toml").write_text("object = ")
        broker.send_signal(signal.SIGHUP)
        line = broker.wait_for_line(" stay as they were: ", PATIENCE)
        assert f"{folder}/broken.toml is no TOML" in line
        (folder / "broken.toml").unlink()
        (tmp_path / "service-activation").mkdir()
        seed = [{"type": "RegisterService", "object_name": "math", "service_name": "math"}]
        (tmp_path / "service-activation" / "math.json").write_text(json.dumps(seed))
        broker.send_signal(signal.SIGHUP)
        broker.wait_for_line(" 2 services can be started", PATIENCE)
        with (
            connect(local_address) as client,
            pytest.raises(ActivationFailed, match="'/no/such/program' cannot be run"),
        ):
            client.call("disk", "free")


def test_files_that_make_no_sense_keep_a_broker_from_starting(local_address: str, tmp_path: Path) -> None:
    write_service(tmp_path, "rob", ["x"])
    with start_broker("--listen", local_address, "--services", str(tmp_path)) as broker:
        assert broker.wait(PATIENCE) == 2
    [line] = broker.said
    assert line == f"ipc-broker: {tmp_path}/rob.toml: object: 'rob' is the broker's own"


def test_a_terminal_that_is_closed_ends_the_broker(local_address: str) -> None:
    """SIGHUP came from there before anybody used it for reading files again."""
    code = """
import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, "-m", "ipc_broker", *sys.argv[1:]])
said = b""
while b" listens on " not in said:
    said += os.read(terminal, 1000)
os.kill(pid, 1)
while b"stay as they were" not in said and b"services can be started" not in said:
    said += os.read(terminal, 1000)
os.close(terminal)
print(os.waitpid(pid, 0)[1], flush=True)
"""
    with Child("pty", ["-c", code, "--listen", local_address], environment()) as outer:
        outer.wait_for_line("0", PATIENCE)
        assert outer.wait(PATIENCE) == 0
