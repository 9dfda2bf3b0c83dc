"""A blocking client under Ctrl-C: `interrupted_process.py ADDRESS COUNT OBJECT METHOD`.

Says `done` when nobody hangs after so many.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import threading
import time
from types import FrameType

from ipc_broker.errors import IPCError
from ipc_broker.sync import Client, connect

assert sys.platform != "win32"  # which has no such timer


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the program where nobody expects it."""


def main() -> None:
    address, count = sys.argv[1], int(sys.argv[2])
    object_name, method = sys.argv[3:]
    came = 0
    armed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came, armed
        if armed:
            armed = False  # one at a time: what an interruption ends is ended in peace
            came += 1
            raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    client = connect(address)
    stop = threading.Event()
    threads = [threading.Thread(target=use, args=(client, stop, object_name, method), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while came < count:
        try:
            armed = True
            client.call(object_name, method, timeout=10)
            client.publish("sensor", "heat", random.random())
            armed = False
        except (Interrupted, IPCError):  # which may have ended the connection of others
            armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    deadline = time.monotonic() + 10
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback()
        raise AssertionError(f"a thread hangs: {vars(client.link.turns)}, {vars(client.link.sender)}")
    client.call(object_name, method, timeout=5)
    client.close()
    print("done", flush=True)


def use(client: Client, stop: threading.Event, object_name: str, method: str) -> None:
    while not stop.is_set():
        try:
            client.call(object_name, method, timeout=5)
        except IPCError:
            time.sleep(0)  # its connection was ended by an interruption of the other


if __name__ == "__main__":
    main()
