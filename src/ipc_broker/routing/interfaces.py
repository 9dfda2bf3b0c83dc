"""What workers tell of their objects: kept as it came, and held against what was told before."""

from __future__ import annotations

import logging
from collections import OrderedDict

from msgspec import MsgspecError, Raw, Struct

from ..compatibility import changes
from ..description import MOST_BYTES, Interface
from ..protocol.codec import Codec
from ..protocol.encodings import JSON, transcode
from ..protocol.payload import Unsendable, reason_of
from .peer import Peer

logger = logging.getLogger("ipc_broker")

MOST_REMEMBERED = 16 * 1024 * 1024
"""Bytes of interfaces that are remembered when nobody serves their objects any more, so that changes are noticed."""

MOST_LOGGED = 20
"""Changes of one interface that are told."""


class InterfaceRefused(Exception):
    """It is none, or too large: the error's code and text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KnownInterface(Struct, frozen=True, gc=False):
    """An interface as it came, in the encoding of the connection that it came over."""

    encoded: Raw
    codec: Codec

    @property
    def size(self) -> int:
        """About as much as it takes, with what is kept beside it."""
        return len(bytes(self.encoded)) + 1024

    def encoded_for(self, codec: Codec) -> Raw:
        """Raises Unsendable."""
        return transcode(self.encoded, self.codec, codec)

    def decode(self) -> Interface:
        decoded: Interface = self.codec.decode_payload(self.encoded, Interface)
        return decoded


class Interfaces:
    """The last interface of each object."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, KnownInterface] = OrderedDict()
        self._size = 0

    def check(self, encoded: Raw, codec: Codec) -> None:
        """Raises InterfaceRefused."""
        size = len(bytes(encoded))
        if size > MOST_BYTES:
            message = f"the interface has {size} bytes, over the limit of {MOST_BYTES}; shorten its docstrings"
            raise InterfaceRefused("too_large", message)
        try:
            codec.decode_payload(encoded, Interface)
        except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InterfaceRefused("invalid_args", f"the interface is none: {reason_of(error)}") from error
        try:
            transcode(encoded, codec, JSON)
        except Unsendable as error:
            raise InterfaceRefused("invalid_args", f"JSON cannot say the interface: {error}") from error

    def learn(self, object_name: str, encoded: Raw, peer: Peer) -> KnownInterface:
        """The interface, which was checked. Logs how it differs from the last one of the object."""
        codec = peer.connection.codec
        known, last = KnownInterface(Raw(bytes(encoded)), codec), self._last.pop(object_name, None)
        if last is not None:
            self._size -= last.size
            if last.codec is codec and last.encoded == known.encoded:
                known = last  # most workers of a name are the same program: it is kept once
            else:
                _log_changes(object_name, last.decode(), known.decode(), peer)
        self._last[object_name] = known
        self._size += known.size
        while self._size > MOST_REMEMBERED:
            self._size -= self._last.popitem(last=False)[1].size
        return known


def _log_changes(object_name: str, last: Interface, now: Interface, peer: Peer) -> None:
    found = changes(last, now)
    if found:
        texts = "; ".join(change.text for change in found[:MOST_LOGGED])
        if len(found) > MOST_LOGGED:
            texts += f"; and {len(found) - MOST_LOGGED} more"
        if found[0].compatible:
            logger.info("%s serves %r with a changed interface, compatible: %s", peer.describe(), object_name, texts)
        else:
            logger.warning(
                "%s serves %r with a changed interface, not compatible: %s", peer.describe(), object_name, texts
            )
