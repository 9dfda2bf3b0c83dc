"""What the mutations begin with: the frames that were captured, and every message of the specification.

A message is made for a scene: its names and ids are mostly those that something real has on the other side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import get_args

import msgspec

from ipc_broker.messages import Hello, Message, Welcome
from ipc_broker.observation import Watch
from ipc_broker.protocol.batching import MOST_TAKEN
from ipc_broker.routing.driver import Clear, Describe, DirectPath, ListObjects, SetWill, Topics, Unregister, Unsubscribe
from tests.fuzz.wire import Map, Tree, tree_of
from tests.seed.frames import golden

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Message)}
BY_BROKER: tuple[str, ...] = (
    *("Result", "Call", "Event", "Error", "HasObjectResult", "Subscribed", "Registered", "Item", "Credit", "Cancel"),
    *("Caller", "CallerGone", "Missed", "Pause", "Resume", "Ping", "Direct", "DirectEnded", "Goodbye", "Batch"),
    *("Memory", "Lent"),
)
TO_BROKER: tuple[str, ...] = (
    *("Call", "Result", "Publish", "Error", "HasObject", "Subscribe", "RegisterObject", "RegisterService", "Item"),
    *("Credit", "EventCredit", "Cancel", "Pong", "Direct", "DirectEnded", "Served", "Goodbye", "Batch"),
    *("Memory", "Lent"),
)
BY_WORKER: tuple[str, ...] = ("Result", "Error", "Call", "Cancel", "Direct", "DirectEnded", "Memory", "Lent")
"""And what is said over a direct connection besides."""

ROB: dict[str, type | None] = {
    "hello": Hello,
    "listObjects": ListObjects,
    "ping": None,
    "stats": None,
    "unregister": Unregister,
    "unsubscribe": Unsubscribe,
    "setWill": SetWill,
    "clear": Clear,
    "direct": DirectPath,
    "describe": Describe,
    "topics": Topics,
    "measure": None,
    "inspect": None,
    "monitor": Watch,
}

# Of what is in no scene.
_VALUES: Mapping[str, Sequence[Tree]] = {
    "mode": ("exclusive", "shared", "standby"),
    "concurrency": (0, 1, 2, 2**53 - 1),
    "timeout_ms": (0, 1, 200, 30_000, 2**53 - 1),
    "credit": (0, 1, 100, 65_536, 2**53 - 1),
    "bytes": (0, 1, 100, 65_536, 2**53 - 1),
    "headers": (Map([]), Map([("tenant", "a")]), Map([("trace", "x" * 300), ("", "")])),
    "ended": (True, False),
    "message": ("it went wrong", "", "No such object 'math'", "\u00e4" * 3000),
    "code": ("remote_error", "no_such_object", "name_taken", "overloaded", "nonsense", ""),
    "type": ("", "ValueError", "Subscribe", "RegisterObject", "Publish"),
    "delivered": ("no", "maybe", "yes", ""),
    "group": ("", "g", "h"),
    "overflow": ("", "drop_oldest", "latest", "disconnect"),
    "seen": (None, 0, 1, 7, 2**53 - 1),
    "missed": (None, 0, 1, 2**53 - 1),
    "count": (0, 1, 2**53 - 1),
    "retain": (True, False),
    "if_absent": (True, False),
    "retained": (True, False),
    "exists": (True, False),
    "service_name": ("math.service",),
    "name": ("", "client", "\U0001f321"),
    "uid": (None, 0, 1000),
    "pid": (None, 0, 4711, 2**31 - 1),
    "reason": ("", "done"),
    "encodings": (["msgpack", "json"], ["json"], ["msgpack"], ["cbor", "json"], []),
    "features": (
        ["multiplex", "cancel", "caller", "streams", "flow", "resume", "batches"],
        ["multiplex", "cancel", "caller", "streams", "flow", "resume"],
        ["resume", "heartbeat"],
        ["nonsense"],
        [],
    ),
    "max_frame": (65_536, 64 * 1024 * 1024, 100, 2**53 - 1),
    "after": (None, "", "math"),
    "keep_calls": (True, False),
    "encoding": ("msgpack", "json", "cbor"),
    "epoch": ("e", "f", ""),
    "version": ("1.2.3",),
    "token": ("",),
    "direct": ("", "ipc-broker-x"),
    "address": ("", "ipc-broker-x"),
    "refused": (True, False),
    "memory": (True, False),
    "descriptor": (0, 3, 2**53 - 1),
    "slot": (0, 3, 4, 5, 6, 7, 8, 2**53 - 1),
    "size": (0, 4, 5, 64, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 2**53 - 1),
    "calls": (0, 1, 2**53 - 1),
    "errors": (0, 1, 2**53 - 1),
    "session": ("", "e-7"),
    "payload": (0, 1, 4096, 2**53 - 1),
    "rate": (0, 1, 1000, 2**53 - 1),
    "heartbeat_ms": (0, 1, 15_000, 2**53 - 1),
}
_PAYLOADS: Sequence[Tree] = (
    None,
    True,
    42,
    -1.5,
    "text \u00b0C",
    Map([]),
    Map([("a", 10), ("b", 32)]),
    [1, 2, 3],
    [[], [None, Map([("c", [1.0])])]],
    "x" * 400,
    2**64 - 1,
    Map([("n", 20), ("text", "t")]),
)
_BATCHES: Sequence[Tree] = (
    [1, 2],
    [],
    [None],
    [None] * 20,
    [list(_PAYLOADS)],
    list(_PAYLOADS),
    ["x" * 100] * 30,
    [None] * (MOST_TAKEN + 1),
    [[[[[[]]]]], "y"],
    "no list",
    None,
    Map([("a", 1)]),
)
_ODD: Sequence[Tree] = (None, 1, "x", [], [1], [Map([])], Map([]), Map([("a", 1)]), [None, True, "a", 2.5])
_SCHEMAS: Sequence[Map] = (
    Map([]),
    *(Map([("type", "array"), ("items", Map([("type", kind)]))]) for kind in ("integer", "string")),
    *(Map([("type", "object"), (keyword, odd)]) for keyword in ("properties", "required") for odd in _ODD),
    *(Map([(keyword, odd)]) for keyword in ("$ref", "anyOf", "enum", "type", "prefixItems", "minimum") for odd in _ODD),
)
_INTERFACES: Sequence[Tree] = (
    Map([]),
    Map([("type", "Probe"), ("doc", "\u00e4" * 3000), ("methods", Map([("add", Map([]))]))]),
    Map(
        [
            (
                "methods",
                Map([("add", Map([("parameters", [Map([("name", "a"), ("schema", Map([("type", "integer")]))])])]))]),
            )
        ]
    ),
    Map([("methods", Map([("stream", Map([("stream", True), ("returns", Map([("$ref", "#/definitions/T")]))]))]))]),
    Map([("definitions", Map([("T", Map([("$ref", "#/definitions/T")]))]))]),
    *(
        Map(
            [
                (
                    "methods",
                    Map(
                        [
                            (
                                "add",
                                Map([("returns", schema), ("parameters", [Map([("name", "a"), ("schema", schema)])])]),
                            )
                        ]
                    ),
                )
            ]
        )
        for schema in _SCHEMAS
    ),
    Map([("methods", [])]),
    None,
)
_BINARY: Sequence[Tree] = (b"\x00\xff", [b""], Map([(1, b"x"), (None, 2)]))


@dataclass(frozen=True)
class Scene:
    """What is real on the other side, by the names of the fields that say it; and which messages make sense there."""

    kinds: Sequence[str]
    values: Mapping[str, Sequence[Tree]]
    methods: Sequence[str]
    prefix: str = ""
    """Of new call ids."""


def message(rng: Random, scene: Scene, kind: str | None = None) -> Map:
    """One of the specification, with all, some or none of its optional fields."""
    name = kind if kind is not None else rng.choice(scene.kinds if rng.random() < 0.95 else tuple(KINDS))
    if name == "Call" and rng.random() < 0.2:
        return rob_call(rng, scene, rng.choice(tuple(ROB)))
    return Map([(name, _struct(rng, scene, KINDS[name]))])


def rob_call(rng: Random, scene: Scene, method: str) -> Map:
    kind = ROB[method]
    args = _struct(rng, scene, kind) if kind is not None else None
    call_id = _value(rng, scene, "call_id")
    fields: list[tuple[Tree, Tree]] = [("call_id", call_id), ("object_name", "rob"), ("method", method), ("args", args)]
    if method == "monitor" and rng.random() < 0.8:
        fields.append(("credit", _value(rng, scene, "credit")))
    return Map([("Call", Map(fields))])


def welcome(rng: Random, scene: Scene, call_id: str) -> Map:
    """What answers a session's hello."""
    value = _struct(rng, scene, Welcome)
    return Map([("Result", Map([("call_id", call_id), ("object_name", "rob"), ("value", value)]))])


def _struct(rng: Random, scene: Scene, kind: type) -> Map:
    share = rng.choice((0.0, 0.5, 1.0))
    pairs: list[tuple[Tree, Tree]] = []
    for name, required in _fields(kind):
        if required or rng.random() < share:
            pairs.append((name, _value(rng, scene, name)))
    return Map(pairs)


@lru_cache(maxsize=64)
def _fields(kind: type) -> tuple[tuple[str, bool], ...]:
    return tuple((field.encode_name, field.required) for field in msgspec.structs.fields(kind))


def _value(rng: Random, scene: Scene, field: str) -> Tree:
    if field in ("args", "value", "data"):
        return rng.choice(_PAYLOADS if rng.random() < 0.9 else _BINARY)
    if field == "values":
        return (
            rng.choice(_BATCHES) if rng.random() < 0.9 else [*rng.choices(_PAYLOADS, k=3), *rng.choices(_BINARY, k=2)]
        )
    if field == "interface":
        return rng.choice(_INTERFACES)
    if field == "object":
        return rng.choice(("", *(scene.values.get("object_name") or (">",))))
    if field == "method":
        return rng.choice(scene.methods)
    known = scene.values.get(field) or _VALUES[field]
    return known[int(rng.random() * len(known))]


def captured(direction: str) -> tuple[Map, ...]:
    """The captured messages, "to_broker" or "from_broker"."""
    trees = [tree_of(one.message) for one in golden() if one.direction == direction]
    return tuple(tree for tree in trees if isinstance(tree, Map))


def inner_of(body: Tree) -> Map | None:
    """The fields of a message, where it has some."""
    if isinstance(body, Map) and body.pairs and isinstance(body.pairs[0][1], Map):
        return body.pairs[0][1]
    return None
