"""Whose the other end of a TCP connection on this machine is, as Linux says (sock_diag(7)).

A broker asks for the one socket that has our addresses the other way round. It must be open: a socket that its process
has closed, while its data is still to be read, is shown without an inode and with root's uid. That is also how the end of a
broker looks until it has accepted the connection; clients therefore ask who listens.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator

from .proc_net import entries

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORTS = struct.Struct("!HH")
_REST_OF_ID = struct.Struct("=III")  # interface, and a cookie that stands for any
_MESSAGE = struct.Struct("=BBBB48sIIIII")  # inet_diag_msg: ..., expires, rqueue, wqueue, uid, inode
_ID_SIZE = 48
_NO_NETLINK = frozenset({errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP})
"""Of a system that does not have it: then /proc is read."""
_OPEN = frozenset({1, 4, 5, 8})
"""Established, or one of both ends sends no more (FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT)."""
_ALL_STATES = 0xFFFFFFFF
_LISTENING = 1 << 10
_ANSWERS_WITHIN = 0.5

_LOOPBACK_6 = b"\0" * 15 + b"\1"
_MAPPED_4 = b"\0" * 10 + b"\xff\xff"

Where = tuple[str, int]
"""A numeric address and a port."""


def is_loopback(host: str) -> bool:
    """Whether the numeric address leads to this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        packed = socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        return False
    if packed == _LOOPBACK_6:
        return True
    return packed.removeprefix(_MAPPED_4)[:1] == b"\x7f" and len(packed.removeprefix(_MAPPED_4)) == 4


def tells_users(host: str) -> bool:
    """Whether this system says whose the other end of a TCP connection with that address is: Linux does, of its own sockets."""
    return sys.platform == "linux" and is_loopback(host)


if sys.platform == "linux":

    def uid_at(own_end: Where, other_end: Where) -> int | None:
        """Whose socket is at `other_end` of a connection with us at `own_end`; None when nobody can tell. Raises OSError."""
        try:
            answer = _ask(_question(other_end, own_end))
        except OSError as error:
            if error.errno not in _NO_NETLINK:
                raise
            return _uid_by_proc(own_end, other_end)
        length, kind, *_ = _HEADER.unpack_from(answer)
        if kind != _SOCK_DIAG_BY_FAMILY or length < _HEADER.size + _MESSAGE.size:
            return None  # an error: there is no such socket
        _, state, _, _, _, _, _, _, uid, inode = _MESSAGE.unpack_from(answer, _HEADER.size)
        return uid if inode and state in _OPEN else None

    def uids_listening_at(where: Where) -> set[int]:
        """Whose sockets take connections that are made to this address of the machine. Raises OSError."""
        host, port = where
        found: set[int] = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            wanted = {bytes(16), _packed(family, host)} if (":" in host) == (family == socket.AF_INET6) else {bytes(16)}
            found |= {uid for at, uid in _listeners(family) if at[1] == port and at[0].ljust(16, b"\0") in wanted}
        return found

    def _listeners(family: int) -> Iterator[tuple[tuple[bytes, int], int]]:
        """Address and port of each socket that listens, and whose it is."""
        try:
            yield from _listeners_by_netlink(family)
        except OSError as error:
            if error.errno not in _NO_NETLINK:
                raise
            yield from ((one.local, one.uid) for one in entries(family) if 1 << one.state == _LISTENING)

    def _listeners_by_netlink(family: int) -> Iterator[tuple[tuple[bytes, int], int]]:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(_ANSWERS_WITHIN)
            asking.sendto(_request(family, _LISTENING, bytes(_ID_SIZE), _NLM_F_DUMP), (0, 0))
            while True:
                answer = asking.recv(65_536)
                place = 0
                while place + _HEADER.size <= len(answer):
                    length, kind, *_ = _HEADER.unpack_from(answer, place)
                    if kind != _SOCK_DIAG_BY_FAMILY or length < _HEADER.size + _MESSAGE.size:
                        return  # all were told, or the kernel tells none
                    _, _, _, _, socket_id, _, _, _, uid, _ = _MESSAGE.unpack_from(answer, place + _HEADER.size)
                    yield (socket_id[4:20], _PORTS.unpack_from(socket_id)[0]), uid
                    place += (length + 3) & ~3

    def _uid_by_proc(own_end: Where, other_end: Where) -> int | None:
        family = socket.AF_INET6 if ":" in other_end[0] else socket.AF_INET
        local, remote = (
            (socket.inet_pton(family, host.partition("%")[0]), port) for host, port in (other_end, own_end)
        )
        for one in entries(family):
            if one.local == local and one.remote == remote:
                return one.uid if one.inode and one.state in _OPEN else None
        return None

    def _question(source: Where, destination: Where) -> bytes:
        family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
        socket_id = (
            _PORTS.pack(source[1], destination[1])
            + _packed(family, source[0])
            + _packed(family, destination[0])
            + _REST_OF_ID.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)
        )
        return _request(family, _ALL_STATES, socket_id)

    def _request(family: int, states: int, socket_id: bytes, flags: int = 0) -> bytes:
        wanted = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states) + socket_id
        return _HEADER.pack(_HEADER.size + len(wanted), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 1, 0) + wanted

    def _packed(family: int, host: str) -> bytes:
        return socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")

    def _ask(question: bytes) -> bytes:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(_ANSWERS_WITHIN)
            asking.sendto(question, (0, 0))
            return asking.recv(8192)

else:

    def uid_at(own_end: Where, other_end: Where) -> int | None:
        """Only Linux tells."""
        return None

    def uids_listening_at(where: Where) -> set[int]:
        """Only Linux tells."""
        return set()
