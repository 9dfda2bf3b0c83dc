"""Peers as the model of the router (test_model.py) knows them."""

from __future__ import annotations

import json
from itertools import groupby
from typing import NamedTuple, cast

from ipc_broker.routing.patterns import matches
from tests.memory import Bus, RawPeer
from tests.messages import error
from tests.routing.peers import json_peer, packed_peer
from tests.seed.frames import Json, Message


class Wanted(NamedTuple):
    """A subscription with an id. Those that are equal are members of one group, where it is one."""

    object_name: str
    topic: str
    group: str

    def is_for(self, object_name: str, topic: str) -> bool:
        return matches(self.object_name, object_name) and matches(self.topic, topic)


class Serving(NamedTuple):
    """That a peer serves a name."""

    peer: Modelled
    mode: str


class Asked(NamedTuple):
    """A call that its worker was given, under the id it knows."""

    caller: Modelled
    call_id: str
    worker: Modelled
    worker_id: str
    object_name: str


class Modelled:
    """A peer, and what the model knows of it."""

    def __init__(self, bus: Bus, kind: str) -> None:
        features: list[Json] = ["multiplex", "cancel"]
        if kind == "seed":
            self.raw = RawPeer(bus)
        else:
            self.raw = (json_peer if kind == "json" else packed_peer)(bus, features=features)
        self.seed = kind == "seed"
        self.plain: set[tuple[str, str]] = set()
        self.by_id: dict[int, Wanted] = {}
        self.calls: dict[str, Asked] = {}
        self.held: list[Message] = []
        self.expected: list[Message] = []
        self.half_closed = False

    def send(self, message: Message) -> None:
        self.raw.send(message)
        self.raw.bus.settle()

    def gets_event(self, message: Message) -> None:
        (self.held if self.seed and self.calls else self.expected).append(message)

    def gets_answer(self, message: Message) -> None:
        self.expected.append(message)
        if not self.calls:
            self.expected += self.held
            self.held = []

    def receive(self) -> list[Message]:
        return [plain(message) for message in self.raw.receive()]


def plain(message: Message) -> Message:
    """An error without its text and without what only extended peers get."""
    if "Error" not in message:
        return message
    return refusal(cast("str | None", message["Error"]["call_id"]), str(message["Error"]["object_name"]))


def refusal(call_id: str | None, object_name: str) -> Message:
    return error(call_id, object_name, "")


def in_any_order(messages: list[Message]) -> list[list[str]]:
    """Several subscriptions of one peer get the same event in an order that nobody promises."""
    events = groupby(messages, lambda message: str(message["Event"]["args"]) if "Event" in message else None)
    return [list(map(text_of, run)) if value is None else sorted(map(text_of, run)) for value, run in events]


def text_of(message: Message) -> str:
    return json.dumps(message, sort_keys=True)
