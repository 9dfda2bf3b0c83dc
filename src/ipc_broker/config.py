"""Every setting of the broker, once: command line, environment and file all derive from these two classes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .address import DEFAULT_LOCAL, DEFAULT_TCP, parse_address
from .errors import ConfigError

ENVIRONMENT_PREFIX = "IPC_BROKER_"

LogLevel = Literal["trace", "debug", "info", "warn", "error"]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one connection may take. Over a limit its peer gets an error that names it; nobody else notices.

    Below each limit stands why it is what it is, and what others allow.
    """

    connections: Annotated[Positive, Meta(description="connections at once; further ones are told so, and closed")] = (
        32_768
    )
    """Three times the 10,000 that must always be possible. An idle one takes about 5 KiB of the broker, so that the memory for
    all of them, 170 MiB, is there on any machine. Redis has 10,000, NATS 65,536."""
    max_frame: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**31 - 1,
            description="largest body of a frame, in bytes; the Rust crate's programs read 65536",
        ),
    ] = 64 * 1024 * 1024
    """A large picture or table in one piece. A body is whole in memory at each end of its way, and nothing else passes on its
    connection meanwhile, so that what is larger should be a stream. NATS has 1 MiB, gRPC 4 MiB, D-Bus 128 MiB."""
    backlog: Annotated[
        Positive, Meta(description="bytes of events kept for one slow subscriber before its publishers have to wait")
    ] = 8 * 1024 * 1024
    """A burst of 100,000 events of 80 bytes. A hundred subscribers that are this slow take less than 1 GiB together."""
    stall: Annotated[
        Seconds, Meta(description="seconds that publishers wait for a subscriber that takes nothing at all")
    ] = 2.0
    """Longer than a busy system keeps a healthy program from running, and shorter than what people take for a hang."""
    outbox: Annotated[
        Positive,
        Meta(
            description="bytes that wait for one connection, or for room at one name; beyond, calls are refused and"
            " unread answers end the connection"
        ),
    ] = 256 * 1024 * 1024
    """Four of the largest frames: while one is being read, the answers behind it must have a place. Redis ends a client that
    leaves 32 MiB of events unread, NATS one that leaves 64 MiB."""
    names: Annotated[Positive, Meta(description="objects registered by one connection")] = 10_000
    """An object for each thing that a program looks after, such as devices or documents; more are a loop gone wrong."""
    subscriptions: Annotated[Positive, Meta(description="subscriptions of one connection")] = 50_000
    """Several for each object that a connection may have. D-Bus has as many on its session bus."""
    calls: Annotated[Positive, Meta(description="calls in flight of one connection")] = 65_536
    """Six times the 10,000 that must always be possible; a caller with more has stopped to wait for its answers."""
    waiting: Annotated[Positive, Meta(description="calls of one object that wait for a worker to have room")] = 10_000
    """Ten seconds of work at 1,000 calls a second: who stands further back has usually given up when it is his turn."""
    retained: Annotated[Positive, Meta(description="bytes of retained events, of all topics together")] = (
        64 * 1024 * 1024
    )
    """One value of any size that can be sent, or 100,000 of about 100 bytes: they stay until the broker ends."""
    heartbeat: Annotated[
        Seconds,
        Meta(
            description="seconds of silence after which a connection is given up, 0 for never; blocking clients decline"
        ),
    ] = 15.0
    """Half of the 30 seconds for which callers often wait, so that those of a frozen worker hear of it earlier; and longer than
    any pause that a healthy program makes."""
    resume: Annotated[
        Seconds, Meta(description="seconds for which what a lost connection's subscriptions miss is counted")
    ] = 30.0
    """A program that is started anew, or a connection that is lost and found again, is back by then; and what is kept for those
    who never come back is soon gone."""


class BrokerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a broker can be told. Raises ConfigError on an address that makes no sense."""

    listen: Annotated[tuple[str, ...], Meta(description="address to listen on; may be given several times")] = (
        DEFAULT_LOCAL,
        DEFAULT_TCP,
    )
    log_level: Annotated[LogLevel, Meta(description="how much to log, on stderr")] = "info"
    grace: Annotated[
        Seconds, Meta(description="seconds that calls in flight may take to end when the broker stops")
    ] = 5.0
    """Half of the ten seconds after which Docker kills what it was to stop."""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not isinstance(self.listen, tuple):  # a list is what people write
            msgspec.structs.force_setattr(
                self, "listen", (self.listen,) if isinstance(self.listen, str) else tuple(self.listen)
            )
        if not self.listen:
            raise ConfigError("listen: a broker needs at least one address")
        for text in self.listen:
            parse_address(text)


def load_config(file: str | None, environ: Mapping[str, str], options: Mapping[str, object]) -> BrokerConfig:
    """Settings in order of weight: `options` of the command line, the environment, the TOML file, the defaults.

    In the environment a setting is `IPC_BROKER_` and its name in capitals, addresses separated by commas, a limit
    `IPC_BROKER_LIMITS_` and its name; `BROKER_DEBUG` is the log level, as for the Rust crate's broker. Raises ConfigError
    that names the place.
    """
    settings: dict[str, Any] = {}
    if file is not None:
        settings = _read_file(file)
        _convert(settings, BrokerConfig, file)
    given = {name: value for name, value in options.items() if value is not None}
    settings = settings | _from_environment(environ, BrokerConfig, settings)
    if isinstance(limits := given.get("limits"), Mapping):  # single limits, on top of what file and environment say
        given["limits"] = settings["limits"] | limits
    return _convert(settings | given, BrokerConfig, "the settings")


def _read_file(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML: {error}") from error


def _from_environment(
    environ: Mapping[str, str], kind: type[Struct], settings: Mapping[str, Any], infix: str = ""
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.type is Limits:
            inner = settings.get(field.name, {})
            found[field.name] = inner | _from_environment(environ, Limits, inner, f"{field.name.upper()}_")
            continue
        variable = f"{ENVIRONMENT_PREFIX}{infix}{field.name.upper()}"
        text = environ.get(variable)
        if field.name == "log_level" and not text:
            variable, text = "BROKER_DEBUG", environ.get("BROKER_DEBUG")
        if text:
            value: object = [part.strip() for part in text.split(",")] if field.name == "listen" else text
            try:
                found[field.name] = msgspec.convert(value, field.type, strict=False)
                kind(**{field.name: found[field.name]})
            except (msgspec.ValidationError, ConfigError) as error:
                raise ConfigError(f"{variable}={text!r} in the environment: {error}") from error
    return found


def _convert(settings: Mapping[str, object], kind: type[BrokerConfig], source: str) -> BrokerConfig:
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
