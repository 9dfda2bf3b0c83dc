"""Publishing of the blocking client: on their way with the kernel, acknowledged, or drained."""

from __future__ import annotations

from typing import Any

from ..errors import ConnectionLost
from ..protocol.codec import Codec
from ..protocol.pieces import Payload
from ..session import BROKER_OBJECT
from ..session.values import DEFAULT_TIMEOUT, MAY_BE_LOST, not_acknowledged, payload_of
from .calls import Calls
from .link import Link
from .waiting import Answer, deadline_in


class Publishing:
    """What one client publishes, and what of it is not known to be routed."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self.undrained = False
        """Whether something was published since the last drain."""
        self._link = link
        self._calls = calls
        self._losses = 0  # connections that had been lost when the first of it was published

    def publish(self, object_name: str, topic: str, value: Any, *, retain: bool, ack: bool) -> None:
        link, session = self._link, self._link.session
        deadline = deadline_in(DEFAULT_TIMEOUT)
        while True:
            if not session.ready:
                link.wait_ready(deadline)
            codec = session.codec
            payload = payload_of(value, codec, object_name, topic)
            try:
                return self._publish_once(object_name, topic, payload, codec, deadline, retain=retain, ack=ack)
            except ConnectionLost as error:
                if error.delivered != "no":
                    raise

    def _publish_once(
        self,
        object_name: str,
        topic: str,
        payload: Payload,
        codec: Codec,
        deadline: float | None,
        *,
        retain: bool,
        ack: bool,
    ) -> None:
        publisher = self._link.session.publisher
        if not retain and not ack:
            self._calls.publish(lambda: self._marked(publisher.publish(object_name, topic, payload)), codec, deadline)
            return
        routed = Answer() if ack else None
        self._calls.publish(
            lambda: self._marked(publisher.publish_with(object_name, topic, payload, routed, 0.0, retain=retain)),
            codec,
            deadline,
        )
        if routed is not None:
            if not self._link.wait_until(routed.done, deadline):
                raise not_acknowledged(object_name, topic)
            routed.result()

    def _marked(self, queued: int) -> int:
        """With the lock held, when an event was queued: the next drain is to wait for it."""
        if not self.undrained:
            self.undrained = True
            self._losses = self._link.session.losses
        return queued

    def drain(self, timeout: float | None) -> None:
        """Returns when the broker has routed all that was published before. Raises ConnectionLost when it may have not."""
        publisher, deadline = self._link.session.publisher, deadline_in(timeout)
        with self._link.lock:
            undrained, losses = self.undrained, self._losses
            self.undrained = False  # what others publish from now on is for the next one
        try:
            routed = False
            while not routed:
                if undrained and losses != self._link.session.losses and not publisher.has_unsent:
                    raise ConnectionLost(MAY_BE_LOST)
                routed = self._ping(timeout, deadline)
        except ConnectionLost:
            raise  # once: they will not come back
        except BaseException:
            if undrained:
                self.undrained, self._losses = True, losses
            raise
        if undrained and losses != self._link.session.losses:
            raise ConnectionLost(MAY_BE_LOST)

    def _ping(self, timeout: float | None, deadline: float | None) -> bool:
        """Asks the broker what it answers behind all events. False when that was surely not sent."""
        self._link.wait_ready(deadline)
        codec = self._link.session.codec
        try:
            self._calls.call(BROKER_OBJECT, "ping", codec.null, codec, timeout, deadline)
        except ConnectionLost as error:
            if error.delivered != "no":
                raise
            return False
        return True
