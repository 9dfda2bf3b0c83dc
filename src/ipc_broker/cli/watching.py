"""What happens on the bus, record by record, as the broker tells it: for `rob monitor` and `rob record`."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, time
from typing import Any, NamedTuple

from msgspec import UNSET, MsgspecError

from ..errors import ConnectionLost, DeadlineExceeded
from ..observation import Record, Watch
from ..sync import Client
from .connecting import ask_only_ours, check_name
from .words import Request, UsageError


class Seen(NamedTuple):
    """A record, when it happened (in seconds since the epoch), and its payload, UNSET where it was left out."""

    record: Record
    at: float
    value: Any = UNSET


def records(client: Client, watch: Watch, deadline: float | None) -> Iterator[Seen]:
    """Until the deadline; a connection that is lost and made again begins with another record "begin".

    Raises NoSuchMethod for the Rust crate's broker.
    """
    ask_only_ours(client, "monitor")
    while deadline is None or monotonic() < deadline:
        left = None if deadline is None else deadline - monotonic()
        stream = client.stream("rob", "monitor", watch, timeout=left, returns=Record)
        started = time()
        try:
            for record in stream:
                if record.kind == "begin":
                    started = time() - record.time
                yield Seen(record, started + record.time, _value_of(record, client))
        except ConnectionLost:
            continue  # the next call waits for the next connection
        except DeadlineExceeded:
            return
        finally:
            stream.close()


def _value_of(record: Record, client: Client) -> object:
    if record.value is UNSET:
        return UNSET
    try:
        return client.link.session.codec.decode_any(record.value)
    except (MsgspecError, ValueError, RecursionError):
        return UNSET


def names_to_watch(request: Request) -> tuple[str, str]:
    """`[OBJECT [METHOD]]`, "" for what was not given. Raises UsageError."""
    names = [*request.rest, "", ""]
    if len(request.rest) > 2:
        raise UsageError(f"too many words, from {request.rest[2]!r} on")
    for what, name in zip(("OBJECT", "METHOD"), request.rest, strict=False):
        check_name(what, name)
    return names[0], names[1]


def watched(object_name: str, method: str) -> str:
    """What is watched, in words that end a sentence."""
    if not object_name:
        return "everything"
    return f"{object_name} {method}" if method else object_name
