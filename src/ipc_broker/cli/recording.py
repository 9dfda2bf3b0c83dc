"""The file of a recording: a header, then one record a line, in JSON.

A payload that JSON can say without changing it is the line's `value`; any other is its `msgpack`, in base64.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import IO, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..messages import MAX_NAME
from .failures import NoRecording

VERSION = 1


class Header(Struct, frozen=True):
    """The first line. `began` is when the recording did, in ISO 8601; `object` and `method` are what was recorded, "" for all."""

    ipc_broker_recording: int
    began: str = ""
    broker: str = ""
    object: str = ""
    method: str = ""


class Line(Struct, frozen=True, omit_defaults=True):
    """One record, as `rob.monitor` tells it (observation.Record); `time` is seconds since the recording began.

    `value` or `msgpack` is the payload; without both there was none, or (`size` above 0) it could not be had.
    """

    kind: str
    time: float = 0.0
    call: str = ""
    object: str = ""
    method: str = ""
    peer: str = ""
    value: Any = UNSET
    msgpack: str | UnsetType = UNSET
    size: int = 0
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    type: str = ""
    headers: dict[str, str] = {}
    timeout: float = 0.0
    stream: bool = False
    retained: bool = False
    count: int = 0

    @property
    def payload(self) -> Any:
        """UNSET where there is none. Raises ValueError, msgspec.MsgspecError."""
        if isinstance(self.msgpack, str):
            return msgspec.msgpack.decode(base64.b64decode(self.msgpack, validate=True))
        return self.value


def payload_fields(payload: object) -> dict[str, Any]:
    """`value` or `msgpack`, for a Line; UNSET gives neither."""
    if payload is UNSET:
        return {}
    if is_json(payload):
        return {"value": payload}
    return {"msgpack": base64.b64encode(msgspec.msgpack.encode(payload)).decode()}


def is_json(payload: object) -> bool:
    """Whether JSON says it so that the same comes back."""
    if payload is None or isinstance(payload, bool | str):
        return True
    if isinstance(payload, int):
        return -(2**63) <= payload < 2**64
    if isinstance(payload, float):
        return isfinite(payload)
    if isinstance(payload, list):
        return all(map(is_json, payload))
    if isinstance(payload, dict):
        return all(isinstance(key, str) and is_json(value) for key, value in payload.items())
    return False


def write_line(file: IO[bytes], line: Header | Line) -> None:
    """At once: a recording may be read while it goes on."""
    file.write(msgspec.json.encode(line) + b"\n")
    file.flush()


def read_recording(name: str, lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines behind the header. Raises NoRecording."""
    number = 0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            if number == 1:
                _check(msgspec.json.decode(text, type=Header))
                continue
            line = msgspec.json.decode(text, type=Line)
            _ = line.payload
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            what = "is no recording: its first line" if number == 1 else f"is broken: line {number}"
            raise NoRecording(f"{name} {what} is not what `rob record` writes ({error})") from error
        if max(len(line.object), len(line.method)) > MAX_NAME:
            raise NoRecording(f"{name} is broken: line {number} has a name of more than {MAX_NAME} characters")
        yield line
    if not number:
        raise NoRecording(f"{name} is empty")


def _check(header: Header) -> None:
    if header.ipc_broker_recording != VERSION:
        raise ValueError(f"it is of version {header.ipc_broker_recording}, and this program reads version {VERSION}")
