"""A broker that the test plays by hand, frame by frame."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from typing import Any, Self, cast

from ipc_broker.sync import Client, connect
from tests.seed.decoding import decode_message
from tests.seed.frames import Json, Message, frame, frame_of
from tests.sync.bus import PATIENCE, InThread

WELCOME = {
    "encoding": "json",
    "features": ["multiplex", "cancel", "caller", "streams", "flow", "resume"],
    "max_frame": 65_536,
    "prefix": "1.",
    "epoch": "epoch",
    "session": "epoch-1",
    "version": "0",
    "pid": 1,
}


class ScriptedBroker:
    """Listens while its `with` block runs; accepts one connection."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="sync-")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(f"{self._folder.name}/bus.sock")
            self._listener.listen()
            self.address = f"unix://{self._folder.name}/bus.sock"
        self._listener.settimeout(PATIENCE)
        self._connection: socket.socket | None = None
        self._received = b""
        self._is_ours = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.hang_up()
        self.stop_listening()
        if sys.platform != "win32":
            self._folder.cleanup()

    @property
    def connection(self) -> socket.socket:
        assert self._connection is not None, "nobody has connected"
        return self._connection

    def accept(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(PATIENCE)

    def accept_again(self) -> dict[str, Json]:
        """The client's next connection, which is answered as its first was; gives its hello."""
        self.hang_up()
        self._received = b""
        self.accept()
        was_ours, self._is_ours = self._is_ours, False
        hello = self.read("Call")
        self.answer(hello, WELCOME if was_ours else None)
        self._is_ours = was_ours
        return cast(dict[str, Json], hello["args"])

    def stop_listening(self) -> None:
        self._listener.close()

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def connect(self) -> Client:
        """A client that takes this for a broker of the Rust crate."""
        connecting = InThread(lambda: connect(self.address, timeout=PATIENCE))
        self.accept()
        self.answer(self.read("Call"), None)
        return connecting.result()

    def connect_as_ours(self) -> Client:
        """A client that takes this for a broker of ours."""
        connecting = InThread(lambda: connect(self.address, timeout=PATIENCE))
        self.accept()
        self.answer(self.read("Call"), WELCOME)
        self._is_ours = True
        client = connecting.result()
        assert client.broker is not None
        return client

    def read_frame(self) -> bytes:
        """The next frame, header included; b"" when the client has ended the connection between two frames."""
        header = self._read(4)
        if not header:
            return b""
        return header + self._read(int.from_bytes(header, "big"))

    def read(self, variant: str) -> dict[str, Json]:
        """The fields of the next message, which must be of this variant."""
        body = self.read_frame()[4:]
        message = cast(Message, json.loads(body)) if self._is_ours else decode_message(body)
        assert variant in message, f"{variant} was expected, but this came: {message}"
        return message[variant]

    def send(self, message: Message) -> None:
        self.connection.sendall(frame(message))

    def send_body(self, body: bytes) -> None:
        self.connection.sendall(frame_of(body))

    def answer(self, call: dict[str, Json], value: Any) -> None:
        self.send({"Result": {"call_id": call["call_id"], "object_name": call["object_name"], "value": value}})

    def confirm_subscription(self) -> dict[str, Json]:
        """Gives what was subscribed."""
        wish = self.read("Subscribe")
        self.send({"Subscribed": {name: wish[name] for name in ("object_name", "topic", "id") if name in wish}})
        return wish

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            data = self.connection.recv(65_536)
            if not data:
                assert not self._received, f"the client left in the middle of a frame: {self._received!r}"
                return b""
            self._received += data
        data, self._received = self._received[:size], self._received[size:]
        return data
