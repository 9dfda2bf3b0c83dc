"""A program whose log others can follow: an endless stream that each consumer takes at its own pace.

    $ python examples/log_stream.py serve &
    INFO step 1
    INFO step 2
    $ python examples/log_stream.py follow 3
    INFO step 1
    INFO step 2
    INFO step 3

Leaving the loop ends the stream at the worker. `rob call log follow --stream` follows as well.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from ipc_broker import Worker, connect

logger = logging.getLogger("steps")


class Log:
    """What was logged so far, and what comes."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._grown = asyncio.Event()

    async def follow(self) -> AsyncIterator[str]:
        position = 0
        while True:
            while position < len(self._lines):
                yield self._lines[position]  # goes on when the consumer has room for more
                position += 1
            await self._grown.wait()

    def _append(self, line: str) -> None:  # no method for others, since its name begins with an underscore
        self._lines.append(line)
        self._grown.set()
        self._grown = asyncio.Event()


class LogHandler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log._append(self.format(record))


async def serve() -> None:
    log = Log()
    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s", handlers=[LogHandler(log), console])
    worker = Worker()
    worker.add("log", log)
    async with worker:
        step = 0
        while True:
            step += 1
            logger.info("step %d", step)
            await asyncio.sleep(0.05)


async def follow(count: int) -> None:
    async with connect() as client, client.stream("log", "follow", returns=str) as lines:
        async for line in lines:
            print(line)
            count -= 1
            if not count:
                break


console = logging.StreamHandler()
with suppress(KeyboardInterrupt):
    asyncio.run(serve() if sys.argv[1] == "serve" else follow(int(sys.argv[2])))
