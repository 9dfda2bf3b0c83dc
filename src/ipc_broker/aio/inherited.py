"""Sockets that listen already when the broker starts: systemd has made them, and keeps them when the broker ends.

The protocol is that of sd_listen_fds(3): LISTEN_FDS sockets from descriptor 3 on, for the process LISTEN_PID, with the names of
LISTEN_FDNAMES between colons.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from ..address import Address, parse_address
from ..config import BrokerConfig
from ..errors import ConfigError

FIRST = 3
"""Descriptor, behind stdin, stdout and stderr."""


class InheritedSocket(NamedTuple):
    """`name` is FileDescriptorName= of its unit."""

    name: str
    address: Address
    listening: socket.socket


def inherited_sockets(environ: Mapping[str, str], pid: int, first: int = FIRST) -> list[InheritedSocket]:
    """None where they are for another process, or there is no systemd. To be called once.

    Raises ConfigError for one at which nobody can connect: a datagram socket, or a file.
    """
    if environ.get("LISTEN_PID") != str(pid) or sys.platform == "win32":
        return []
    count = environ.get("LISTEN_FDS", "")
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS={count!r} in the environment is no number of sockets")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * int(count)
    return [_adopt(descriptor, names[descriptor - first]) for descriptor in range(first, first + int(count))]


def _adopt(descriptor: int, name: str) -> InheritedSocket:
    what = f"descriptor {descriptor} ({name or 'without a name'}), which systemd has passed"
    try:
        os.set_inheritable(descriptor, False)
        listening = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise ConfigError(f"{what}, is no socket: {error.strerror}") from error
    try:
        listens = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listening.type != socket.SOCK_STREAM or not listens:
            raise ConfigError(f"{what}, is no socket that listens for connections (ListenStream=)")
        address = _address_of(listening, what)
    except BaseException:
        listening.close()
        raise
    os.close(descriptor)
    return InheritedSocket(name, address, listening)


def _address_of(listening: socket.socket, what: str) -> Address:
    where = listening.getsockname()
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        return Address("tcp", where[0], where[1])
    if isinstance(where, str) and where:
        return Address("unix", where)
    raise ConfigError(f"{what}, listens at {where!r}; a broker needs a path, or a host and port")


def with_sockets(config: BrokerConfig, sockets: Iterable[InheritedSocket]) -> BrokerConfig:
    """The settings with `listen` for these too. Where nobody has said where to listen, nowhere else."""
    addresses = [one.address for one in sockets]
    if not addresses:
        return config
    said = () if config.listen == BrokerConfig().listen else config.listen
    known = [parse_address(text) for text in said]
    more = [str(address) for address in addresses if not any(is_at(address, other) for other in known)]
    return msgspec.structs.replace(config, listen=(*said, *more))


def is_at(inherited: Address, address: Address) -> bool:
    """Whether the socket is the one for the address, which says whether TLS is spoken there."""
    kinds = {"tcp": ("tcp", "tls"), "unix": ("unix",)}
    return address.scheme in kinds[inherited.scheme] and (inherited.location, inherited.port) == (
        address.location,
        address.port,
    )
