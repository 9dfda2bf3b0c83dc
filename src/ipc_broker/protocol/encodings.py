"""The encodings that there are, and how a payload gets from one to another."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from .codec import Codec
from .json_codec import JsonCodec
from .msgpack_codec import MessagePackCodec
from .payload import Unsendable

JSON = JsonCodec()
MSGPACK = MessagePackCodec()

ENCODINGS: dict[str, Codec] = {codec.name: codec for codec in (MSGPACK, JSON)}
"""By the name in `rob.hello`, the best first."""


def transcode(payload: Raw, source: Codec, target: Codec) -> Raw:
    """Raises Unsendable for what the target cannot say, and for what is no payload of the source."""
    if source is target:
        return payload
    try:
        value = source.decode_any(payload)
    except RecursionError as error:
        raise Unsendable("it is nested too deeply - at `$`") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unsendable(f"{error} - at `$`") from error
    return target.encode_payload(value)
