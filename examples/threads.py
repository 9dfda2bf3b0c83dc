"""The blocking client: one connection for many threads, no event loop, and a child process with its own.

    $ python examples/threads.py serve &
    ready
    $ python examples/threads.py calls
    8 threads have made 400 calls over one connection: all answers fit
    a child process has its own connection: 25 squared is 625

Whichever thread waits for an answer reads for all the others; nothing runs in the background.
"""

import asyncio
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ipc_broker import Worker
from ipc_broker.sync import Client, connect


class Squares:
    async def square(self, number: int) -> int:
        await asyncio.sleep(0.001)
        return number**2


def serve() -> None:
    worker = Worker(on_connect=lambda: print("ready", flush=True))
    worker.add("squares", Squares())
    worker.run()


def square(client: Client, number: int) -> int:
    return client.call("squares", "square", [number], returns=int)


def in_a_child() -> None:
    """A client is not to be used in a process that was forked from its own: it raises an error there."""
    with connect() as client:
        print(f"a child process has its own connection: 25 squared is {square(client, 25)}", flush=True)


def call() -> None:
    with connect() as client, ThreadPoolExecutor(8) as threads:
        squares = list(threads.map(partial(square, client), range(400)))
    fits = "all answers fit" if squares == [number**2 for number in range(400)] else "some answers are wrong"
    print(f"8 threads have made {len(squares)} calls over one connection: {fits}", flush=True)
    child = multiprocessing.get_context("spawn").Process(target=in_a_child)
    child.start()
    child.join()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        call()
