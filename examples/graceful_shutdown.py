"""A worker that is stopped in good order: it takes no more calls, and ends those that run.

    $ python examples/graceful_shutdown.py serve &
    open
    the tea is ready
    the last guest has gone
    $ python examples/graceful_shutdown.py order tea &
    the kettle is on
    tea, freshly made
    $ kill %1
    $ rob call kitchen brew drink=tea
    rob: No such object 'kitchen' (no_such_object)

`kill` sends SIGTERM, as Ctrl-C does SIGINT. The worker gives running methods five seconds to end.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from ipc_broker import Worker, connect


class Kitchen:
    async def brew(self, drink: str) -> AsyncIterator[str]:
        yield "the kettle is on"
        await asyncio.sleep(0.3)
        print(f"the {drink} is ready", flush=True)
        yield f"{drink}, freshly made"


def serve() -> None:
    worker = Worker(on_connect=lambda: print("open", flush=True))
    worker.add("kitchen", Kitchen())
    worker.run()  # returns when it was stopped and its calls have ended
    print("the last guest has gone")  # here is the place to save what must be saved


async def order(drink: str) -> None:
    async with connect() as client:
        await client.wait_for("kitchen", timeout=5)
        async for line in client.stream("kitchen", "brew", [drink], returns=str):
            print(line, flush=True)


if sys.argv[1] == "serve":
    serve()
else:
    asyncio.run(order(sys.argv[2]))
