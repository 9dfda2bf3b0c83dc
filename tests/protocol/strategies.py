"""Messages as hypothesis makes them: with awkward names and payloads, in each encoding."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET, Raw

from ipc_broker.messages import (
    MAX_NAME,
    Batch,
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    Event,
    EventCredit,
    Goodbye,
    HasObject,
    HasObjectResult,
    Item,
    Lent,
    Memory,
    Message,
    Missed,
    Pause,
    Ping,
    Pong,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Resume,
    Served,
    Subscribe,
    Subscribed,
)
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import ENCODINGS
from tests.seed.decoding import FIELDS

MESSAGE_TYPES: tuple[type[Message], ...] = Message.__args__
SEED_TYPES = tuple(kind for kind in MESSAGE_TYPES if kind.__name__ in FIELDS)
CODECS = tuple(ENCODINGS.values())

# JSON's own characters, what looks like another message, and the longest name, in characters of 4 bytes.
AWKWARD_NAMES = [
    "",
    '"',
    "\\",
    "}",
    '":{',
    '{"Call":',
    "a\n\t\x00b",
    "*",
    ">",
    "a.b",
    "é\u2028\x7f",
    "x" * 31,
    "x" * 32,
    "\U0001f600" * MAX_NAME,
]
NAMES = st.sampled_from(AWKWARD_NAMES) | st.text(max_size=20)
COUNTS = st.sampled_from([0, 1, 127, 128, 65_536, 2**53 - 1]) | st.integers(0, 2**53 - 1)
IDS = st.none() | st.integers(-(2**31), 2**31)
HEADERS = st.just(UNSET) | st.dictionaries(NAMES, st.text(max_size=10), max_size=3)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
MSGPACK_VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.binary(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS | st.binary(max_size=5), inner, max_size=4),
    max_leaves=10,
)
VALUES = {"json": JSON_VALUES, "msgpack": MSGPACK_VALUES}


def payloads(codec: Codec) -> st.SearchStrategy[Raw]:
    return VALUES[codec.name].map(codec.encode_payload)


def messages(payload: st.SearchStrategy[Raw], *kinds: type[Message]) -> st.SearchStrategy[Message]:
    """Any message with such payloads; of these types only if some are named."""
    by_type: dict[type[Message], st.SearchStrategy[Message]] = {
        RegisterObject: st.builds(
            RegisterObject, NAMES, st.sampled_from(["exclusive", "shared", "standby"]), COUNTS, st.just(UNSET) | payload
        ),
        RegisterService: st.builds(RegisterService, NAMES, NAMES),
        Call: st.builds(Call, NAMES, NAMES, NAMES, payload, COUNTS, COUNTS, HEADERS),
        Result: st.builds(Result, NAMES, NAMES, payload, st.booleans()),
        Error: st.builds(
            Error,
            NAMES | st.none(),
            NAMES,
            st.text(),
            code=NAMES,
            type=NAMES,
            data=st.just(UNSET) | payload,
            delivered=st.sampled_from(["", "no", "maybe", "yes"]),
            subscription=COUNTS,
        ),
        Subscribe: st.builds(
            Subscribe, NAMES, NAMES, COUNTS, COUNTS, NAMES, st.sampled_from(["", "latest"]), st.none() | COUNTS
        ),
        Publish: st.builds(Publish, NAMES, NAMES, payload, NAMES, st.booleans(), st.booleans()),
        Event: st.builds(Event, NAMES, NAMES, payload, COUNTS, st.booleans()),
        Subscribed: st.builds(Subscribed, NAMES, NAMES, COUNTS, st.none() | COUNTS),
        HasObject: st.builds(HasObject, NAMES),
        HasObjectResult: st.builds(HasObjectResult, NAMES, st.booleans()),
        Registered: st.builds(Registered, NAMES),
        Batch: st.builds(Batch, NAMES, NAMES, payload, COUNTS),
        Cancel: st.builds(Cancel, NAMES),
        Item: st.builds(Item, NAMES, payload),
        Credit: st.builds(Credit, NAMES, COUNTS),
        EventCredit: st.builds(EventCredit, COUNTS, COUNTS),
        Missed: st.builds(Missed, COUNTS, COUNTS),
        Pause: st.builds(Pause),
        Resume: st.builds(Resume),
        Ping: st.builds(Ping),
        Pong: st.builds(Pong),
        Caller: st.builds(Caller, NAMES, NAMES, IDS, IDS),
        CallerGone: st.builds(CallerGone, NAMES),
        Direct: st.builds(Direct, NAMES, NAMES, NAMES, COUNTS, st.booleans()),
        Memory: st.builds(Memory, COUNTS, NAMES),
        Lent: st.builds(Lent, COUNTS, COUNTS),
        DirectEnded: st.builds(DirectEnded, NAMES, st.booleans()),
        Served: st.builds(Served, COUNTS, COUNTS),
        Goodbye: st.builds(Goodbye, st.text(max_size=20)),
    }
    assert by_type.keys() == set(MESSAGE_TYPES)
    return st.one_of([by_type[kind] for kind in kinds or MESSAGE_TYPES])


def holds_no_name(data: bytes) -> bool:
    """Whether it can be no message: hypothesis tries constants that it finds in our sources, too."""
    return not any(kind.__name__[1:].encode() in data for kind in MESSAGE_TYPES)


def garbage(max_size: int) -> st.SearchStrategy[bytes]:
    return (st.binary(max_size=max_size) | st.text(max_size=max_size // 4).map(str.encode)).filter(holds_no_name)


MESSAGES_OF = {codec.name: messages(payloads(codec)) for codec in CODECS}
SEED_MESSAGES = messages(payloads(ENCODINGS["json"]), *SEED_TYPES)


def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], data: bytes) -> bytes:
    """With some bytes changed, lost or added."""
    body = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 4)))
        pieces = st.sampled_from([b'"', b"{", b"}", b":", b",", b"\\u", b"\xa1\xff", b"\xde", b"\xd6\xff", b"\x91"])
        body[start:end] = draw(st.binary(max_size=4) | pieces)
    return bytes(body)
