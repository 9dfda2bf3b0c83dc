"""Every setting of the broker, once: command line, environment and file all derive from these classes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .address import DEFAULT_LOCAL, DEFAULT_TCP, parse_address
from .errors import ConfigError

LogLevel = Literal["trace", "debug", "info", "warn", "error"]
LogFormat = Literal["text", "json"]
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


class Quotas(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all connections of one user may take together. The broker's own user and root have none.

    They keep one user from starving another on a bus for several; each connection has its `Limits` besides.
    """

    connections: Annotated[Positive, Meta(description="connections of one user at once")] = 256
    """More than a user has programs, and few enough that 100 users have theirs within the limit of all."""
    names: Annotated[Positive, Meta(description="objects registered by one user")] = 10_000
    subscriptions: Annotated[Positive, Meta(description="subscriptions of one user")] = 50_000
    calls: Annotated[Positive, Meta(description="calls in flight of one user")] = 65_536
    """These three: as much as one connection may have alone."""
    queued: Annotated[
        Positive,
        Meta(description="bytes that wait for one user's connections, or that they have sent and nobody has taken"),
    ] = 512 * 1024 * 1024
    """Twice what one connection may leave unread."""
    rate: Annotated[
        int, Meta(ge=0, description="calls, events and registrations a second of one user, 0 for any number")
    ] = 50_000
    """A third of what a broker can route: beyond, one is not read from until the next second, so that nothing is lost."""


class Tls(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `tls://` addresses need. The files are read again when they change."""

    certificate: Annotated[str, Meta(description="file with the broker's certificate and its chain (PEM)")] = ""
    key: Annotated[str, Meta(description="file with its private key (PEM)")] = ""
    client_ca: Annotated[
        str, Meta(description="file with the CA whose certificates clients may show in place of a token (PEM)")
    ] = ""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if "\0" in getattr(self, name):
                raise ConfigError(f"tls.{name}: no file's name has a zero byte")


class BrokerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a broker can be told. Raises ConfigError on an address that makes no sense."""

    listen: Annotated[tuple[str, ...], Meta(description="address to listen on; may be given several times")] = (
        DEFAULT_LOCAL,
        DEFAULT_TCP,
    )
    log_level: Annotated[LogLevel, Meta(description="how much to log, on stderr")] = "info"
    log_format: Annotated[LogFormat, Meta(description="how to log: text for people, or a JSON object a line")] = "text"
    grace: Annotated[
        Seconds, Meta(description="seconds that calls in flight may take to end when the broker stops")
    ] = 5.0
    """Half of the ten seconds after which Docker kills what it was to stop."""
    allow_users: Annotated[
        tuple[str, ...],
        Meta(
            description="user who may use this broker too, by name or number (Windows: SID); may be given several times"
        ),
    ] = ()
    allow_groups: Annotated[
        tuple[str, ...], Meta(description="group whose members may use this broker too; may be given several times")
    ] = ()
    policy: Annotated[str, Meta(description="file with the rules of who may do what (TOML)")] = ""
    tokens: Annotated[str, Meta(description="file with the hashes of the tokens that `ipc-broker token` makes")] = ""
    insecure: Annotated[
        bool, Meta(description="let whoever reaches a TCP address do everything, also from other machines")
    ] = False
    through_broker: Annotated[
        bool, Meta(description="let no client call a worker directly: all calls come through the broker")
    ] = False
    """Where the broker's own counts of calls in flight matter more than their speed."""
    services: Annotated[
        tuple[str, ...],
        Meta(description="folder with services that are started on demand; may be given several times"),
    ] = ()
    allow_units: Annotated[
        tuple[str, ...],
        Meta(description="systemd unit that a program may name with RegisterService; may be given several times"),
    ] = ()
    limits: Limits = Limits()
    quotas: Quotas = Quotas()
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        for name in LISTS:
            value: Any = getattr(self, name)
            if not isinstance(value, tuple):  # a list, or one text, is what people write
                msgspec.structs.force_setattr(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name in ("policy", "tokens", "services"):
            if "\0" in (value := getattr(self, name)) or any("\0" in one for one in value):
                raise ConfigError(f"{name}: no file's name has a zero byte")
        if not self.listen:
            raise ConfigError("listen: a broker needs at least one address")
        for text in self.listen:
            parse_address(text)


LISTS = ("listen", "allow_users", "allow_groups", "services", "allow_units")
"""The settings that may be given several times."""

SECTIONS: dict[str, type[Struct]] = {"limits": Limits, "quotas": Quotas, "tls": Tls}
"""The settings that are tables in a file."""
