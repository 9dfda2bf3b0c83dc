"""A call that was not answered, and why one cannot be passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw, Struct

from ..protocol.codec import Codec
from ..protocol.encodings import transcode
from ..protocol.framing import HEADER_SIZE, Frame
from ..protocol.json_payload import unreadable_to_seed
from ..protocol.payload import Unsendable
from .peer import Peer

if TYPE_CHECKING:
    from .names import Name, Registration


class PendingCall(Struct, gc=False, eq=False):
    """A call that was not answered. `worker_id` is the id its worker knows: another one where its caller's could be
    mistaken. `registration` is None while it waits for room, `caller` when nobody waits for the answer any more.
    """

    caller: Peer | None
    registration: Registration | None
    call_id: str
    worker_id: str
    name: Name
    method: str
    timeout_ms: int
    credit: int
    """Bytes that its worker may still stream."""
    started: float = 0.0
    streams: bool = False
    longer_at_worker: int = 0
    """Bytes by which its items were longer as the worker sent them than its caller got them, since it gave credit."""
    deadline: float = 0.0
    bucket: dict[PendingCall, None] | None = None

    @property
    def object_name(self) -> str:
        return self.name.object_name


class Refusal(Exception):
    """A call cannot be passed on: the error's code and text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def transcoded_for(payload: Raw, source: Codec, target: Peer, who: str) -> Raw:
    """Raises Refusal where the target cannot read it."""
    try:
        payload = transcode(payload, source, target.connection.codec)
    except Unsendable as error:
        raise Refusal("invalid_args", f"{who} cannot be told this: {error}") from error
    if target.is_seed and (unreadable := unreadable_to_seed(payload)):
        raise Refusal("invalid_args", f"{who} cannot read this: {unreadable}")
    return payload


def over_limit(frame: Frame, peer: Peer) -> str:
    return (
        f"a frame of {len(frame) - HEADER_SIZE} bytes is over the limit of {peer.longest_frame - HEADER_SIZE} bytes"
        f" that {peer.describe()} takes (max_frame)"
    )
