"""A client as a process: `client_process.py blocking|asyncio ADDRESS COUNT` sets a will and takes COUNT items of a stream.

It says `streaming` after the first item. In the end it closes its connection.
"""

from __future__ import annotations

import asyncio
import sys

import ipc_broker
import ipc_broker.sync


async def with_asyncio(address: str, count: int) -> None:
    async with ipc_broker.connect(address, name="mortal") as client:
        await client.set_will("status", "mortal", {"is": "gone"})
        async with client.stream("tape", "run", {"size": 1000}) as items:
            async for number, _ in items:
                if number == 0:
                    print("streaming", flush=True)
                if number == count - 1:
                    break


def blocking(address: str, count: int) -> None:
    with ipc_broker.sync.connect(address, name="mortal") as client:
        client.set_will("status", "mortal", {"is": "gone"})
        with client.stream("tape", "run", {"size": 1000}) as items:
            for number, _ in items:
                if number == 0:
                    print("streaming", flush=True)
                if number == count - 1:
                    break


def main() -> None:
    kind, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "asyncio":
        asyncio.run(with_asyncio(address, count))
    else:
        blocking(address, count)


if __name__ == "__main__":
    main()
