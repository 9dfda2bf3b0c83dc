"""The seed's frames: a big-endian u32 length, then that many bytes of JSON. And the ones captured from its programs."""

import asyncio
import json
import struct
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Message: TypeAlias = dict[str, dict[str, Json]]

BODY_LIMIT = 65_536
_LENGTH = struct.Struct(">I")


class OverlongFrame(Exception):
    """A length prefix over BODY_LIMIT: the seed drops such a connection."""


class Golden(NamedTuple):
    """One captured frame."""

    peer: str
    direction: Literal["to_broker", "from_broker"]
    frame: bytes
    message: Message


def frame(message: Message) -> bytes:
    """The whole frame of a message, as the seed writes it: compact, fields in the order given, text unescaped."""
    return frame_of(json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode())


def frame_of(body: bytes) -> bytes:
    """The body with its length before it, however long or wrong it may be."""
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's body. Raises OverlongFrame, or asyncio.IncompleteReadError at the end of the stream."""
    return await reader.readexactly(body_length(await reader.readexactly(_LENGTH.size)))


def body_length(prefix: bytes) -> int:
    """What a prefix of four bytes says; OverlongFrame when the seed would not read on."""
    (length,) = _LENGTH.unpack(prefix)
    if length > BODY_LIMIT:
        raise OverlongFrame(f"the frame's body has {length} bytes; the limit is {BODY_LIMIT}")
    return cast(int, length)


def golden() -> list[Golden]:
    """The captured frames, in the order in which they were sent."""
    lines = Path(__file__).with_name("golden.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [Golden(r["peer"], r["direction"], bytes.fromhex(r["frame_hex"]), r["json"]) for r in records]
