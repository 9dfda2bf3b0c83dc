"""A peer that watches the bus, and how to see whether the broker tells anybody of what happens."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, convert, json, msgpack

from ipc_broker.messages import Batch, Call, Error, Item, Publish, Result
from ipc_broker.observation import Record
from ipc_broker.routing.router import Router
from tests.memory import Bus, RawPeer
from tests.messages import call
from tests.routing.peers import PackedPeer, json_peer, packed_peer
from tests.routing.subscribers import PLENTY
from tests.seed.frames import Json, Message


class Seen(Struct, frozen=True):
    """A record with its payload decoded; `value` is None where there is none."""

    record: Record
    value: Any

    @property
    def kind(self) -> str:
        return self.record.kind


class Looker:
    """Calls `rob.monitor` with these arguments as soon as it is there. The `begin` is taken."""

    def __init__(self, bus: Bus, credit: int = PLENTY, *, packed: bool = False, **watch: Json) -> None:
        self.raw: RawPeer = packed_peer(bus, name="looker") if packed else json_peer(bus, name="looker")
        self.call_id = f"{self.raw.prefix}watch"
        message = call(self.call_id, "rob", "monitor", dict(watch) or None)
        message["Call"]["credit"] = credit
        self.raw.send(message)
        [begin] = self.seen()
        assert begin.kind == "begin"

    def seen(self) -> list[Seen]:
        """What has come since the last time; nothing but records may."""
        return [self._seen(message) for message in self.raw.receive()]

    def _seen(self, message: Message) -> Seen:
        assert list(message) == ["Item"], message
        assert message["Item"]["call_id"] == self.call_id
        fields: Any = message["Item"]["value"]
        value = fields.pop("value", None)
        return Seen(convert(fields, Record), value)

    def kinds(self) -> list[str]:
        return [one.kind for one in self.seen()]

    def told(self) -> list[str]:
        """The records in a word: the kind, and the value where there is one; a count of those that were missed."""
        return [
            f"missed {one.record.count}" if one.kind == "missed" else f"{one.kind} {one.value}" for one in self.seen()
        ]

    def give(self, size: int) -> None:
        self.raw.send({"Credit": {"call_id": self.call_id, "bytes": size}})
        self.raw.bus.settle()

    def stop(self) -> None:
        self.raw.send({"Cancel": {"call_id": self.call_id}})
        self.raw.bus.settle()

    def size_of(self, record: Message) -> int:
        """Bytes of credit that such a record takes, in this peer's encoding."""
        body = {"Item": {"call_id": self.call_id, "value": record}}
        encode = msgpack.encode if isinstance(self.raw, PackedPeer) else json.encode
        return 4 + len(encode(body))


def handlers_of(router: Router) -> list[object]:
    """What is called for each message on the hot paths."""
    return [router.handlers[kind] for kind in (Call, Result, Error, Item, Publish, Batch)]


def original_handlers(router: Router) -> list[object]:
    return [
        router.calls.call,
        router.calls.answer,
        router.calls.error,
        router.streams.item,
        router.events.publish,
        router.batches.publish,
    ]


def assert_nobody_looks(router: Router) -> None:
    assert handlers_of(router) == original_handlers(router)
    assert router.observers == []
    assert router.taps.watchers == []
    assert router.taps.next_deadline() is None
