"""Values as trees that can say what no encoder says: a key twice, a number out of range, text that is none.

Every form that the two encodings allow can be written: MessagePack's longer forms of maps, lists, text and numbers, and
JSON's spaces and escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from struct import pack
from typing import TypeAlias

import msgspec


@dataclass(slots=True)
class Map:
    """Keys may stand in it twice."""

    pairs: list[tuple[Tree, Tree]]

    def get(self, key: str) -> Tree:
        return next((value for name, value in self.pairs if name == key), None)


@dataclass(slots=True)
class Spelled:
    """One value, as it stands in each of the encodings."""

    json: bytes
    msgpack: bytes


Tree: TypeAlias = "bool | int | float | str | bytes | list[Tree] | Map | Spelled | None"
Encode: TypeAlias = Callable[[Tree, "Random | None"], bytes]

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode


def tree_of(value: object) -> Tree:
    """Of what a decoder gives."""
    if isinstance(value, dict):
        return Map([(tree_of(key), tree_of(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return [tree_of(item) for item in value]
    assert value is None or isinstance(value, bool | int | float | str | bytes), value
    return value


def copy_of(tree: Tree) -> Tree:
    if isinstance(tree, Map):
        return Map([(name, copy_of(value)) for name, value in tree.pairs])
    if isinstance(tree, list):
        return [copy_of(item) for item in tree]
    return tree


def to_json(tree: Tree, odd: Random | None = None) -> bytes:
    """In the shortest form, unless there is something `odd` to choose another by."""
    if isinstance(tree, Map):
        pairs = [b"%b%b:%b" % (_gap(odd), to_json(key, odd), to_json(value, odd)) for key, value in tree.pairs]
        return b"{%b%b}" % (b",".join(pairs), _gap(odd))
    if isinstance(tree, list):
        return b"[%b]" % b",".join([_gap(odd) + to_json(item, odd) for item in tree])
    if isinstance(tree, Spelled):
        return tree.json
    if isinstance(tree, str) and odd is not None and odd.random() < 0.2:
        return b'"%b"' % "".join(f"\\u{unit:04x}" for unit in _utf16(tree)).encode()
    return _json(tree)


def _gap(odd: Random | None) -> bytes:
    return odd.choice((b"", b"", b" ", b"\n\t\r ")) if odd is not None else b""


def _utf16(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [int.from_bytes(data[place : place + 2]) for place in range(0, len(data), 2)]


def to_msgpack(tree: Tree, odd: Random | None = None) -> bytes:
    """In the shortest form, unless there is something `odd` to choose another by."""
    if isinstance(tree, Map):
        head = _head(len(tree.pairs), odd, 0x80, 0xDE)
        return head + b"".join([to_msgpack(key, odd) + to_msgpack(value, odd) for key, value in tree.pairs])
    if isinstance(tree, list):
        return _head(len(tree), odd, 0x90, 0xDC) + b"".join([to_msgpack(item, odd) for item in tree])
    if isinstance(tree, Spelled):
        return tree.msgpack
    if odd is not None and odd.random() < 0.3:
        if isinstance(tree, str):
            data = tree.encode()
            return _text_head(len(data), odd) + data
        if isinstance(tree, int) and not isinstance(tree, bool) and -(2**63) <= tree < 2**63:
            return pack(">Bq", 0xD3, tree)
    return _msgpack(tree)


def _head(count: int, odd: Random | None, short: int, long: int) -> bytes:
    width = 0 if odd is None else odd.choice((0, 0, 16, 32))
    if width == 0 and count < 16:
        return bytes([short | count])
    return pack(">BH", long, count) if width < 32 and count < 2**16 else pack(">BI", long + 1, count)


def _text_head(size: int, odd: Random) -> bytes:
    width = odd.choice((8, 16, 32))
    if width == 8 and size < 2**8:
        return pack(">BB", 0xD9, size)
    return pack(">BH", 0xDA, size) if width == 16 and size < 2**16 else pack(">BI", 0xDB, size)
