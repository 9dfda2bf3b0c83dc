"""A service of the Rust crate's protocol, that starts in an instant: it imports next to nothing.

Its object has the methods `told` (its environment), `pid` and `exit` (with a status). A word on its command line makes it do
without something: `silent` never registers, `stubborn` does not end when it is told to.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Any

if sys.platform == "win32":
    sys.exit("it speaks over a Unix socket")


def main(words: list[str]) -> None:
    print("the service starts", flush=True)
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "silent" in words:
        time.sleep(600)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["BROKER_ADDR"].removeprefix("unix://"))
        stream = connection.makefile("rwb")

        def send(message: dict[str, Any]) -> None:
            body = json.dumps(message).encode()
            stream.write(len(body).to_bytes(4, "big") + body)
            stream.flush()

        send({"RegisterObject": {"object_name": os.environ["IPC_BROKER_OBJECT"]}})
        while size := stream.read(4):
            message = json.loads(stream.read(int.from_bytes(size, "big")))
            if "Call" in message:
                call = message["Call"]
                value = METHODS[call["method"]](call["args"])
                send({"Result": {"call_id": call["call_id"], "object_name": call["object_name"], "value": value}})


METHODS: dict[str, Any] = {
    "told": lambda _: dict(os.environ),
    "pid": lambda _: os.getpid(),
    "exit": os._exit,
}

if __name__ == "__main__":
    main(sys.argv[1:])
