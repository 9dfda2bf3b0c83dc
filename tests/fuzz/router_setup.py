"""What the peers of a fuzzed router say first: what the broken connection owns and waits for, and the good ones' probes.

The good ones are connections 1 to 6: a caller, its worker and its listener, a partner of the broken one, and two peers that
speak the Rust crate's protocol.
"""

from __future__ import annotations

from ipc_broker.messages import (
    Batch,
    Call,
    Direct,
    EventCredit,
    Lent,
    Memory,
    Message,
    Publish,
    RegisterObject,
    Result,
    Subscribe,
)
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.routing.driver import FEATURES
from tests.fuzz import corpus
from tests.fuzz.standing import TOKEN

STATES = ("before hello", "seed", "json", "msgpack")
GHOST, FUZZED = 7, 8
"""The ids of connections: one that was lost and can be resumed, and the one that is fuzzed."""
MOST_CREDIT = 2**53 - 1
DIRECT = "there"
"""Where each of the workers takes direct calls."""
LENT = tuple(
    MSGPACK.encode(one)
    for one in (
        Call("8.100", "theirs", "wait", MSGPACK.null),
        Publish("sensor", "temp", MSGPACK.null, retain=True),
        Lent(0, 9),
        Result("4.1", "mine", MSGPACK.null),
    )
)
"""What stands in the memory that it has made."""


def _scene(*, seed: bool) -> corpus.Scene:
    ids = (
        ("1", "2", "3", "s1", "8.1")
        if seed
        else ("8.1", "8.2", "8.3", "8.5", "8.6", "8.8", "4.1", "4.2", "4.3", "4.4", "5.1")
    )
    return corpus.Scene(
        corpus.TO_BROKER,
        {
            "call_id": (*ids, "8.100", "8.101", "4.9", "1.p"),
            "object_name": (
                "mine",
                "queue",
                "theirs",
                "single",
                "shared",
                "standing",
                "old",
                "sensor",
                "rob",
                "nobody",
            ),
            "topic": ("temp", "*", ">", "topic", "x", "object.registered"),
            "subscription": (1, 2, 3, 4, 5, 6),
            "id": (0, 1, 2, 3, 6, 7),
            "session": (f"epoch-{GHOST}", "epoch-1", ""),
            "token": (TOKEN, TOKEN[:-1], "ipcb__", ""),
            "prefix": ("8.", "4."),
            "address": (DIRECT, "elsewhere", ""),
            "slot": (0, 1, 2, 3, 4, 8, 2**53 - 1),
            "size": (*map(len, LENT), 0, 4, 5, 4 * 1024 * 1024 + 1),
        },
        ("add", "wait", "stream", "ping"),
        "" if seed else "8.",
    )


SEED_SCENE, EXTENDED_SCENE = _scene(seed=True), _scene(seed=False)


def hello(encoding: str, name: str, session: str = "", token: str = "") -> Call:
    args = {
        "encodings": [encoding],
        "features": sorted(FEATURES),
        "max_frame": 65_536,
        "name": name,
        "session": session,
        "token": token,
        "direct": DIRECT,
    }
    return Call("hello", "rob", "hello", JSON.encode_payload(args))


def _extended(encoding: str) -> tuple[bytes, bytes]:
    """What the fuzzed connection does first when it has said hello: with calls, and with events."""
    codec = MSGPACK if encoding == "msgpack" else JSON
    null = codec.null
    text = codec.encode_payload("x" * 100)
    will = codec.encode_payload({"object_name": "will", "topic": "x", "args": 1, "retain": True})
    calls: list[Message] = [
        RegisterObject("mine"),
        RegisterObject("queue", concurrency=1),
        RegisterObject("shared", "shared"),
        RegisterObject("standing", "standby"),
        Call("8.1", "theirs", "wait", null),
        Call("8.2", "theirs", "stream", null, credit=1000),
        Call("8.3", "single", "wait", null),
        Call("8.4", "single", "wait", null),
        Call("8.5", "theirs", "wait", null, timeout_ms=500, headers={"tenant": "a"}),
        Call("8.6", "old", "wait", null),
        Direct("theirs", DIRECT),
        Memory(3, "00"),
    ]
    events: list[Message] = [
        Subscribe("sensor", "temp", id=1, credit=100_000, seen=3),
        Subscribe("sensor.>", "*", id=2),
        Subscribe("sensor", "temp", id=3, credit=200, group="g", overflow="drop_oldest"),
        Subscribe("sensor", "temp", id=4, overflow="latest"),
        Subscribe("sensor", "temp", id=5, overflow="disconnect"),
        Subscribe("sensor", "topic"),
        Call("8.7", "rob", "setWill", will),
        Call("8.8", "rob", "monitor", codec.encode_payload({"rate": 3, "payload": 20}), credit=600),
        Publish("sensor", "x", text, retain=True),
    ]
    return b"".join(map(codec.encode, calls)), b"".join(map(codec.encode, events))


_SEED_SETUP: list[Message] = [
    RegisterObject("mine"),
    RegisterObject("queue"),
    Call("1", "theirs", "wait", JSON.null),
    Call("2", "single", "wait", JSON.null),
    Call("3", "old", "wait", JSON.null),
]
_CALLS_OF_PARTNER: list[Message] = [
    Call("4.1", "mine", "add", MSGPACK.encode_payload({"a": 1})),
    Call("4.2", "mine", "stream", MSGPACK.null, credit=500),
    Call("4.3", "queue", "wait", MSGPACK.null),
    Call("4.4", "queue", "wait", MSGPACK.null),
    Call("4.5", "shared", "wait", MSGPACK.null, timeout_ms=700),
    Direct("mine", DIRECT),
]
_EVENTS_OF_PARTNER: list[Message] = [
    *[Publish("sensor", "temp", MSGPACK.encode_payload("y" * 150))] * 3,
    Batch("sensor", "temp", MSGPACK.encode_payload([1, b"\xff", "y" * 150])),
]
SETUP: dict[str, tuple[bytes, bytes]] = {
    "before hello": (b"", b""),
    "seed": (b"".join(map(JSON.encode, _SEED_SETUP)), JSON.encode(Subscribe("sensor", "temp"))),
    "json": _extended("json"),
    "msgpack": _extended("msgpack"),
}
PARTNER_SETUP = tuple(b"".join(map(MSGPACK.encode, part)) for part in (_CALLS_OF_PARTNER, _EVENTS_OF_PARTNER))
SEED_PARTNER_SETUP = JSON.encode(Call("s1", "mine", "add", JSON.null))
GHOST_SETUP = JSON.encode(Subscribe("sensor", "temp", id=1, credit=10, seen=0))
STATS = JSON.encode(Call("1.s", "rob", "stats", JSON.null))

PROBE_CALL = JSON.encode(Call("1.p", "probe", "add", JSON.encode_payload({"a": 1})))
PROBE_GIVEN = MSGPACK.encode(Call("1.p", "probe", "add", MSGPACK.encode_payload({"a": 1})))
PROBE_RESULT = MSGPACK.encode(Result("1.p", "probe", MSGPACK.encode_payload(2)))
PROBE_ANSWER = JSON.encode(Result("1.p", "probe", JSON.encode_payload(2)))
PROBE_PUBLISH = JSON.encode(Publish("probe", "tick", JSON.encode_payload([1])))
PROBE_EVENT = MSGPACK.event_frame("probe", "tick", MSGPACK.encode_payload([1]), 1)
PROBE_BATCH = MSGPACK.batch_frame("probe", "tick", MSGPACK.encode_payload([1, [2]]))
PROBE_EVENTS = MSGPACK.batch_frame("probe", "tick", MSGPACK.encode_payload([1, [2]]), 1)
PROBE_SEED_EVENTS = b"".join(JSON.event_frame("probe", "tick", JSON.encode_payload(value), 0) for value in (1, [2]))
PROBE_CREDIT = MSGPACK.encode(EventCredit(1, 10_000))
PROBE_SEED_EVENT = JSON.event_frame("probe", "tick", JSON.encode_payload([1]), 0)
