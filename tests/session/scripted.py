"""A session alone: the test plays its broker."""

from __future__ import annotations

import json

from ipc_broker.errors import IPCError
from ipc_broker.messages import Error, Invalid
from ipc_broker.protocol.framing import FrameReader
from ipc_broker.session import Session
from tests.messages import result
from tests.recording import Answer, RecordingServer
from tests.seed.frames import Json, Message, frame

WELCOME: dict[str, Json] = {
    "encoding": "json",
    "features": ["multiplex"],
    "max_frame": 65_536,
    "prefix": "7.",
    "epoch": "e",
    "session": "e-7",
    "version": "1.2.3",
    "pid": 4711,
}


class ScriptedBroker:
    """`opened` is the latest connection's. `sent` gives what the session has sent since the last time."""

    def __init__(self, *, nonce: str = "nonce") -> None:
        self.session = Session(nonce=nonce, name="client", pid=99)
        self.server = RecordingServer()
        self.session.server = self.server
        self.notices: list[Error | Invalid] = []
        self.session.on_notice = self.notices.append
        self.opened = Answer()
        self.woken = 0

    def accept(self) -> Message:
        """A new connection; gives the session's hello."""
        self.opened = Answer()
        self.session.connection_made(self._wake, self.opened)
        [hello] = self.sent()
        return hello

    def open(self, **fields: Json) -> None:
        """A new connection to a broker with our extensions. What the session sends then is not taken."""
        hello = self.accept()
        self.give(result(str(hello["Call"]["call_id"]), "rob", {**WELCOME, **fields}))

    def open_seed(self) -> None:
        """A new connection to a broker of the seed's."""
        hello = self.accept()
        self.give(result(str(hello["Call"]["call_id"]), "rob", None))

    def lose(self, reason: str = "the connection ended") -> None:
        self.session.connection_lost(reason)

    def sent(self) -> list[Message]:
        frames = FrameReader().feed(self.session.data_to_send())
        return [json.loads(raw[4:]) for raw in frames]

    def give(self, *messages: Message) -> None:
        self.session.receive_data(b"".join(map(frame, messages)))

    def registrations(self) -> list[tuple[str, IPCError | None]]:
        """Those since the last time."""
        registrations, self.server.registrations = self.server.registrations, []
        return registrations

    def _wake(self) -> None:
        self.woken += 1
