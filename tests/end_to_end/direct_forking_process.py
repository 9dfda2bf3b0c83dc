"""A process with a worker and clients that call it directly, which forks: `direct_forking_process.py ADDRESS`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import ipc_broker
import ipc_broker.sync
from ipc_broker import Worker

assert sys.platform != "win32"  # which has no fork


class Echo:
    async def back(self, value: int) -> int:
        return value


def direct_sockets() -> list[str]:
    """What this process has of sockets without a file, those of the worker and of all its callers."""
    with open("/proc/net/unix") as lines:
        inodes = {words[6] for line in lines if "@ipc-broker-" in line and len(words := line.split()) > 7}
    held = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            held.append(name)
    return held


def call_blocking(address: str, forked: threading.Event, calls: list[int]) -> None:
    with ipc_broker.sync.connect(address) as client:
        while "it" not in client.link.session.directs._paths:
            client.call("it", "back", [1])
        calls.append(client.call("it", "back", [1]))
        forked.wait()
        calls.append(client.call("it", "back", [2]))


async def main(address: str) -> None:
    worker = Worker(address)
    worker.add("it", Echo())
    async with worker, ipc_broker.connect(address) as client:
        while "it" not in client.link.session.directs._paths:
            await client.call("it", "back", [1])
        forked, calls = threading.Event(), list[int]()
        blocking = asyncio.create_task(asyncio.to_thread(call_blocking, address, forked, calls))
        while not calls:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.001)
        assert len(direct_sockets()) >= 3, direct_sockets()
        pid = os.fork()
        if not pid:
            print(f"child holds: {direct_sockets()}", flush=True)
            os._exit(0)
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it ends at once
        print(f"child ended with: {status}", flush=True)
        forked.set()
        await blocking
        print(f"parent calls: {await client.call('it', 'back', [3])}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
