"""`ipc-broker token`: tokens for those who connect over tls://, or as somebody in particular."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from ..identity.files import read_trusted
from ..security.tokens import (
    ID_BYTES,
    SECRET_BYTES,
    TokenRecord,
    format_tokens,
    is_valid,
    make_token,
    parse_tokens,
)
from .fail import WRONG, WRONG_USAGE, fail
from .output import write_note
from .settings import settings_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Lifetime(click.ParamType[float]):
    """Seconds, given as `30d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"([1-9]\d{0,5})([smhdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: give a number and s, m, h, d or w, as in 30d", param, ctx)
        return float(int(found[1]) * _UNITS[found[2]])


@click.group(help="Make, list and revoke the tokens that a running broker takes.")
def token() -> None: ...


@token.command(
    short_help="Make a token and print it, once.",
    help="Make a token for NAME and print it, once: only a hash of it is kept. Running brokers take it within a second."
    " It is shown in BROKER_TOKEN, or as connect(token=).",
)
@click.argument("name")
@click.option("--expires", "lifetime", type=Lifetime(), metavar="DURATION", help="after which it holds no longer: 30d")
@click.option("--role", metavar="ROLE", help="by which rules of the policy may go (roles = ...)")
@click.pass_obj
def create(given: dict[str, Any], name: str, lifetime: float | None, role: str | None) -> None:
    try:
        made, record = make_token(name, time.time(), os.urandom(ID_BYTES + SECRET_BYTES), lifetime=lifetime, role=role)
    except ValueError as error:
        fail(error, WRONG_USAGE)
    with _changing(given) as (file, records):
        if any(one.name == name for one in records):
            fail(f"there is a token '{name}' already: revoke it first (ipc-broker token revoke {name})", WRONG)
        _replace(file, [*records, record])
    click.echo(made)
    write_note(f"It is shown only now; its hash is in {file}.")


@token.command("list", help="Show the tokens that there are, without their secrets.")
@click.pass_obj
def list_tokens(given: dict[str, Any]) -> None:
    file = _file(given)
    try:
        records = _read(file)
    except ConfigError as error:
        fail(error, WRONG)
    if not records:
        write_note(f"There are no tokens in {file}.")
        return
    rows = [("NAME", "ROLE", "CREATED", "EXPIRES")]
    for one in records:
        expires = "never" if one.expires is None else _shown(one.expires)
        rows.append(
            (one.name, one.role or "-", _shown(one.created), expires if is_valid(one, time.time()) else "expired")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@token.command(help="Revoke the token of NAME. Running brokers end its connections within a second.")
@click.argument("name")
@click.pass_obj
def revoke(given: dict[str, Any], name: str) -> None:
    with _changing(given) as (file, records):
        left = [one for one in records if one.name != name]
        if len(left) == len(records):
            fail(f"there is no token '{name}' in {file}", WRONG)
        _replace(file, left)
    write_note(f"The token '{name}' is revoked.")


# The file


def _file(given: dict[str, Any]) -> Path:
    try:
        file = settings_of(given).tokens
    except ConfigError as error:
        fail(error, WRONG_USAGE)
    if not file:
        fail("the setting tokens is empty: name a file for them (--tokens FILE)", WRONG_USAGE)
    return Path(file)


def _read(file: Path) -> tuple[TokenRecord, ...]:
    """Raises ConfigError."""
    return parse_tokens(read_trusted(str(file)), str(file)).records if file.exists() else ()


@contextlib.contextmanager
def _changing(given: dict[str, Any]) -> Iterator[tuple[Path, tuple[TokenRecord, ...]]]:
    """Meanwhile nobody else does."""
    file = _file(given)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(file.parent):
            yield file, _read(file)
    except ConfigError as error:
        fail(error, WRONG)
    except OSError as error:
        fail(f"cannot change {file}: {error.strerror or error}", WRONG)


def _replace(file: Path, records: list[TokenRecord]) -> None:
    """All at once: a broker that reads it meanwhile sees the old one or the new one. Raises OSError."""
    handle, new = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")  # for its owner alone
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(format_tokens(records))
            stream.flush()
            if sys.platform != "win32" and file.exists():  # root may change what is a service's
                earlier = file.stat()
                os.fchown(stream.fileno(), earlier.st_uid, earlier.st_gid)
                os.fchmod(stream.fileno(), earlier.st_mode & 0o777)
            os.fsync(stream.fileno())
        os.replace(new, file)
    except BaseException:
        os.unlink(new)
        raise


if sys.platform == "win32":

    @contextlib.contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        yield

else:
    import fcntl

    @contextlib.contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        """Raises OSError."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _shown(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
