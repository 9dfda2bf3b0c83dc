"""A worker with the standard library alone, in the protocol of the Rust crate: a template for any language.

    $ python examples/rust_worker.py &
    registered
    $ rob --json call counter add by=3
    3
    $ rob --json call counter add by=4
    7
    $ rob call counter reset
    rob: there is no method 'reset' (remote_error)

A frame is a length of four bytes and a JSON object with one key. Frames have at most 65,536 bytes in this protocol.
"""

import json
import os
import socket
import struct
from contextlib import suppress
from typing import Any, BinaryIO


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    connection.sendall(struct.pack(">I", len(body)) + body)


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """None at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    message: dict[str, Any] = json.loads(stream.read(struct.unpack(">I", head)[0]))
    return message


host, port = os.environ.get("BROKER_ADDR", "127.0.0.1:5123").rsplit(":", 1)
count = 0
with (
    suppress(KeyboardInterrupt),
    socket.create_connection((host, int(port))) as connection,
    connection.makefile("rb") as stream,
):
    send(connection, {"RegisterObject": {"object_name": "counter"}})
    while (message := receive(stream)) is not None:
        [(kind, fields)] = message.items()
        if kind == "Registered":
            print("registered", flush=True)
        elif kind == "Call":
            answer = {"call_id": fields["call_id"], "object_name": "counter"}
            if fields["method"] == "add":
                count += fields["args"]["by"]
                send(connection, {"Result": answer | {"value": count}})
            else:
                send(connection, {"Error": answer | {"message": f"there is no method {fields['method']!r}"}})
