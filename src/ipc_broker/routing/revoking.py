"""A policy was replaced: what it does not allow any more ends at once, and is told to those whom it concerns.

Names, subscriptions, wills, streams, calls that wait in a line and looking at the bus end. A call that its worker has is
answered still: it was allowed when it was made, and nobody could tell how much of it was done.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .names import BROKER_OBJECT
from .peer import Peer

if TYPE_CHECKING:
    from .access import Access
    from .router import Router

logger = logging.getLogger("ipc_broker")

DENIED = "permission_denied"


def end_what_is_forbidden(router: Router, now: float) -> None:
    """All peers have their new standing already."""
    restricted = sorted((peer for peer in router.peers if peer.access is not None), key=lambda peer: peer.id)
    for peer in restricted:  # first, so that nothing of it is published because of what follows
        _end_will(router, peer, _access(peer))
    # Those who stand by before those who serve: else they would take over, and be given calls, for a moment.
    for standing_by in (True, False):
        for peer in restricted:
            _end_names(router, peer, _access(peer), now, standing_by=standing_by)
    for peer in restricted:
        _end_subscriptions(router, peer, _access(peer))
        _end_calls(router, peer, _access(peer), now)
        if why := _access(peer).refusal("monitor"):
            for call_id in router.taps.end_watching(peer):
                router.refuse(peer, call_id, BROKER_OBJECT, DENIED, why)


def _access(peer: Peer) -> Access:
    assert peer.access is not None
    return peer.access


def _end_will(router: Router, peer: Peer, access: Access) -> None:
    will = peer.will
    if will is not None and (why := access.refusal("publish", will.object_name, will.topic)):
        logger.warning("%s has no last will any more: %s", peer.describe(), why)
        peer.will = None
        router.refuse(peer, None, will.object_name, DENIED, why, about="Publish")


def _end_names(router: Router, peer: Peer, access: Access, now: float, *, standing_by: bool) -> None:
    for name, registration in sorted(peer.registrations.items()):
        if peer.registrations.get(name) is not registration:  # what others were told has ended it
            continue
        stands_by = registration not in registration.name.members
        if stands_by is standing_by and (why := access.refusal("register", name)):
            logger.warning("%s serves '%s' no longer: %s", peer.describe(), name, why)
            router.refuse(peer, None, name, DENIED, why, about="RegisterObject")
            router.registrar.unregister(peer, name, now)


def _end_subscriptions(router: Router, peer: Peer, access: Access) -> None:
    for key, one in list(peer.subscriptions.items()):
        if one.object_name == BROKER_OBJECT:
            continue
        if why := access.refusal("subscribe", one.object_name, one.topic):
            logger.warning("%s is told no more: %s", peer.describe(), why)
            router.events.unsubscribe(peer, key)
            router.refuse(peer, None, one.object_name, DENIED, why, about="Subscribe", subscription=one.id)


def _end_calls(router: Router, peer: Peer, access: Access, now: float) -> None:
    for pending in list(peer.calls.values()):
        waits, streams = pending.registration is None, pending.streams
        if (waits or streams) and (why := access.refusal("call", pending.object_name, pending.method)):
            router.calls.fail(pending, DENIED, why, now, delivered="no" if waits else "maybe")
