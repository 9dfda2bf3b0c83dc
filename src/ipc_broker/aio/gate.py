"""At the door: who has just connected, and whether they may come in."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import NamedTuple

from ..config import BrokerConfig
from ..credentials import Credentials
from ..identity.peer import credentials_of
from ..identity.sock_diag import is_loopback, uid_at
from ..identity.users import group_name, group_names, is_own_or_root, own_user, user_name
from ..security.principal import OWNER, Principal, not_let_in


class Entry(NamedTuple):
    """Who has connected. Without a principal they have to show a token; with a refusal they have to go."""

    credentials: Credentials
    principal: Principal | None
    refusal: str = ""


class Gate:
    """Whom this broker lets in: its own user and root, `allow_users` and `allow_groups`, and who has a token."""

    def __init__(self, config: BrokerConfig) -> None:
        self._insecure = config.insecure
        self._users = frozenset(config.allow_users)
        self._groups = frozenset(config.allow_groups)

    def entry(self, transport: asyncio.BaseTransport) -> Entry:
        in_memory: Credentials | None = transport.get_extra_info("credentials")
        if in_memory is not None:
            return Entry(in_memory, OWNER)
        connected = transport.get_extra_info("socket")
        # By the kind of the socket alone: one that its other end has reset already has no address any more, and data still.
        family = None if connected is None else connected.family
        if family in (socket.AF_INET, socket.AF_INET6):
            if transport.get_extra_info("sslcontext") is not None:
                return _over_tls(transport)
            return self._over_tcp(transport)
        if sys.platform == "win32":  # a named pipe, which its access control list keeps for the owner
            return Entry(Credentials(), OWNER)
        try:
            credentials = Credentials() if connected is None else credentials_of(connected)
        except OSError as error:
            return _untold(Credentials(), error.strerror or str(error))
        return self._on_this_machine(credentials)

    def _over_tcp(self, transport: asyncio.BaseTransport) -> Entry:
        own, other = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        credentials = Credentials(address=_address(other))
        if self._insecure:
            return Entry(credentials, OWNER)
        if not isinstance(own, tuple) or not isinstance(other, tuple):
            return _untold(credentials, "it has ended")
        if sys.platform != "linux" or not is_loopback(other[0]):
            return Entry(credentials, None)
        try:
            uid = uid_at(own[:2], other[:2])
        except OSError as error:
            return _untold(credentials, error.strerror or str(error))
        if uid is None:
            return _untold(credentials, "its other end is closed")
        return self._on_this_machine(Credentials(uid=uid, address=credentials.address))

    def _on_this_machine(self, credentials: Credentials) -> Entry:
        uid = credentials.uid
        if uid is None:
            return _untold(credentials, "its credentials are empty")
        user, groups = user_name(uid), group_names(uid)
        if credentials.gid is not None:  # the process has proven it, whatever the system's lists say
            groups |= {group_name(credentials.gid)}
        principal = Principal(uid, user, groups, is_owner=is_own_or_root(uid))
        if principal.is_let_in(self._users, self._groups):
            return Entry(credentials, principal)
        owners = " and ".join(f"user '{name}'" for name in dict.fromkeys((own_user(), user_name(0))))
        return Entry(credentials, principal, not_let_in(principal, owners))


def _over_tls(transport: asyncio.BaseTransport) -> Entry:
    credentials = Credentials(address=_address(transport.get_extra_info("peername")))
    holder = _common_name(transport.get_extra_info("peercert"))
    return Entry(credentials, Principal(token=holder) if holder else None)


def _untold(credentials: Credentials, reason: str) -> Entry:
    return Entry(credentials, None, f"the system does not tell whose this connection is: {reason}")


def _address(name: object) -> str:
    if not isinstance(name, tuple):
        return ""
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _common_name(certificate: object) -> str:
    """Of a client certificate that our CA has signed: who it was made for."""
    if isinstance(certificate, dict):
        for part in certificate.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
    return ""
