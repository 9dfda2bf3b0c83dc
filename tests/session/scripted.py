"""A session alone: the test plays its broker."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from ipc_broker.errors import IPCError
from ipc_broker.messages import Error, Invalid
from ipc_broker.protocol.framing import FrameReader
from ipc_broker.session import Session, Settings
from tests.messages import result
from tests.recording import Answer, RecordingServer
from tests.seed.frames import Json, Message, frame, frame_of

WELCOME: dict[str, Json] = {
    "encoding": "json",
    "features": [
        "multiplex",
        "cancel",
        "caller",
        "streams",
        "flow",
        "resume",
        "heartbeat",
        "batches",
        "direct",
        "memory",
    ],
    "max_frame": 65_536,
    "prefix": "7.",
    "epoch": "e",
    "session": "e-7",
    "version": "1.2.3",
    "pid": 4711,
}


class ScriptedBroker:
    """`opened` is the latest connection's. `sent` gives what the session has sent since the last time."""

    def __init__(self, *, nonce: str = "nonce", **settings: Any) -> None:
        """`settings` are fields of the session's `Settings`."""
        self.session = Session(nonce=nonce, settings=Settings(**{"name": "client", "pid": 99, **settings}))
        self.server = RecordingServer()
        self.session.serving.server = self.server
        self.notices: list[Error | Invalid] = []
        self.session.on_notice = self.notices.append
        self.opened = Answer()
        self.woken = 0
        self._hello_id = ""

    def accept(self) -> Message:
        """A new connection; gives the session's hello."""
        self.opened = Answer()
        self.session.connection_made(self._wake, self.opened)
        [hello] = self.sent()
        self._hello_id = str(hello["Call"]["call_id"])
        return hello

    def open(self, **fields: Json) -> None:
        """A new connection to a broker with our extensions. What the session sends then is not taken."""
        self.accept()
        self.answer_hello({**WELCOME, **fields})

    def answer_hello(self, value: Json) -> None:
        self.session.receive_data(frame(result(self._hello_id, "rob", value)))

    def open_seed(self) -> None:
        """A new connection to a broker of the seed's."""
        self.accept()
        self.answer_hello(None)

    def lose(self, reason: str = "the connection ended") -> None:
        self.session.connection_lost(reason)

    def sent(self) -> list[Message]:
        frames = FrameReader(2**32).feed(self.session.data_to_send())
        return [cast(Message, self.session.codec.decode_any(raw[4:])) for raw in frames]

    def give(self, *messages: Message) -> None:
        """In one piece, in the encoding that was agreed."""
        in_msgpack = self.session.codec.name == "msgpack"
        frames = [frame_of(msgspec.msgpack.encode(one)) if in_msgpack else frame(one) for one in messages]
        self.session.receive_data(b"".join(frames))

    def answer_ask(self, method: str, value: Json = None) -> dict[str, Json]:
        """Answers the only message sent, a call of `rob`; gives its arguments."""
        call_id, args = self.asked(method)
        self.give(result(call_id, "rob", value))
        return args

    def asked(self, method: str) -> tuple[str, dict[str, Json]]:
        """The id and the arguments of the only message sent, a call of `rob`."""
        [message] = self.sent()
        asked = message["Call"]
        assert (asked["object_name"], asked["method"]) == ("rob", method)
        return str(asked["call_id"]), cast(dict[str, Json], asked["args"])

    def registrations(self) -> list[tuple[str, IPCError | None]]:
        """Those since the last time."""
        registrations, self.server.registrations = self.server.registrations, []
        return registrations

    def _wake(self) -> None:
        self.woken += 1
