"""Whose process a connected Unix socket leads to."""

from __future__ import annotations

import socket
import struct
import sys

from ..credentials import Credentials

if sys.platform == "linux":
    _UCRED = struct.Struct("3i")

    def credentials_of(connected: socket.socket) -> Credentials:
        """Of the process that connected, or that listens, as the kernel kept it then; empty for other sockets."""
        if connected.family != socket.AF_UNIX:
            return Credentials()
        pid, uid, gid = _UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return Credentials(pid=pid or None, uid=uid, gid=gid)

elif sys.platform == "win32":

    def credentials_of(connected: socket.socket) -> Credentials:
        return Credentials()

else:
    # sys/un.h and sys/ucred.h of macOS and FreeBSD: version, uid, number of groups, groups.
    _SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
    _XUCRED = struct.Struct("=IIh2x16I")

    def credentials_of(connected: socket.socket) -> Credentials:
        """Of the process that connected, or that listens, as the kernel kept it then; empty for other sockets."""
        if connected.family != socket.AF_UNIX:
            return Credentials()
        _, uid, groups, gid, *_ = _XUCRED.unpack_from(
            connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128).ljust(_XUCRED.size, b"\0")
        )
        pid = connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID) if sys.platform == "darwin" else None
        return Credentials(pid=pid, uid=uid, gid=gid if groups > 0 else None)
