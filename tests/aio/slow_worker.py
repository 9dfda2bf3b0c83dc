"""The worker of these tests as a process: `slow_worker.py ADDRESS` serves `slow`, and says what it does."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from ipc_broker import Worker
from ipc_broker.sync import connect


class Slow:
    """Each call outlasts a signal that is sent when it says `entered`."""

    async def on_loop(self) -> str:
        print("entered", flush=True)
        await asyncio.sleep(0.3)
        return "ended"

    def in_thread(self) -> str:
        print("entered", flush=True)
        time.sleep(0.3)
        return "ended"


def say_when_registered(address: str) -> None:
    with connect(address) as client:
        client.wait_for("slow", 20)
    print("registered", flush=True)


def main() -> None:
    worker = Worker(sys.argv[1])
    worker.add("slow", Slow())
    threading.Thread(target=say_when_registered, args=[sys.argv[1]]).start()
    worker.run()


if __name__ == "__main__":
    main()
