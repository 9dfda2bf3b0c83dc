"""The progress of a long job, as a bar: the method yields how far it is, and at last what it has found.

    $ python examples/progress.py serve &
    ready
    $ python examples/progress.py count 5000
    counting primes ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100%
    669 primes below 5000

Ctrl-C in the second terminal ends the job in the first.
"""

import sys
from collections.abc import Iterator

from msgspec import Struct
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ipc_broker import Worker
from ipc_broker.sync import connect


class Step(Struct):
    done: int
    of: int
    found: int


class Primes:
    def count(self, below: int) -> Iterator[Step]:  # a plain generator: it runs in a thread
        found = 0
        for number in range(2, below):
            found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            if number % 100 == 0:
                yield Step(number, below, found)
        yield Step(below, below, found)


def serve() -> None:
    worker = Worker(on_connect=lambda: print("ready", flush=True))
    worker.add("primes", Primes())
    worker.run()


def count(below: int) -> None:
    columns = TextColumn("counting primes"), BarColumn(), TaskProgressColumn()
    found = 0
    with connect() as client, Progress(*columns) as progress:
        bar = progress.add_task("", total=below)
        for step in client.stream("primes", "count", [below], returns=Step):
            progress.update(bar, completed=step.done)
            found = step.found
    print(f"{found} primes below {below}")


if sys.argv[1] == "serve":
    serve()
else:
    count(int(sys.argv[2]))
