"""The worker of peers that carry nothing but bytes: `add` takes and gives MessagePack, `echo` bytes as they are."""

from __future__ import annotations

import msgspec

ADD, ECHO = b"add", b"echo"

_encode = msgspec.msgpack.Encoder().encode
_decode_args = msgspec.msgpack.Decoder(dict[str, int]).decode
_decode_result = msgspec.msgpack.Decoder(dict[str, int]).decode


def args(a: int, b: int) -> bytes:
    return _encode({"a": a, "b": b})


def answer(method: bytes | str, data: bytes) -> bytes:
    """What the worker answers; the same method and the same result as ours."""
    if method in (ADD, "add"):
        given = _decode_args(data)
        return _encode({"sum": given["a"] + given["b"]})
    return data


def sum_of(data: bytes) -> int:
    return _decode_result(data)["sum"]
