"""A job queue: workers share one name, and each job goes to one that has time.

    $ python examples/job_queue.py work left &
    left is ready
    $ python examples/job_queue.py work right &
    right is ready
    $ python examples/job_queue.py submit cat dog cow hen
    cat.png, dog.png, cow.png, hen.png
    left and right have worked

Start as many workers as you like, at any time. Each takes one job at once; the other jobs wait at the broker, in order.
"""

import asyncio
import sys

from msgspec import Struct

from ipc_broker import Worker, connect


class Picture(Struct):
    name: str
    drawn_by: str


class Painter:
    def __init__(self, name: str) -> None:
        self.name = name

    async def draw(self, what: str) -> Picture:
        await asyncio.sleep(0.02)  # stands for work; what keeps the processor busy belongs into a plain `def`
        return Picture(f"{what}.png", self.name)


def work(name: str) -> None:
    worker = Worker(name=name, on_connect=lambda: print(f"{name} is ready", flush=True))
    worker.add("painter", Painter(name), mode="shared", concurrency=1)
    worker.run()


async def submit(jobs: list[str]) -> None:
    async with connect() as client:
        calls = [client.call("painter", "draw", [job], returns=Picture) for job in jobs]
        pictures = await asyncio.gather(*calls)  # all are under way at once
    print(", ".join(picture.name for picture in pictures))
    print(" and ".join(sorted({picture.drawn_by for picture in pictures})), "have worked")


if sys.argv[1] == "work":
    work(sys.argv[2])
else:
    asyncio.run(submit(sys.argv[2:]))
