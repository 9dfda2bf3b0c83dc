"""Inputs: what one connection is sent, or one command line. Each follows from the run's seed and its own number alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from struct import pack

from tests.fuzz import corpus, mutations
from tests.fuzz.corpus import Scene, inner_of
from tests.fuzz.wire import Encode, Map, copy_of, to_json, to_msgpack

TO_BROKER = corpus.captured("to_broker")
FROM_BROKER = corpus.captured("from_broker")


@dataclass(frozen=True)
class Input:
    """`way` is a number from 0 to 1 for what else a target has to choose, `labels` what was done to it."""

    number: int
    target: str
    pieces: tuple[bytes, ...] = ()
    words: tuple[str, ...] = ()
    way: float = 0.0
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces)) + sum(map(len, self.words))


def rng_of(seed: int, number: int) -> Random:
    return Random((seed << 64) | number)


def _frames(
    rng: Random, scene: Scene, encode: Encode, golden: tuple[Map, ...], opening: list[Map], labels: list[str]
) -> list[bytes]:
    """One to four frames, most of them wrong. One of `opening` may come first."""
    frames: list[bytes] = []
    for place in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        body = _body(rng, scene, golden, opening if place == 0 else [])
        frames.append(_frame(rng, scene, golden, body, encode, labels))
    return frames


def _burst(rng: Random, scene: Scene, encode: Encode) -> list[bytes]:
    """Many good messages of one type, with ids of their own: more than the limits allow."""
    kind = rng.choice(
        ("Call", "Publish", "Batch", "Subscribe", "RegisterObject", "Event", "Item", "Result", "HasObject")
    )
    frames = []
    for number in range(rng.choice((5, 30, 60))):
        body = corpus.message(rng, scene, kind)
        inner = inner_of(body)
        assert inner is not None
        for place, (name, _) in enumerate(inner.pairs):
            if name == "call_id" and rng.random() < 0.9:
                inner.pairs[place] = (name, scene.prefix + str(1000 + number))
            elif name == "id":
                inner.pairs[place] = (name, 1000 + number)
            elif name == "object_name" and kind == "RegisterObject":
                inner.pairs[place] = (name, f"many.{number}")
        data = encode(body, None)
        frames.append(pack(">I", len(data)) + data)
    return frames


def _body(rng: Random, scene: Scene, golden: tuple[Map, ...], opening: list[Map]) -> Map:
    if opening and rng.random() < 0.7:
        return rng.choice(opening)
    if golden and rng.random() < 0.15:
        return rng.choice(golden)
    return corpus.message(rng, scene)


def _frame(rng: Random, scene: Scene, golden: tuple[Map, ...], body: Map, encode: Encode, labels: list[str]) -> bytes:
    count = rng.choice((0, 0, 1, 1, 1, 2, 3))
    if count:
        body, other = _copy(body), _copy(_body(rng, scene, golden, []))
    for _ in range(count):
        mutate = rng.choice(mutations.MUTATIONS)
        mutate(rng, body, other)
        labels.append(mutate.__name__)
    odd = rng if rng.random() < 0.2 else None
    if odd is not None:
        labels.append("odd_forms")
    data = encode(body, odd)
    if rng.random() < 0.2:
        for _ in range(rng.choice((1, 1, 2))):
            change = rng.choice(mutations.BYTE_MUTATIONS)
            data = change(
                rng, data, encode(_body(rng, scene, golden, []), None) if change is mutations.spliced else b""
            )
            labels.append(change.__name__)
    frame = pack(">I", len(data)) + data
    if rng.random() < 0.03:
        labels.append("wrong_length")
        return mutations.wrong_length(rng, frame)
    return frame


def _copy(body: Map) -> Map:
    copy = copy_of(body)
    assert isinstance(copy, Map)
    return copy


def raw_bytes(rng: Random) -> bytes:
    """Nothing but noise, mostly behind a length that makes it a frame."""
    data = rng.randbytes(rng.choice((0, 1, 3, 4, 5, 40, 300)))
    return pack(">I", len(data)) + data if rng.random() < 0.7 else data


def is_whole(pieces: tuple[bytes, ...]) -> bool:
    """Whether it ends where a frame ends."""
    data, place = b"".join(pieces), 0
    while place + 4 <= len(data):
        place += 4 + int.from_bytes(data[place : place + 4])
    return place == len(data)


def make(number: int, target: str, rng: Random, scene: Scene, encoding: str, opening: list[Map]) -> Input:
    """An input of bytes."""
    encode: Encode = to_msgpack if encoding == "msgpack" else to_json
    golden = FROM_BROKER if "Event" in scene.kinds else TO_BROKER
    if rng.random() < 0.04:
        data, labels = raw_bytes(rng), ["raw_bytes"]
    elif rng.random() < 0.03:
        data, labels = b"".join(_burst(rng, scene, encode)), ["burst"]
    else:
        labels = []
        data = b"".join(_frames(rng, scene, encode, golden, opening, labels))
        if rng.random() < 0.03:
            change = rng.choice(mutations.BYTE_MUTATIONS)
            data = change(rng, data, data)
            labels.append(change.__name__)
    return Input(number, target, tuple(mutations.in_pieces(rng, data)), way=rng.random(), labels=tuple(labels))
