"""At the door: who has just connected, and whether they may come in."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import NamedTuple

from ..config import BrokerConfig
from ..credentials import Credentials
from ..errors import ConfigError
from ..identity.peer import credentials_of
from ..identity.sock_diag import tells_users, uid_at
from ..identity.users import as_known, group_name, group_names, is_own_or_root, own_user, user_name
from ..security.principal import OWNER, Principal, not_let_in

if sys.platform == "win32":
    from asyncio.windows_utils import PipeHandle

    from ..identity.accounts import account_name, own_sid
    from ..identity.pipe_ends import client_of
    from ..identity.sids import ADMINISTRATORS, is_root


class Entry(NamedTuple):
    """Who has connected. Without a principal they have to show a token; with a refusal they have to go."""

    credentials: Credentials
    principal: Principal | None
    refusal: str = ""


class Gate:
    """Whom this broker lets in: its own user and root, `allow_users` and `allow_groups`, and who has a token."""

    def __init__(self, config: BrokerConfig) -> None:
        """Raises ConfigError where the system does not know whom to let in, and has to."""
        self._insecure = config.insecure
        self._users = _known("allow_users", "user", config.allow_users)
        self._groups = _known("allow_groups", "group", config.allow_groups)

    @property
    def others(self) -> tuple[str, ...]:
        """Users and groups that are let in, besides the owner and root: on Windows their SIDs."""
        return (*sorted(self._users), *sorted(self._groups))

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
        if sys.platform == "win32":
            return self._over_pipe(transport)
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
        if not tells_users(other[0]):
            return Entry(credentials, None)
        try:
            uid = uid_at(own[:2], other[:2])
        except OSError as error:
            return _untold(credentials, error.strerror or str(error))
        if uid is None:
            return _untold(credentials, "its other end is closed")
        return self._on_this_machine(Credentials(uid=uid, address=credentials.address))

    if sys.platform == "win32":

        def _over_pipe(self, transport: asyncio.BaseTransport) -> Entry:
            pipe: PipeHandle = transport.get_extra_info("pipe")
            try:
                client = client_of(pipe.fileno())
            except OSError as error:
                return _untold(Credentials(), error.strerror or str(error))
            credentials, holder = Credentials(pid=client.pid), client.holder
            if holder is None:
                # Only the owner and root can have opened it, unless others may: then that has to be shown by a token.
                return Entry(credentials, None if self.others else OWNER)
            is_owner = holder.sid == own_sid() or any(map(is_root, (holder.sid, *holder.groups)))
            principal = Principal(
                user=account_name(holder.sid), groups=holder.groups, is_owner=is_owner, sid=holder.sid
            )
            return self._let_in(credentials, principal, (own_user(), account_name(ADMINISTRATORS)))

    def _on_this_machine(self, credentials: Credentials) -> Entry:
        uid = credentials.uid
        if uid is None:
            return _untold(credentials, "its credentials are empty")
        user, groups = user_name(uid), group_names(uid)
        if credentials.gid is not None:  # the process has proven it, whatever the system's lists say
            groups |= {group_name(credentials.gid)}
        principal = Principal(uid, user, groups, is_owner=is_own_or_root(uid))
        return self._let_in(credentials, principal, (own_user(), user_name(0)))

    def _let_in(self, credentials: Credentials, principal: Principal, owners: tuple[str, ...]) -> Entry:
        if principal.is_let_in(self._users, self._groups):
            return Entry(credentials, principal)
        named = " and ".join(f"user '{name}'" for name in dict.fromkeys(owners))
        return Entry(credentials, principal, not_let_in(principal, named))


def _known(setting: str, what: str, names: tuple[str, ...]) -> frozenset[str]:
    """Raises ConfigError."""
    known: set[str] = set()
    for name in names:
        found = as_known(name)
        if found is None:
            raise ConfigError(f"{setting}: there is no {what} '{name}' on this system: who that is must be known")
        known.add(found)
    return frozenset(known)


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
