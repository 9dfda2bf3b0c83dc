"""The floor: four hops over plain Unix sockets, as a call through the broker takes, with nothing done at either end.

It is floor.c where there is a C compiler, else the same in Python, which runs as a program of its own:

    python -m benchmarks.floor SECONDS CALL_SIZE RESULT_SIZE
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ipc_broker.messages import Call, Result
from ipc_broker.protocol.encodings import JSON

from .figures import Figure
from .latency import Latencies, latencies_of
from .processes import Processes

WARM_UP = 200

P50 = Figure("floor-p50", "floor p50, us")
P99 = Figure("floor-p99", "floor p99, us")

_CALL = JSON.encode(Call("12.123456", "math", "add", JSON.encode_payload({"a": 10, "b": 32})))
_RESULT = JSON.encode(Result("12.123456", "math", JSON.encode_payload({"sum": 42})))


class Floor:
    """Measures the floor with frames as large as those of the benchmark's calls."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        program = _compiled(folder)
        self.language = "C" if program is not None else "Python"
        self._command = [str(program)] if program is not None else [sys.executable, "-m", "benchmarks.floor"]

    def measure(self, seconds: float) -> Latencies:
        sizes = (str(len(_CALL)), str(len(_RESULT)))
        answer = self._processes.run([*self._command, str(seconds), *sizes], seconds)
        return msgspec.json.decode(answer, type=Latencies)


def _compiled(folder: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / "floor"
    source = Path(__file__).with_suffix(".c")
    done = subprocess.run([compiler, "-O2", "-o", program, source], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{compiler} does not compile {source.name}; the floor is Python's:\n{done.stderr}", file=sys.stderr)
        return None
    return program


def _read_frame(connection: socket.socket) -> bytes:
    """One whole frame; empty at the end of the stream. Nobody sends a second one before the answer."""
    frame = connection.recv(65_540)
    while frame and (len(frame) < 4 or len(frame) < 4 + int.from_bytes(frame[:4], "big")):
        more = connection.recv(65_540)
        if not more:
            return b""
        frame += more
    return frame


def _frame(size: int) -> bytes:
    return (size - 4).to_bytes(4, "big") + b"x" * (size - 4)


def _serve(client: socket.socket, result: bytes) -> None:
    while _read_frame(client):
        client.sendall(result)


def _forward(left: socket.socket, right: socket.socket) -> None:
    targets = {left: right, right: left}
    while True:
        for source in select.select([left, right], [], [])[0]:
            frame = _read_frame(source)
            if not frame:
                return
            targets[source].sendall(frame)


def _play(server: socket.socket, seconds: float, call: bytes, result_size: int) -> Latencies:
    samples: list[int] = []
    now = time.perf_counter_ns

    def round_trip() -> int:
        start = now()
        server.sendall(call)
        if len(_read_frame(server)) != result_size:
            raise ConnectionError("the floor's server ended")
        return now() - start

    for _ in range(WARM_UP):
        round_trip()
    end = now() + int(seconds * 1e9)
    while now() < end:
        samples.append(round_trip())
    return latencies_of(samples)


def main() -> None:
    if sys.platform == "win32":
        raise SystemExit("the floor needs Unix sockets and fork")
    seconds, call_size, result_size = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    client, left = socket.socketpair()
    right, server = socket.socketpair()
    if os.fork() == 0:
        for other in (client, left, right):
            other.close()
        with contextlib.suppress(ConnectionError):
            _serve(server, _frame(result_size))
        return
    if os.fork() == 0:
        for other in (client, server):
            other.close()
        with contextlib.suppress(ConnectionError):
            _forward(left, right)
        return
    for other in (left, right, server):
        other.close()
    latencies = _play(client, seconds, _frame(call_size), result_size)
    client.close()
    for _ in range(2):
        os.wait()
    print(msgspec.json.encode(latencies).decode())


if __name__ == "__main__":
    main()
