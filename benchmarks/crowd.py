"""Many client processes at once, each with one call in flight.

python -m benchmarks.crowd ADDRESS SECONDS
"""

from __future__ import annotations

import sys
import time

import msgspec

from ipc_broker.sync import connect

from .calls import ARGS, RESULT
from .figures import Figure, Goal
from .processes import BenchmarkFailed, Bus

CLIENTS = 16
READY = "connected"


class Crowd:
    """Calls a second of all together, while all of them call."""

    name = "crowd"
    figures = (Figure("crowd", f"calls/s of {CLIENTS} client processes", "rate", Goal("at least", 40_000)),)

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        processes = bus.processes
        command = [sys.executable, "-m", "benchmarks.crowd", bus.address, str(seconds)]
        clients = [processes.start(command) for _ in range(CLIENTS)]
        for client in clients:
            processes.wait_line(client, READY.encode())
        begin = str(time.monotonic() + 0.1).encode() + b"\n"
        for client in clients:
            processes.tell(client, begin)
        rates = [msgspec.json.decode(processes.output(client, seconds), type=float) for client in clients]
        return {"crowd": [sum(rates)]}


def main(address: str, seconds: float) -> None:
    """Begins at the time that it reads, of the machine's monotonic clock, and calls for so long."""
    with connect(address) as client:
        for _ in range(100):  # the first ones find their way
            client.call("math", "add", ARGS)
        print(READY, flush=True)
        begin = float(sys.stdin.readline())
        time.sleep(max(begin - time.monotonic(), 0.0))
        count = 0
        while time.monotonic() < begin + seconds:
            if client.call("math", "add", ARGS) != RESULT:
                raise BenchmarkFailed("math.add answered something else")
            count += 1
        print(count / (time.monotonic() - begin))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
