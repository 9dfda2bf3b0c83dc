"""A slow subscriber as a process: `subscriber_process.py ADDRESS COUNT PAUSE`.

The values of the events of `sensor` `heat` are their numbers, or lists that begin with them. It takes them up to the
number COUNT - 1, sleeps PAUSE seconds after every 200, and prints what it was told that it has missed. In the end it prints
how many came in their order and how many did not; or, at once, what came instead of the next.
"""

from __future__ import annotations

import sys
import time

from ipc_broker import Gap
from ipc_broker.sync import connect


def main() -> None:
    address, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with connect(address, name="slow") as client, client.subscribe("sensor", "heat") as events:
        print("subscribed", flush=True)
        good = missed = 0
        while good + missed < count:
            event = events.get(timeout=30)
            if isinstance(event, Gap):
                print(f"missed {event.missed}", flush=True)
                missed += event.missed or 0
                continue
            number = event.value[0] if isinstance(event.value, list) else event.value
            if number != good + missed:
                print(f"{good + missed} was expected, but {number} came", flush=True)
                return
            good += 1
            if good % 200 == 0:
                time.sleep(pause)
    print(f"{good} events came in order, {missed} did not", flush=True)


if __name__ == "__main__":
    main()
