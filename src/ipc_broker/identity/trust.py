"""Whether a broker may be told anything: it must be our own user's, root's, or that of somebody we trust.

Anybody can listen at a path in /tmp, or at a port, before the real broker does.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Mapping

from ..address import Address
from ..errors import ConfigError, UntrustedBroker
from .peer import credentials_of
from .sids import is_trusted_owner
from .sock_diag import tells_users, uids_listening_at
from .users import is_own_or_root, user_name

ANYBODY = "*"


def trusted_users(argument: Collection[str] | None, environ: Mapping[str, str]) -> frozenset[str]:
    """Who else may run the broker: `argument`, else `BROKER_TRUST` in the environment, which has commas between them."""
    if argument is None:
        argument = environ.get("BROKER_TRUST", "").split(",")
    elif isinstance(argument, str):
        argument = [argument]
    return frozenset(name for one in argument if (name := str(one).strip()))


def require_trusted(connected: socket.socket, address: Address, trusted: Collection[str]) -> None:
    """Raises UntrustedBroker, before anything was said. Nothing is asked of brokers on other machines."""
    if ANYBODY in trusted:
        return
    for uid in _uids_of_broker(connected, address):
        user = user_name(uid)
        if not is_own_or_root(uid) and user not in trusted and str(uid) not in trusted:
            raise _untrusted(address, user, "root")


if sys.platform == "win32":

    def require_trusted_pipe(handle: int, address: Address, trusted: Collection[str]) -> None:
        """The same for the client's end of a named pipe. Raises UntrustedBroker, OSError."""
        if ANYBODY in trusted:
            return
        from .accounts import account_name, own_sid, sid_of  # only for pipes: `ctypes` is long to import
        from .pipe_ends import owner_of

        owner = owner_of(handle)
        if owner is None:
            raise UntrustedBroker(_untold(address, "it has no owner"))
        try:
            is_trusted = is_trusted_owner(owner, own_sid(), trusted, sid_of)
        except ConfigError as error:  # nobody can be asked now who they are whom we trust
            raise UntrustedBroker(_untold(address, error.message)) from error
        if not is_trusted:
            raise _untrusted(address, account_name(owner), "an administrator")


def _untrusted(address: Address, user: str, root: str) -> UntrustedBroker:
    return UntrustedBroker(
        f"what listens at {address} belongs to user '{user}', who is neither you nor {root}: nothing was sent. If you"
        f" trust that user, say so with trust_users={[user]} or BROKER_TRUST={user}; otherwise use another address"
    )


def _untold(address: Address, reason: str) -> str:
    return (
        f"this system does not tell whose the broker at {address} is ({reason}): nothing was sent. Use"
        f" {'another address' if address.scheme == 'pipe' else 'its Unix socket'}, or trust whoever it is with"
        " trust_users=['*'] or BROKER_TRUST='*'"
    )


def _uids_of_broker(connected: socket.socket, address: Address) -> set[int]:
    """None where there is nothing to ask. Raises UntrustedBroker where the system does not tell."""
    if sys.platform == "win32":
        return set()
    if connected.family == socket.AF_UNIX:
        uid = credentials_of(connected).uid
        return {uid} if uid is not None else set()
    other_end = connected.getpeername()[:2]
    if not tells_users(other_end[0]):
        return set()
    try:
        found = uids_listening_at(other_end)
    except OSError as error:
        raise UntrustedBroker(_untold(address, error.strerror or str(error))) from error
    if not found:
        raise UntrustedBroker(f"nobody listens at {address} any more: nothing was sent; try again")
    return found
