"""What systemd is told, by a socket that stands for its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ipc_broker.aio.notifying import Notifier

if sys.platform == "win32":
    pytest.skip("there is no systemd on Windows", allow_module_level=True)


class Systemd:
    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    async def hears(self) -> list[str]:
        return (await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode().split("\n")


@pytest.fixture(
    params=["file", pytest.param("abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux"))]
)
def systemd(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    with tempfile.TemporaryDirectory(prefix="aio-") as folder:
        told = Systemd(f"{folder}/notify" if request.param == "file" else f"@{folder}/notify")
        with closing(told.socket):
            yield told


def test_the_states_of_a_broker(systemd: Systemd) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.path}, 7)
    notifier.ready("listens on\nunix:///a")
    assert systemd.told() == ["READY=1", "STATUS=listens on unix:///a"]
    before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    notifier.reloading()
    state, at = systemd.told()
    assert state == "RELOADING=1"
    assert at.startswith("MONOTONIC_USEC=")
    assert before <= int(at.partition("=")[2]) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    notifier.stopping()
    assert systemd.told() == ["STOPPING=1", "STATUS=stopping"]
    notifier.close()


async def test_signs_of_life_come_in_time_until_it_is_closed(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "40000", "WATCHDOG_PID": "7"}
    notifier = Notifier(environ, 7)
    notifier.ready()
    notifier.ready()
    assert [await systemd.hears() for _ in range(3)] == [["READY=1", "STATUS="], ["WATCHDOG=1"], ["READY=1", "STATUS="]]
    started = time.monotonic()
    assert [await systemd.hears() for _ in range(3)] == [["WATCHDOG=1"]] * 3
    assert time.monotonic() - started >= 0.04
    notifier.close()


@pytest.mark.parametrize(
    "environ", [{"WATCHDOG_USEC": "40000", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {}]
)
def test_nobody_asks_for_signs_of_life(systemd: Systemd, environ: dict[str, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.path} | environ, 7)
    notifier.ready()
    systemd.told()
    with pytest.raises(BlockingIOError):
        systemd.told()


def test_without_systemd_nothing_is_said() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "40000"}, 7)
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    notifier.close()


def test_a_systemd_that_does_not_listen_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/no/such/socket"}, 7)
    with caplog.at_level(logging.WARNING, "ipc_broker"):
        notifier.ready()
        notifier.stopping()
    [record] = caplog.records
    assert record.message == "systemd cannot be told READY=1 at /no/such/socket: No such file or directory"
