"""Who is at an end of a connection, and which types of messages it may receive there."""

from __future__ import annotations

import enum
from functools import lru_cache

from ..events import Batch, Event
from ..messages import Batch as UndecodedBatch
from ..messages import (
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    EventCredit,
    Goodbye,
    HasObject,
    HasObjectResult,
    Item,
    Lent,
    Memory,
    Missed,
    Pause,
    Ping,
    Pong,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Resume,
    Served,
    Subscribe,
    Subscribed,
)
from .codec import Codec, Decoded, Decoder


class Role(enum.Enum):
    """Which end of the connection this is."""

    BROKER = "broker"
    CLIENT = "client"
    DIRECT = "direct"
    """Either end between a caller and its worker."""


# The types that each end may receive, those that come most often first; and what extended peers may say besides.
KINDS: dict[Role, tuple[type[Decoded], ...]] = {
    Role.BROKER: (Call, Result, Publish, Error, HasObject, Subscribe, RegisterObject, RegisterService),
    Role.CLIENT: (Result, Call, Event, Error, HasObjectResult, Subscribed, Registered),
    Role.DIRECT: (Result, Call, Error),
}
EXTENDED_KINDS: dict[Role, tuple[type[Decoded], ...]] = {
    Role.BROKER: (
        UndecodedBatch,
        Item,
        Credit,
        EventCredit,
        Cancel,
        Pong,
        Direct,
        DirectEnded,
        Served,
        Memory,
        Goodbye,
    ),
    Role.CLIENT: (
        Batch,
        Item,
        Credit,
        Cancel,
        Caller,
        CallerGone,
        Missed,
        Pause,
        Resume,
        Ping,
        Direct,
        DirectEnded,
        Memory,
        Goodbye,
    ),
    Role.DIRECT: (Cancel, Direct, DirectEnded, Memory),
}
OTHER_END = {Role.BROKER: Role.CLIENT, Role.CLIENT: Role.BROKER, Role.DIRECT: Role.DIRECT}


@lru_cache(maxsize=8)
def decoder_of(role: Role, codec: Codec, *, extended: bool, lending: bool = False) -> Decoder:
    """Made when it is needed: most programs play one role and use one encoding."""
    kinds = KINDS[role] + (EXTENDED_KINDS[role] if extended else ())
    return Decoder(codec, (*kinds, Lent) if lending else kinds)
