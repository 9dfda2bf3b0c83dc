"""Raw peers that speak MessagePack, and what tests of calls have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from ipc_broker.messages import Error
from ipc_broker.security.principal import OWNER, Principal
from tests.memory import Bus, RawPeer
from tests.messages import call, error_of
from tests.seed.frames import Json, Message, frame_of

ALL_FEATURES: list[Json] = ["multiplex", "cancel", "caller", "streams", "flow", "resume", "batches"]


class PackedPeer(RawPeer):
    """Says hello as soon as it is there, and speaks MessagePack from then on."""

    def __init__(self, bus: Bus, *names: str, **hello: Json) -> None:
        super().__init__(bus)
        encodings: list[Json] = ["msgpack"]
        assert "Result" in self.hello(**{"encodings": encodings, **hello})
        self.register(*names)

    def send(self, *messages: Message) -> None:
        if not self.prefix:
            super().send(*messages)
        else:
            self.send_bytes(b"".join(map(packed, messages)))

    def receive(self) -> list[Message]:
        if not self.prefix:
            return super().receive()
        return [msgspec.msgpack.decode(raw[4:]) for raw in self.receive_frames()]


def packed(message: dict[str, Any]) -> bytes:
    """The whole frame of a message in MessagePack."""
    return frame_of(msgspec.msgpack.encode(message))


def json_peer(bus: Bus, *names: str, principal: Principal | None = OWNER, **hello: Json) -> RawPeer:
    """A raw peer that has said hello, with all features unless it is told others, and speaks JSON."""
    peer = RawPeer(bus, principal=principal)
    assert "Result" in peer.hello(**{"features": ALL_FEATURES, **hello})
    peer.register(*names)
    return peer


def packed_peer(bus: Bus, *names: str, **hello: Json) -> PackedPeer:
    """The same in MessagePack."""
    return PackedPeer(bus, *names, **{"features": ALL_FEATURES, **hello})


def register_as(object_name: str, mode: str = "exclusive", concurrency: int = 0) -> Message:
    return {"RegisterObject": {"object_name": object_name, "mode": mode, "concurrency": concurrency}}


def serve(peer: RawPeer, object_name: str, mode: str = "exclusive", concurrency: int = 0) -> None:
    peer.send(register_as(object_name, mode, concurrency))
    assert {"Registered": {"object_name": object_name}} in peer.receive()


def call_with(call_id: str, object_name: str, method: str, args: Json = None, **fields: Json) -> Message:
    message = call(call_id, object_name, method, args)
    message["Call"] |= fields
    return message


def cancel(call_id: str) -> Message:
    return {"Cancel": {"call_id": call_id}}


def item(call_id: str, value: Json) -> Message:
    return {"Item": {"call_id": call_id, "value": value}}


def credit(call_id: str, size: int) -> Message:
    return {"Credit": {"call_id": call_id, "bytes": size}}


def ended(call_id: str, object_name: str) -> Message:
    return {"Result": {"call_id": call_id, "object_name": object_name, "value": None, "ended": True}}


def error_from(message: Message) -> Error:
    """The `Error` with all its fields."""
    return msgspec.convert(error_of(message), Error)


def ids_of(messages: list[Message]) -> list[str]:
    """The call ids of the calls among them, in order."""
    return [str(message["Call"]["call_id"]) for message in messages if "Call" in message]


def stats(peer: RawPeer) -> dict[str, Any]:
    peer.send(call(f"{peer.prefix}stats", "rob", "stats"))
    [answer] = peer.receive()
    value = answer["Result"]["value"]
    assert isinstance(value, dict)
    return value
