"""Payloads in MessagePack with large `bytes` in them, which stay where they are: encoding would copy them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Raw

from .framing import LARGE

_MOST = 2**32 - 1  # bytes of one value


class Pieces:
    """What is one payload when it stands together, longer than `LARGE`."""

    __slots__ = ("_size", "pieces")

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


Payload = Raw | Pieces
"""A value that is encoded already."""


def together(payload: Payload) -> Raw:
    return Raw(bytes(payload)) if isinstance(payload, Pieces) else payload


def holds_large(value: Any) -> bool:
    """Whether it is `bytes` over `LARGE`, or a list or dict that holds some."""
    kind = type(value)
    if kind is bytes:
        return LARGE < len(value) <= _MOST
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return False
    for one in value:  # noqa: SIM110 - a generator would take longer than all the rest
        if type(one) is bytes and LARGE < len(one) <= _MOST:
            return True
    return False


def in_pieces(value: Any, encode: Callable[[Any], bytes]) -> Pieces:
    """One that `holds_large`. Raises as `encode` does."""
    if isinstance(value, bytes):
        return _of([], (value,), encode)
    if isinstance(value, dict):
        return _of([_header(len(value), 0x80, b"\xde")], (each for item in value.items() for each in item), encode)
    return _of([_header(len(value), 0x90, b"\xdc")], value, encode)


def _of(begun: list[bytes], members: Iterable[Any], encode: Callable[[Any], bytes]) -> Pieces:
    pieces: list[bytes] = []
    small = begun
    for one in members:
        if type(one) is bytes and LARGE < len(one) <= _MOST:
            small += (b"\xc6", len(one).to_bytes(4))
            pieces += (b"".join(small), one)
            small = []
        else:
            small.append(encode(one))
    if small:
        pieces.append(b"".join(small))
    return Pieces(pieces)


def _header(count: int, short: int, medium: bytes) -> bytes:
    """Of a map or a list. The forms of each follow each other: for up to 15 members, up to 65,535, and more."""
    if count < 16:
        return bytes((short | count,))
    return medium + count.to_bytes(2) if count < 65_536 else bytes((medium[0] + 1,)) + count.to_bytes(4)
