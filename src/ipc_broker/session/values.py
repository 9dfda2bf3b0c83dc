"""What a caller gives and gets: Python values on one side, payloads on the other."""

from __future__ import annotations

from typing import Any

from msgspec import MsgspecError, Raw

from ..errors import DeadlineExceeded, InvalidArgs, RemoteError
from ..protocol.codec import Codec
from ..protocol.payload import Unsendable, reason_of
from ..protocol.pieces import Payload

DEFAULT_TIMEOUT = 30.0
"""Seconds that a call may take when nothing else is said."""

MAY_BE_LOST = "the connection was lost after events were published: they may not have been routed"


def payload_of(value: Any, codec: Codec, object_name: str, member: str) -> Payload:
    """Arguments of a method, or the value of an event. Raises InvalidArgs."""
    try:
        return codec.encode_value(value)
    except Unsendable as error:
        message = f"what '{object_name}.{member}' was given cannot be sent: {error}"
        raise InvalidArgs(message, object=object_name, method=member, delivered="no") from error


def value_of(payload: Raw, codec: Codec, returns: Any, object_name: str, method: str) -> Any:
    """The result of a call, checked and converted to the type `returns`. Raises RemoteError where it does not fit."""
    try:
        return codec.decode_any(payload) if returns is Any else codec.decoder(returns)(payload)
    except (MsgspecError, ValueError, RecursionError) as error:
        expected = getattr(returns, "__name__", returns)
        message = f"'{object_name}' answered '{method}' with something else than {expected}: {reason_of(error)}"
        mismatch = RemoteError(message, object=object_name, method=method)
        mismatch.type = type(error).__name__
        try:
            raise mismatch from error
        finally:
            del mismatch  # or its frame would hold it, and the payload


def not_acknowledged(object_name: str, topic: str) -> DeadlineExceeded:
    message = f"the broker did not acknowledge '{topic}' of '{object_name}' within {DEFAULT_TIMEOUT:g} s"
    return DeadlineExceeded(message, object=object_name)


def names_after(names: list[str]) -> dict[str, str]:
    """The arguments of `rob.listObjects` for the page behind these names."""
    return {"after": names[-1] if names else ""}
