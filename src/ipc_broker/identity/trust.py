"""Whether a broker may be told anything: it must be our own user's, root's, or that of somebody we trust.

Anybody can listen at a path in /tmp, or at a port, before the real broker does.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Mapping

from ..address import Address
from ..errors import UntrustedBroker
from .peer import credentials_of
from .sock_diag import is_loopback, uids_listening_at
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
            raise UntrustedBroker(
                f"what listens at {address} belongs to user '{user}', who is neither you nor root: nothing was sent. If you"
                f" trust that user, say so with trust_users=['{user}'] or BROKER_TRUST={user}; otherwise use another address"
            )


def _uids_of_broker(connected: socket.socket, address: Address) -> set[int]:
    """None where there is nothing to ask. Raises UntrustedBroker where the system does not tell."""
    if sys.platform == "win32":
        return set()
    if connected.family == socket.AF_UNIX:
        uid = credentials_of(connected).uid
        return {uid} if uid is not None else set()
    other_end = connected.getpeername()[:2]
    if sys.platform != "linux" or not is_loopback(other_end[0]):
        return set()
    try:
        found = uids_listening_at(other_end)
    except OSError as error:
        raise UntrustedBroker(
            f"this system does not tell whose the broker at {address} is ({error.strerror or error}): nothing was sent. Use"
            " its Unix socket, or trust whoever it is with trust_users=['*'] or BROKER_TRUST='*'"
        ) from error
    if not found:
        raise UntrustedBroker(f"nobody listens at {address} any more: nothing was sent; try again")
    return found
