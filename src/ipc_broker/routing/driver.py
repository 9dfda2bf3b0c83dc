"""The broker's own object, `rob`: a table of methods."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ..messages import Call, Hello, Result, Welcome
from ..protocol.codec import encode, encode_name
from ..protocol.framing import HEADER_SIZE
from ..protocol.payload import decode_payload, encode_payload, reason_of
from .names import BROKER_OBJECT
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

PAGE_MARGIN = 8192
"""Bytes of an answer that are left for its call id and all else around a page of names."""

FEATURES = ("multiplex",)
ENCODINGS = ("json",)


class Refused(Exception):
    """A method of `rob` was not carried out: an error code and a message for the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ListObjects(Struct):
    after: str | None = None
    """Only names behind this one, in order, and as many as fit into an answer."""


class Unregister(Struct, forbid_unknown_fields=True):
    object_name: str
    keep_calls: bool = False
    """Whether the calls in flight will still be answered; otherwise they end with `worker_lost`."""


class Unsubscribe(Struct, forbid_unknown_fields=True):
    object_name: str
    topic: str


class Driver:
    """Answers calls of `rob`. A method it does not know gives null to seed peers, as their own broker does."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._methods: dict[str, Callable[[Peer, Raw, float], object]] = {
            "hello": self._hello,
            "listObjects": self._list_objects,
            "ping": self._ping,
            "stats": self._stats,
            "unregister": self._unregister,
            "unsubscribe": self._unsubscribe,
        }

    def call(self, peer: Peer, call: Call, now: float) -> None:
        method = self._methods.get(call.method)
        if method is None and not peer.is_seed:
            known = ", ".join(self._methods)
            self._refuse(peer, call, "no_such_method", f"'rob' has no method '{call.method}'; it has {known}")
            return
        try:
            value = method(peer, call.args, now) if method else None
        except Refused as refused:
            self._refuse(peer, call, refused.code, str(refused))
        except (msgspec.MsgspecError, RecursionError) as error:
            self._refuse(peer, call, "invalid_args", reason_of(error))
        else:
            frame = encode(Result(call.call_id, BROKER_OBJECT, encode_payload(value)))
            if len(frame) > self._router.limits.max_frame + HEADER_SIZE:
                self._refuse(peer, call, "too_large", self._router.over_frame_limit(frame))
                return
            peer.send_frame(frame)
            if isinstance(value, Welcome):
                # Not earlier: what has been sent until now is the seed's protocol.
                peer.prefix = value.prefix
                peer.connection.extend()

    def _refuse(self, peer: Peer, call: Call, code: str, message: str) -> None:
        self._router.refuse(peer, call.call_id, BROKER_OBJECT, code, message)

    def _hello(self, peer: Peer, args: Raw, now: float) -> Welcome:
        hello: Hello = decode_payload(args, Hello)
        if peer.connection.frames_received != 1:
            raise Refused("invalid_args", "hello comes once, as the first message of a connection, and alone")
        encoding = next((name for name in hello.encodings if name in ENCODINGS), None)
        if encoding is None:
            raise Refused("invalid_args", f"no encoding in common: this broker speaks {', '.join(ENCODINGS)}")
        identity = self._router.identity
        if hello.max_frame < self._router.limits.max_frame:
            raise Refused("invalid_args", f"this broker sends frames of up to {self._router.limits.max_frame} bytes")
        peer.name = hello.name
        if peer.credentials.pid is None and hello.pid > 0:
            peer.credentials = msgspec.structs.replace(peer.credentials, pid=hello.pid)
        return Welcome(
            encoding=encoding,
            features=tuple(name for name in hello.features if name in FEATURES),
            max_frame=self._router.limits.max_frame,
            prefix=f"{peer.id}.",
            epoch=identity.epoch,
            session=f"{identity.epoch}-{peer.id}",
            version=identity.version,
            pid=identity.pid,
        )

    def _list_objects(self, peer: Peer, args: Raw, now: float) -> list[str]:
        names = sorted([*self._router.names, BROKER_OBJECT])
        page = decode_payload(args, ListObjects) if bytes(args).startswith(b"{") else None
        if page is None or page.after is None:
            return names
        room = self._router.limits.max_frame - PAGE_MARGIN
        listed: list[str] = []
        for name in names[bisect_right(names, page.after) :]:
            room -= len(encode_name(name)) + 1
            if room < 0:
                break
            listed.append(name)
        return listed

    def _ping(self, peer: Peer, args: Raw, now: float) -> str:
        return "pong"

    def _stats(self, peer: Peer, args: Raw, now: float) -> dict[str, Any]:
        router = self._router
        return {
            "version": router.identity.version,
            "pid": router.identity.pid,
            "uptime": round(now - router.started, 3),
            "connections": len(router.peers),
            "objects": len(router.names),
            "subscriptions": router.subscriptions.count,
            "calls_in_flight": router.calls.in_flight,
            "totals": {**msgspec.structs.asdict(router.totals), "dropped": router.backpressure.dropped},
        }

    def _unregister(self, peer: Peer, args: Raw, now: float) -> bool:
        wish: Unregister = decode_payload(args, Unregister)
        if not self._router.unregister(peer, wish.object_name, now):
            return False
        if not wish.keep_calls:
            self._router.lose_calls(peer, f"its worker stopped serving '{wish.object_name}'", now, wish.object_name)
        return True

    def _unsubscribe(self, peer: Peer, args: Raw, now: float) -> bool:
        wish: Unsubscribe = decode_payload(args, Unsubscribe)
        return self._router.subscriptions.remove(wish.object_name, wish.topic, peer)
