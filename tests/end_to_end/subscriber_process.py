"""A slow subscriber as a process: `subscriber_process.py ADDRESS COUNT PAUSE`.

It takes COUNT events of `sensor` `heat`, whose values are their numbers, and sleeps PAUSE seconds after every 200. Then it
prints how many came in their order, and what came instead of the others.
"""

from __future__ import annotations

import sys
import time

from ipc_broker import Event
from ipc_broker.sync import connect


def main() -> None:
    address, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with connect(address, name="slow") as client, client.subscribe("sensor", "heat") as events:
        print("subscribed", flush=True)
        good = 0
        for number in range(count):
            event = events.get(timeout=30)
            if not isinstance(event, Event) or event.value != number:
                print(f"{number} was expected, but {event} came", flush=True)
                return
            good += 1
            if number % 200 == 0:
                time.sleep(pause)
    print(f"{good} events came in order", flush=True)


if __name__ == "__main__":
    main()
