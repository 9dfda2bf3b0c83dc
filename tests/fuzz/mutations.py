"""What is done to messages and to frames to make them wrong. Each mutation has a name, which is counted and reported."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from random import Random
from struct import pack

import msgspec

from tests.fuzz.corpus import KINDS, inner_of
from tests.fuzz.wire import Map, Spelled, Tree, copy_of

FIELDS = (
    "call_id",
    "object_name",
    "method",
    "args",
    "topic",
    "value",
    "id",
    "credit",
    "bytes",
    "subscription",
    "message",
)

# Numbers at and over the edges, as both encodings spell them.
EXTREMES: tuple[Tree, ...] = (
    -1,
    2**31,
    2**53,
    2**53 - 1,
    -(2**53),
    2**63 - 1,
    2**63,
    -(2**63),
    2**64 - 1,
    0.5,
    -0.0,
    Spelled(b"18446744073709551616", b"\xcf" + b"\xff" * 8),
    Spelled(b"-9223372036854775809", b"\xd3\x80" + b"\0" * 7),
    Spelled(b"1" + b"0" * 100, b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"),
    Spelled(b"9" * 400, b"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff"),
    Spelled(b"7" * 5000, b"\xca\x7f\x7f\xff\xff"),
    Spelled(b"NaN", b"\xcb\x7f\xf8" + b"\0" * 6),
    Spelled(b"-Infinity", b"\xcb\xff\xf0" + b"\0" * 6),
    Spelled(b"1e308", b"\xcb\x7f\xe0" + b"\0" * 6),
    Spelled(b"1e999", b"\xcb\x7f\xf0" + b"\0" * 6),
    Spelled(b"-1E+99999999999999999999", b"\xcb\xff\xff" + b"\xff" * 6),
    Spelled(b"1e-999", b"\xcb" + b"\0" * 7 + b"\x01"),
    Spelled(b"00", b"\xcc\x00"),
    Spelled(b"1.", b"\xc1"),
)
_NO_TEXT: tuple[Tree, ...] = (
    Spelled(b'"\xff\xfe"', b"\xa2\xff\xfe"),
    Spelled(b'"\xc3"', b"\xa1\xc3"),
    Spelled(b'"\xed\xa0\x80"', b"\xa3\xed\xa0\x80"),
    Spelled(b'"\xf4\x90\x80\x80"', b"\xa4\xf4\x90\x80\x80"),
    Spelled(b'"\\ud800"', b"\xa2\xc0\xaf"),
    Spelled(b'"\\udc00\\ud800"', b"\xa4\xf8\x88\x80\x80"),
    Spelled(b'"\\q"', b"\xdb\xff\xff\xff\xff"),
    Spelled(b'"\x00"', b"\xd9\x05a"),
)
_NAMES: tuple[Tree, ...] = (
    "",
    ".",
    "*",
    ">",
    "sensor.*",
    "sensor.>",
    ">.x",
    "a..*",
    "a." * 400 + ">",
    "*." * 511 + "*",
    "rob",
    "nul\0nul",
    "\u00e4" * 1024,
    "\u00e4" * 1025,
    "\U0001f321" * 1024,
    "x" * 70_000,
    "0.",
    "1.p",
    "7.",
    "7.~1",
)
_EXTENSIONS: tuple[Tree, ...] = (
    Spelled(b"{}x", b"\xd4\x05\x00"),
    Spelled(b"undefined", b"\xd6\xff\x00\x00\x00\x00"),  # a timestamp
    Spelled(b"[1,]", b"\xd7\xff" + b"\xff" * 8),  # one that there is not
    Spelled(b"/**/1", b"\xc7\x0c\xff" + b"\xff" * 12),
    Spelled(b"'x'", b"\xc7\x00\x7f"),
    Spelled(b"{1:2}", b"\xc9\x7f\xff\xff\xff\x01"),
    Spelled(b"", b"\xc1"),
    Spelled(b"{", b"\xdf\xff\xff\xff\xff"),
    Spelled(b"[", b"\xdd\xff\xff\xff\xff"),
    Spelled(b'"', b"\xc6\xff\xff\xff\xff"),
)
_OTHERS: tuple[Tree, ...] = (None, True, 0, "", "0", 1.0, [], Map([]), b"\x00", [None], Map([("a", 1)]))
_DEPTHS = (3, 100, 124, 125, 126, 127, 128, 200, 511, 512, 1023, 1024, 2000, 20_000, 32_000)

# Of messages


def other_type(rng: Random, body: Map, other: Map) -> None:
    if body.pairs:
        name = rng.choice((*KINDS, "call", "", "Call ", "Ping", "Invalid", "Hello", 7, None, "x" * 3000))
        body.pairs[0] = (name, body.pairs[0][1])


def other_field(rng: Random, body: Map, other: Map) -> None:
    if (place := _place(rng, body)) is not None:
        inner, index = place
        name = rng.choice((*FIELDS, "Object_name", "", "unknown", 3, None, "y" * 3000))
        inner.pairs[index] = (name, inner.pairs[index][1])


def other_value(rng: Random, body: Map, other: Map) -> None:
    _replace(rng, body, copy_of(rng.choice(_OTHERS)))


def extreme_number(rng: Random, body: Map, other: Map) -> None:
    numbers = []
    if (inner := inner_of(body)) is not None:
        numbers = [index for index, (_, value) in enumerate(inner.pairs) if type(value) is int]
        if numbers and rng.random() < 0.7:
            index = rng.choice(numbers)
            inner.pairs[index] = (inner.pairs[index][0], rng.choice(EXTREMES))
            return
    _replace_deep(rng, body, rng.choice(EXTREMES))


def no_text(rng: Random, body: Map, other: Map) -> None:
    if rng.random() < 0.2 and (place := _place(rng, body)) is not None:
        inner, index = place
        inner.pairs[index] = (rng.choice(_NO_TEXT), inner.pairs[index][1])
    else:
        _replace_deep(rng, body, rng.choice(_NO_TEXT))


def other_name(rng: Random, body: Map, other: Map) -> None:
    if (inner := inner_of(body)) is not None:
        named = [index for index, (_, value) in enumerate(inner.pairs) if type(value) is str]
        if named:
            index = rng.choice(named)
            inner.pairs[index] = (inner.pairs[index][0], rng.choice(_NAMES))


def extension(rng: Random, body: Map, other: Map) -> None:
    _replace_deep(rng, body, rng.choice(_EXTENSIONS))


def missing_field(rng: Random, body: Map, other: Map) -> None:
    if (place := _place(rng, body)) is not None:
        inner, index = place
        del inner.pairs[index]


def field_twice(rng: Random, body: Map, other: Map) -> None:
    if (place := _place(rng, body)) is not None:
        inner, index = place
        name, value = inner.pairs[index]
        again = copy_of(value if rng.random() < 0.5 else rng.choice((*_OTHERS, *_NAMES[:8])))
        inner.pairs.insert(rng.randrange(len(inner.pairs) + 1), (name, again))


def type_twice(rng: Random, body: Map, other: Map) -> None:
    if body.pairs and other.pairs:
        name, inner = other.pairs[0]
        body.pairs.append((name if rng.random() < 0.5 else body.pairs[0][0], copy_of(inner)))


def unknown_field(rng: Random, body: Map, other: Map) -> None:
    if (inner := inner_of(body)) is not None:
        inner.pairs.insert(rng.randrange(len(inner.pairs) + 1), ("unknown", copy_of(rng.choice((*_OTHERS, *EXTREMES)))))


def deep(rng: Random, body: Map, other: Map) -> None:
    _replace_deep(rng, body, _nested(rng.choice(_DEPTHS), lists=rng.random() < 0.5))


@lru_cache(maxsize=64)
def _nested(depth: int, *, lists: bool) -> Spelled:
    if lists:
        return Spelled(b"[" * depth + b"]" * depth, b"\x91" * (depth - 1) + b"\x90")
    depth = min(depth, 10_000)
    return Spelled(b'{"a":' * depth + b"1" + b"}" * depth, b"\x81\xa1a" * depth + b"\x01")


def large(rng: Random, body: Map, other: Map) -> None:
    _replace_deep(rng, body, rng.choice(_large_values()))


@lru_cache(maxsize=1)
def _large_values() -> tuple[Spelled, ...]:
    values: list[object] = ["z" * size for size in (1000, 40_000, 65_000, 65_400, 65_536)]
    values += [[0] * 30_000, dict.fromkeys(map(str, range(5000))), [{}] * 10_000, [[1.5]] * 5000]
    return tuple(Spelled(msgspec.json.encode(value), msgspec.msgpack.encode(value)) for value in values)


def as_list(rng: Random, body: Map, other: Map) -> None:
    if (inner := inner_of(body)) is not None:
        body.pairs[0] = (body.pairs[0][0], [value for _, value in inner.pairs])


def shuffled(rng: Random, body: Map, other: Map) -> None:
    if (inner := inner_of(body)) is not None:
        rng.shuffle(inner.pairs)


def values_of_another(rng: Random, body: Map, other: Map) -> None:
    inner, others = inner_of(body), inner_of(other)
    if inner is not None and others is not None and others.pairs:
        known = {name: copy_of(value) for name, value in others.pairs if type(name) is str}
        inner.pairs[:] = [(name, known.get(name, value) if type(name) is str else value) for name, value in inner.pairs]
        if rng.random() < 0.3:
            name, value = rng.choice(others.pairs)
            inner.pairs.append((name, copy_of(value)))


MUTATIONS: tuple[Callable[[Random, Map, Map], None], ...] = (
    *(other_type, other_field, other_value, missing_field, field_twice, type_twice, unknown_field, shuffled) * 2,
    *(extreme_number, other_name, values_of_another) * 4,
    *(no_text, extension) * 2,
    *(deep, large, as_list),
)
"""They change the first message in place, and take copies of parts of the second."""


def _place(rng: Random, body: Map) -> tuple[Map, int] | None:
    inner = inner_of(body)
    return (inner, rng.randrange(len(inner.pairs))) if inner is not None and inner.pairs else None


def _replace(rng: Random, body: Map, value: Tree) -> None:
    if (place := _place(rng, body)) is not None:
        inner, index = place
        inner.pairs[index] = (inner.pairs[index][0], value)
    elif body.pairs:
        body.pairs[0] = (body.pairs[0][0], value)


def _replace_deep(rng: Random, body: Map, value: Tree) -> None:
    """Anywhere: in the place of a field's value, or of one inside of it."""
    node: Map | list[Tree] = inner_of(body) or body
    while True:
        items = [item for _, item in node.pairs] if isinstance(node, Map) else node
        below = [item for item in items if (isinstance(item, Map) and item.pairs) or (isinstance(item, list) and item)]
        if not below or rng.random() < 0.5:
            break
        chosen = rng.choice(below)
        assert isinstance(chosen, Map | list)
        node = chosen
    if items:
        index = rng.randrange(len(items))
        if isinstance(node, Map):
            node.pairs[index] = (node.pairs[index][0], value)
        else:
            node[index] = value


# Of bytes


def bit_flipped(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def byte_changed(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3)) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.choice((0, 0x22, 0x7B, 0x7D, 0x80, 0xC1, 0xFF, rng.randrange(256)))
    return bytes(changed)


def truncated(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def inserted(rng: Random, data: bytes, other: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 1, 4, 20))) + data[place:]


def slice_twice(rng: Random, data: bytes, other: bytes) -> bytes:
    start, stop = _slice(rng, data)
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 50)) + data[stop:]


def slice_gone(rng: Random, data: bytes, other: bytes) -> bytes:
    start, stop = _slice(rng, data)
    return data[:start] + data[stop:]


def spliced(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _slice(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 4, 16, 64)))


BYTE_MUTATIONS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    bit_flipped,
    byte_changed,
    truncated,
    inserted,
    slice_twice,
    slice_gone,
    spliced,
)


def wrong_length(rng: Random, frame: bytes) -> bytes:
    """A frame whose header says something else than the truth."""
    size = len(frame) - 4
    said = rng.choice((0, 1, max(size - 1, 0), size + 1, size // 2, size * 2, 65_536, 65_537, 2**24, 2**31, 2**32 - 1))
    return pack(">I", said) + frame[4:]


def in_pieces(rng: Random, data: bytes) -> list[bytes]:
    """As a transport may deliver it."""
    way = rng.random()
    if way < 0.6 or len(data) < 2:
        return [data]
    if way < 0.65 and len(data) < 400:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.choice((1, 1, 2, 5))))
    if way > 0.9:
        cuts[0] = min(rng.randrange(1, 5), cuts[0])  # within the header
    places = [0, *cuts, len(data)]
    return [data[start:stop] for start, stop in pairwise(places) if start < stop]
