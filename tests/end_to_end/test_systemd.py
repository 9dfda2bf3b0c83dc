"""`ipc-broker` as systemd runs it: with a socket that it passes, a socket that listens to it, and a journal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import BROKER, PATIENCE, environment, rob
from tests.end_to_end.processes import until

if sys.platform == "win32":
    pytest.skip("there is no systemd on Windows", allow_module_level=True)

_PASS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "bus"}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@contextmanager
def systemd_at(path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE)
        yield listening


def told(systemd: socket.socket) -> list[str]:
    """What is told next, but for signs of life."""
    while (lines := systemd.recv(4096).decode().split("\n")) == ["WATCHDOG=1"]:
        continue
    return lines


def test_it_tells_when_it_is_ready_lives_reads_anew_and_stops(local_address: str, tmp_path: Path) -> None:
    with systemd_at(tmp_path / "notify") as systemd:
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        with Child("ipc-broker", [*BROKER, "--listen", local_address], environment(**variables)) as broker:
            assert told(systemd) == ["READY=1", f"STATUS=listens on {local_address}"]
            assert rob("list", address=local_address).output == "rob\n"
            assert systemd.recv(4096) == b"WATCHDOG=1"
            assert systemd.recv(4096) == b"WATCHDOG=1"
            broker.send_signal(signal.SIGHUP)
            assert told(systemd)[0] == "RELOADING=1"
            assert told(systemd)[0] == "READY=1"
            broker.send_signal(signal.SIGTERM)
            assert told(systemd) == ["STOPPING=1", "STATUS=stopping"]
            assert broker.wait(PATIENCE) == 0


def test_a_client_that_comes_before_the_broker_is_served_when_it_is_there(local_address: str) -> None:
    path = local_address.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(path)
            early.sendall(b'\0\0\0\x21{"HasObject":{"object_name":"a"}}')
            for _ in range(2):  # systemd starts it again at the same socket
                with passed_to_broker(listening) as line:
                    assert line.endswith(f" listens on {local_address}\n")
                    with connect(local_address) as client:
                        assert client.objects() == ["rob"]
                assert Path(path).is_socket()
            early.settimeout(PATIENCE)
            assert b"HasObjectResult" in early.recv(1000)


@contextmanager
def passed_to_broker(listening: socket.socket) -> Iterator[str]:
    """The broker with this as its descriptor 3; gives the first line of its log."""
    descriptor = listening.fileno()
    with subprocess.Popen(
        [sys.executable, "-c", _PASS, str(descriptor), *BROKER],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
        pass_fds=[descriptor],
    ) as broker:
        try:
            assert broker.stderr is not None
            yield broker.stderr.readline()
            broker.terminate()
            assert broker.wait(PATIENCE) == 0
        finally:
            broker.kill()


def test_its_log_for_programs(local_address: str) -> None:
    with Child("ipc-broker", [*BROKER, "--listen", local_address, "--log-format", "json"], environment()) as broker:
        line = json.loads(broker.wait_for_line(" listens on ", PATIENCE))
        assert (line["level"], line["logger"]) == ("info", "ipc_broker")
        broker.stop()
        assert all(json.loads(line) for line in broker.said)


def test_its_log_tells_the_journal_how_bad_it_is(local_address: str, tmp_path: Path) -> None:
    log = tmp_path / "journal"
    with log.open("wb") as stream:
        found = log.stat()
        told = environment(JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
        arguments = [sys.executable, *BROKER, "--listen", local_address]
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=stream, env=told) as broker:
            try:
                until(lambda: " listens on " in log.read_text(encoding="utf-8"), "it listens")
                broker.send_signal(signal.SIGTERM)
                assert broker.wait(PATIENCE) == 0
            finally:
                broker.kill()
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("<6>20") for line in lines)
