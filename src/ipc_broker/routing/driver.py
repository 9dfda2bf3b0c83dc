"""The broker's own object, `rob`: a table of methods."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ..description import EncodedDescription, Interface
from ..driver import Rob
from ..messages import Call, DirectOffer, Goodbye, Hello, Name, Publish, Result, Welcome
from ..observation import Inspection, Measurement, ServiceState, TopicState, Watch
from ..protocol.encodings import ENCODINGS
from ..protocol.framing import HEADER_SIZE, SEED_MAX_FRAME
from ..protocol.payload import Unsendable, reason_of
from ..remote import remote_methods
from ..schemas import interface_of
from ..security.policy import Action
from .gatekeeper import NotAdmitted
from .inspecting import describe, inspect, topics
from .measuring import Measures
from .names import BROKER_OBJECT
from .patterns import PatternError, topic_refusal
from .peer import Peer
from .pending import Refusal, over_limit
from .service import Service
from .turns import LARGE_ANSWER, OF_A_MESSAGE
from .watching import Watcher

if TYPE_CHECKING:
    from .router import Router

PAGE_MARGIN = 8192
"""Bytes of an answer that are left for its call id and all else around a page of names."""

FEATURES = frozenset(
    {"multiplex", "cancel", "caller", "streams", "flow", "resume", "heartbeat", "batches", "direct", "memory"}
)

MOST_WILL = 64 * 1024
"""Bytes of a last will: it is kept for as long as its connection."""


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
    """By the id, or by the names where it has none."""

    object_name: str = ""
    topic: str = ""
    id: int = 0


class SetWill(Struct, forbid_unknown_fields=True):
    """Without a topic there is no will any more."""

    object_name: Name = ""
    topic: Name = ""
    args: Raw = Raw(b"")
    retain: bool = False


class Clear(Struct, forbid_unknown_fields=True):
    object_name: str
    topic: str


class DirectPath(Struct, forbid_unknown_fields=True):
    object_name: str


class Describe(Struct, forbid_unknown_fields=True):
    object: str


class Topics(Struct, forbid_unknown_fields=True):
    object: str = ""


class OneService(Struct, forbid_unknown_fields=True):
    object: str


@lru_cache(maxsize=1)
def own_interface() -> Interface:
    interface = interface_of(Rob, remote_methods(Rob))
    return msgspec.structs.replace(interface, type="")


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
            "setWill": self._set_will,
            "clear": self._clear,
            "direct": self._direct,
            "describe": self._describe,
            "topics": self._topics,
            "measure": self._measure,
            "inspect": self._inspect,
            "services": self._services,
            "startService": self._start_service,
            "stopService": self._stop_service,
        }
        self._measures = Measures(router)
        self.calls = 0

    def call(self, peer: Peer, call: Call, now: float) -> None:
        self.calls += 1
        if call.method == "monitor":
            self._monitor(peer, call, now)
            return
        method = self._methods.get(call.method)
        if method is None and not peer.is_seed:
            known = ", ".join([*self._methods, "monitor"])
            self._refuse(peer, call, "no_such_method", f"'rob' has no method '{call.method}'; it has {known}")
            return
        codec = peer.connection.codec
        try:
            value = method(peer, call.args, now) if method else None
        except Refused as refused:
            self._refuse(peer, call, refused.code, str(refused))
        except NotAdmitted as refused:
            self._router.gatekeeper.turn_away(peer, refused.code, str(refused), now, call.call_id)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(peer, call, "invalid_args", reason_of(error))
        else:
            agreed, hello = value if isinstance(value, tuple) else (value, None)
            frame = codec.encode(Result(call.call_id, BROKER_OBJECT, codec.encode_payload(agreed)))
            self._router.turns.work += len(frame) // LARGE_ANSWER * OF_A_MESSAGE
            if len(frame) > peer.longest_frame:
                self._refuse(peer, call, "too_large", over_limit(frame, peer))
                return
            peer.send_frame(frame)
            if hello is not None:
                # Not earlier: what has been sent until now is the seed's protocol.
                self._extend(peer, hello, agreed, now)

    def _refuse(self, peer: Peer, call: Call, code: str, message: str) -> None:
        self._router.refuse(peer, call.call_id, BROKER_OBJECT, code, message)

    def _decode(self, peer: Peer, args: Raw, kind: Any) -> Any:
        return peer.connection.codec.decode_payload(args, kind)

    def _hello(self, peer: Peer, args: Raw, now: float) -> tuple[Welcome, Hello]:
        """Raises Refused, and NotAdmitted for one that may not stay."""
        hello: Hello = self._decode(peer, args, Hello)
        try:
            encoding = self._encoding_for(peer, hello)
        except Refused as refused:
            if hello.token:  # it would stay as whom it is without
                raise NotAdmitted(refused.code, str(refused)) from refused
            raise
        self._router.gatekeeper.show_token(peer, hello.token, now)
        identity = self._router.identity
        # Whoever streams must be able to be stopped.
        features = FEATURES if "cancel" in hello.features else FEATURES - {"streams"}
        welcome = Welcome(
            encoding=encoding,
            features=tuple(name for name in hello.features if name in features),
            max_frame=self._router.limits.max_frame,
            prefix=f"{peer.id}.",
            epoch=identity.epoch,
            session=self._router.new_token(),
            version=identity.version,
            pid=identity.pid,
            heartbeat_ms=self._router.heartbeats.milliseconds,
        )
        return welcome, hello

    def _encoding_for(self, peer: Peer, hello: Hello) -> str:
        """Raises Refused."""
        if peer.connection.frames_received != 1:
            raise Refused("invalid_args", "hello comes once, as the first message of a connection, and alone")
        encoding = next((name for name in hello.encodings if name in ENCODINGS), None)
        if encoding is None:
            raise Refused("invalid_args", f"no encoding in common: this broker speaks {', '.join(ENCODINGS)}")
        if hello.max_frame < SEED_MAX_FRAME:
            raise Refused("invalid_args", f"a peer takes frames of {SEED_MAX_FRAME} bytes at least")
        return encoding

    def _extend(self, peer: Peer, hello: Hello, welcome: Welcome, now: float) -> None:
        peer.name = hello.name
        if peer.credentials.pid is None and hello.pid > 0:
            peer.credentials = msgspec.structs.replace(peer.credentials, pid=hello.pid)
        if hello.session:
            # A client that comes back knows earlier than we that its connection was lost.
            for earlier in [one for one in self._router.peers if one.token == hello.session]:
                self._router.retire(earlier, now, "it came back over another connection")
            peer.resumes = self._router.events.sessions.find(hello.session)
        longest = min(hello.max_frame, welcome.max_frame)
        peer.extend(
            welcome.prefix, welcome.session, frozenset(welcome.features), welcome.encoding, longest, welcome.max_frame
        )
        if "direct" in peer.features:
            peer.direct_address = hello.direct
        if "heartbeat" in peer.features:
            self._router.heartbeats.watch(peer, now)
        for observer in self._router.observers:
            observer.noted("connected", peer, now)
        if self._router.stopping:
            peer.connection.send(Goodbye(self._router.stopping))

    def _list_objects(self, peer: Peer, args: Raw, now: float) -> list[str]:
        names = sorted([*self._router.names, BROKER_OBJECT])
        codec = peer.connection.codec
        page = self._decode(peer, args, ListObjects) if codec.shape(bytes(args)) == "map" else None
        if page is None or page.after is None:
            return names
        room = peer.longest_frame - HEADER_SIZE - PAGE_MARGIN
        listed: list[str] = []
        for name in names[bisect_right(names, page.after) :]:
            room -= len(bytes(codec.encode_payload(name))) + 1
            if room < 0:
                break
            listed.append(name)
        return listed

    def _ping(self, peer: Peer, args: Raw, now: float) -> str:
        return "pong"

    def _stats(self, peer: Peer, args: Raw, now: float) -> dict[str, Any]:
        router = self._router
        calls, events = router.calls, router.events
        return {
            "version": router.identity.version,
            "pid": router.identity.pid,
            "uptime": round(now - router.started, 3),
            "connections": len(router.peers),
            "objects": len(router.names),
            "subscriptions": events.subscriptions.count,
            "subscriptions_lagging": len(events.backpressure.lagging),
            "publishers_paused": sum(bool(one.waits_for) for one in router.peers),
            "calls_in_flight": calls.in_flight,
            "calls_waiting": calls.waiting,
            "retained": len(events.retained),
            "totals": {
                **msgspec.structs.asdict(router.totals),
                "published": events.published,
                "delivered": events.delivered,
                "dropped": events.backpressure.dropped,
            },
        }

    def _direct(self, peer: Peer, args: Raw, now: float) -> DirectOffer | None:
        return self._router.directs.offer(peer, self._decode(peer, args, DirectPath).object_name)

    # Those who look

    def _describe(self, peer: Peer, args: Raw, now: float) -> EncodedDescription:
        wish: Describe = self._decode(peer, args, Describe)
        codec = peer.connection.codec
        if wish.object == BROKER_OBJECT:
            return EncodedDescription(BROKER_OBJECT, interface=codec.encode_payload(own_interface()))
        name = self._router.names.find(wish.object)
        if name is None:
            hint = "; its service does not run, and a call starts it" if self._router.services.find(wish.object) else ""
            raise Refused("no_such_object", f"No such object '{wish.object}'{hint}")
        try:
            return describe(name, codec, self._router.directs.of(name.object_name))
        except Unsendable as error:
            raise Refused("invalid_args", f"the interface of '{wish.object}' cannot be said here: {error}") from error

    def _topics(self, peer: Peer, args: Raw, now: float) -> list[TopicState]:
        wish: Topics = self._decode(peer, args, Topics) if peer.connection.codec.shape(args) != "null" else Topics()
        try:
            return topics(self._router, wish.object)
        except PatternError as error:
            raise Refused("invalid_args", str(error)) from error

    def _measure(self, peer: Peer, args: Raw, now: float) -> Measurement:
        return self._measures.measure(now)

    def _inspect(self, peer: Peer, args: Raw, now: float) -> Inspection:
        return inspect(self._router, now)

    def _monitor(self, peer: Peer, call: Call, now: float) -> None:
        """It is answered with items, until its caller has enough of them."""
        codec = peer.connection.codec
        try:
            watch: Watch = self._decode(peer, call.args, Watch) if codec.shape(call.args) != "null" else Watch()
            if peer.is_seed or not call.credit:
                raise Refused(
                    "invalid_args", "'monitor' is a stream: call it as one, over a connection that has said hello"
                )
            watcher = Watcher(self._router, peer, call, watch, now)
            self._router.taps.watch(watcher)
            watcher.begin(now)
        except (Refused, Refusal) as refused:
            self._refuse(peer, call, refused.code, str(refused))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(peer, call, "invalid_args", reason_of(error))
        except PatternError as error:
            self._refuse(peer, call, "invalid_args", str(error))

    # Services

    def _services(self, peer: Peer, args: Raw, now: float) -> list[ServiceState]:
        return [service.tell(now) for service in sorted(self._router.services, key=lambda one: one.object_name)]

    def _start_service(self, peer: Peer, args: Raw, now: float) -> ServiceState:
        service = self._service(peer, args)
        if self._router.stopping:
            raise Refused("activation_failed", f"'{service.object_name}' cannot be started: the broker stops")
        service.start(now)
        return service.tell(now)

    def _stop_service(self, peer: Peer, args: Raw, now: float) -> ServiceState:
        service = self._service(peer, args)
        if not service.stop(now):
            who = service.name.members[0].peer.describe()
            text = f"'{service.object_name}' is served by {who}, which this broker has not started; stop it yourself"
            raise Refused("invalid_args", text)
        return service.tell(now)

    def _service(self, peer: Peer, args: Raw) -> Service:
        wish: OneService = self._decode(peer, args, OneService)
        service = self._router.services.find(wish.object)
        if service is None:
            raise Refused("no_such_object", f"there is no service of '{wish.object}'; `rob services` lists all")
        return service

    def _require(self, peer: Peer, action: Action, object_name: str, member: str) -> None:
        """Raises Refused where the policy does not allow it."""
        if peer.access is not None and (why := peer.access.refusal(action, object_name, member)):
            raise Refused("permission_denied", why)

    # What a peer changes of its own

    def _unregister(self, peer: Peer, args: Raw, now: float) -> bool:
        wish: Unregister = self._decode(peer, args, Unregister)
        return self._router.registrar.unregister(peer, wish.object_name, now, keep_calls=wish.keep_calls)

    def _unsubscribe(self, peer: Peer, args: Raw, now: float) -> bool:
        wish: Unsubscribe = self._decode(peer, args, Unsubscribe)
        return self._router.events.unsubscribe(peer, wish.id or (wish.object_name, wish.topic))

    def _set_will(self, peer: Peer, args: Raw, now: float) -> bool:
        wish: SetWill = self._decode(peer, args, SetWill)
        if not wish.topic and not wish.object_name:
            peer.will = None
            return True
        if peer.is_seed:
            raise Refused("invalid_args", "a will needs a connection that has said hello")
        if not bytes(wish.args):
            raise Refused("invalid_args", "a will needs args, the value to publish")
        if wish.object_name == BROKER_OBJECT:
            raise Refused("permission_denied", "only the broker publishes as 'rob'")
        if not wish.object_name or not wish.topic:
            raise Refused("invalid_args", "a will needs an object and a topic")
        if refusal := topic_refusal(wish.object_name, wish.topic):
            raise Refused(*refusal)
        self._require(peer, "publish", wish.object_name, wish.topic)
        size = len(bytes(wish.args))
        if size > MOST_WILL:
            raise Refused("too_large", f"a will of {size} bytes is over the limit of {MOST_WILL} bytes")
        peer.will = Publish(wish.object_name, wish.topic, Raw(bytes(wish.args)), retain=wish.retain)
        return True

    def _clear(self, peer: Peer, args: Raw, now: float) -> bool:
        """False when nothing was retained there."""
        wish: Clear = self._decode(peer, args, Clear)
        self._require(peer, "publish", wish.object_name, wish.topic)
        return self._router.events.retained.clear(wish.object_name, wish.topic)
