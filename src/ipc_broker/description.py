"""What an object offers, as its worker describes it when it registers, and as the broker passes it on (`rob.describe`).

Types are JSON Schema (https://json-schema.org/draft/2020-12), as msgspec makes it; `{}` is any value. A schema's
`{"$ref": "#/definitions/NAME"}` points into the description's own `definitions`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

INTEGER_KEYS = "^-?[0-9]+$"
"""The `propertyNames` pattern of a map whose keys are integers: they are texts in JSON only."""

MOST_BYTES = 256 * 1024
"""Of one interface as it is sent: a few hundred methods with their docstrings."""

Schema = dict[str, Any]

Kind = Literal["", "positional", "keyword", "list", "map"]


class Parameter(Struct, frozen=True, omit_defaults=True):
    """`kind` says how it may be given: "" by name or position, "positional", "keyword", "list" for *args, "map" for **kwargs.

    `default` is there where it can be said in JSON.
    """

    name: str
    schema: Schema = {}
    kind: Kind = ""
    required: bool = True
    default: Any = UNSET


class MethodDescription(Struct, frozen=True, omit_defaults=True):
    """`returns` is the schema of what it returns or, of a `stream`, of each item. `doc` is its whole docstring."""

    doc: str = ""
    parameters: tuple[Parameter, ...] = ()
    returns: Schema = {}
    stream: bool = False


class Interface(Struct, frozen=True, omit_defaults=True):
    """The methods of one object, by name. `type` is the name of its class, `doc` that one's docstring."""

    type: str = ""
    doc: str = ""
    methods: dict[str, MethodDescription] = {}
    definitions: dict[str, Schema] = {}


class Owner(Struct, frozen=True, omit_defaults=True):
    """One connection that serves an object. `state` is "serving", or "standby" while another one does.

    `direct` counts the callers whose calls of the object may go to it without the broker between.
    """

    name: str = ""
    pid: int | None = None
    uid: int | None = None
    address: str = ""
    state: str = "serving"
    concurrency: int = 0
    running: int = 0
    direct: int = 0


class ServedObject(Struct, frozen=True, omit_defaults=True):
    """Who serves an object. `waiting` counts the calls for which nobody has room."""

    object: str
    mode: str = "exclusive"
    owners: tuple[Owner, ...] = ()
    waiting: int = 0


class ObjectDescription(ServedObject, frozen=True, omit_defaults=True):
    """The broker's answer to `rob.describe`. Without `interface` the object is opaque: its worker told nothing of it."""

    interface: Interface | None = None


class EncodedDescription(ServedObject, frozen=True, omit_defaults=True):
    """The same as the broker sends it: the interface in the encoding of the one who asks."""

    interface: Raw | UnsetType = UNSET
