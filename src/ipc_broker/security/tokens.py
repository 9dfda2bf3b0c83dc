"""Tokens: made once, shown once, and kept as hashes.

A token is `ipcb_ID_SECRET`. The secret is 256 bits from the system's source of randomness: nobody can guess it, so that one
round of SHA-256 hides it as well as a slow hash would. Only the id is looked up; the hashes are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ..errors import ConfigError
from ..toml import parse_toml

PREFIX = "ipcb"
ID_BYTES, SECRET_BYTES = 6, 32
MOST_TEXT = 256
"""Characters of a token that are looked at."""

LABEL = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z"
"""What a token or role may be called: what needs no quoting in policies, logs and command lines."""

Label = Annotated[str, Meta(pattern=LABEL)]
Time = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class TokenRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token. Times are seconds since 1970, UTC."""

    name: Label
    id: Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}\\Z")]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}\\Z")]
    """SHA-256 of the secret, in hexadecimal."""
    created: Time
    expires: Time | None = None
    role: Label | None = None


class TokenRefused(Exception):
    """What its owner is told; not whether the id or the secret was wrong."""


def make_token(
    name: str, now: float, random: bytes, *, lifetime: float | None = None, role: str | None = None
) -> tuple[str, TokenRecord]:
    """The token, and what is to be kept of it. `random` are ID_BYTES + SECRET_BYTES of them.

    Raises ValueError for a name or a role that makes no sense.
    """
    for what, label in (("name", name), ("role", role)):
        if label is not None and not re.fullmatch(LABEL, label):
            raise ValueError(f"{label!r} is no {what}: up to 64 letters, digits and _ . @ - make one")
    if len(random) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"a token needs {ID_BYTES + SECRET_BYTES} random bytes, not {len(random)}")
    identifier, secret = random[:ID_BYTES].hex(), random[ID_BYTES:].hex()
    expires = None if lifetime is None else int(now + lifetime)
    record = TokenRecord(name, identifier, _hash(secret), int(now), expires, role)
    return f"{PREFIX}_{identifier}_{secret}", record


class Tokens:
    """All that there are."""

    def __init__(self, records: Iterable[TokenRecord] = ()) -> None:
        self.records = tuple(records)
        self._by_id = {record.id: record for record in self.records}

    def verify(self, token: str, now: float) -> TokenRecord:
        """`now` in seconds since 1970. Raises TokenRefused."""
        prefix, _, rest = token[:MOST_TEXT].partition("_")
        identifier, _, secret = rest.partition("_")
        record = self._by_id.get(identifier) if prefix == PREFIX else None
        # The same work for an id that there is not.
        expected = record.hash if record is not None else _hash("")
        if not hmac.compare_digest(_hash(secret), expected) or record is None:
            raise TokenRefused("this broker does not know the token, or it was revoked")
        if not is_valid(record, now):
            raise TokenRefused(f"the token '{record.name}' has expired; make another: ipc-broker token create NAME")
        return record

    def still_holds(self, record: TokenRecord, now: float) -> bool:
        """Whether a token that was verified once would be again."""
        return self._by_id.get(record.id) == record and is_valid(record, now)


def is_valid(record: TokenRecord, now: float) -> bool:
    return record.expires is None or now < record.expires


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    token: tuple[TokenRecord, ...] = ()


def parse_tokens(text: str, source: str) -> Tokens:
    """Raises ConfigError, which names the place."""
    try:
        records = msgspec.convert(parse_toml(text, source), _File).token
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
    for what in ("name", "id"):
        known: set[str] = set()
        for record in records:
            value = getattr(record, what)
            if value in known:
                raise ConfigError(f"{source}: two tokens have the {what} '{value}'")
            known.add(value)
    return Tokens(records)


def format_tokens(records: Iterable[TokenRecord]) -> str:
    """For `parse_tokens`."""
    lines = ["# Made by `ipc-broker token`. It holds hashes, no tokens; whoever can write it can let anybody in.\n"]
    for record in records:
        lines.append("\n[[token]]\n")
        for key, value in msgspec.structs.asdict(record).items():
            if value is not None:  # none of the texts needs more than quotation marks
                lines.append(f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n")
    return "".join(lines)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
